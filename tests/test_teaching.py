"Teaching data: every record leads to its call, nothing is dropped unseen, training asks what evaluation asks, and baselines are labelled by the truth."
import json, re
from collections import Counter
import pandas as pd
import pytest
from PIL import Image
import unsaf
from unsaf.cli.common import exit_code
from unsaf.prompts import readers
from unsaf.assessment.run import Plan, answer_request, question_request
from unsaf.core import ImageError, Picture, Reply, Sample, Setting, UnsafError
from unsaf.distill.curricula import baseline_records, baseline_scenes, curriculum, mm_upd, preferences, unk_vqa
from unsaf.distill.data import Record, TeacherData, digest_of, teach
from unsaf.world.grammar import question_list, written
from unsaf.models.base import Scripted
from unsaf.world.oracle import check, is_right
from unsaf.store import Store, ask_of
from unsaf.world.scenes import Scene

SCENES = unsaf.images("scenes", n=5, seed=77)


class Knowing:
    "Knows every scene by its pixels; `spoil` may change a reply."
    template = "llava"

    def __init__(self, images=SCENES, name="knowing", spoil=lambda request, text: text):
        self.name, self.identity, self.spoil, self.calls = name, {"name": name}, spoil, 0
        self.scenes = {s.picture.digest: Scene.from_dict(s.info["scene"]) for s in images}

    def say(self, request):
        scene, text = self.scenes[request.pictures[0].digest], request.text
        line = next((x for x in text.splitlines() if x.startswith("Question: ") and "[" not in x), None)
        if line is None:
            k = int([w for w in text.replace(":", " ").split() if w.isdigit()][-1])
            return written(question_list(scene, "can be answered directly" in text or "can be answered by analyzing" in text,
                                         "mc" if "options" in text else "oe", k))
        found = re.search(r"^A\. (.*) B\. (.*) C\. (.*) D\. (.*)$", text, re.M)
        options = list(found.groups()) if found else []
        verdict = check(scene, line.removeprefix("Question: "), options)
        truth = verdict.answers[0] if verdict.answers else "unanswerable"
        said = "ABCD"[options.index(truth)] if options and truth in options else truth
        if text.endswith("confidence: 1-5"):
            return f"cot: Let me look, closely., answerability: {said if said == 'unanswerable' else 'answerable: ' + said}, confidence: 4"
        return said

    def generate(self, requests):
        for i, request in enumerate(requests):
            self.calls += 1
            said = self.spoil(request, self.say(request))
            yield Reply(said, index=i) if isinstance(said, str) else Reply(said.text, said.finish, said.error, i)


@pytest.fixture(scope="module")
def taught():
    store = Store()
    return teach(Knowing(), SCENES, store=store), store


@pytest.fixture(scope="module")
def thoughtful():
    return teach(Knowing(), SCENES, answers="cot")


# ---- lineage and counts

@pytest.mark.parametrize("setting", ["oe", "mc"])
@pytest.mark.parametrize("answers", ["short", "cot"])
def test_every_key_leads_to_the_call_that_made_the_record(setting, answers):
    store = Store()
    data = teach(Knowing(), SCENES, setting=setting, answers=answers, store=store, k=3)
    assert len(data.iq) == len(data.qa) == 5 * 2 * 3 and data.left_out.empty
    for strategy in ("iq", "qa"):
        for r in curriculum(data, strategy, 3):
            said = store.get([r.key])[r.key].text
            assert r.reply == said or all(q in said for q in r.info["questions"])
            if strategy == "qa": assert r.info["question"] in store.get([r.info["question_key"]])[r.info["question_key"]].text
    assert len(store) == len(set(data.iq.key)) + len(set(data.qa.key))


def test_the_paper_s_numbers_of_records(taught):
    data, _ = taught
    assert data.card["counts"]["iq"] == data.card["counts"]["qa"] == {"answerable": 25, "unanswerable": 25}
    assert len(curriculum(data, "iq")) == len(curriculum(data, "qa")) == 50 and len(curriculum(data, "joint")) == 100
    assert len(curriculum(data, "iq", 5)) == 10


def test_real_tiny_models_keep_their_lineage(tmp_path):
    teacher = unsaf.load("tiny-l", dtype="float32", device="cpu")
    data = teach(teacher, SCENES[:2], store=tmp_path)
    with Store(tmp_path) as store:
        kept = store.get([*data.iq.key, *data.qa.key])
        assert all(r.question in kept[r.key].text for r in data.iq.itertuples()) and all(r.reply == kept[r.key].text for r in data.qa.itertuples())
    c = data.card["counts"]
    assert len(data.iq) > 15 and sum(c["outcomes"].values()) == len(data.qa) + len(data.left_out)
    assert data.card["identity"]["weights"] and data.card["licence"] is None and data.card["note"]


@pytest.mark.promise("twice")
def test_a_second_time_nothing_is_asked(taught):
    data, store = taught
    again = Knowing()
    more = teach(again, SCENES, store=store)
    assert again.calls == 0 and more.hash == data.hash and more.card["calls"] == {"asked": 0, "cached": 60, "failed": 0}


def test_what_teaches_nothing_is_left_out_and_counted(capsys):
    def spoil(request, text):
        if "[A high-quality unanswerable question.]" in request.text and request.pictures[0].digest == SCENES[0].picture.digest:
            return Reply("", "refused", "content filter")
        if "What color" in request.text: return Reply("", "failed", "timeout")
        if "How many" in request.text: return Reply("There are so very", "length")
        return "Unanswerable." if text == "unanswerable" else " " if "Is there" in request.text else text
    data = teach(Knowing(spoil=spoil), SCENES, max_failures=1)
    left = Counter(zip(data.left_out.stage, data.left_out.why))
    assert left["list", "refused: content filter"] == 1 and left["answer", "failed"] and left["answer", "cut off"] and left["answer", "unreadable"]
    assert len(data.iq) == 45 and len(data.qa) + len(data.left_out) - 1 == 45
    assert sum(data.card["counts"]["left_out"].values()) == len(data.left_out)
    assert not data.qa.question.str.contains("What color|How many|Is there").any()
    assert set(data.qa[data.qa.outcome == "abstained"].target) == {"unanswerable"} and set(data.qa[data.qa.outcome == "abstained"].reply) == {"Unanswerable."}
    assert any("left out: 1 x list: refused: content filter" in line for line in data.lines())
    assert exit_code([data], "run it again") == 3 and f"{data.card['calls']['failed']} calls failed" in capsys.readouterr().err


def test_a_picture_that_cannot_be_read_is_left_out_by_name():
    def broken(): raise ImageError("lost.png: no such file")
    data = teach(Knowing(), unsaf.images([*SCENES[:2], Sample(Picture("lost", broken))]))
    assert data.left_out.to_dict("records") == [dict(stage="picture", image_id="lost", answerable=False, question="", reply="", why="lost.png: no such file")]
    assert data.card["images"]["unreadable"] == 1 and len(data.iq) == 20


def test_contradictions_stay_unless_they_are_unwanted():
    def spoil(request, text): return "red" if text == "unanswerable" and len(request.text) % 2 else text
    both = {keep: teach(Knowing(spoil=spoil), SCENES, keep=keep) for keep in ("all", "agreeing")}
    n = both["all"].card["counts"]["cells"]["FA"]
    assert n and both["agreeing"].card["counts"]["cells"]["FA"] == n and len(both["all"].qa) == 50
    assert len(both["agreeing"].qa) == len(both["agreeing"].iq) == 50 - n == 50 - sum(both["agreeing"].left_out.why == "contradicts the instruction")


# ---- chain of thought

def test_a_chain_of_thought_is_kept_whole_and_parsed(thoughtful):
    qa = thoughtful.qa
    assert (qa.target == qa.reply).all() and set(qa.cot) == {"Let me look, closely."} and set(qa.confidence) == {4}
    for r in qa.itertuples():
        read = readers.read_answer(r.target, "oe")
        assert (str(read.outcome), read.value, read.confidence) == (r.outcome, r.answer, 4)
    short = {r.reply for r in curriculum(thoughtful, "qa", answers="short")}
    assert short == set(qa.answer) and "unanswerable" in short and not any("cot" in x for x in short)


def test_template_and_answers_go_together():
    for options in (dict(answers="cot", template="none"), dict(template="gpt"), dict(answers="long"), dict(keep="some")):
        with pytest.raises(UnsafError): teach(Knowing(), SCENES, **options)


# ---- evaluation pictures

@pytest.mark.promise("distilled")
@pytest.mark.parametrize("other", [lambda: SCENES[3:], lambda: [unsaf.images("scenes", n=2, seed=1), SCENES[3:]],
                                   lambda: unsaf.assess(Knowing(), SCENES[3:4]), lambda: [SCENES[3].picture.pixels()]])
def test_an_evaluation_picture_is_refused_before_anything_is_asked(other):
    teacher = Knowing()
    with pytest.raises(UnsafError, match="image scene-77-3 of scenes:77 is also in the evaluation set") as e: teach(teacher, SCENES, exclude=other())
    assert teacher.calls == 0 and "\n" not in str(e.value)


def test_other_pictures_pass_and_are_on_the_card():
    data = teach(Knowing(), SCENES, exclude=[unsaf.images("scenes", n=3, seed=1)])
    assert data.card["excluded"] == ["scenes:1"]
    with pytest.raises(UnsafError, match="is also in the evaluation set"): baseline_scenes("unk-vqa", 6, seed=77, exclude=SCENES)
    with pytest.raises(UnsafError, match="is also in the evaluation set"): baseline_scenes("mm-upd", 6, seed=77, exclude=SCENES)


# ---- files

@pytest.mark.parametrize("answers", ["short", "cot"])
def test_files_come_back_as_they_were(tmp_path, answers, taught, thoughtful):
    data = taught[0] if answers == "short" else thoughtful
    paths = data.save(tmp_path, pictures=True)
    assert all(p.exists() for p in paths) and {p.name for p in paths} >= {"iq.jsonl", "qa.jsonl", "iq.parquet", "qa.parquet", "card.json"}
    back = TeacherData.load(tmp_path)
    for name in ("iq", "qa", "left_out"):
        pd.testing.assert_frame_equal(getattr(back, name), getattr(data, name))
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / f"{name}.parquet"), getattr(data, name))
    assert back.card == json.loads(json.dumps(data.card))
    for k in (1, 5): assert digest_of(curriculum(back, "joint", k)) == digest_of(curriculum(data, "joint", k))
    r = curriculum(back, "iq")[0]
    assert Picture("", r.request.pictures[0].pixels).digest == r.info["digest"]


def test_odd_characters_survive(tmp_path):
    def spoil(request, text): return "a\u2028line\x85 é\t\"quoted\" \\" if "What shape" in request.text else text
    data = teach(Knowing(spoil=spoil), SCENES)
    data.save(tmp_path, parquet=False)
    assert TeacherData.load(tmp_path).qa.equals(data.qa) and data.qa.reply.str.contains("\u2028").any()


def test_pictures_come_from_elsewhere_and_must_be_the_same(tmp_path, taught):
    taught[0].save(tmp_path)
    r = curriculum(TeacherData.load(tmp_path, SCENES), "qa")[0]
    assert r.request.pictures[0].pixels().size == (48, 48)
    r = curriculum(TeacherData.load(tmp_path), "qa")[0]
    with pytest.raises(ImageError, match="loaded without this image"): r.request.pictures[0].pixels()
    with pytest.raises(UnsafError, match="image scene-77-0 is not among the 2 images"): TeacherData.load(tmp_path, unsaf.images("scenes", n=2, seed=1))
    wrong = unsaf.images([Sample(Picture(s.image_id, lambda: Image.new("RGB", (48, 48)))) for s in SCENES])
    r = curriculum(TeacherData.load(tmp_path, wrong), "qa")[0]
    with pytest.raises(ImageError, match="not the image that the teacher saw"): r.request.pictures[0].pixels()


def test_files_that_are_not_what_the_card_says(tmp_path, taught):
    with pytest.raises(UnsafError, match="no teacher data here"): TeacherData.load(tmp_path)
    taught[0].save(tmp_path, parquet=False)
    rows = (tmp_path / "qa.jsonl").read_text()
    (tmp_path / "qa.jsonl").write_text(rows.replace('"answerable":true', '"answerable":false', 1))
    with pytest.raises(UnsafError, match="not those of card.json"): TeacherData.load(tmp_path)
    (tmp_path / "qa.jsonl").write_text(rows[:-40])
    with pytest.raises(UnsafError, match="no table of teacher data"): TeacherData.load(tmp_path)
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(UnsafError, match="no JSON"): TeacherData.load(tmp_path)


def test_parquet_without_pyarrow_is_one_line(tmp_path, taught, monkeypatch):
    import sys
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UnsafError, match="pip install 'unsaf\\[data\\]'"): taught[0].save(tmp_path)
    taught[0].save(tmp_path, parquet=False)


# ---- training asks what evaluation asks

@pytest.mark.parametrize("template", ["none", "llava", "qwen"])
@pytest.mark.parametrize("layout", ["image_first", "paper"])
def test_requests_are_those_of_an_assessment(taught, template, layout):
    data, asked = taught[0], []

    class Listening(Knowing):
        def generate(self, requests):
            asked.extend(requests)
            return super().generate(requests)

    unsaf.assess(Listening(), SCENES, template=template, layout=layout)
    records = curriculum(data, "joint", 5, template=template, layout=layout)
    assert Counter(map(ask_of, asked)) == Counter(ask_of(r.request) for r in records)


@pytest.mark.parametrize("setting", ["oe", "mc"])
def test_lists_are_read_back_as_the_same_questions(setting):
    data = teach(Knowing(), SCENES, setting=setting)
    for k in (1, 2, 5):
        records = curriculum(data, "iq", k)
        assert sum(r.info["k"] for r in records) == 50
        for r in records:
            found = readers.read_questions(r.reply, setting, r.answerable, r.info["k"])
            assert [q.text for q in found.questions] == r.info["questions"] and [list(q.options) for q in found.questions] == r.info["options"]
            assert not found.pieces and r.request == question_request(r.request.pictures[0], r.answerable, Plan(Setting(setting), r.info["k"]))


def test_a_short_list_is_asked_for_as_what_it_is():
    def spoil(request, text): return "\n".join(text.split("\n")[:3]) if "Please provide" in request.text else text
    data = teach(Knowing(spoil=spoil), SCENES)
    records = curriculum(data, "iq", 5)
    assert {r.info["k"] for r in records} == {3} and all("provide 3 high" in r.request.text for r in records)
    assert data.card["counts"]["asked_for"]["answerable"] == 25 and data.card["counts"]["iq"]["answerable"] == 15


def test_digests_tell_curricula_apart_and_stay(taught):
    data = taught[0]
    made = {(s, k, seed): digest_of(curriculum(data, s, k, seed)) for s in ("iq", "qa", "joint") for k in (1, 5) for seed in (0, 1)}
    made.pop(("qa", 5, 0)), made.pop(("qa", 5, 1))            # k is of no account there
    assert len(set(made.values())) == len(made) and made["joint", 5, 0] == digest_of(curriculum(data, "joint", 5))
    assert digest_of(curriculum(data, "qa", template="llava")) != made["qa", 1, 0]
    r = curriculum(data, "qa")[0]
    assert digest_of([r]) != digest_of([Record(r.request, r.reply + ".", r.kind, r.image_id, r.answerable)])


def test_a_digest_opens_no_picture(taught, tmp_path):
    taught[0].save(tmp_path, parquet=False)
    assert digest_of(curriculum(TeacherData.load(tmp_path), "iq")) == digest_of(curriculum(taught[0], "iq"))     # its pictures are not here


def test_choices_that_do_not_exist(taught):
    for options in (dict(strategy="both"), dict(k=0), dict(template="gemini"), dict(answers="cot"), dict(colour=1)):
        with pytest.raises(UnsafError): curriculum(taught[0], **options)


# ---- baselines

def truth_of(r):
    return check(Scene.from_dict(r.info["scene"]), r.info["question"], r.info["options"])


def test_unk_vqa_scenes_are_labelled_by_the_oracle():
    records = baseline_scenes("unk-vqa", 60, seed=5)
    binary = baseline_scenes("unk-vqa", 60, seed=5, labels="by")
    assert Counter(r.answerable for r in records) == {True: 30, False: 30} and {r.info["alter_type"] for r in records} == {"T-1", "I-1", "I-2", "I-3"}
    for r, b in zip(records, binary):
        v, scene = truth_of(r), Scene.from_dict(r.info["scene"])
        assert r.answerable == (v.status == "answerable") and v.status != "unread"
        assert is_right(v, r.reply) or v.status == "ambiguous" and r.reply == "unanswerable"
        assert b.reply == ("answerable" if r.answerable else "unanswerable") and b.request == r.request and b.kind == "baseline:unk-vqa-by"
        from unsaf.world.scenes import render
        assert r.request.pictures[0].pixels().tobytes() == render(scene).tobytes()
    assert [r.info["question"] for r in baseline_scenes("unk-vqa", 10, seed=5)] == [r.info["question"] for r in records[:10]]


@pytest.mark.parametrize("domain", ["plain", "cluttered", "sketch", "easy"])
def test_baselines_in_every_domain(domain):
    for name in ("unk-vqa", "mm-upd"):
        records = baseline_scenes(name, 12, domain=domain)
        assert len(records) == 12 and Counter(r.answerable for r in records) == {True: 6, False: 6}


def test_mm_upd_scenes_are_labelled_by_the_oracle():
    records = baseline_scenes("mm-upd", 90, seed=5)
    assert Counter(r.answerable for r in records) == {True: 45, False: 45}
    for r in records:
        v = truth_of(r)
        assert is_right(v, r.reply, r.info["options"]) and (r.reply == "unanswerable") == (v.status == "unanswerable") == (not r.answerable)
    assert Counter(truth_of(r).reason for r in records if not r.answerable) == {"no right option": 30, "false premise": 15}


def test_baselines_ask_as_an_evaluation_does():
    r = baseline_scenes("unk-vqa", 1, template="llava")[0]
    q = unsaf.Question(r.info["question"], Setting.OE, True)
    assert r.request == answer_request(r.request.pictures[0], q, Plan(Setting.OE, template="llava"))
    three = Sample(SCENES[0].picture, question="What is it?", options=("a", "b", "c"), answers=("unanswerable",))
    found = baseline_records([three, Sample(SCENES[0].picture, question="What?")], "toy")
    assert found[0].request.text.startswith("What is it?\nA. a\nB. b\nC. c\n") and "reply with unanswerable" in found[0].request.text
    assert not found[0].answerable and found.left_out == {"no answer annotated": 1}
    def broken(): raise ImageError("x.png: cut")
    assert baseline_records([Sample(Picture("x", broken), question="What?", answers=("a",))], "toy").left_out == {"image cannot be read": 1}


def test_unk_vqa_in_its_published_layout(tmp_path):
    (tmp_path / "images-train").mkdir()
    for name in "ab": Image.new("RGB", (8, 8), "red" if name == "a" else "blue").save(tmp_path / "images-train" / f"COCO_val2014_{name}.jpg")
    def annotation(i, name, able, answer="2"):
        other = {"answer": answer, "options": {"orig": "1", "baseline": "2", "random": "3"}} if able else {"answer": "1", "reason": "3"}
        answerability = {"binary": able, "other": other}
        return dict(question_id=i, question="How many?", image_name=f"COCO_val2014_{name}.jpg", alter_type="T-1", answerability=answerability)
    (tmp_path / "annt_train.json").write_text(json.dumps({"annotation": [annotation(1, "a", True), annotation(2, "b", False), annotation(3, "a", True, "")]}))
    records = unk_vqa(tmp_path)
    assert [r.reply for r in records] == ["2", "unanswerable"] and records.left_out == {"no answer annotated": 1}
    assert [r.reply for r in unk_vqa(tmp_path, "by")] == ["answerable", "unanswerable"] and records[0].request.pictures[0].pixels().size == (8, 8)
    with pytest.raises(UnsafError, match="is also in the evaluation set"): unk_vqa(tmp_path, exclude=[records[1].request.pictures[0].pixels()])
    with pytest.raises(UnsafError, match="'by'"): unk_vqa(tmp_path, "binary")


def test_mm_upd_in_llava_s_format(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "x.jpg")
    def entry(asked, reply, **more): return {"image": "x.jpg", "conversations": [{"from": "human", "value": asked}, {"from": "gpt", "value": reply}], **more}
    options = "<image>\nWhat?\nA. cat\nB. dog\nC. The image and question are irrelevant."
    entries = [entry(options, "B"), entry(options, "C"), entry(options, "F. None of the above"), entry("What?\n<image>", " a cat "),
               entry(options, "A", image="y.jpg"),
               {"conversations": entry("a", "b")["conversations"]}, {"image": "x.jpg", "conversations": []}]
    with pytest.raises(UnsafError, match="its benchmark is a test set"): mm_upd(tmp_path)
    (tmp_path / "upd_tuning_data_20240303.json").write_text(json.dumps(entries))
    records = mm_upd(tmp_path)
    assert [(r.reply, r.answerable) for r in records] == [("B", True), ("unanswerable", False), ("unanswerable", False), ("a cat", True)]
    assert records.left_out == {"image not in the folder": 1, "no image": 1, "no question and reply": 1}
    assert records[0].request.text == options.removeprefix("<image>\n") and records[3].request.text == "What?"
    assert [r.reply for r in mm_upd(tmp_path, abstain=None)] == ["B", "C", "F. None of the above", "a cat"] and len(mm_upd(tmp_path, n=2)) == 2
    (tmp_path / "upd_tuning_data_20240303.json").write_text("{}")
    with pytest.raises(UnsafError, match="a dict where a list"): mm_upd(tmp_path)


def test_what_is_no_conversation_is_counted(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "x.jpg")
    good = {"image": "x.jpg", "conversations": [{"from": "human", "value": "What?\n<image>"}, {"from": "gpt", "value": "a cat"}]}
    odd = ["cut", good | {"conversations": "What?"}, good | {"conversations": ["What?", "a cat"]}, good | {"image": "../x.jpg"}, good | {"image": "/etc/x.jpg"}]
    (tmp_path / "upd_tuning_data_20240303.json").write_text(json.dumps([good, *odd]))
    assert len(records := mm_upd(tmp_path)) == 1
    assert records.left_out == {"no record": 1, "no question and reply": 2, "image outside the folder": 2}


def test_baselines_from_published_files_by_name_and_by_command(tmp_path):
    import base64, io
    import pandas as pd
    from typer.testing import CliRunner
    from unsaf.cli import app
    from unsaf.distill.baselines import published
    Image.new("RGB", (8, 8), "red").save(shot := io.BytesIO(), "png")
    row = dict(index=7, question="What is it?", hint="", A="a", B="b", answer="A", type="standard", masked_answer="", category="x",
               image=base64.b64encode(shot.getvalue()).decode())
    for kind in ("aad", "ivqd"):
        rows = [row | {"index": i, "type": t, "answer": "A" if t == "standard" else "F"} for i in (1, 2, 3) for t in ("standard", "upd")]
        pd.DataFrame([*rows, row | {"index": 4}]).to_csv(tmp_path / f"mm{kind}_20240303_base.tsv", sep="\t", index=False)
    every, some = published("mm-upd-bench", tmp_path), published("mm-upd-bench", tmp_path, n=5)
    assert len(every) == 12 and len(some) == 4 and every.left_out == some.left_out == {"without its twin": 2}
    assert sorted(r.info["kind"] for r in every) == ["aad"] * 6 + ["ivqd"] * 6 and all(r.kind == "baseline:mm-upd" for r in every)
    assert {(r.answerable, r.reply) for r in every} == {(True, "A"), (False, "unanswerable")}
    assert all(a.info["pair"] == b.info["pair"] and a.answerable != b.answerable for a, b in zip(some[::2], some[1::2]))
    with pytest.raises(UnsafError, match="is also in the evaluation set"): published("mm-upd-bench", tmp_path, exclude=[Image.new("RGB", (8, 8), "red")])
    ran = CliRunner().invoke(app, ["distill", "export", "--baseline", "mm-upd-bench", "--data", str(tmp_path), "--to", "trl", "--out", str(tmp_path / "out")])
    assert ran.exit_code == 0 and "left out: 2 without its twin" in ran.stdout and "12" in ran.stdout


# ---- preferences

def guessing(request, text):
    "A student that abstains on colors and never otherwise."
    if "Please provide" in request.text: return text
    return "unanswerable" if "What color" in request.text else "red" if text == "unanswerable" else text


@pytest.fixture(scope="module")
def mistaken():
    return unsaf.assess(Knowing(name="student", spoil=guessing), SCENES)


def test_pairs_come_from_the_student_s_own_mistakes(mistaken):
    store, teacher = Store(), Knowing(name="teacher")
    pairs = preferences(mistaken, teacher, store)
    cells = mistaken.table.cell.value_counts()
    assert Counter(p.kind for p in pairs) == {"FA": cells["FA"], "FU": cells["FU"]} and not pairs.left_out and cells["FA"] != cells["FU"]
    for p in pairs:
        scene = Scene.from_dict(next(s for s in SCENES if s.image_id == p.image_id).info["scene"])
        assert is_right(check(scene, p.info["question"]), p.chosen) and p.request == answer_request(
            p.request.pictures[0], unsaf.Question(p.info["question"], Setting.OE, True), mistaken.plan)
        if p.kind == "FA": assert (p.chosen, p.rejected, p.key) == ("unanswerable", "red", "")
        else: assert p.rejected == "unanswerable" and store.get([p.key])[p.key].text == p.chosen
    assert teacher.calls == cells["FU"] and digest_of(pairs) == digest_of(preferences(mistaken, teacher, store)) and teacher.calls == cells["FU"]


def test_where_the_teacher_is_no_better_there_is_no_pair(mistaken):
    turns = iter(["unanswerable", Reply("", "failed", "gone"), "I cannot tell", Reply("a very long", "length"), Reply("", "refused")] + ["blue"] * 99)
    pairs = preferences(mistaken, Knowing(name="same", spoil=lambda r, t: next(turns)))
    n = int((mistaken.table.cell == "FU").sum())
    assert n > 5 and sum(p.kind == "FU" for p in pairs) == n - 5 and {p.chosen for p in pairs if p.kind == "FU"} == {"blue"}
    assert pairs.left_out == dict.fromkeys(("FU: the teacher does the same", "FU: the teacher gave no answer (failed)", "FU: the teacher's reply was cut off",
                                            "FU: the teacher gave no answer (refused)", "FU: the teacher declines in words of its own"), 1)


def test_confirmed_by_a_teacher_that_answers_everything_nothing_is_to_be_abstained_on(mistaken):
    pairs = preferences(mistaken, Knowing(name="bold", spoil=lambda r, t: "blue"), confirm=True, store=(store := Store()))
    assert {p.kind for p in pairs} == {"FU"} and pairs.left_out == {"FA: the teacher does the same": (mistaken.table.cell == "FA").sum()}
    pairs = preferences(mistaken, Knowing(name="knowing"), store, confirm=True)
    assert not pairs.left_out and all(store.get([p.key]) for p in pairs)


def test_as_many_of_either_kind(mistaken):
    pairs = preferences(mistaken, Knowing(), balanced=True)
    kinds = Counter(p.kind for p in pairs)
    few = min((mistaken.table.cell == c).sum() for c in ("FA", "FU"))
    assert kinds == {"FA": few, "FU": few} and list(pairs.left_out.values()) == [abs((mistaken.table.cell == "FA").sum() - (mistaken.table.cell == "FU").sum())]
    with pytest.raises(UnsafError, match="need a teacher"): preferences(mistaken)
    assert {p.kind for p in preferences(mistaken, kinds=("FA",))} == {"FA"}
    with pytest.raises(UnsafError, match="is also in the evaluation set"): preferences(mistaken, Knowing(), exclude=SCENES[:1])


def test_a_student_with_chains_of_thought_prefers_whole_chains():
    def spoil(request, text):
        if "Please provide" in request.text: return text
        return text.replace("unanswerable", "answerable: red") if "unanswerable" in text else text
    result = unsaf.assess(Knowing(name="student", spoil=spoil), SCENES, template="gpt")
    pairs = preferences(result, Knowing(name="teacher"), store := Store())
    assert pairs and all(p.kind == "FA" and p.chosen.startswith("cot: ") and "unanswerable" in p.chosen and store.get([p.key]) for p in pairs)


def test_pairs_between_tiny_models():
    student, teacher = (unsaf.load(name, dtype="float32", device="cpu") for name in ("tiny-s", "tiny-l"))
    result = unsaf.assess(student, SCENES, store=(store := Store()))
    pairs = preferences(result, teacher, store)
    wrong = result.table.cell.isin(["FA", "FU"]).sum()
    assert len(pairs) + sum(pairs.left_out.values()) == wrong
    for p in pairs:
        assert p.rejected in set(result.table.reply.str.strip())
        if p.kind == "FU": assert store.get([p.key])[p.key].text.strip() == p.chosen and p.info["teacher"] == "tiny-l"


def test_a_scripted_teacher_will_do_too():
    data = teach(Scripted(lambda r: "1. Question: What is it?" if "provide" in r.text else "a cat"), SCENES[:1], k=1)
    assert data.qa.cell.tolist() == ["TA", "FA"] and len(data.iq) == 2
