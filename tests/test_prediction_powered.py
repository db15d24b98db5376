"Scores by the truth from some labels: the numbers of ppi-python, and intervals that cover where dividing does not."
import sys
from pathlib import Path
import numpy as np
import pytest
from unsaf.metrics.prediction_powered import HOWS, estimated, power, powered

COUNTS = np.array([[[640, 95, 5, 0], [360, 20, 34, 0]], [[190, 12, 18, 0], [810, 13, 103, 0]]])

# ppi-python 0.2.3, `benchmarks/peers/ppi.py`
CELLS = {0: [913.333333, 220, 713.333333, 153.333333], .5: [931.666667, 220, 700, 148.333333], 1: [950, 220, 686.666667, 143.333333]}
POWER, WIDTH = .40788, dict(classical=.17951, ppi=.19824) | {"ppi++": .16227}


def one_question_an_image(sums):
    rows = []
    for at in np.ndindex(2, 2):
        for label, many in enumerate((sums[at][0] - sums[at][1:].sum(), *sums[at][1:])):
            row = np.zeros((2, 2, 4))
            row[at][[0, label]] = 1
            rows += [row] * many
    return np.array(rows)


@pytest.mark.promise("labels")
def test_totals_and_lambda_are_those_of_ppi_python():
    for weight, cells in CELLS.items(): assert estimated(COUNTS, "ppi", weight) == pytest.approx(cells)
    assert power(COUNTS) == pytest.approx(POWER, rel=1e-3)      # theirs divides by N - 1


def test_without_clusters_widths_are_those_of_ppi_python():
    rows = one_question_an_image(COUNTS)
    for how, width in WIDTH.items():
        found = powered(["youden_j"], rows, how)["youden_j"]
        assert width * .97 < found.high - found.low < width * 1.08, how


def test_by_strata_lambda_says_nothing_and_unclear_ones_are_left_out():
    equal = COUNTS.copy()
    equal[..., 0] = COUNTS[..., 1:].sum(-1) * 10      # labels in proportion: then PPI, whatever its lambda, is the stratified
    for weight in (0, .3, 1): assert estimated(equal, "ppi", weight) == pytest.approx(estimated(equal))
    unclear = np.array([[[10, 5, 0, 0], [10, 0, 0, 5]], [[10, 0, 0, 0], [10, 1, 3, 1]]])
    assert estimated(unclear) == pytest.approx([6, 2, 10 + 2, 6])      # an empty stratum takes its class's shares


@pytest.mark.parametrize("broken, word", [(COUNTS[None, :1], "shape"), (-COUNTS[None], "0 or more"), (COUNTS[None] * [1, 9, 9, 9], "more labels"),
                                          (COUNTS[None] * [1, 0, 0, 0], "no question is labelled"), (COUNTS[None], "two or more")])
def test_what_cannot_be_counted(broken, word):
    with pytest.raises(ValueError, match=word): powered(["youden_j"], broken)


def test_an_unknown_estimator():
    with pytest.raises(ValueError, match="how"): estimated(COUNTS, "luck")
    assert HOWS[-1] == "stratified"


# ---- a reduced table of `benchmarks/bench_labels.py`

@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
    try: import bench_labels
    finally: sys.path.pop(0)
    return bench_labels


@pytest.mark.promise("labels")
@pytest.mark.slow
@pytest.mark.parametrize("world, agree", [("middle", .8), ("corner", 0), ("corner", .8), ("many wrong", .8), ("all right", 0)])
def test_they_cover_whatever_is_wrong_with_the_labels(bench, world, agree):
    ".95 is meant, .88 is four standard errors of 150 runs below it."
    found = dict(zip(bench.KINDS, bench.line(100, (*bench.WORLDS[world], agree), 100, 150, resamples=200)))
    for kind in ("classical", "ppi++", "post-stratified", "stratified"): assert found[kind][0] >= .88, kind
    if agree: assert found["divided"][0] < .2 and found["stratified"][2] < found["divided"][2] / 3


def test_dividing_does_not_cover_where_replies_agree_with_wrong_labels_and_strata_do(bench):
    found = dict(zip(bench.KINDS, bench.line(60, (*bench.WORLDS["middle"], .8), 100, 25)))
    assert found["divided"][0] < .3 and found["stratified"][0] > .8 and found["stratified"][1] < found["classical"][1]


@pytest.mark.promise("labels")
def test_a_plan_comes_out_as_wide_as_it_says(bench):
    labels, expected, came, covers = bench.planned(100, (*bench.WORLDS["middle"], 0), .3, 8)
    assert 60 < labels < 200 and expected <= .3 and .8 < came / expected < 1.15 and covers > .6
