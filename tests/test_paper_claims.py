"Verdicts: what is joint is drawn jointly, what is undefined is not judged, and 'consistently' means every cell."
from types import SimpleNamespace
import numpy as np
import pandas as pd
import pytest
from unsaf.paper import ledger as rules
from unsaf.paper.ledger import BUILT_IN, FAILED, NOT_RUN, ONE_RUN, REPRODUCED, UNDECIDED
from unsaf.paper.runspec import Missing
from unsaf.paper.training import Trained, side_by_side, training_limits
from unsaf.paper.stats import Difference as Gap, awareness_gap, balanced, jointly, limits
from unsaf.paper.studies.prompts import tendencies
from unsaf.paper.study import PAPER, TESTBED, open_study
from unsaf.paper.tables import spread

STUDY = {p.name: SimpleNamespace(name="table01", profile=p) for p in (TESTBED, PAPER)}


def run(name, cells, prefix="p"):
    "An assessment whose image i has these cells."
    rows = [dict(image_id=f"{prefix}{i}", cell=c, answerable=c in ("TA", "FU")) for i, own in enumerate(cells) for c in own]
    return SimpleNamespace(model=name, images=[f"{prefix}{i}" for i in range(len(cells))], table=pd.DataFrame(rows, columns=["image_id", "cell", "answerable"]))


def noisy(name, p, seed=0, n=60, prefix="p"):
    rng = np.random.default_rng(seed)
    return run(name, [["TA" if rng.random() < p else "FU", "TU" if rng.random() < p else "FA"] for _ in range(n)], prefix)


def test_the_same_images_twice_are_no_more_than_once():
    "Two seeds that chose the same images do not narrow an interval by the root of two; disjoint ones do."
    a, b = noisy("a", .9), noisy("b", .6, 1)
    once, twice = awareness_gap([([a], [b])], "youden_j"), awareness_gap([([a, a], [b, b])], "youden_j")
    assert twice.difference == pytest.approx(once.difference) and twice.high - twice.low == pytest.approx(once.high - once.low, rel=.05)
    other = awareness_gap([([a, noisy("a", .9, 2, prefix="q")], [b, noisy("b", .6, 3, prefix="q")])], "youden_j")
    assert (other.high - other.low) / (once.high - once.low) == pytest.approx(2 ** -.5, rel=.25)
    assert len(once.cells) == len(twice.cells) == len(other.cells) == 1                      # seeds are no cells


def test_an_interval_against_the_plain_bootstrap():
    a, b = noisy("a", .9), noisy("b", .6, 1)
    gap, rng = awareness_gap([([a], [b])], "youden_j"), np.random.default_rng(0)
    cells = ["TA", "FA", "TU", "FU"]
    counts = {r.model: pd.crosstab(r.table["image_id"], r.table["cell"]).reindex(r.images, columns=cells, fill_value=0).to_numpy() for r in (a, b)}
    def j(r, drawn):
        ta, fa, tu, fu = counts[r.model][drawn].sum(0)
        return ta / (ta + fu) - fa / (fa + tu)
    brute = [j(a, d) - j(b, d) for d in (rng.integers(0, 60, 60) for _ in range(1000))]
    assert gap.difference == pytest.approx(j(a, np.arange(60)) - j(b, np.arange(60)))
    assert np.allclose([gap.low, gap.high], np.quantile(brute, [.025, .975]), atol=.04)


def test_an_undefined_cell_is_left_out_and_told_and_alone_it_is_not_judged():
    fine, none = noisy("fine", .9), run("writes no answerable one", [["FA", "TU"]] * 10)
    gap = awareness_gap([([fine], [noisy("weak", .6, 1)]), ([none], [none])], "timidity")
    assert len(gap.cells) == 1 and np.isfinite(gap.difference) and any("undefined" in why for why in gap.missing)
    alone = awareness_gap([([none], [none])], "timidity")
    for entry in (rules.direction(STUDY["paper"], "c", "s", alone), rules.unchanged(STUDY["paper"], "c", "s", alone, .1)):
        assert entry.verdict == NOT_RUN and "undefined" in entry.why


def test_missing_results_are_told():
    gap = awareness_gap([([Missing("no lesson")], [noisy("a", .5)])])
    assert not gap.cells and rules.direction(STUDY["paper"], "c", "s", gap).why == "no lesson"


def test_consistently_means_no_cell_the_other_way():
    gap = Gap(.1, .05, .15, ((.3, .2, .4), (-.1, -.15, -.05)))
    assert rules.direction(STUDY["paper"], "c", "s", gap).verdict == REPRODUCED
    assert rules.direction(STUDY["paper"], "c", "s", gap, every=True).verdict == FAILED
    assert rules.direction(STUDY["paper"], "c", "s", gap, -1).verdict == FAILED
    calm = Gap(0., -.01, .01, ((.2, .1, .3), (-.2, -.3, -.1)))                              # opposite changes cancel in the mean
    assert rules.unchanged(STUDY["paper"], "c", "s", calm, .03).verdict == REPRODUCED
    assert rules.unchanged(STUDY["paper"], "c", "s", calm, .03, every=True).verdict == FAILED


@pytest.mark.parametrize("low,high,sign,verdict", [(.01, .2, 1, REPRODUCED), (-.01, .2, 1, UNDECIDED), (-.2, -.01, -1, REPRODUCED), (-.2, .01, -1, UNDECIDED),
                                                   (.01, .2, -1, FAILED), (0, 0, 1, UNDECIDED)])
def test_a_direction_needs_its_whole_interval(low, high, sign, verdict):
    entry = rules.direction(STUDY["paper"], "c", "s", Gap((low + high) / 2, low, high, (((low + high) / 2, low, high),)), sign)
    assert entry.verdict == verdict and ("undecided" in entry.why) == (low <= 0 <= high)


def test_a_tolerance_that_the_interval_straddles_is_undecided():
    def verdict(low, high, sign=0, **more):
        mid = (low + high) / 2
        return rules.unchanged(STUDY["paper"], "c", "s", Gap(mid, low, high, ((mid, low, high),)), .03, sign, **more).verdict
    assert [verdict(-.01, .01), verdict(-.01, .05), verdict(.04, .06), verdict(.01, .2)] == [REPRODUCED, UNDECIDED, FAILED, UNDECIDED]
    assert [verdict(.01, .2, 1), verdict(-.2, -.1, 1), verdict(-.2, -.1, -1)] == [REPRODUCED, FAILED, REPRODUCED]
    assert verdict(.01, .05, every=True) == UNDECIDED and verdict(.04, .05, every=True) == FAILED


def test_trainings_are_counted_and_enter_the_interval():
    "One seed is one run, whichever way; from three on the interval holds teachers and seeds, and is Student's by hand."
    def gap(n, shift=lambda t, s: 0.):
        cells = []
        for t in "xyz":
            made = [noisy("a", .9 - shift(t, s), s, prefix=f"{s}") for s in range(n)]
            cells.append(side_by_side(made, [noisy("b", .6, 9 + s, prefix=f"{s}") for s in range(n)], [Trained("stu", t, s) for s in range(n)]))
        return awareness_gap(cells, "youden_j")
    one, three, far = gap(1), gap(3), gap(3, lambda t, s: .3 * (t == "x"))
    assert (one.seeds, three.seeds) == (1, 3) and rules.direction(STUDY["paper"], "c", "s", one).verdict == ONE_RUN
    assert rules.direction(STUDY["paper"], "c", "s", one, -1).verdict == ONE_RUN and "1 training seed" in rules.direction(STUDY["paper"], "c", "s", one).why
    assert rules.direction(STUDY["paper"], "c", "s", three).verdict == REPRODUCED
    assert far.high - far.low > 2 * (three.high - three.low) and rules.direction(STUDY["paper"], "c", "s", far).verdict == UNDECIDED
    plain = awareness_gap([tuple(c) for c in [([noisy("a", .9)], [noisy("b", .6, 1)])]], "youden_j")
    assert plain.seeds == 0                                                                  # no training, no widening
    low, high = training_limits(0, [.1, .2, .3, .4], [Trained("s", t, i) for t in "xy" for i in (0, 1)], 0)   # teachers .15 and .35: one degree of freedom
    assert high == pytest.approx(12.7062047 * .1, rel=1e-6) and low == -high


def test_training_limits_cover():
    "Teachers and seeds both vary: of 400 simulated studies without an effect about one in twenty claims one."
    rng, names = np.random.default_rng(0), [Trained(s, t, i) for s in "abc" for t in "xyz" for i in range(3)]
    wrong = 0
    for _ in range(400):
        teacher = {(s, t): rng.normal(0, .03) for s in "abc" for t in "xyz"}
        v = np.array([teacher[n.student, n.teacher] + rng.normal(0, .03) for n in names])
        low, high = training_limits(v.mean(), v, names, 0)
        wrong += not low <= 0 <= high
    assert 5 <= wrong <= 36                                                                  # 20 expected, four deviations either way


def test_built_in_says_which_way_it_came_out():
    for low, word in ((.01, "came out as claimed"), (-.2, "came out otherwise")):
        gap = Gap(low + .05, low, low + .1, ((low + .05, low, low + .1),))
        here, there = (rules.direction(STUDY[p], "c", "s", gap, built="abstention") for p in ("testbed", "paper"))
        assert here.verdict == BUILT_IN and word in here.why and there.verdict in (REPRODUCED, FAILED)
    assert rules.line(STUDY["paper"], "c", "s", "m", 0, 0, True, built="definition").verdict == BUILT_IN


def test_no_accuracy_no_tally():
    study = open_study("table10", "paper")
    study.results.update({unit: Missing("nobody served it") for unit in study.specs()})
    table = study.table()
    assert table["value"].isna().all() and table["why"].str.contains("have no accuracy").all()
    assert {e.verdict for e in study.entries(table) if e.kind == 'cell'} == {NOT_RUN}


def test_tendencies():
    assert tendencies({"a": (.9, .1), "b": (.5, .3), "c": (.4, .35), "d": (np.nan, .1)}) == {"a": "audacious", "b": "timid", "c": "timid", "d": "unknown"}
    assert tendencies({"a": (.9, .1)}) == {"a": "audacious"} and tendencies({"a": (.1, .9)}) == {"a": "timid"}


def test_one_image_has_no_interval_and_a_mostly_undefined_score_none():
    value = spread(["unf1"], [(["p"], np.array([[3, 1, 2, 1]]))])["unf1"]
    assert value[0] == pytest.approx(.75) and np.isnan(value[1:]).all()
    assert np.isnan(limits(np.array([.5] * 90 + [np.nan] * 10))).all() and not np.isnan(limits(np.array([.5] * 97 + [np.nan] * 3))).any()
    ones = np.ones((4, 2))
    values, samples = jointly([("abcd", ones, lambda s: s[:, 0]), ("cdef", 2 * ones, lambda s: np.stack([s[:, 0], s[:, 1]], 1))])
    assert values.tolist() == [4, 8, 8] and samples.shape == (2000, 3)


def test_balanced_leaves_other_results_as_they_are():
    assert balanced(Missing("x")) == Missing("x")
