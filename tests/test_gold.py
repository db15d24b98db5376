"Abstention by the labels of people: scores by hand, pairs kept together, labels of each data set, tables of one's own."
import json
import math
import numpy as np
import pytest
from PIL import Image
from unsaf.benchmarking.estimate import estimate
from unsaf.benchmarking.parts import BenchPlan, given_parts, gold_answerable
from unsaf.benchmarking.run import bench
from unsaf.core import Picture, Reply, Sample, UnsafError
from unsaf.data.images import images
from unsaf.data.own import own
from unsaf.metrics.calibration import augrc
from unsaf.models.base import Scripted
from unsaf.world import tasks


def about(i, question, answerable, answers=(), options=(), **info):
    return Sample(Picture(f"p{i}", lambda: Image.new("RGB", (8, 8), (i % 255, 0, 0))), "mine", question, tuple(options), tuple(answers),
                  {"answerable": answerable} | info)


def says(replies):
    "Replies by what the question holds."
    return Scripted(lambda request: next(r for key, r in replies.items() if key in request.text), "by-hand")


DOWN = Reply("", finish="failed", error="down")


def test_scores_by_hand():
    some = [about(0, "right?", True, ["red"]), about(1, "wrong?", True, ["red"]), about(2, "silent?", True, ["red"]), about(3, "unknown?", True),
            about(4, "found?", False), about(5, "missed?", 0), about(6, "odd?", False)]
    found = bench(says({"right?": "red", "wrong?": "blue", "silent?": "unanswerable", "unknown?": "green", "found?": "unanswerable",
                        "missed?": "blue", "odd?": ""}), "abstention", some, resamples=100)
    value = lambda name: found.value("abstention", "oe", name)
    assert (value("youden_j"), value("audacity"), value("timidity")) == pytest.approx((3 / 4 - 1 / 2, 3 / 4, 3 / 4))
    assert (value("abstention_precision"), value("abstention_recall"), value("abstention_f1")) == (1 / 2, 1 / 2, 1 / 2)
    assert value("accuracy_answered") == 1 / 2
    assert "effective_reliability" not in set(found.table.metric)         # the right answers among the unknown would not count
    known = bench(says({"right?": "red", "wrong?": "blue", "silent?": "unanswerable", "found?": "unanswerable", "missed?": "blue", "odd?": ""}),
                  "abstention", [s for s in some if s.question != "unknown?"], resamples=50)
    assert known.value("abstention", "oe", "effective_reliability") == pytest.approx((1 - 1 - 1) / 5)      # of those that were read, as it says
    assert "5 of 6 replies could be read" in known.how["abstention, oe"] and "of the readable ones" in str(known)
    rows = found.items["abstention"]
    assert rows.cell.fillna("-").tolist() == ["TA", "TA", "FU", "TA", "TU", "FA", "-"] and np.isnan(rows.credit[3])
    assert (rows.asked == "UnQ-Ans").all()
    assert "1 answers without a reference answer have no credit" in found.how["abstention, oe"] and found.table.unreadable.iloc[0] == 1
    assert not {"auroc", "aurc", "dual_accuracy"} & set(found.table.metric)      # no probabilities, no twins


def test_failed_calls_are_counted_and_left_out():
    some = [about(0, "right?", True, ["red"]), about(1, "fails?", True, ["red"]), about(2, "found?", False)]
    found = bench(says({"right?": "red", "fails?": DOWN, "found?": "unanswerable"}), "abstention", some, max_failures=1, resamples=50)
    assert found.value("abstention", "oe", "youden_j") == 1 and found.table.failed.iloc[0] == 1 and (found.table.n == 2).all()
    assert "down" in bench(says({"?": DOWN}), "abstention", some, max_failures=1).missing["abstention, oe"]


def test_twins_are_drawn_and_scored_together():
    options, twin = ("red", "blue", "green", "gray"), ("blue", "green", "gray", "pink")
    some = [s for i in range(20) for s in (about(i, f"q{i}!", True, ["A"], options, pair=i), about(i, f"q{i}!", False, ["unanswerable"], twin, pair=i))]
    drawn = given_parts(some, "abstention", BenchPlan(("abstention",), n=6, seed=3))["mc"]
    assert len(drawn) == 12 and all(a.info["pair"] == b.info["pair"] for a, b in zip(drawn[::2], drawn[1::2]))
    found = bench(says({"q1!": "A", "q2!": "unanswerable", "A. red": "A", "A. blue": "unanswerable"}), "abstention", some, resamples=50)
    assert found.value("abstention", "mc", "dual_accuracy") == 18 / 20 and "dual accuracy is of 20 of 20 pairs" in found.how["abstention, mc"]
    alone = bench(says({"!": "A"}), "abstention", some[::2], resamples=50)
    assert "dual_accuracy" not in set(alone.table.metric)
    three = bench(says({"!": "A"}), "abstention", [about(0, "few!", True, ["A"], options[:3]), about(1, "few!", False, (), options[:3])], resamples=50)
    assert "2 in the words of accuracy, offered" in three.how["abstention, mc"] and three.value("abstention", "mc", "youden_j") == 0


def test_who_says_that_a_question_has_an_answer():
    said = lambda source, **info: gold_answerable(Sample(Picture("p", lambda: None), source, "Who?", info=info))
    assert said("vizwiz:val", answerable=0, category="other") is False and said("vizwiz:val", category="unanswerable") is False
    assert said("vizwiz:val", category="yes/no") is True and said("vqav2:val", category="other") is None and said("x") is None
    first, second = tasks.twins(1)
    assert gold_answerable(first) is True and gold_answerable(second) is False
    nobody = bench(says({"": "red"}), "abstention", [Sample(Picture("p", lambda: None), "x", "Who?", answers=("I",))])
    assert "people say whether they can be answered" in nobody.missing["abstention"]


@pytest.mark.promise("abstention")
@pytest.mark.parametrize("seed", range(8))
def test_augrc_is_the_mean_over_thresholds_of_what_is_answered_and_wrong(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    p, y = rng.integers(0, 6, n) / 5, rng.random(n) < .6
    by_loop = np.mean([((p >= t) & ~y).mean() for t in p])
    assert augrc(p, y) == pytest.approx(by_loop) and augrc(np.zeros(n), y) == pytest.approx(1 - y.mean())


def test_the_drawn_world_has_parts_by_setting():
    from unsaf.benchmarking.parts import drawn_parts
    parts = {s: list(drawn_parts("abstention", BenchPlan(n=2, setting=s))) for s in ("oe", "mc", "both")}
    assert parts == {"oe": ["premise"], "mc": ["aad", "iasd", "ivqd"], "both": ["premise", "aad", "iasd", "ivqd"]}
    assert list(given_parts(tasks.twins(2, sort="iasd"), "abstention", BenchPlan())) == ["iasd"]


# ---- a table of one's own

@pytest.fixture
def folder(tmp_path):
    Image.new("RGB", (8, 8), "red").save(tmp_path/"a b.png")
    return tmp_path


def test_a_table_of_ones_own_in_three_forms(folder):
    (folder/"m.csv").write_text("\ufeffImage,question,answerable,answers,options\na b.png,\"What, then?\",yes,red|crimson,\na b.png,Who?,0,,A king|Nobody\n\n")
    (folder/"m.tsv").write_text("image\tquestion\tanswerable\na b.png\tWhat, then?\tTRUE\n")
    (folder/"m.jsonl").write_text(json.dumps(dict(image="a b.png", question="What, then?", answerable=True, answers=["red", "crimson"])) + "\n\n")
    one, two = own(folder/"m.csv")
    assert (one.question, one.answers, one.info["answerable"]) == ("What, then?", ("red", "crimson"), True)
    assert (two.options, two.answers, two.info) == (("A king", "Nobody"), ("unanswerable",), {"answerable": False, "line": 3})
    (folder/"s.csv").write_text("image;question;answerable\na b.png;What, then?;1\na b.png;And?;\n")      # as many a spreadsheet writes it
    some = bench(says({"What": "red"}), "abstention", str(folder/"s.csv"), resamples=20)
    assert some.value("abstention", "oe", "timidity") == 1 and "left out: 1 questions of which the table does not say" in some.how["abstention, oe"]
    assert own(folder/"m.tsv")[0].info["answerable"] is True and own(folder/"m.jsonl")[0].answers == one.answers
    found = bench(says({"What": "red", "Who": "unanswerable"}), "abstention,accuracy", str(folder/"m.csv"), resamples=20)
    assert found.source.endswith("m.csv, seed 0, all a part") and found.value("abstention", "oe", "timidity") == 1
    assert set(found.table[found.table.benchmark == "abstention"].part) == {"oe", "mc"}
    assert found.value("accuracy", "oe", "accuracy") == 1 and set(found.table[found.table.benchmark == "accuracy"].part) == {"oe", "oe, offered"}
    assert "1 questions that the table marks as unanswerable" in found.how["accuracy, oe"] and "unanswerable, which" not in found.how["abstention, oe"]
    assert found.as_dict()["readable"]["abstention, mc"] == dict(read=1, asked=1, share=1, min_read=.95, of_the_readable=False)


@pytest.mark.parametrize("text, line", [
    ('image,question,"notes; who; when; where"\na b.png,"Who, then?",x\n', 2), ("\n \nimage;question\na b.png;Who, then?\n", 4),
    (";;\nImage; Question;\na b.png;Who, then?;\n", 3), ("sep=;\nimage;question\na b.png;Who, then?\n", 3),
    ("sep=|\nimage|question\na b.png|Who, then?\n", 3), ('image;"question";"a,b,c,d"\na b.png;Who, then?;\n', 2),
    ('"notes, and\nmore, of, it";image;question\n;a b.png;Who, then?\n', 3), ("image\tquestion\ta,b,c\na b.png\tWho, then?\n", 2)])
def test_what_separates_cells_is_found_by_the_columns(folder, text, line):
    (folder/"m.csv").write_text(text)
    sample, = own(folder/"m.csv")
    assert (sample.question, sample.info) == ("Who, then?", {"line": line}) and images(str(folder/"m.csv")).image_ids == ["a b.png"]


@pytest.mark.parametrize("text, said", [
    ('image;"question",note\na b.png;Who?\n', "no column question: its columns are image, question,note"), ("\n\n", "no rows"),
    ("sep=;\n", "no rows"), ("\nimage;question\na b.png;Who; then?\n", "line 3: has more cells .* holds a semicolon"),
    ("picture;question\na b.png;Who?\n", "no column image: its columns are picture, question$")])
def test_a_header_that_cannot_be_understood(folder, text, said):
    (folder/"m.csv").write_text(text)
    with pytest.raises(UnsafError, match=said): own(folder/"m.csv")


def test_a_table_stands_for_its_images(folder, tmp_path):
    Image.new("RGB", (8, 8), "blue").save(folder/"b.png")
    (folder/"m.csv").write_text("image,question\na b.png,One?\nb.png,Two?\na b.png,Three?\n")
    shown = images(str(folder/"m.csv"))
    assert shown.image_ids == ["a b.png", "b.png"] and shown[1].picture.pixels().getpixel((0, 0)) == (0, 0, 255) and not shown[0].question
    assert images(shown.source.removeprefix("file:")).image_ids == shown.image_ids       # so a saved run finds them again
    (folder/"odd.csv").write_text("picture\nb.png\n")
    with pytest.raises(UnsafError, match="no column image"): images(str(folder/"odd.csv"))


class Doubtful:
    name = "doubtful"
    def generate(self, requests):
        for i, r in enumerate(requests):
            p = {"q0": .1, "q1": .2, "q2": .3, "q3": .4}[r.text.split("?")[0][-2:]]
            yield Reply("red", index=i, candidates={"unanswerable": math.log(p)})


def test_coverage_at_a_risk_by_hand():
    some = [about(0, "q0?", True, ["red"]), about(1, "q1?", True, ["red"]), about(2, "q2?", False), about(3, "q3?", True, ["blue"])]
    found = bench(Doubtful(), "abstention", some, resamples=20, risk=.4)
    assert found.value("abstention", "oe", "coverage_at_risk") == 3 / 4 and "at most 0.4 are wrong" in found.how["abstention, oe"]
    assert bench(Doubtful(), "abstention", some, resamples=20, risk=0).value("abstention", "oe", "coverage_at_risk") == 1 / 2
    assert "coverage_at_risk" not in set(bench(Doubtful(), "abstention", some, resamples=20).table.metric)
    with pytest.raises(UnsafError, match="risk = 2"): bench(Doubtful(), "abstention", some, risk=2)


@pytest.mark.parametrize("text,why", [
    ("image,question\na b.png,\n", "line 2: no question"), ("image,question\n,Who?\n", "line 2: no image"),
    ("image,question\nb.png,Who?\n", "line 2: there is no image"), ("picture,question\na b.png,Who?\n", "no column image"),
    ("image,question,answerable\na b.png,Who?,maybe\n", "line 2: answerable is 'maybe'"), ("", "no rows"),
    ("image,question,options\na b.png,Who?,one\n", "one option is no choice"), ("image,question\na b.png,Is it red, or blue?\n", "line 2: has more cells"),
    ("image,question,Question\na b.png,Who?,Why?\n", "two columns question"),
    ("image,question,answerable\na b.png,Who?,1\na b.png,Who?,0\n", "line 3: the question of line 2 again, with another label")])
def test_a_row_that_cannot_be_understood_is_named(folder, text, why):
    (folder/"m.csv").write_text(text)
    with pytest.raises(UnsafError, match=why): bench(says({"": "x"}), "abstention", str(folder/"m.csv"))


def test_what_is_no_table(folder):
    (folder/"m.jsonl").write_text("{")
    with pytest.raises(UnsafError, match="line 1: no JSON"): own(folder/"m.jsonl")
    (folder/"m.csv").write_bytes(b"image,question\n\xff\xfe,Who?")
    with pytest.raises(UnsafError, match="not UTF-8"): own(folder/"m.csv")
    with pytest.raises(UnsafError, match="cannot be read"): own(folder/"none.csv")


# ---- questions without an image, in the format of AbstentionBench

def prompt(question, abstain, answers=None): return dict(question=question, reference_answers=answers, should_abstain=abstain, metadata={"source": "x"})


PROMPTS = [prompt("Who wins in 2090?", True), prompt("What is 2 + 2?", False, ["4", "four"]), prompt("Unknown?", None)]


class TextOnly(Scripted):
    def generate(self, requests):
        assert not any(r.pictures for r in requests)
        return super().generate(requests)


def test_questions_without_an_image_are_asked_without_one(tmp_path):
    (tmp_path/"a.jsonl").write_text("\n".join(map(json.dumps, PROMPTS)))
    (tmp_path/"RawResponses.json").write_text(json.dumps({"responses": [{"prompt": p, "response": "?"} for p in PROMPTS]}))
    model = TextOnly(lambda r: "unanswerable" if "2090" in r.text else "4", name="text")
    for name in ("a.jsonl", "RawResponses.json"):
        found = bench(model, "abstention,accuracy", str(tmp_path/name), resamples=20)
        assert found.value("abstention", "oe", "youden_j") == 1 == found.value("abstention", "oe", "accuracy_answered")
        assert "2 in the words of accuracy, offered, without an image" in found.how["abstention, oe"] and "accuracy" in found.missing
    told = estimate(model, "abstention", str(tmp_path/"a.jsonl"), sample=1)
    assert told.measures["calls"][0] == 2


def test_a_model_that_needs_an_image_is_not_asked_without_one(tmp_path):
    Image.new("RGB", (8, 8), "red").save(tmp_path/"r.png")
    rows = [*PROMPTS[:2], dict(image="r.png", question="Who?", answerable=0)]
    (tmp_path/"a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    blind = Scripted(lambda r: "unanswerable", name="seer")
    blind.takes_text = False
    found = bench(blind, "abstention", str(tmp_path/"a.jsonl"), resamples=20)
    assert found.calls["asked"] == 1 and "not askable: 2 questions without an image, of which seer takes none" in found.how["abstention, oe"]
    (tmp_path/"a.jsonl").write_text(json.dumps(PROMPTS[0]))
    assert "not askable: 1 questions" in bench(blind, "abstention", str(tmp_path/"a.jsonl")).missing["abstention"]


@pytest.mark.parametrize("row,why", [(prompt("", True), "no question"), (prompt("Who?", "yes"), "should_abstain is 'yes'"),
                                     (prompt("Who?", True, "nobody"), "reference_answers is 'nobody'")])
def test_a_prompt_that_cannot_be_understood_is_named(tmp_path, row, why):
    (tmp_path/"a.jsonl").write_text(json.dumps(PROMPTS[0]) + "\n" + json.dumps(row))
    with pytest.raises(UnsafError, match=f"line 2: {why}"): own(tmp_path/"a.jsonl")
    (tmp_path/"a.json").write_text('{"rows": []}')
    with pytest.raises(UnsafError, match="no RawResponses.json"): own(tmp_path/"a.json")


def test_a_csv_holds_a_prompt_as_text(tmp_path):
    lines = ["question,reference_answers,should_abstain", "Who?,,True", "What?,\"['red', 'blue']\",false", 'Where?,"[""here""]",']
    (tmp_path/"a.csv").write_text("\n".join(lines))
    found = own(tmp_path/"a.csv")
    assert [s.info.get("answerable") for s in found] == [False, True, None] and [s.answers for s in found] == [("unanswerable",), ("red", "blue"), ("here",)]
