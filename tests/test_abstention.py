"unsaf.metrics.calibration against scikit-learn, loops over every threshold, full enumeration of orders, and hand-worked numbers."
import itertools
import math
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import auc
from unsaf.metrics.calibration import (
    aurc, aurc_oracle, coverage_at_risk, dual_accuracy, effective_reliability, excess_aurc, reliability_threshold, risk_coverage)

SOFT = np.array([0, .3, .6, .9, 1])


def answers(seed):
    "Answers of a random number: smooth, tied or constant confidence; right or wrong, or soft accuracy."
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    s = [rng.random(n), rng.integers(0, 5, n) / 4, np.log(rng.random(n)), np.zeros(n), rng.normal(size=n)][seed % 5]
    return s, (rng.random(n) < rng.uniform(.1, .9)).astype(float) if seed % 3 else rng.choice(SOFT, n)


def by_loop(s, y):
    "Every threshold by itself: [(threshold, coverage, risk)] from the highest down."
    out = []
    for t in sorted(set(s), reverse=True):
        errors = [1 - b for a, b in zip(s, y) if a >= t]
        out.append((t, len(errors) / len(s), math.fsum(errors) / len(errors)))
    return out


# ---- the curve and its area

@pytest.mark.promise("abstention")
def test_curve_and_area_against_loops_over_thresholds():
    for seed in range(400):
        s, y = answers(seed)
        points = by_loop(s.tolist(), y.tolist())
        c = risk_coverage(s, y)
        np.testing.assert_allclose(np.stack([c.threshold, c.coverage, c.risk], 1), points, atol=1e-12)
        assert c.counts.sum() == len(s) and len(c) == len(points) and c.coverage[-1] == 1 and c.risk[-1] == pytest.approx(1 - y.mean())
        at = {t: r for t, _, r in points}
        assert aurc(s, y) == c.area == pytest.approx(np.mean([at[t] for t in s.tolist()]), abs=1e-12), seed


def test_area_without_ties_against_scikit_learn_and_running_means():
    for seed in range(200):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(2, 60))
        s, y = rng.permutation(n) / n, rng.choice(SOFT, n)
        c = risk_coverage(s, y)
        trapezoids = auc(c.coverage, c.risk)               # from the first point to the last
        assert aurc(s, y) == pytest.approx(trapezoids + (c.risk[0] + c.risk[-1]) / (2 * n), abs=1e-12)
        running = np.cumsum(1 - y[np.argsort(-s)]) / np.arange(1, n + 1)
        assert aurc(s, y) == pytest.approx(running.mean(), abs=1e-12)


@pytest.mark.parametrize("y", [[1, 1, 0, 0, 1, 0], [0, .3, .6, .9, 1, 0], [1] * 6, [0] * 6, [1, 0, 0, 0, 0, 0]])
def test_blind_and_oracle_by_all_orders(y):
    every = [aurc(order, y) for order in itertools.permutations(range(6))]
    assert np.mean(every) == pytest.approx(1 - np.mean(y), abs=1e-12)                   # a blind confidence costs the error rate
    assert min(every) == pytest.approx(aurc_oracle(y), abs=1e-12)
    assert aurc([.5] * 6, y) == pytest.approx(1 - np.mean(y), abs=1e-12)


def test_oracle_approaches_its_limit():
    for e in (.1, .35, .8):
        y = np.repeat([1, 0], [int(100_000 * (1 - e)), int(100_000 * e)])
        assert aurc_oracle(y) == pytest.approx(e + (1 - e) * math.log(1 - e), abs=2e-5)


def test_excess_is_above_the_oracle():
    for seed in range(100):
        s, y = answers(seed)
        assert excess_aurc(s, y) == pytest.approx(aurc(s.tolist(), y.tolist()) - aurc_oracle(y)) and excess_aurc(s, y) >= -1e-12
    assert excess_aurc([3, 2, 1, 0], [1, 1, 0, 0]) == pytest.approx(0) and excess_aurc([1, 2], [1, 1]) == 0


def test_infinite_confidence_has_a_place_in_the_order():
    c = risk_coverage([-math.inf, 0, math.inf], [0, 1, 1])
    assert c.threshold.tolist() == [math.inf, 0, -math.inf] and c.risk.tolist() == pytest.approx([0, 0, 1 / 3])


def test_by_hand():
    s, y = [.9, .8, .8, .5, .3], [1, 1, 0, 1, 0]
    assert aurc(s, y) == pytest.approx((2 / 3 + 1 / 4 + 2 / 5) / 5) and aurc_oracle(y) == pytest.approx(.13)
    assert [coverage_at_risk(s, y, r) for r in (0, .2, .25, .3, .4, 1)] == [.2, .2, .8, .8, 1, 1]


# ---- coverage at a risk

def walk_up(s, y, tolerance):
    "From full coverage upwards to the first threshold within the tolerance, never stopping inside a group of equals."
    rows = sorted(zip(s, y), key=lambda r: -r[0])
    for k in range(len(rows), 0, -1):
        if k < len(rows) and rows[k - 1][0] == rows[k][0]: continue
        if math.fsum(1 - a for _, a in rows[:k]) / k <= tolerance + 1e-12: return k / len(rows)
    return 0.


@pytest.mark.promise("abstention")
def test_coverage_at_risk_against_a_walk():
    for seed in range(300):
        s, y = answers(seed)
        for tolerance in (0, .01, .05, .1, .2, .3, .5, 1):
            assert coverage_at_risk(s, y, tolerance) == pytest.approx(walk_up(s.tolist(), y.tolist(), tolerance)), (seed, tolerance)
        assert coverage_at_risk(s, y, 1) == 1
        reached = [coverage_at_risk(s, y, r) for r in np.linspace(0, 1, 21)]
        assert reached == sorted(reached)
    for risk in (-.1, 1.5, math.nan):
        with pytest.raises(ValueError): coverage_at_risk([.5], [1], risk)


# ---- effective reliability

def phi(y, answered, cost):
    total = 0.
    for a, here in zip(y, answered):
        if here: total += a if a > 0 else -cost
    return total / len(y)


def test_effective_reliability_against_a_loop():
    for seed in range(300):
        _, y = answers(seed)
        rng = np.random.default_rng(seed)
        answered = rng.random(len(y)) < rng.random()
        for cost in (0, .5, 1, 10, 100):
            assert effective_reliability(y, answered, cost) == pytest.approx(phi(y, answered, cost), abs=1e-9)
        hidden = np.where(answered, y, np.nan)             # what was not answered is not looked at
        assert effective_reliability(hidden, answered, 10) == effective_reliability(y, answered, 10)
        best = effective_reliability(y, y > 0, 7)
        assert effective_reliability(y, answered, 7) <= best + 1e-12 and best == pytest.approx(y.mean())
        assert effective_reliability(y, np.zeros(len(y)), 7) == 0


def test_effective_reliability_from_the_four_counts():
    for ta, fa, tu, fu in itertools.product((0, 1, 4), repeat=4):
        if ta + fa + tu + fu == 0: continue
        correct = [1] * ta + [0] * fa + [math.nan] * (tu + fu)
        answered = [1] * (ta + fa) + [0] * (tu + fu)
        for cost in (1, 10): assert effective_reliability(correct, answered, cost) == pytest.approx((ta - cost * fa) / (ta + fa + tu + fu))
    with pytest.raises(ValueError): effective_reliability([1, math.nan], [1, 1])            # answered, and not scored


def test_threshold_is_the_best_one():
    for seed in range(200):
        s, y = answers(seed)
        for cost in (0, 1, 3, 10):
            t = reliability_threshold(s, y, cost)
            values = {x: phi(y, s >= x, cost) for x in [math.inf, *s]}
            assert values[t] == pytest.approx(max(values.values()), abs=1e-9)
            assert all(value < values[t] - 1e-12 for x, value in values.items() if x < t)    # none lower is as good
    assert reliability_threshold([.9, .5], [0, 0], 1) == math.inf and reliability_threshold([.9, .5], [1, 0], 1) == .9
    assert reliability_threshold([.9, .5, .4], [1, 0, 1], 1) == .4                          # 1, 0, 1: the lowest of equals


def test_threshold_of_a_calibrated_confidence():
    rng = np.random.default_rng(0)
    p = rng.random(200_000)
    y = rng.random(200_000) < p
    for cost in (1, 3, 9): assert reliability_threshold(p, y, cost) == pytest.approx(cost / (1 + cost), abs=.02)


# ---- dual accuracy

def test_dual_accuracy_against_a_join():
    for seed in range(200):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 40))
        a, b = (pd.DataFrame(dict(index=rng.permutation(n), hit=rng.integers(0, 2, n))) for _ in range(2))
        both = a.merge(b, on="index")
        expected = (both.hit_x * both.hit_y).mean()
        got = dual_accuracy(dict(zip(a["index"], a.hit)), dict(zip(b["index"], b.hit)))
        assert got == pytest.approx(expected) == pytest.approx(dual_accuracy(both.hit_x, both.hit_y))
        low, high = a.hit.mean() + b.hit.mean() - 1, min(a.hit.mean(), b.hit.mean())
        assert max(0, low) - 1e-12 <= got <= high + 1e-12 and dual_accuracy(both.hit_x, both.hit_x) == pytest.approx(a.hit.mean())


def test_constant_policies_get_nothing():
    right = [1, 1, 0, 1]
    assert dual_accuracy(right, [0] * 4) == dual_accuracy([0] * 4, [1] * 4) == 0 and dual_accuracy([True] * 3, [True] * 3) == 1


# ---- input without a meaning

@pytest.mark.promise("refused")
@pytest.mark.parametrize("s, y", [([], []), ([.5], [1, 0]), ([math.nan, .5], [1, 0]), ([.5], [1.1]), ([.5], [-.1]), ([.5], [math.nan]),
                                  (["a"], [1]), ([None], [1]), ([[.5]], [[1]]), (.5, 1), ([.5], ["x"])])
def test_refusals(s, y):
    for f in (risk_coverage, aurc, excess_aurc, lambda a, b: coverage_at_risk(a, b, .1), reliability_threshold):
        with pytest.raises(ValueError) as e: f(s, y)
        assert "\n" not in str(e.value)


@pytest.mark.parametrize("y, answered, cost", [([], [], 1), ([1], [1, 0], 1), ([1, 0], [1, .5], 1), ([1.5], [1], 1), ([1], [1], -1), ([1], [1], math.nan),
                                               ([1], [1], math.inf), ([1], [math.nan], 1), ([[1]], [[1]], 1), ([1, 1], [[1], [0]], 1)])
def test_reliability_refusals(y, answered, cost):
    with pytest.raises(ValueError): effective_reliability(y, answered, cost)


@pytest.mark.parametrize("a, b", [([], []), ([1], [1, 0]), ([1, .5], [1, 1]), ([1, 2], [1, 1]), ({}, {}), ({"a": 1}, {"b": 1}), ({"a": 1}, [1]),
                                  ({"a": 1, "b": 1}, {"a": 1}), ({"a": 1}, {"a": 1, "b": 0}), ([math.nan], [1])])
def test_dual_refusals(a, b):
    with pytest.raises(ValueError): dual_accuracy(a, b)


def test_oracle_refusals():
    for bad in ([], [2], [math.nan]):
        with pytest.raises(ValueError): aurc_oracle(bad)
