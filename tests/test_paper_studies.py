"Metrics as sums, curves, ratios and distances against the metrics themselves, literal resampling, brute force, closed forms and simulation."
import itertools
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from unsaf.core import UnsafError
from unsaf.metrics.calibration import brier, ece, ice, macro_ce, mce
from unsaf.metrics.pressure import consistency, misleading_rate
from unsaf.paper.runspec import Missing, RunSpec, run_spec
from unsaf.paper.stats import STATISTICS, rows_of, statistic, units
from unsaf.paper.studies.distillation import distribution, wilson
from unsaf.paper.studies.ranks import footrules, rank_samples
from unsaf.paper.studies.ratio import ratios
from unsaf.paper.studies.sizes import CURVE, curve

RATIOS = (1 / 8, 1 / 6, 1 / 4, 1 / 2, 2 / 3, 2, 3, 8)


def pool(ta, fu, fa, tu, per_image=10):
    cells = ["TA"] * ta + ["FU"] * fu + ["FA"] * fa + ["TU"] * tu
    return pd.DataFrame(dict(image_id=[f"p{i // per_image}" for i in range(len(cells))], answerable=[c in ("TA", "FU") for c in cells], cell=cells))


def answers(n, seed=0):
    rng = np.random.default_rng(seed)
    p = np.round(rng.random(n), 2)      # some stand on the edges of bins
    return pd.DataFrame(dict(part="mc", item=range(n), image_id=[f"p{i % 7}" for i in range(n)], question="?", offered=False, outcome="answered",
                             confidence=p, credit=(rng.random(n) < p) * 1.0))


def wordings(answered, part="oe"):
    "Rows of CU from lists of answers: first the question as written, then its other wordings."
    return pd.DataFrame([dict(part=part, item=i, image_id=f"p{i}", question=f"q{i}?", number=k, outcome="failed" if a is None else "answered", answer=a)
                         for i, row in enumerate(answered) for k, a in enumerate(row)])


def lines(first, explicit, implicit, gold):
    return pd.DataFrame([dict(part=kind, item=i, image_id=f"p{i}", question="?", gold=g, first=f, first_outcome="answered", outcome="answered", answer=a)
                         for kind, said in (("explicit", explicit), ("implicit", implicit)) for i, (f, a, g) in enumerate(zip(first, said, gold))])


# ---- statistics

@pytest.mark.parametrize("name, metric", [("Brier", brier), ("ECE", ece), ("MCE", mce), ("ICE", ice), ("MacroCE", macro_ce)])
@pytest.mark.parametrize("seed", range(4))
def test_calibration_from_sums_is_that_of_the_answers(name, metric, seed):
    rows = answers(60, seed)
    assert STATISTICS[name](rows) == pytest.approx(metric(rows["confidence"], rows["credit"].astype(int)), abs=1e-12)


def test_calibration_takes_the_rows_that_the_benchmark_takes():
    rows = answers(40)
    more = pd.concat([rows, rows[:5].assign(offered=True), rows[5:9].assign(outcome="abstained"), rows[9:12].assign(confidence=None)])
    for name in ("Brier", "ECE", "MCE", "ICE", "MacroCE"): assert STATISTICS[name](more) == STATISTICS[name](rows)
    half = pd.DataFrame(dict(offered=False, outcome="answered", confidence=[1.0, 1.0], credit=[.5, .4]))
    assert STATISTICS["Brier"](half) == .5        # credit .5 is right, .4 is not


def test_mr_pools_both_lines_of_a_question_and_keeps_them_together():
    first, explicit, implicit, gold = list("AABC"), list("ABBC"), ["B", None, "B", "D"], list("AABD")
    rows = lines(first, explicit, implicit, gold)
    assert STATISTICS["MR"](rows) == misleading_rate(first * 2, explicit + implicit, gold * 2) == .5
    assert len(units(rows, "MR")[1]) == 4 and (units(rows, "MR")[1].sum(1) == 2).all()
    assert set(curve(rows, "MR", (1, 4, 5))["population"]) == {4}


def test_cu_is_that_of_the_metric():
    said = [["red", "Red.", "blue"], ["2", "two", None], ["unanswerable", "unanswerable", "red"], [None, "red", "red"]]
    rows = wordings(said)
    kept = [r for r in said if r[0] is not None]
    assert STATISTICS["CU"](rows) == pytest.approx(consistency([r[0] for r in kept], [r[1:] for r in kept]))
    assert STATISTICS["CU"](rows.sample(frac=1, random_state=0)) == pytest.approx(STATISTICS["CU"](rows))
    assert len(units(rows, "CU")[1]) == 3          # the question whose own call failed is none


def test_cu_keeps_the_wordings_of_a_question_together():
    rows = wordings([["red"] * 6] * 20 + [["red"] + ["blue"] * 5] * 20)
    shown = curve(rows, "CU", (1, 2, 41), draws=400)
    assert shown["population"][0] == 40 and "above the population of 40" in shown["why"][2]
    one = shown.iloc[0]                            # a draw of one question is 0 or 1, so its sd is that of a coin
    assert one["sd"] == pytest.approx(np.sqrt(one["mean"] * (1 - one["mean"])))
    assert one["mean"] == pytest.approx(.5, abs=.1)


def test_a_wording_that_could_not_be_read_is_no_question_of_its_own():
    rows = wordings([["red", "red", "blue"], ["red"]])
    assert STATISTICS["CU"](rows) == .5
    assert len(units(rows, "CU")[1]) == 2 and np.isnan(STATISTICS["CU"](wordings([["red"], ["blue"]])))


def test_values_that_do_not_exist_are_nan():
    right = answers(5).assign(credit=1.0)
    assert np.isnan(STATISTICS["MacroCE"](right)) and STATISTICS["ICE"](right) >= 0
    assert np.isnan(STATISTICS["MR"](lines("AB", "AB", "AB", "CC")))
    for name in ("UnF1_class", "J"): assert np.isnan(STATISTICS[name](pool(5, 5, 0, 0)))
    assert STATISTICS["UnF1"](pool(0, 5, 0, 5)) == 0
    empty = dict(UnF1=pool(1, 1, 1, 1)[:0], ECE=answers(2)[:0], MCE=answers(2)[:0], MR=lines("A", "A", "A", "A")[:0], CU=wordings([["a", "b"]])[:0])
    for name, rows in empty.items():
        assert np.isnan(STATISTICS[name](rows)), name
        assert "above the population of 0" in curve(rows, name, [3])["why"][0]
        assert rank_samples({"A": rows}, name, 5).isna().all(axis=None)


def test_rows_that_make_no_sense_are_refused():
    rows = wordings([["red", "red"]])
    with pytest.raises(UnsafError, match="2 of 4 rows say again"): STATISTICS["CU"](pd.concat([rows, rows]))
    with pytest.raises(UnsafError, match="needs the columns offered, outcome, confidence, credit"): STATISTICS["ECE"](pool(1, 1, 1, 1))
    with pytest.raises(UnsafError, match="'UnF2' is unknown: use one of UnF1"): statistic("UnF2")


# ---- rows of a run

@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    "A small bench and two assessments, each as it comes and as it is read back from the disk."
    store = tmp_path_factory.mktemp("store")
    made = dict(bench=RunSpec("bench", "tiny-s", "scenes", "both", 12, options=(("benchmarks", "calibration,mr,cu"), ("rephraser", "world"))),
                oe=RunSpec("assess", "tiny-s", "scenes", "oe", 4), mc=RunSpec("assess", "tiny-s", "scenes", "mc", 4))
    first = {name: run_spec(unit, store, say=lambda _: None) for name, unit in made.items()}
    return first, {name: run_spec(unit, store, say=lambda _: None) for name, unit in made.items()}


@pytest.mark.parametrize("setting", ["OE", "mc"])
def test_rows_of_a_run_give_its_own_scores(runs, setting):
    part = setting.lower()
    for run in runs:
        own, found = run[part], run["bench"]
        assert STATISTICS["UnF1"](rows_of(own, "UnF1", setting)) == own.scores.unf1
        assert STATISTICS["J"](rows_of(own, "J", setting)) == own.scores.youden_j
        for name, metric in dict(Brier="brier", ECE="ece", MCE="mce", ICE="ice", MacroCE="macro_ce").items():
            assert STATISTICS[name](rows_of(found, name, setting)) == pytest.approx(found.value("calibration", part, metric), abs=1e-12, nan_ok=True)
        assert STATISTICS["CU"](rows_of(found, "CU", setting)) == pytest.approx(found.value("cu", part, "consistency"))
    for kind in ("explicit", "implicit"):
        assert STATISTICS["MR"](rows_of(runs[1]["bench"], "MR", "mc", kind)) == runs[0]["bench"].value("mr", kind, "misleading_rate")


def test_rows_of_counts_what_it_leaves_out_and_keeps_all_images(runs):
    own = runs[1]["oe"]
    rows = rows_of(own, "UnF1", "oe")
    assert rows.attrs["images"] == sorted(own.images) and rows.attrs["left_out"] == 0
    own.table.loc[own.table["image_id"] == own.images[0], "cell"] = None
    lost = int(own.table["cell"].isna().sum())
    less = rows_of(own, "UnF1", "oe")
    assert less.attrs["left_out"] == lost > 0 and len(less) == len(rows) - lost
    assert curve(less, "UnF1", [2], by="images")["population"][0] == 4


def test_rows_of_says_what_cannot_be(runs):
    first, _ = runs
    for result, name, setting, line in [
            (first["oe"], "UnF1", "mc", "is oe, mc was asked for"), (first["oe"], "ECE", "oe", "computed from a benchmark's replies, got Assessment"),
            (first["bench"], "UnF1", "oe", "computed from an assessment, got Bench"), (first["bench"], "MR", "OE", "in the setting mc only"),
            (first["bench"], "ECE", "xx", "setting 'xx' is unknown"), (Missing("nobody taught it"), "J", "oe", "no result: nobody taught it")]:
        with pytest.raises(UnsafError, match=line): rows_of(result, name, setting)
    with pytest.raises(UnsafError, match="kind 'loud'"): rows_of(first["bench"], "MR", "mc", "loud")


# ---- curve

def test_cv_of_a_binomial_is_the_theory():
    "Without unanswerable questions UnF1 is 2t/(1 + t): sd = 2/(1 + t)^2 sqrt(t(1 - t)/n), times the finite population factor."
    rows = pool(3500, 1500, 0, 0)
    t, sizes = .7, (200, 800, 3000)
    shown = curve(rows, "UnF1", sizes, draws=900)
    theory = 2 / (1 + t) ** 2 * np.sqrt(t * (1 - t) / np.array(sizes)) / (2 * t / (1 + t))
    factor = np.sqrt((5000 - np.array(sizes)) / 4999)
    assert tuple(shown.columns) == CURVE and np.allclose(shown["fpc"], factor)
    assert np.allclose(shown["cv"], theory * factor, rtol=.08)
    again = curve(rows, "UnF1", sizes, draws=900, replace=True)
    assert (again["fpc"] == 1).all() and np.allclose(again["cv"], theory, rtol=.08)


def test_images_bring_their_questions_along():
    rows = pool(3000, 1000, 0, 0)
    by = {by: curve(rows, "UnF1", [100], 600, by=by)["sd"][0] for by in ("questions", "images")}
    alike = curve(rows, "UnF1", [1000], 600)["sd"][0]
    assert 2.5 < by["images"] / alike < 4.2
    assert by["images"] == pytest.approx(by["questions"], rel=.15)      # 100 images, all or nothing, are worth 100 questions


def test_no_size_and_no_draw_is_lost_in_silence():
    rows = answers(30).assign(credit=[0.0] * 10 + [1.0] * 20)
    shown = curve(rows, "MacroCE", (2, 30, 31), draws=20).set_index("n")
    assert 0 < shown.loc[2, "defined"] < 20 and f"undefined in {20 - shown.loc[2, 'defined']} of 20" in shown.loc[2, "why"]
    assert shown.loc[30, "sd"] == shown.loc[30, "fpc"] == 0 and "whole population" in shown.loc[30, "why"]
    assert shown.loc[31, ["mean", "sd", "cv"]].isna().all() and shown.loc[31, "why"] == "above the population of 30 questions"
    zero = curve(pool(0, 20, 0, 20), "UnF1", [10])
    assert zero["mean"][0] == 0 and np.isnan(zero["cv"][0]) and "no cv" in zero["why"][0]


def test_draws_of_a_size_depend_on_the_seed_alone():
    rows = answers(50)
    assert curve(rows, "ECE", [10, 20])[1:].reset_index(drop=True).equals(curve(rows, "ECE", [20]))
    assert curve(rows, "ECE", [20], seed=1)["mean"][0] != curve(rows, "ECE", [20])["mean"][0]


@pytest.mark.parametrize("change, line", [(dict(by="pixels"), "by 'pixels'"), (dict(draws=1), "takes two or more"), (dict(sizes=[0]), "sizes holds 0"),
                                          (dict(sizes=[2.5]), "sizes holds 2.5")])
def test_curve_says_what_is_wrong(change, line):
    with pytest.raises(UnsafError, match=line): curve(**(dict(rows=pool(5, 5, 5, 5), name="UnF1", sizes=[3]) | change))


def test_drawing_images_takes_their_names():
    rows = pool(2, 2, 2, 2)
    for bad in (rows.drop(columns="image_id"), rows.assign(image_id=[None, *"abcdefg"])):
        with pytest.raises(UnsafError, match="image_id"): curve(bad, "UnF1", [1], by="images")


# ---- ratios

def test_ratios_have_one_size_and_the_numbers_known_by_hand():
    found = ratios(pool(891, 9, 882, 18), RATIOS)
    assert (found["p"] + found["n"]).nunique() == 1 and np.allclose(found["p"] / found["n"], RATIOS, rtol=.02)
    assert found["unf1"].iloc[0] == pytest.approx(.20, abs=.005) and found["unf1_class"].to_numpy() == pytest.approx(.667, abs=.003)
    assert np.allclose(found["always_answer"], 2 * found["p"] / (2 * found["p"] + found["n"])) and found["always_answer"].iloc[0] == pytest.approx(.2, abs=.002)
    moves = lambda column: found[column].max() - found[column].min()
    fits = lambda column: found[f"{column}_low"].max() <= found[f"{column}_high"].min()      # one value for all ratios
    assert moves("unf1") > .7 and not fits("unf1") and moves("unf1_class") < .005 and fits("unf1_class") and fits("youden_j")


@pytest.mark.parametrize("counts", [(160, 40, 60, 140), (90, 110, 20, 180), (120, 60, 120, 200), (300, 0, 0, 300)])
def test_the_closed_form_lies_inside_the_draws(counts):
    ta, fu, fa, tu = counts
    found = ratios(pool(*counts), RATIOS, draws=300)
    t, f = ta / (ta + fu), fa / (fa + tu)
    assert np.allclose(found["expected"], 2 * t / (1 + t + f * found["n"] / found["p"]))
    assert ((found["unf1_low"] - 1e-12 <= found["expected"]) & (found["expected"] <= found["unf1_high"] + 1e-12)).all()
    assert np.allclose(found["unf1"], found["expected"], atol=.02) and np.allclose(found["unf1_class"], 2 * t / (1 + t + f), atol=.02)
    assert np.allclose(found["youden_j"], t - f, atol=.02)


def test_draws_are_those_of_literal_subsampling():
    table, size = pool(60, 20, 30, 50), 80
    rng, one = np.random.default_rng(3), ratios(table, [1 / 3], draws=4000, size=size)
    p, n = one["p"][0], one["n"][0]
    assert (p, n) == (20, 60)
    sides = [table[table["answerable"]], table[~table["answerable"]]]
    literal = [STATISTICS["UnF1"](pd.concat([s.iloc[rng.permutation(len(s))[:k]] for s, k in zip(sides, (p, n))])) for _ in range(400)]
    assert one["unf1"][0] == pytest.approx(np.mean(literal), abs=4 * np.std(literal) / 20)
    assert one["unf1_high"][0] - one["unf1_low"][0] == pytest.approx(3.92 * np.std(literal), rel=.2)


def test_the_size_is_the_largest_that_all_ratios_allow():
    table = pool(50, 50, 30, 50)
    found = ratios(table, RATIOS)
    size = found["p"][0] + found["n"][0]
    assert (found["p"] <= 100).all() and (found["n"] <= 80).all()
    with pytest.raises(UnsafError, match=f"size {size + 1} is not possible .* largest that is: {size}"): ratios(table, RATIOS, size=int(size + 1))
    assert (ratios(table, RATIOS, size=45)[["p", "n"]].sum(axis=1) == 45).all()
    assert ratios(table, RATIOS, seed=5).equals(ratios(table, RATIOS, seed=5))


@pytest.mark.parametrize("table, change, line", [
    (pool(5, 5, 0, 0), {}, "no unanswerable question among the 10"), (pool(0, 0, 5, 5), {}, "no answerable question"),
    (pool(1, 1, 1, 1), {}, "too small for one size"),
    (pool(5, 5, 5, 5), dict(ratios=[0]), "give positive numbers"), (pool(5, 5, 5, 5), dict(ratios=[]), "give positive numbers"),
    (pool(5, 5, 5, 5).assign(cell=None), {}, "no answerable question among the 0"), (pool(50, 50, 50, 50), dict(draws=0), "draws = 0")])
def test_ratios_say_what_is_wrong(table, change, line):
    with pytest.raises(UnsafError, match=line): ratios(**(dict(table=table, ratios=RATIOS) | change))


# ---- footrules

def scores_of(values, models="ABCDE"):
    return pd.DataFrame([(d, m, v) for d, row in values.items() for m, v in zip(models, row)], columns=["dataset", "model", "value"])


def places(row, higher):
    "Average ranks, the slow way."
    better = [(lambda x: sum((y > x) if higher else (y < x) for y in row))(x) for x in row]
    return [b + (row.count(x) + 1) / 2 for b, x in zip(better, row)]


@pytest.mark.parametrize("higher", [True, False])
def test_distances_by_brute_force(higher):
    rng = np.random.default_rng(1)
    values = {d: rng.integers(0, 4, 5).tolist() for d in "VWXYZ"}        # many ties
    found = footrules(scores_of(values), higher)
    assert len(found) == 10 and (found["max"] == 12).all() and (found["chance"] == 8).all() and (found["models"] == 5).all()
    for row in found.itertuples():
        assert row.distance == sum(abs(x - y) for x, y in zip(places(values[row.a], higher), places(values[row.b], higher)))


def test_chance_is_what_unrelated_rankings_are_apart():
    rng = np.random.default_rng(0)
    values = {d: rng.permutation(5).astype(float) for d in range(40)}
    assert footrules(scores_of(values), True)["distance"].mean() == pytest.approx(8, abs=.25)
    every = [sum(abs(a - b) for a, b in zip(range(5), p)) for p in itertools.permutations(range(5))]
    assert np.mean(every) == 8 and max(every) == 12


def test_models_without_a_value_leave_their_pairs():
    values = dict(X=[.9, .8, .7, .6, .5], Y=[.5, np.nan, .7, .8, np.nan], Z=[np.nan] * 5)
    found = footrules(scores_of(values), True).set_index(["a", "b"])
    assert found.loc[("X", "Y"), ["models", "undefined", "max", "distance"]].tolist() == [3, 2, 4, 4]
    assert found.loc[("X", "Z"), ["models", "undefined"]].tolist() == [0, 5] and np.isnan(found.loc[("X", "Z"), "distance"])
    absent = footrules(scores_of(dict(X=[3, 2, 1], Y=[3, 2, 1]), "ABC")[:5], True)
    assert absent[["models", "undefined", "distance"]].iloc[0].tolist() == [2, 1, 0]


def test_samples_redraw_the_rankings():
    scores = scores_of(dict(X=[3.0, 2, 1], Y=[3.0, 2, 1]), "ABC")
    still = np.array([[3.0] * 40, [2.0] * 40, [1.0] * 40])
    turned = still.copy()
    turned[:, :20] = turned[::-1, :20]
    found = footrules(scores, True, dict(X=still, Y=turned)).iloc[0]
    assert (found["distance"], found["low"], found["high"], found["resamples"]) == (0, 0, 4, 40)
    frame = pd.DataFrame(still[::-1], index=list("CBA"))                  # by name, in another order
    holes = still.copy()
    holes[0, :10] = np.nan
    found = footrules(scores, True, dict(X=frame, Y=holes)).iloc[0]
    assert (found["low"], found["high"], found["resamples"]) == (0, 0, 30)
    less = scores.assign(value=scores["value"].mask((scores["dataset"] == "X") & (scores["model"] == "C")))      # no value, no samples needed
    found = footrules(less, True, dict(X=frame.drop(index="C"), Y=still)).iloc[0]
    assert (found["models"], found["undefined"], found["high"], found["resamples"]) == (2, 1, 0, 40)


@pytest.mark.parametrize("samples, line", [
    (dict(X=np.ones((2, 5)), Y=np.ones((3, 5))), "samples of X: an array models x resamples for A, B, C"),
    (dict(X=np.ones((3, 5)), Y=np.ones((3, 4))), "5 and 4 resamples"), (dict(X=np.ones((3, 5))), "nothing for the data set Y"),
    (dict(X=pd.DataFrame(np.ones((1, 5)), index=["A"]), Y=np.ones((3, 5))), "no row for B")])
def test_samples_have_to_fit(samples, line):
    with pytest.raises(UnsafError, match=line): footrules(scores_of(dict(X=[3.0, 2, 1], Y=[3.0, 2, 1]), "ABC"), True, samples)


def test_footrules_say_what_is_wrong():
    with pytest.raises(UnsafError, match="between two data sets, got 1"): footrules(scores_of(dict(X=[1, 2])), True)
    with pytest.raises(UnsafError, match="X, A has several values"): footrules(pd.concat([scores_of(dict(X=[1.0], Y=[1.0]))] * 2), True)


# ---- rankings drawn again

def test_models_with_the_same_images_are_drawn_together():
    a, b = answers(80), answers(80, seed=1)
    found = rank_samples(dict(A=a, B=b, A2=a), "Brier", 50)
    assert found.attrs["paired"] and found.shape == (3, 50) and (found.loc["A"] == found.loc["A2"]).all() and (found.loc["A"] != found.loc["B"]).any()
    apart = rank_samples(dict(A=a, B=a.assign(image_id="z" + a["image_id"])), "Brier", 50)
    assert not apart.attrs["paired"] and (apart.loc["A"] != apart.loc["B"]).any()
    assert not rank_samples(dict(A=a), "Brier", 50, seed=1).equals(rank_samples(dict(A=a), "Brier", 50))


def test_images_without_a_row_can_be_drawn():
    rows = answers(80)
    less = rows[rows["image_id"] != "p3"]
    less.attrs = dict(images=sorted(set(rows["image_id"])))
    assert rank_samples(dict(A=rows, B=less), "Brier", 5).attrs["paired"]
    only = rows[rows["image_id"] == "p3"]
    only.attrs = dict(images=["p0", "p3"])
    assert rank_samples(dict(A=only), "Brier", 200).loc["A"].isna().mean() == pytest.approx(.25, abs=.1)      # p3 is in no draw of two


def test_resamples_spread_like_a_literal_bootstrap():
    rows = pool(300, 100, 100, 300)
    found = rank_samples(dict(A=rows), "UnF1", 2000).loc["A"]
    groups, rng = [g["cell"].to_numpy() for _, g in rows.groupby("image_id")], np.random.default_rng(0)
    def once():
        drawn = np.concatenate([groups[i] for i in rng.integers(0, len(groups), len(groups))])
        return STATISTICS["UnF1"](pd.DataFrame(dict(cell=drawn)))
    literal = [once() for _ in range(300)]
    assert found.mean() == pytest.approx(np.mean(literal), abs=.015) and found.std() == pytest.approx(np.std(literal), rel=.2)
    with pytest.raises(UnsafError, match="n = 0"): rank_samples(dict(A=rows), "UnF1", 0)


# ---- distribution

def test_outcomes_of_each_class():
    table = pool(6, 3, 2, 8, per_image=1)
    table = pd.concat([table, table[:1].assign(cell=None, image_id="x")])
    found = distribution(table).set_index("outcome")
    assert list(distribution(table)["outcome"]) == ["TA", "FU", "neither", "FA", "TU", "neither"]
    assert found.loc["TA", ["count", "questions", "rate"]].tolist() == [6, 10, .6]
    assert found.loc["neither", "count"].tolist() == [1, 0]
    sums = distribution(table).groupby("class")["rate"].sum()
    assert np.allclose(sums, 1)
    assert (found["low"] <= found["rate"]).all() and (found["rate"] <= found["high"]).all()
    assert found.loc["neither", "method"].tolist() == ["resampled images", "Wilson over images"] and found.loc["neither", "high"].iloc[1] > .2


def test_outcomes_that_never_occur_keep_a_width_by_images():
    found = distribution(pool(40, 0, 0, 40)).set_index("outcome")         # four images a class
    assert found.loc["FU", ["low", "high"]].tolist() == pytest.approx(list(wilson(0, 4))) and found.loc["TA", "low"] == pytest.approx(wilson(4, 4)[0])
    single = distribution(pool(3, 2, 0, 0)).set_index("outcome")
    assert single.loc["TA", "method"] == "one image" and np.isnan(single.loc["TA", "low"])
    assert single.loc["FA", "method"] == "no question" and np.isnan(single.loc["FA", "rate"])


@pytest.mark.parametrize("k, n", [(0, 5), (5, 5), (3, 10), (70, 200)])
def test_wilson_is_scipys(k, n):
    assert wilson(k, n) == pytest.approx(tuple(scipy.stats.binomtest(k, n).proportion_ci(method="wilson")), abs=1e-6)


def test_a_cell_of_the_other_class_is_refused():
    with pytest.raises(UnsafError, match="1 unanswerable questions stand in the cell TA"): distribution(pool(1, 0, 0, 0).assign(answerable=False))
