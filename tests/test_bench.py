"The benchmarks on minds whose scores are known by hand; what fails, abstains or lacks something is counted; nothing is asked twice."
import json
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from unsaf.world import tasks
from unsaf.benchmarking.run import COLUMNS, Bench, bench
from unsaf.prompts.benchmarks import DETAIL
from unsaf.benchmarking.parts import BENCHMARKS, KNOWN, BenchPlan, gold_letter, idle, open_all, part_of
from unsaf.benchmarking.runs import wrong_letter
from unsaf.benchmarking.scores import score_mr, score_pope
from unsaf.core import ImageError, ModelError, Outcome, Picture, Reply, Sample, UnsafError
from unsaf.metrics.calibration import brier, ece
from unsaf.metrics.pope import POLLINGS, RULES, pope
from unsaf.metrics.pressure import Judge, misleading_rate
from unsaf.models.base import Scripted
from unsaf.paper.stats import rows_of, statistic
from unsaf.models.cache import Cached
from unsaf.world.oracle import check
from unsaf.store import Store
from unsaf.world.scenes import Scene, caption

N = 12


def scene_of(request): return Scene.from_dict(tasks.drawn(0, int(request.pictures[0].image_id.split("-")[-1])).info["scene"])


def asked(request):
    "The question of a request, and its options by text."
    question, *lines = request.text.split("\n")
    return question, {line[3:]: line[0] for line in lines if line[:1] in tuple("ABCD") and line[1:3] == ". "}


def truth(request):
    question, options = asked(request)
    answer, = check(scene_of(request), question, list(options)).answers
    return options.get(answer, answer)


def seer(request):
    "Knows the scene; rewords by asking the world's grammar; is sure by .8 a token, and by .7 of a letter."
    if request.text == DETAIL: return caption(scene_of(request))
    if "other wordings" in request.text:
        question = request.text.split("\n")[0].removeprefix("Question: ")
        known = next(s for s in tasks.vqa(N) + tasks.choices(N) if s.question == question and s.image_id == request.pictures[0].image_id)
        return "\n".join(f"{i}. {t}" for i, t in enumerate(tasks.rephrasings(known), 1))
    answer = truth(request)
    return Reply(answer, logprobs=(np.log(.8),) * 2, candidates={x: np.log(.7 if x == answer else .05) for x in request.candidates} or None)


def run(script, benchmarks=BENCHMARKS, name="mind", **options):
    return bench(Scripted(script, name=name), benchmarks, **{"n": N, "resamples": 200, **options})


def one(result, *where): return result.value(*where)


# ---- minds whose scores are known

def test_a_perfect_mind():
    r = run(seer)
    assert not r.missing and set(r.table.benchmark) == set(BENCHMARKS)
    for part in ("oe", "oe, offered", "mc", "mc, offered"):
        assert one(r, "accuracy", part, "accuracy") == one(r, "accuracy", part, "accuracy_answered") == 1
    assert one(r, "mr", "explicit", "misleading_rate") == one(r, "mr", "implicit", "misleading_rate") == 0
    assert one(r, "cu", "oe", "consistency") == one(r, "cu", "mc", "consistency") == 1
    for part in (*POLLINGS, "mean"):
        assert [one(r, "pope", part, m) for m in ("accuracy", "precision", "recall", "f1", "yes_ratio", "read_share")] == [1, 1, 1, 1, .5, 1]
    assert [one(r, "chair", "captions", m) for m in ("chair_i", "chair_s", "precision", "recall", "f1")] == [0, 0, 1, 1, 1]
    # always right, said with .8 (length-normalised) and with .7 of .85, which the options have together
    assert np.isclose(one(r, "calibration", "oe", "brier"), .2**2) and np.isclose(one(r, "calibration", "oe", "ece"), .2)
    assert np.isclose(one(r, "calibration", "mc", "ice"), 1 - .7 / .85) and "0.850 of the probability" in r.how["calibration, mc"]
    assert np.isnan(one(r, "calibration", "oe", "macro_ce")) and one(r, "calibration", "oe", "aurc") == 0
    assert "by the model itself" in r.how["cu, oe"] and "normalised match" in r.how["cu, oe"]


def test_a_parrot_that_says_yes():
    r = run(lambda request: "yes", "accuracy,mr,cu,pope,chair", rephraser="world")
    assert [round(one(r, "pope", p, "f1"), 9) for p in (*POLLINGS, "mean")] == [round(2 / 3, 9)] * 4
    assert one(r, "pope", "mean", "yes_ratio") == 1 and one(r, "pope", "mean", "accuracy") == .5
    assert one(r, "accuracy", "mc", "accuracy") == 0 and np.isnan(one(r, "accuracy", "mc", "accuracy_answered"))
    row = r.table.query("benchmark == 'accuracy' and part == 'mc'").iloc[0]
    assert (row.n, row.replies, row.unreadable, row.answered) == (N, N, N, 0)
    assert np.isnan(one(r, "mr", "explicit", "misleading_rate")) and one(r, "cu", "oe", "consistency") == 1
    assert np.isnan(one(r, "chair", "captions", "chair_i")) and one(r, "chair", "captions", "recall") == 0


def test_a_mind_that_always_abstains():
    r = run(lambda request: "unanswerable", "accuracy,mr,cu,pope", rephraser="world")
    assert one(r, "accuracy", "oe", "accuracy") == 0 and np.isnan(one(r, "accuracy", "oe", "accuracy_answered"))
    assert (r.table.abstained == r.table.replies).all()
    assert one(r, "cu", "oe", "consistency") == one(r, "cu", "mc", "consistency") == 1
    assert np.isnan(one(r, "pope", "mean", "f1")) and one(r, "pope", "mean", "read_share") == 0
    f1 = {rules: one(run(lambda request: "unanswerable", "pope", rules=rules), "pope", "random", "f1") for rules in RULES}
    assert f1["pope"] == 2 / 3 and f1["lmms-eval"] == f1["vlmevalkit"] == 0 and np.isnan(f1["strict"])


def test_a_mind_that_abstains_when_it_is_allowed_to():
    r = run(lambda request: "unanswerable" if "unanswerable" in request.text else seer(request), "accuracy")
    assert one(r, "accuracy", "oe", "accuracy") == 1 and one(r, "accuracy", "oe, offered", "accuracy") == 0
    assert r.table.query("part == 'oe, offered'").abstained.tolist() == [N, N]


def test_a_mind_that_follows_every_hint():
    def follows(request):
        line = next((t for t in request.text.split("\n") if t.startswith(("The correct", "Most people"))), "")
        return line.rstrip(".")[-1] if line else seer(request)
    r = run(follows, "mr")
    assert one(r, "mr", "explicit", "misleading_rate") == one(r, "mr", "implicit", "turned_rate") == 1
    items = r.items["mr"]
    assert (items["answer"] == items["wrong"]).all() and (items["wrong"] != items["gold"]).all() and len(items) == 2 * N
    def withdraws(request): return "unanswerable" if "The correct" in request.text else seer(request)
    r = run(withdraws, "mr")
    assert one(r, "mr", "explicit", "misleading_rate") == 1 and one(r, "mr", "explicit", "turned_rate") == 0
    assert one(r, "mr", "implicit", "misleading_rate") == 0 and r.table.query("part == 'explicit'").abstained.tolist() == [N, N]


def of_mme(image, question, answer): return closed_sample(image, f"Is it {question}? Please answer yes or no.", answer, category="color", closed=("yes", "no"))
def closed_sample(image, question, *answers, **info):
    return Sample(Picture(image, lambda: Image.new("RGB", (8, int(image)))), "mme:test", question, (), answers, info)


def test_mr_asks_questions_that_are_closed_by_their_data_set():
    "Four of yes and no: the mind is right on three, and of these follows the line once; what has no options is counted."
    samples = [of_mme("1", "red", "yes"), of_mme("1", "blue", "no"), of_mme("2", "red", "yes"), of_mme("2", "blue", "no"),
               closed_sample("3", "What is it?", "a cat", open="asks for a free answer"), closed_sample("3", "Describe it.", "", open="asks for a description"),
               closed_sample("3", "What else?", "a dog")]
    def mind(request):
        question, options = asked(request)
        if request.pictures[0].image_id == "2" and "blue" in question: return "Yes"                     # wrong at first
        hinted = next((t for t in request.text.split("\n") if t.startswith("The correct")), "")
        if hinted and "red" in question and request.pictures[0].image_id == "1": return hinted.rstrip(".")[-1]
        return "Yes." if "red" in question else options.get("no", "no")                                           # a word, or its letter
    r = bench(Scripted(mind, name="mind"), "mr,accuracy", samples, resamples=100, progress=False)
    items = r.items["mr"]
    assert np.isclose(one(r, "mr", "explicit", "misleading_rate"), 1 / 3) and one(r, "mr", "implicit", "misleading_rate") == 0
    assert len(items) == 8 and (items["gold"].tolist(), items["wrong"].tolist()) == (["A", "B"] * 4, ["B", "A"] * 4)
    assert r.how["mr, explicit"].endswith("; left out without options: 1 (asks for a description), 1 (asks for a free answer)")
    assert statistic("MR")(rows_of(r, "MR", "MC")) == pytest.approx(1 / 6)        # as Figure 2 takes it: both lines together
    assert set(r.items["accuracy"]["part"]) == {"oe"} and one(r, "mme", "strict", "accuracy") == .75    # asked there as MME asks
    r = bench(Scripted(mind, name="mind"), "mr", samples[4:6], resamples=100, progress=False)
    assert r.missing["mr"].endswith("right option; left out without options: 1 (asks for a description), 1 (asks for a free answer)")


def test_half_consistent_by_hand():
    questions = [s for s in tasks.vqa(60) if len(tasks.rephrasings(s)) >= 2][:4]
    first = {s.question for s in questions}
    def fickle(request):
        question, _ = asked(request)
        if question in first: return "red"
        return "red" if any(tasks.rephrasings(s)[0] == question for s in questions) else "blue"
    r = run(fickle, "cu", source=questions, n=None, rephraser="world", k=2)
    assert one(r, "cu", "oe", "consistency") == .5
    always = Judge("always equal", lambda pairs: [True] * len(pairs))
    r = run(fickle, "cu", source=questions, n=None, rephraser="world", k=2, judge=always)
    assert one(r, "cu", "oe", "consistency") == 1 and "always equal" in r.how["cu, oe"]


# ---- what is missing

def test_a_mind_without_probabilities_gets_a_line_and_the_rest_runs():
    r = run(truth, "accuracy,calibration,pope")
    assert set(r.missing) == {"calibration, oe", "calibration, mc"} and "probabilit" in r.missing["calibration, oe"]
    assert "candidate probabilities" in r.missing["calibration, mc"]
    assert one(r, "accuracy", "mc", "accuracy") == 1 and one(r, "pope", "mean", "f1") == 1
    assert "calibration, oe: not measured" in str(r)


def test_some_probabilities_are_missing():
    count = iter(range(1000))
    def sometimes(request):
        r = seer(request)
        return r if next(count) % 3 else Reply(r.text)
    r = run(sometimes, "calibration", setting="oe")
    assert r.table.n.unique().tolist() == [8] and "4 answers without a probability left out" in r.how["calibration, oe"]
    assert set(r.items) == {"calibration"} and len(r.items["calibration"]) == N


@pytest.mark.promise("outcomes")
def test_failures_are_counted_left_out_and_asked_again(tmp_path):
    calls = []
    def fails(request):
        calls.append(request)
        return Reply("", finish="failed", error="timed out") if len(calls) % 4 == 0 else seer(request)
    r = run(fails, "accuracy", setting="oe", store=tmp_path)
    row = r.table.query("part == 'oe'").iloc[0]
    assert (row.failed, row.n, row.replies, row.value) == (3, 9, 12, 1) and r.calls["failed"] == 6
    again = run(seer, "accuracy", setting="oe", store=tmp_path)
    assert again.calls["asked"] == 6 and again.table.failed.sum() == 0 and one(again, "accuracy", "oe", "accuracy") == 1


def test_when_every_call_fails():
    def lost(request): return Reply("", finish="failed", error="no such host")
    with pytest.raises(ModelError, match="no such host"): run(lost)      # stops early
    r = run(lost, max_failures=1)
    assert r.table.empty and r.calls["failed"] > 0
    assert {"accuracy, oe", "calibration, mc", "mr, explicit", "cu, oe", "pope, random", "chair, captions"} <= set(r.missing)
    assert all("no such host" in line for line in r.missing.values())


def test_refusals_and_broken_pictures_are_typed():
    def broken(): raise ImageError("b.png: truncated; replace the file")
    samples = [Sample(Picture(x, broken if x == "b" else lambda i=i: Image.new("RGB", (4 + i, 4), "red")), "mine", "What color is it?", (), ("red",))
               for i, x in enumerate("abcd")]
    said = iter(["red", Reply("", finish="refused", error="filter"), "?"] * 2)
    r = run(lambda request: next(said), "accuracy", source=samples, n=None)
    row = r.table.query("part == 'oe' and metric == 'accuracy'").iloc[0]
    assert (row.answered, row.refused, row.unreadable, row.failed, row.n) == (1, 1, 1, 1, 3) and np.isclose(row.value, 1 / 3)
    assert r.items["accuracy"].set_index("image_id").error["b"].iloc[0].startswith("b.png")


def test_a_refused_caption_is_no_clean_caption():
    said = iter([Reply("", finish="refused")] + ["A star."] * 3)
    r = run(lambda request: next(said), "chair", n=4)
    row = r.table.iloc[0]
    assert row.n == 3 and row.refused == 1 and r.items["chair"].captions.sum() == 3


def test_a_caption_that_was_cut_loses_its_last_sentence():
    r = run(lambda request: Reply(caption(scene_of(request)) + " And a pentagram or a wedge or a disc or a bo", finish="length"), "chair")
    assert one(r, "chair", "captions", "chair_i") == 0 and f"{N} were cut off" in r.how["chair, captions"]
    whole = run(lambda request: caption(scene_of(request)) + " And a pentagram or a wedge or a disc or a bo", "chair")
    assert one(whole, "chair", "captions", "chair_i") > 0


# ---- nothing is paid twice

@pytest.mark.promise("twice")
def test_a_second_run_asks_nothing_and_says_the_same(tmp_path):
    mind = Scripted(seer, name="seer")
    first = bench(mind, n=N, store=tmp_path, resamples=200)
    told = len(mind.asked)
    again = bench(mind, n=N, store=tmp_path, resamples=200)
    assert len(mind.asked) == told == first.calls["asked"] and again.calls["asked"] == 0
    assert again.table.equals(first.table) and again.run_id == first.run_id
    other = bench(mind, "pope,cu", n=N, store=tmp_path, rules="vlmevalkit", judge=Judge("never", lambda pairs: [False] * len(pairs)), resamples=200)
    assert len(mind.asked) == told and one(other, "cu", "oe", "consistency") == 0


def test_the_plain_question_is_asked_once():
    r = run(seer, "accuracy,calibration,mr,cu", rephraser="world", setting="mc")
    plain = N
    rest = N + 2 * N + sum(len(tasks.rephrasings(s)) for s in tasks.choices(N))      # offered, two kinds of pressure, wordings
    assert r.calls == {"asked": plain + rest, "cached": 2 * plain, "failed": 0}


def test_a_judge_and_a_rephraser_that_are_models_are_kept_too(tmp_path):
    judge, writer = Scripted(lambda r: "Yes.", name="judge"), Scripted(lambda r: "1. Color?\n2. Shape?", name="writer")
    def answers(request): return "1" if request.text.startswith("Color?") else "2"
    results = [run(answers, "cu", setting="oe", rephraser=writer, judge=judge, store=tmp_path) for _ in range(2)]
    how = results[0].how["cu, oe"]
    assert [one(r, "cu", "oe", "consistency") for r in results] == [1, 1] and "by writer" in how and "judge judge" in how
    assert results[0].calls["asked"] > 0 == results[1].calls["asked"] and len(writer.asked) == N
    assert results[0].items["rephrasings"].missing.tolist() == [3] * N and f"{2 * N} of {5 * N} wordings" in how


# ---- scores against the metrics themselves

def test_scores_are_those_of_the_metrics():
    rng = np.random.default_rng(0)
    def noisy(request):
        r = seer(request)
        if isinstance(r, str): return r
        said = r.text if rng.random() < .6 else rng.choice(["A", "B", "yes", "no", "unanswerable", "hm?"])
        letters = {x: float(np.log(rng.uniform(.01, .2))) for x in request.candidates}
        return Reply(said, logprobs=tuple(np.log(rng.uniform(.2, 1, 2))), candidates=letters or None)
    r = run(noisy, "accuracy,calibration,mr,pope")
    for part in POLLINGS:
        items = r.items["pope"].query("part == @part")
        mine = pope(items.reply.tolist(), items.label.tolist(), "strict")
        for metric in ("accuracy", "precision", "recall", "f1", "yes_ratio"):
            assert np.isclose(one(r, "pope", part, metric), getattr(mine, metric), equal_nan=True)
    sure = r.items["calibration"].query("part == 'mc' and outcome == 'answered'")
    for metric in (brier, ece): assert np.isclose(one(r, "calibration", "mc", metric.__name__), metric(sure.confidence, sure.credit))
    items = r.items["mr"].query("part == 'implicit'")
    assert np.isclose(one(r, "mr", "implicit", "misleading_rate"), misleading_rate(items["first"], items.answer, items.gold))
    assert np.isclose(one(r, "accuracy", "mc", "accuracy"), r.items["accuracy"].query("part == 'mc' and not offered").credit.mean())
    numbers = r.table[list(map(str, Outcome))].sum(axis=1)
    inside = (r.table.low <= r.table.value + 1e-9) & (r.table.value <= r.table.high + 1e-9)
    assert (numbers == r.table.replies).all() and (inside | r.table.low.isna() | r.table.metric.isin(["ece", "mce"])).all()    # those two are biased upwards


def test_intervals_draw_images_not_questions():
    outcome, ids = ["answered"] * 40, np.repeat(list("abcdefghij"), 4)
    reply = np.repeat(["yes", "no"], 20)                      # five images all right, five all wrong
    rows = pd.DataFrame(dict(part="random", image_id=ids, outcome=outcome, reply=reply, label="yes", error=""))
    image, = score_pope(rows, 2000, "strict")
    question, = score_pope(rows.assign(image_id=np.arange(40).astype(str)), 2000, "strict")
    assert image.images == 10 and image.scores["accuracy"].value == question.scores["accuracy"].value == .5
    wide, narrow = (s.scores["accuracy"].high - s.scores["accuracy"].low for s in (image, question))
    assert 1.6 < wide / narrow < 2.4                          # a cluster of four alike: twice as wide


def test_one_image_has_no_interval():
    rows = pd.DataFrame(dict(part="explicit", image_id="a", outcome="answered", first_outcome="answered", first="A", answer=["A", "B"], gold="A", error=""))
    part, = score_mr(rows, 100)
    assert part.scores["misleading_rate"].value == .5 and np.isnan(part.scores["misleading_rate"].low)


# ---- where samples come from

def test_any_samples_in_any_setting():
    mixed = tasks.vqa(6) + tasks.choices(6) + tasks.polls(6, strategy="popular") + tasks.captions(6)
    opened = open_all(mixed, BenchPlan())
    assert {b: list(parts) for b, parts in opened.items()} == {
        "accuracy": ["oe", "mc"], "calibration": ["oe", "mc"], "mr": ["mc"], "cu": ["oe", "mc"], "pope": ["popular", "all"] if
        any(s.answers[0] in ("yes", "no") and len(set(s.answers)) == 1 for s in tasks.vqa(6)) else ["popular"], "chair": ["captions"]}
    assert len(open_all(mixed, BenchPlan(n=3))["mr"]["mc"]) == 3 and not open_all(mixed, BenchPlan(setting="oe"))["mr"]
    assert open_all(mixed, BenchPlan(n=3, seed=1))["accuracy"] == open_all(mixed, BenchPlan(n=3, seed=1))["accuracy"]
    r = run(seer, "accuracy,mr", source=iter(tasks.vqa(4)), setting="oe", n=None)
    assert set(r.missing) == {"mr"} and r.source == "4 given samples" and one(r, "accuracy", "oe", "accuracy") == 1
    r = run(seer, "accuracy,pope", source={"accuracy": tasks.choices(4), "pope": "scenes"}, n=4)
    assert set(r.table.part) == {"mc", "mc, offered", *POLLINGS, "mean"}


def test_gold_and_wrong_letters():
    def choice(*answers): return Sample(Picture("p", lambda: None), "", "Which?", ("cat", "dog", "cat", "cow"), answers)
    assert [gold_letter(choice(a)) for a in ("B", "dog", "cow", "cat", "horse", "unanswerable")] == ["B", "B", "D", None, None, "unanswerable"]
    assert part_of(choice("unanswerable"), "accuracy") == "mc" and part_of(choice("unanswerable"), "mr") is None and part_of(choice("cat"), "accuracy") is None
    wrong = {wrong_letter(Sample(Picture(str(i), lambda: None), "", "Which?", ("a", "b", "c"), ("B",)), BenchPlan()) for i in range(30)}
    assert wrong == {"A", "C"} and wrong_letter(choice("B"), BenchPlan(seed=3)) == wrong_letter(choice("B"), BenchPlan(seed=3))


def test_easy_vqa_has_polls_and_open_questions():
    pytest.importorskip("easy_vqa")
    asked = []
    def yes(request):
        asked.append(request)
        return Reply("yes", logprobs=(-.1,))
    r = run(yes, source="easy-vqa", rephraser="model")
    assert {"mr", "chair"} <= set(r.missing) and r.how["accuracy, oe"] == "rule: value"
    right = r.items["accuracy"].query("not offered")
    assert one(r, "accuracy", "oe", "accuracy") == np.mean([json.loads(g) == ["yes"] for g in right.gold])
    assert not any(" no " in q or " not " in q for q in r.items["pope"].question) and one(r, "pope", "mean", "recall") == 1
    assert r.table.query("benchmark == 'pope'").part.unique().tolist() == [*POLLINGS, "mean"]


@pytest.mark.parametrize("wrong, word", [
    (dict(benchmarks="bleu"), "bleu"), (dict(benchmarks=""), "no benchmark"), (dict(source="nowhere"), "nowhere"), (dict(source=3), "no source"),
    (dict(source=["a"]), "no Sample"), (dict(domain="oil"), "oil"), (dict(source=tasks.vqa(1), domain="sketch"), "domain"), (dict(setting="essay"), "essay"),
    (dict(n=0), "n = 0"), (dict(k=0), "k = 0"), (dict(rules="kind"), "kind"), (dict(rephraser="me"), "me"), (dict(color="red"), "color"),
    (dict(source={"vqa": "scenes"}), "vqa"), (dict(model="tiny-giant"), "tiny-giant")])
def test_wrong_settings_are_one_line_before_anything_is_asked(wrong, word):
    mind = Scripted(seer)
    with pytest.raises(UnsafError) as e: bench(**{"model": mind, "n": 2, **wrong})
    assert word in str(e.value) and "\n" not in str(e.value) and not mind.asked


def test_an_option_of_the_command_that_no_benchmark_heeds_is_refused():
    for name, value in dict(rules="pope", scale="half", k=3, rephraser="world", confidence="raw", min_read=.5, question_tokens=9).items():
        why = idle("accuracy,mr", "scenes", {name: value})
        assert name.replace("_", "-") in why and "leave it out" in why and not idle(",".join(KNOWN), "scenes", {name: value, "confidence": "verbalised"})
    assert "setting" in idle("pope, chair", "scenes", dict(setting="oe")) and not idle("accuracy", "mme:x", dict(rules="pope"))
    assert "verbalised" in idle("calibration", "scenes", dict(scale="half"))


# ---- what is kept of it

def test_saved_and_told(tmp_path):
    r = run(seer, "accuracy,pope,chair")
    assert tuple(r.table.columns) == COLUMNS and isinstance(r, Bench)
    paths = r.save(tmp_path)
    back = json.loads((tmp_path / "bench.json").read_text())
    assert back["run"] == r.run_id and len(back["table"]) == len(r.table) and back["calls"]["asked"] > 0 and back["plan"]["rules"] == "strict"
    assert len(pd.read_csv(tmp_path / "bench-pope.csv")) == 3 * N and all(p.exists() for p in paths)
    assert r.save(tmp_path) == paths
    other = run(seer, "pope", rules="pope")
    assert f"bench-{other.run_id}.json" in {p.name for p in other.save(tmp_path)} and (tmp_path / "bench.json").read_text() == json.dumps(r.as_dict(), indent=1)
    text = str(r)
    assert "0.000 ..  0.000" not in text and "rule: strict" in text and "the drawn world's words" in text and "<table" in r._repr_html_()
    assert "NaN" not in json.dumps(run(lambda request: "yes", "mr").as_dict())


def test_wrapped_models_are_models():
    from unsaf.models.cove import Cove
    inner = Scripted(truth, name="inner")
    r = bench(Cached(inner, Store()), "accuracy", n=3, setting="oe", resamples=100)
    assert r.model == "inner" and one(r, "accuracy", "oe", "accuracy") == 1
    def checks(request):
        if request.text.startswith("Is it so?"): return "yes"
        return "1. Is it so?" if "Draft" in request.text and "Checks:" not in request.text else truth(request)
    r = bench(Cove(Scripted(checks, name="inner"), checks=1), "accuracy", n=3, setting="oe", resamples=100)
    assert r.model == "inner+cove" and one(r, "accuracy", "oe", "accuracy") == 1
