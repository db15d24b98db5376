"Students before and after: models whose change is known by hand, differences against second computations, and a second run that asks nothing."
import json, math, zlib
import numpy as np
import pandas as pd
import pytest
import unsaf
from unsaf.world import tasks
from unsaf.core import ImageError, Picture, Reply, Sample, UnsafError
from unsaf.distill.comparison import COLUMNS, MEASURES, ROW, gain_rows, measures, own_rows, picture_counts, row
from unsaf.distill.data import teach
from unsaf.distill.results import Evaluation, combine, combined_lines
from unsaf.distill.evaluation import cast, evaluate
from unsaf.distill.results import HEADLINES, adjusted
from unsaf.metrics.awareness import awareness, scorer
from unsaf.metrics.calibration import ece
from unsaf.metrics.chair import Chair
from unsaf.metrics.pope import pope
from unsaf.metrics.resampling import paired_permutation
from unsaf.models.base import Scripted
from unsaf.assessment.probes import StyleCheat, audited, by_truth
from unsaf.assessment.scores import counts_of


def asks_for_list(request) -> bool:
    return request.max_tokens > 100 and "provide" in request.text


def mind(name, careful=False, easy=False):
    "Traps are answered unless `careful`, and not written when `easy`: about every even picture one of two unanswerable questions is a trap, else both."
    def say(request):
        if asks_for_list(request):
            traps = 0 if easy else 1 + int(request.pictures[0].image_id.split("-")[-1]) % 2
            words = ["plain", "plain"] if "can be answered directly" in request.text else ["odd"] * (2 - traps) + ["trap"] * traps
            return "\n".join(f"{i}. Question: What is {word} number {i}?" for i, word in enumerate(words, 1))
        return "unanswerable" if "odd" in request.text or ("trap" in request.text and careful) else "this"
    return Scripted(say, name=name)


def four():
    return {"base": mind("base"), "answers": mind("answers", careful=True), "writes": mind("writes", easy=True), "both": mind("both", careful=True, easy=True)}


@pytest.fixture(scope="module")
def by_hand():
    return evaluate(four(), n=8, seed=3, k=2, benchmarks=(), resamples=1000)


# ---- which skill changed

def test_the_decomposition_by_hand(by_hand):
    j = by_hand.gains[by_hand.gains.metric == "youden_j"].pivot(index="model", columns="part", values="value")
    # the base answers all 16 answerable and 12 of 16 unanswerable questions
    assert by_hand.value("base", "youden_j") == pytest.approx(.25) and by_hand.counts.loc["base", ["TA", "FA", "TU", "FU"]].tolist() == [16, 12, 4, 0]
    assert j.loc["answers", ["total", "answering", "questions", "interaction"]].tolist() == pytest.approx([.75, .75, 0, 0])
    assert j.loc["writes", ["total", "answering", "questions", "interaction"]].tolist() == pytest.approx([.75, 0, .75, 0])
    assert j.loc["both", ["total", "answering", "questions", "interaction"]].tolist() == pytest.approx([.75, .75, .75, -.75])
    u = by_hand.gains[by_hand.gains.metric == "unf1_class"].pivot(index="model", columns="part", values="value")
    assert u.loc["writes", "questions"] == pytest.approx(1 - 2 / 2.75) and u.loc["writes", "answering"] == pytest.approx(0)


def test_the_matrix_by_hand(by_hand):
    grid = by_hand.grid("youden_j")
    assert list(grid.index) == list(grid.columns) == list(four())
    assert np.allclose(grid, [[.25, 1, .25, 1]] * 2 + [[1] * 4] * 2)
    m = by_hand.matrix[by_hand.matrix.metric == "youden_j"].set_index(["questions_of", "answered_by"])
    assert m.loc[("base", "answers"), "difference"] == pytest.approx(.75) and np.isnan(m.loc[("base", "base"), "difference"])
    assert (m.n == 32).all() and (m.images == 8).all()


def test_signs_come_with_their_tests(by_hand):
    g = by_hand.gains[by_hand.gains.metric == "youden_j"].set_index(["model", "part"])
    # each of 8 pictures gains: of 2^8 exchanges only none and all reach the difference; two pictures of a kind are alike, so all are enumerated
    assert g.loc[("answers", "answering"), "p"] == pytest.approx(2 / 2**8) == g.loc[("writes", "questions"), "p"]
    assert g.loc[("answers", "questions"), "p"] == 1 == g.loc[("writes", "answering"), "p"]
    assert g.loc[("answers", "answering"), "low"] > 0 and g.loc[("both", "interaction"), "high"] < 0
    inter = g.xs("interaction", level="part")
    assert inter.p.isna().all() and (inter.note == "no exchange tests it").all()


def test_a_gain_is_the_sum_of_its_parts():
    rng = np.random.default_rng(0)
    cells = {pair: np.hstack([rng.integers(0, 6, (12, 4)), rng.integers(0, 6, (12, len(COLUMNS) - 4))]) for pair in
             [(q, a) for q in ("b", "m") for a in ("b", "m")]}
    rows = pd.DataFrame(gain_rows("m", cells, [f"p{i}" for i in range(12)], "b", n=300))
    for _, some in rows.groupby("metric"):
        v = some.set_index("part").value
        assert v.total == pytest.approx(v.answering + v.questions + v.interaction)
    j = {pair: awareness(*map(int, c[:, :4].sum(0))).youden_j for pair, c in cells.items()}
    v = rows[rows.metric == "youden_j"].set_index("part").value
    assert v.answering == pytest.approx(j["b", "m"] - j["b", "b"]) and v.questions == pytest.approx(j["m", "b"] - j["b", "b"])
    assert v.total == pytest.approx(j["m", "m"] - j["b", "b"])


def test_missing_examinations_are_said_and_not_guessed():
    e = evaluate(four(), n=4, k=2, benchmarks=(), resamples=200, cross=("base",))
    assert set(e.matrix.questions_of) == {"base", "answers", "writes", "both"} and len(e.crossed) == 7
    assert e.gains.value.isna().all() and set(e.gains.note) == {f"the questions of {m} were not put to base" for m in ("answers", "writes", "both")}
    none = evaluate(four(), n=4, k=2, benchmarks=(), resamples=200, cross=False)
    assert none.matrix.empty and none.gains.empty and len(none.crossed) == 4 and none.grid().empty
    assert "cross" not in str(none).split("further")[0] and none.figure()._repr_png_()[:4] == b"\x89PNG"


# ---- numbers against second computations

def random_model(name, seed):
    "Writes and answers by dice that fall the same for the same request; now and then unreadable, refused or failed."
    def say(request):
        dice = np.random.default_rng([seed, zlib.crc32(request.text.encode()), int(request.pictures[0].digest[:8], 16)])
        if asks_for_list(request):
            pool = ["What color is the circle?", "How many stars are there?", "Who owns the object?", "Where is the red star?", "What is the blue one?"]
            return "\n".join(f"{i}. Question: {q}" for i, q in enumerate(dice.choice(pool, dice.integers(1, 6)), 1))
        if "Describe" in request.text or "describe" in request.text: return str(dice.choice(["A red circle and a star.", "A blue square.", "Two green stars."]))
        roll = dice.random()
        if roll < .05: return Reply("", finish="failed", error="timeout")
        if roll < .08: return Reply("", finish="refused", error="filter")
        if roll < .12: return "..."
        text = str(dice.choice(["yes", "yes", "no", "no", "red", "a red circle and a star", "unanswerable", "cannot tell"]))
        return Reply(text, logprobs=(math.log(dice.uniform(.1, 1)),))
    return Scripted(say, name=name)


@pytest.fixture(scope="module")
def diced():
    models = {"base": random_model("dice 1", 1), "tuned": random_model("dice 2", 2)}
    return evaluate(models, n=10, seed=4, k=4, n_bench=24, bench_setting="oe", resamples=1000, primary="youden_j")


def cells_in(table, cell="cell"):
    return awareness(*(int((table[cell] == c).sum()) for c in ("TA", "FA", "TU", "FU")))


def test_own_scores_and_differences_equal_a_second_count(diced):
    scores = {m: cells_in(diced.crossed[m, m].table) for m in ("base", "tuned")}
    for metric in ("unf1", "unf1_class", "audacity", "timidity", "youden_j", "d_prime", "always_answer", "criterion"):
        a, b = (getattr(scores[m], metric) for m in ("tuned", "base"))
        assert diced.value("tuned", metric) == pytest.approx(a) and diced.value("tuned", metric, "difference") == pytest.approx(a - b)
    frame = {m: diced.crossed[m, m].scores.frame() for m in scores}
    assert diced.value("base", "unf1") == pytest.approx(frame["base"].value["unf1"])
    assert diced.value("base", "unf1", "low") == pytest.approx(frame["base"].low["unf1"], abs=.03)


def test_the_test_is_that_of_the_resampling_room(diced):
    counts = {m: counts_of(diced.crossed[m, m].table, diced.crossed[m, m].images) for m in ("base", "tuned")}
    found = paired_permutation(counts["tuned"], counts["base"], scorer("youden_j"), n=1000)["youden_j"]
    assert diced.value("tuned", "youden_j", "difference") == pytest.approx(found.difference)
    assert diced.value("tuned", "youden_j", "p") == pytest.approx(found.p, abs=.05)
    assert diced.value("tuned", "youden_j", "diff_low") == pytest.approx(found.interval.low, abs=.06)


def test_yields_are_counted(diced):
    for m in ("base", "tuned"):
        r = diced.crossed[m, m]
        asked = int(r.lists.asked.sum())
        assert asked == 80 and diced.value(m, "kept") == pytest.approx(len(r.table) / asked) == pytest.approx(r.lists.kept.sum() / asked)
        repeats = sum(json.loads(p).get("duplicate", 0) for p in r.lists.pieces)
        assert repeats > 0 and diced.value(m, "distinct_in_list") == pytest.approx(len(r.table) / (len(r.table) + repeats))
        assert diced.value(m, "abstention_rate") == pytest.approx((r.table.outcome == "abstained").mean())
        assert diced.value(m, "unreadable_rate") == pytest.approx((r.table.outcome == "unreadable").mean())
        assert diced.value(m, "lost_rate") == pytest.approx(r.table.outcome.isin(["failed", "refused"]).mean()) != 0
        assert diced.value(m, "different_questions") == pytest.approx(r.table.question.nunique() / len(r.table))
        assert diced.counts.loc[m, "kept"] == len(r.table)


def test_the_oracle_is_asked_about_every_examination(diced):
    scenes = unsaf.images("scenes", n=10, seed=4)
    for (q, a), r in diced.crossed.items():
        audit = audited(r.table, scenes)
        true = cells_in(by_truth(audit)).youden_j
        cell = diced.matrix.query("questions_of == @q and answered_by == @a and metric == 'youden_j_true'")
        assert cell.value.iloc[0] == pytest.approx(true)
        if q == a:
            same = audit.oracle_status == audit.answerable.map({True: "answerable", False: "unanswerable"})
            assert diced.value(q, "as_asked") == pytest.approx(same.mean())
            assert diced.value(q, "ambiguous") == pytest.approx((audit.oracle_status == "ambiguous").mean())


def test_benchmarks_equal_their_own_tables_and_second_computations(diced):
    items = {m: diced.benches[m].items for m in ("base", "tuned")}
    polls = ("random", "popular", "adversarial")
    for m, b in diced.benches.items():
        assert diced.value(m, "pope_f1") == b.value("pope", "mean", "f1") and diced.value(m, "chair_i") == b.value("chair", "captions", "chair_i")
        assert diced.value(m, "ece_oe") == b.value("calibration", "oe", "ece")
        assert diced.value(m, "accuracy_oe_offered") == b.value("accuracy", "oe, offered", "accuracy")

    def both(name, lost=("failed",), **where):
        "The items that failed for neither, of both models."
        keys = [k for k in ("part", "item", "offered") if k in items["base"][name]]
        sides = [t.loc[(t[list(where)] == pd.Series(where)).all(axis=1) & ~t.outcome.isin(lost)] for t in (items["tuned"][name], items["base"][name])]
        shared = set(map(tuple, sides[0][keys].to_numpy())) & set(map(tuple, sides[1][keys].to_numpy()))
        return [t[[tuple(k) in shared for k in t[keys].to_numpy()]] for t in sides]
    a, b = both("accuracy", part="oe", offered=False)
    assert diced.value("tuned", "accuracy_oe", "difference") == pytest.approx(a.credit.mean() - b.credit.mean())
    sure = [t[(t.outcome == "answered") & t.confidence.notna()] for t in both("calibration", part="oe")]
    gap = [ece(t.confidence.astype(float), t.credit >= .5) for t in sure]
    assert diced.value("tuned", "ece_oe", "difference") == pytest.approx(gap[0] - gap[1])
    left = sum(len(both("pope", part=p)[0]) for p in polls)
    assert left < 72 and f"over the {left} items" in diced.table.query("model == 'tuned' and metric == 'pope_f1'").note.iloc[0]
    f1 = [[pope(t.reply, t.label, rules="strict").f1 for t in both("pope", part=p)] for p in polls]
    assert diced.value("tuned", "pope_f1", "difference") == pytest.approx(np.mean([x - y for x, y in f1]))
    said = both("chair", ("failed", "refused"), part="captions")
    samples = {s.image_id: s for s in tasks.captions(24, 4, "plain")}
    chair = Chair(tasks.synonyms())
    found = [chair.score(t.answer.tolist(), [samples[i].info["objects"] for i in t.image_id], [samples[i].answers for i in t.image_id]) for t in said]
    assert diced.value("tuned", "chair_i", "difference") == pytest.approx(found[0].chair_i - found[1].chair_i, nan_ok=True)
    assert diced.value("tuned", "chair_f1", "difference") == pytest.approx(found[0].f1 - found[1].f1)


def test_every_measure_is_a_row_and_every_gap_has_a_reason(diced):
    wanted = set(MEASURES) | {"accuracy_oe", "ece_oe", "pope_f1", "chair_i", "chair_f1"}
    for m in ("base", "tuned"): assert wanted <= set(diced.table[diced.table.model == m].metric)
    assert not diced.table.duplicated(["model", "metric"]).any() and list(diced.table.columns) == list(ROW)
    lost = diced.table[diced.table.value.isna()]
    assert (lost.note != "").all()
    compared = diced.table[(diced.table.model == "tuned") & diced.table.value.notna()]
    assert (compared.difference.notna() | (compared.note != "")).all()


# ---- what has no value

def test_a_student_that_lost_its_questions_is_shown_as_such():
    def lost(request): return "I will not." if asks_for_list(request) else "this"
    e = evaluate({"base": mind("base"), "lost": Scripted(lost, name="lost")}, n=4, k=2, benchmarks=(), resamples=200)
    assert e.value("lost", "kept") == 0 and e.value("lost", "kept", "difference") == -1
    t = e.table[e.table.model == "lost"].set_index("metric")
    assert np.isnan(t.value["youden_j"]) and t.note["youden_j"] == "no question could be read" == t.note["different_questions"]
    assert set(e.gains.note[e.gains.metric == "youden_j"]) == {"no question could be read"} and e.counts.loc["lost", "left_over"] == "8 chatter"
    assert "no question could be read" in str(e)
    back = evaluate({"base": Scripted(lost, name="lost"), "found": mind("found")}, n=4, k=2, benchmarks=(), resamples=200)
    row = back.table.query("model == 'found' and metric == 'youden_j'").iloc[0]
    assert row.value == pytest.approx(.25) and np.isnan(row.difference) and row.note == "the base: no question could be read"


def test_no_scenes_no_oracle_and_no_probabilities_no_ece():
    from PIL import Image
    grey = [Sample(Picture(f"p-{i}", lambda i=i: Image.new("RGB", (8, 8), (i, 0, 0)))) for i in range(3)]
    models = {"base": mind("base"), "answers": mind("answers", careful=True)}
    e = evaluate(models, grey, k=2, benchmarks=("calibration",), n_bench=4, bench_setting="oe", resamples=200)
    t = e.table[e.table.model == "answers"].set_index("metric")
    assert t.note["as_asked"] == t.note["youden_j_true"] == "the images are no drawn scenes: no oracle knows what is true of them"
    assert "probabilities" in t.note["ece_oe"] and np.isnan(t.value["ece_oe"]) and e.value("answers", "youden_j") == 1


def test_a_broken_picture_is_left_out_for_all_and_said():
    scenes = list(unsaf.images("scenes", n=4, seed=3))
    def broken(): raise ImageError("gone.png: truncated")
    scenes[1] = Sample(Picture(scenes[1].image_id, broken), info=scenes[1].info)
    e = evaluate({"base": mind("base"), "answers": mind("answers", careful=True)}, scenes, k=2, benchmarks=(), resamples=200)
    assert e.settings["pictures"] == 3 and e.notes[0].startswith("1 images were left out") and (e.matrix.images == 3).all()


def test_one_picture_has_values_and_no_intervals():
    e = evaluate({"base": mind("base"), "answers": mind("answers", careful=True)}, n=1, k=2, n_bench=1, bench_setting="oe", resamples=200)
    t = e.table[e.table.model == "answers"].set_index("metric")
    assert t.value["youden_j"] == 1 and np.isnan(t.low["youden_j"]) and np.isnan(t.p["youden_j"]) and t.note["youden_j"] == "one image: nothing to resample"


def test_the_same_model_twice_is_told():
    e = evaluate({"base": mind("base"), "UnD-QA": mind("base")}, n=3, k=2, benchmarks=(), resamples=100)
    assert e.notes[0].startswith("UnD-QA: the very same model as base") and e.value("UnD-QA", "youden_j", "p") == 1


# ---- multiplicity

def test_only_the_strategies_share_the_correction():
    ps = dict(base=np.nan, teacher=.0001, qa=.04, iq=.01, joint=np.nan)
    rows = pd.DataFrame([row(m, "", metric, "high", None) | dict(p=p) for m, p in ps.items() for metric in ("unf1_class", "youden_j")])
    t = adjusted(rows, "youden_j", ["qa", "iq", "joint"]).set_index(["model", "metric"])
    assert t.loc[("iq", "youden_j"), "p_holm"] == pytest.approx(.02) and t.loc[("qa", "youden_j"), "p_holm"] == pytest.approx(.04)
    assert t.p_holm.notna().sum() == 2 and (t.role == "primary").sum() == 5 and t.xs("unf1_class", level="metric").p_holm.isna().all()


def test_the_primary_metric_is_the_one_that_was_named(diced):
    assert set(diced.table[diced.table.role == "primary"].metric) == {"youden_j"} and diced.settings["primary"] == "youden_j"
    assert diced.lines()[1].startswith("primary: youden_j")


# ---- paid once

@pytest.mark.promise("twice")
def test_a_second_run_asks_nothing(tmp_path):
    models = {name: m for name, m in four().items() if name != "both"} | {"teacher": mind("teacher", careful=True)}
    def run(): return evaluate(models, n=4, k=2, store=tmp_path, n_bench=4, resamples=200)
    first = run()
    assert first.calls["asked"] == sum(len(m.asked) for m in models.values()) > 0
    for m in models.values(): m.asked.clear()
    second = run()
    assert second.calls["asked"] == 0 and not any(m.asked for m in models.values()) and second.calls["cached"] > 0
    pd.testing.assert_frame_equal(first.table, second.table)
    pd.testing.assert_frame_equal(first.gains, second.gains)


def test_models_are_loaded_when_their_turn_comes():
    made = []
    def maker(name, **how):
        def make():
            made.append(name)
            return mind(name, **how)
        return make
    e = evaluate({"base": maker("base"), "answers": maker("answers", careful=True)}, n=3, k=2, benchmarks=(), resamples=100)
    assert made == ["base", "answers"] * 2 and e.value("answers", "youden_j") == 1     # once for its own questions, once for the others'


def test_each_model_is_asked_in_its_own_way():
    plain, cot = mind("plain"), mind("cot", careful=True)
    said = cot.say
    def think(r):
        if "cot" not in r.text: return said(r)
        return f"cot: so it is, answerability: {'unanswerable' if said(r) == 'unanswerable' else 'answerable: this'}, confidence: 4"
    cot.say = think                # both write the same questions, so what it answers for the base is what it has answered for itself
    e = evaluate({"base": plain, "UnD-QA": cot}, n=3, k=2, benchmarks=(), resamples=100, plans={"UnD-QA": dict(template="gpt", answer_tokens=600)})
    answers = [r for r in cot.asked if "cot:" in r.text]
    assert {r.max_tokens for r in answers} == {600} and len(answers) == 12 and {r.max_tokens for r in plain.asked} == {512, 64}
    assert e.crossed["base", "UnD-QA"].plan.template == "gpt" and e.crossed["UnD-QA", "base"].plan.template == "none"
    assert e.value("UnD-QA", "youden_j") == 1


# ---- before anything is asked

def test_what_does_not_go_together_costs_nothing():
    models = four()
    scenes = unsaf.images("scenes", n=3, seed=9)
    for wrong, says in ((dict(base="student"), "'student'"), (dict(primary="bleu"), "bleu"), (dict(benchmarks=("mr",)), "'mr'"), (dict(cross=("me",)), "'me'"),
                        (dict(plans={"me": {}}), "'me'"), (dict(taught=scenes[1:]), "scene-9-1")):
        with pytest.raises(UnsafError, match=says) as e: evaluate(models, scenes, k=2, **{"benchmarks": (), **wrong})
        assert "\n" not in str(e.value)
    with pytest.raises(UnsafError, match="is a int"): evaluate(models | {"x": 3}, scenes, benchmarks=())
    assert not any(m.asked for m in models.values())


@pytest.mark.promise("distilled")
def test_taught_pictures_are_refused_also_in_the_benchmarks():
    taught = unsaf.images("scenes", n=3, seed=9)
    data = teach(StyleCheat(), taught, k=2)
    polls = [Sample(taught[0].picture, "", "Is there a star in the image?", (), ("yes",))]
    with pytest.raises(UnsafError, match="scene-9-0"): evaluate(four(), n=2, seed=1, k=2, taught=data, benchmarks=("pope",), source=polls)
    with pytest.raises(UnsafError, match="scene-9-"): evaluate(four(), n=2, seed=9, k=2, taught=data, benchmarks=())
    assert evaluate(four(), n=2, seed=1, k=2, taught=data, benchmarks=(), resamples=100)


# ---- kept and combined

def test_saved_and_read_again(diced, tmp_path):
    names = {p.name for p in diced.save(tmp_path)}
    assert names == {"evaluation.json", "evaluation.csv", "evaluation-matrix.csv", "evaluation-gains.csv", "evaluation-counts.csv", "replies.csv"}
    back = Evaluation.load(tmp_path)
    pd.testing.assert_frame_equal(back.table, diced.table, check_dtype=False)
    pd.testing.assert_frame_equal(back.gains, diced.gains, check_dtype=False)
    assert back.lines(full=True)[4:] == diced.lines(full=True)[4:] and back.scores("tuned") == diced.scores("tuned")
    assert json.loads((tmp_path / "evaluation.json").read_text(), parse_constant=lambda c: pytest.fail(f"{c} is no JSON"))
    assert len(pd.read_csv(tmp_path / "replies.csv")) == sum(len(r.table) for r in diced.crossed.values())
    assert len(pd.read_csv(tmp_path / "evaluation.csv")) == len(diced.table)
    with pytest.raises(UnsafError, match="no evaluation"): Evaluation.load(tmp_path / "nowhere")


def test_every_seed_is_listed_and_then_their_mean():
    models = {"base": mind("base"), "answers": mind("answers", careful=True)}
    runs = {seed: evaluate(models, n=5 + seed, seed=seed, k=2, benchmarks=(), resamples=200) for seed in range(3)}
    table = combine(runs)
    j = table[(table.metric == "youden_j") & (table.model == "answers")].set_index("seed")
    gaps = [.7, .75, 5 / 7]        # 5, 6 and 7 pictures, of which 3, 3 and 4 have even numbers and one trap
    assert list(j.index) == ["0", "1", "2", "mean"] and np.allclose(j.difference[:3], gaps) and j.difference["mean"] == pytest.approx(np.mean(gaps))
    assert j.diff_sd["mean"] == pytest.approx(np.std(gaps, ddof=1)) and j.sd["mean"] == 0 and j.low.isna().all()      # nothing varied
    gains = combine(runs, "gains")
    assert gains[(gains.metric == "youden_j") & (gains.part == "answering") & (gains.seed == "mean")].value.iloc[0] == pytest.approx(np.mean(gaps))
    assert len(combine(runs, "matrix")) == 4 * len(next(iter(runs.values())).matrix)
    line = next(line for line in combined_lines(table) if line.startswith("youden_j ") and "answers" in line)
    assert all(f"seed {seed}:" in line for seed in range(3)) and "over 3 seeds" in line
    one = combine({0: runs[0]})
    assert one[one.seed == "mean"].sd.isna().all()
    other = evaluate({"base": mind("base")}, n=3, k=3, benchmarks=(), resamples=100)
    with pytest.raises(UnsafError, match="cannot be combined"): combine({0: runs[0], 1: other})
    with pytest.raises(UnsafError): combine({})


def test_a_seed_without_a_value_is_counted():
    a, b = ((pd.DataFrame([row("m", "awareness", "unf1", "high", None, note=why) | dict(value=v)], columns=ROW)) for v, why in ((.5, ""), (np.nan, "lost")))
    settings = dict(base="b", teacher=None, primary="unf1", setting="oe", k=5)
    made = {s: Evaluation(t, t, t, t, settings, {}) for s, t in enumerate((a, b))}
    mean = combine(made).query("seed == 'mean'").iloc[0]
    assert mean.value == .5 and mean.seeds == 1 and mean.note == "1 of 2 seeds have no value"


# ---- as text and picture

def test_lines_page_and_figure(by_hand):
    text = str(by_hand)
    assert "4 models on 8 images of scenes:3" in text and "Holm" in text and "answering" in text and "asked for" in text
    assert len(by_hand.lines(full=True)) > len(by_hand.lines()) and all("\n" not in line for line in by_hand.notes)
    assert by_hand._repr_html_().count("<table") == 3 and by_hand.figure()._repr_png_()[:4] == b"\x89PNG"
    assert set(by_hand.scores("both")) <= set(HEADLINES) and by_hand.scores("both")["youden_j"] == 1
    with pytest.raises(KeyError): by_hand.value("nobody", "unf1")


def test_measures_agree_with_an_assessment_of_a_cheat():
    scenes = unsaf.images("scenes", n=6, seed=2)
    r = unsaf.assess(StyleCheat(), scenes, k=4)
    counts = picture_counts(r, r.images)
    found = measures(counts.sum(0))
    assert found["youden_j"] == 1 and found["kept"] == 1 and np.isnan(found["youden_j_true"])
    assert {r["metric"] for r in own_rows("cheat", counts, r.images, n=100, drawn=False)} == set(MEASURES)


# ---- trained models

@pytest.mark.slow
def test_a_trained_student_and_its_larger_relative(tmp_path):
    models = cast("tiny-student", teacher="tiny-s", dtype="float32", device="cpu")
    def run(): return evaluate(models, n=6, seed=77, k=3, n_bench=4, bench_setting="oe", benchmarks=("accuracy", "calibration"), store=tmp_path, resamples=300)
    first = run()
    assert first.settings["teacher"] == "teacher" and first.settings["strategies"] == [] and first.table.p_holm.isna().all()
    assert first.value("teacher", "kept") > .9 and np.isfinite(first.value("teacher", "ece_oe")) and first.counts.kept.sum() > 60
    second = run()
    assert second.calls["asked"] == 0 and second.calls["failed"] == 0
    pd.testing.assert_frame_equal(first.table, second.table)


def test_cast_names_every_adapter_once(tmp_path):
    for name in ("qa", "iq"): (tmp_path / name).mkdir()
    assert list(cast("tiny-student", [str(tmp_path / "qa"), f"UnD-IQ={tmp_path / 'iq'}"], "tiny-m")) == ["base", "teacher", "qa", "UnD-IQ"]
    with pytest.raises(UnsafError, match="two models"): cast("tiny-student", [str(tmp_path / "qa")] * 2)
    with pytest.raises(UnsafError, match="no such folder"): cast("tiny-student", ["nowhere"])
