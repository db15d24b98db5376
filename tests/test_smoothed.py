"Smoothed intervals of awareness: do they cover, and what do they say where nothing varied."
import warnings
import numpy as np
import pytest
from unsaf.metrics.awareness import SHOWN, scorer
from unsaf.metrics.resampling import cluster_bootstrap, paired_permutation
from unsaf.metrics.smoothed import coverage, design_effect, simulated, smoothed_bootstrap, smoothed_difference

NAMES = ("unf1", "youden_j", "timidity")


def smoothed(counts, names): return smoothed_bootstrap(names, counts, n=400)
def percentile(counts, names): return cluster_bootstrap(scorer(*names), counts, n=400)


@pytest.mark.promise("intervals")
@pytest.mark.parametrize("cell", [(10, .995, .002, .2), (30, .995, .002, .6), (30, .05, .01, .6), (30, .99, .97, .2), (10, .8, .3, .2), (100, .9, .1, 0)])
def test_they_cover(cell):
    "A reduced table of `benchmarks/bench_intervals.py`: .95 is meant, .88 is four standard errors of 150 runs below it."
    assert (coverage(smoothed, NAMES, *cell, runs=150)[:, 0] >= .88).all()


def test_what_they_are_held_against_does_not():
    assert (coverage(percentile, NAMES, 10, .995, .002, .2, runs=150)[:, 0] < .5).all()


def test_they_are_hardly_wider_where_nothing_is_near_a_corner():
    old, new = (coverage(kind, NAMES, 100, .8, .3, .2, runs=20)[:, 1] for kind in (percentile, smoothed))
    assert (new / old < 1.1).all() and (new / old > .95).all()


@pytest.mark.promise("intervals")
def test_differences_cover_where_plain_ones_do_not():
    "A reduced table of `benchmarks/bench_intervals.py --differences`, 10 images."
    names, rng, held, rates = ("unf1", "youden_j", "audacity"), np.random.default_rng(0), [], ((.995, .002), (.97, .03))
    truth = {name: x[0] - x[1] for name, x in scorer(*names)(np.array([[t, f, 1 - f, 1 - t] for t, f in rates])).items()}
    for _ in range(100):
        a, b = (simulated(rng, 10, t, f, .6) for t, f in rates)
        kinds = paired_permutation(a, b, scorer(*names), n=300), smoothed_difference(names, a, b, n=300)
        held.append([[truth[name] in found[name].interval for name in names] for found in kinds])
        assert [found.p for found in kinds[0].values()] == pytest.approx([found.p for found in kinds[1].values()], nan_ok=True)
    old, new = np.mean(held, 0)
    assert (new >= .85).all() and old.min() < .6


def test_a_difference_has_no_limit_where_one_of_its_sides_has_none():
    never, good = np.array([[4, 0, 5, 1], [5, 0, 5, 0], [3, 0, 5, 2]]), np.array([[4, 1, 4, 1], [5, 0, 5, 0], [3, 1, 4, 2]])
    up, down = (smoothed_difference(("d_prime",), *pair, n=100)["d_prime"].interval for pair in ((never, good), (good, never)))
    assert np.isfinite(up.low) and up.high == np.inf and down.low == -np.inf and np.isfinite(down.high)
    with pytest.raises(ValueError): smoothed_difference(("unf1",), never, good[:2])


def test_order_and_empty_images_do_not_hurt():
    rng = np.random.default_rng(0)
    ta, fa = rng.binomial(5, .8, 30), rng.binomial(5, .1, 30)
    counts = np.stack([ta, fa, 5 - fa, 5 - ta], axis=1)
    assert smoothed_bootstrap(SHOWN, counts, n=200) == smoothed_bootstrap(SHOWN, counts[::-1], n=200)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = smoothed_bootstrap(SHOWN, [[5, 0, 5, 0], [0, 0, 0, 0]], n=20_000)      # nothing of the second could be read
    assert found["unf1"].low < .1 and found["unf1"].high == 1


def test_without_a_class_what_needs_it_is_undefined():
    found = smoothed_bootstrap(SHOWN, [[3, 0, 0, 2], [4, 0, 0, 1], [5, 0, 0, 0]])
    assert np.isnan([found["youden_j"].value, found["youden_j"].low, found["d_prime"].high]).all()
    assert found["timidity"].low < .8 < found["timidity"].high


@pytest.mark.parametrize("counts, ends", [([5, 0, 5, 0], (False, True)), ([0, 5, 0, 5], (True, False)), ([5, 5, 0, 0], (True, True)),
                                          ([5, 0, 4, 1], (False, True))])
def test_d_prime_has_no_limit_where_a_reply_never_occurred(counts, ends):
    found = smoothed_bootstrap(("d_prime",), [counts] * 12)["d_prime"]
    assert (found.low == -np.inf, found.high == np.inf) == ends and ("least" in str(found)) == (ends == (False, True))


def test_the_design_effect_by_hand():
    assert design_effect([5, 5, 5], [5, 5, 5]) == design_effect([0, 0], [5, 5]) == 5
    assert design_effect([0, 5] * 50, [5] * 100) == pytest.approx(5)      # five replies worth one
    assert design_effect([2, 3] * 50, [5] * 100) == pytest.approx((100 * 1 + 5) / 101)      # less spread than independent ones: 1


@pytest.mark.parametrize("counts", [[[5, 0, 5, 0]], [[5, 0, 5], [5, 0, 5]], [[5, -1, 5, 0]] * 3, [[5, np.nan, 5, 0]] * 3])
def test_counts_without_a_meaning_are_refused(counts):
    with pytest.raises(ValueError): smoothed_bootstrap(("unf1",), counts)
