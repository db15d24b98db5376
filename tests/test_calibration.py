"unsaf.metrics.calibration against scikit-learn, torchmetrics, netcal, plain loops in each published convention, and hand-worked numbers."
import math
import numpy as np
import pytest
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, mean_absolute_error
from unsaf.core import ModelError, Reply
from unsaf.metrics.calibration import (
    answer_confidence, brier, choice_confidence, ece, ece_if_calibrated, ice, macro_ce, mce, reliability_bins)

ALL = (brier, ece, mce, ice, macro_ce)


def answers(seed, on_edges=True):
    "Answers of a random kind and number: smooth confidences, ones on the edges of the bins, ones with a single decimal."
    rng = np.random.default_rng(seed)
    n, n_bins = int(rng.integers(1, 120)), int(rng.choice([1, 2, 3, 5, 7, 10, 12, 15, 15, 15, 20, 33, 49]))
    p = [rng.random(n), rng.beta(6, 1, n), rng.integers(0, n_bins + 1, n) / n_bins, rng.integers(0, 11, n) / 10][seed % 4 if on_edges else seed % 2]
    if on_edges and n > 2: p[rng.integers(0, n, 2)] = 0, 1
    return p, (rng.random(n) < rng.uniform(.2, .9)).astype(int), n_bins


def by_loop(p, y, n_bins, closed):
    "(ECE, MCE, table) from comparisons alone."
    total, worst, table = 0., 0., []
    for k in range(n_bins):
        low, high = k / n_bins, (k + 1) / n_bins
        if closed == "right": inside = [i for i in range(len(p)) if low < p[i] <= high or (k == 0 and p[i] == 0)]
        else: inside = [i for i in range(len(p)) if low <= p[i] < high or (k == n_bins - 1 and p[i] == 1)]
        if not inside: continue
        confidence, accuracy = math.fsum(p[i] for i in inside) / len(inside), sum(y[i] for i in inside) / len(inside)
        total += len(inside) / len(p) * abs(confidence - accuracy)
        worst = max(worst, abs(confidence - accuracy))
        table.append((k, len(inside), confidence, accuracy))
    return total, worst, table


# ---- bins, ECE, MCE

@pytest.mark.promise("calibration")
@pytest.mark.parametrize("closed", ["right", "left"])
def test_against_plain_loops_edges_included(closed):
    for seed in range(400):
        p, y, n_bins = answers(seed)
        total, worst, table = by_loop(p.tolist(), y.tolist(), n_bins, closed)
        assert ece(p, y, n_bins, closed) == pytest.approx(total, abs=1e-12), seed
        assert mce(p, y, n_bins, closed) == pytest.approx(worst, abs=1e-12), seed
        b = reliability_bins(p, y, n_bins, closed)
        where, counts, confidence, accuracy = map(list, zip(*table))
        assert np.flatnonzero(b.counts).tolist() == where and b.counts[where].tolist() == counts, seed
        np.testing.assert_allclose(b.confidence[where], confidence, atol=1e-12)
        np.testing.assert_allclose(b.accuracy[where], accuracy, atol=1e-12)
        assert b.counts.sum() == len(p) and len(b) == n_bins and np.isnan(b.gap[b.counts == 0]).all()


@pytest.mark.parametrize("n_bins", [1, 2, 3, 5, 7, 10, 15, 20, 49, 100])
def test_every_edge_belongs_to_the_bin_that_the_convention_names(n_bins):
    for k in range(n_bins + 1):
        one = lambda closed: int(np.flatnonzero(reliability_bins([k / n_bins], [1], n_bins, closed).counts)[0])
        assert one("right") == max(k - 1, 0) and one("left") == min(k, n_bins - 1)
        for side, closed in ((-1, "right"), (-1, "left"), (1, "right"), (1, "left")):     # the next number on either side of an edge
            p = math.nextafter(k / n_bins, side * math.inf)
            if 0 <= p <= 1: assert np.flatnonzero(reliability_bins([p], [1], n_bins, closed).counts)[0] == (k - 1 if side < 0 else k)


def test_confidences_written_as_decimals_lie_on_edges():
    assert .3 < np.linspace(0, 1, 11)[3]                   # edges made by steps miss it
    assert reliability_bins([.1, .2, .3, .4, .5, .6, .7, .8, .9, 1.], [1] * 10, 10, "right").counts.tolist() == [1] * 10
    assert reliability_bins([0, .1, .2, .3, .4, .5, .6, .7, .8, .9], [1] * 10, 10, "left").counts.tolist() == [1] * 10


def guo(p, y, n_bins):
    "(a, b], an answer with confidence 0 is in no bin and is not counted in any."
    total = 0.
    for k in range(n_bins):
        inside = (p > k / n_bins) & (p <= (k + 1) / n_bins)
        if inside.any(): total += inside.mean() * abs(p[inside].mean() - y[inside].mean())
    return total


def si(p, y, n_bins):
    "[a, b): the first bin whose upper edge is above the confidence, else the last."
    bins = [[] for _ in range(n_bins)]
    for i, x in enumerate(p): bins[next((j for j in range(n_bins) if x < (j + 1) / n_bins), n_bins - 1)].append(i)
    return sum(len(b) / len(p) * abs(np.mean(p[b]) - np.mean(y[b])) for b in bins if b)


def test_published_conventions():
    for seed in range(200):
        p, y, n_bins = answers(seed)
        assert si(p, y, n_bins) == pytest.approx(ece(p, y, n_bins, "left"), abs=1e-12)
        q = np.where(p == 0, .5 / n_bins, p)
        assert guo(q, y, n_bins) == pytest.approx(ece(q, y, n_bins, "right"), abs=1e-12)
    assert guo(np.array([0., 1.]), np.array([1, 1]), 15) == 0 and ece([0, 1], [1, 1]) == .5     # where they part: confidence 0


def test_bins_against_scikit_learn():
    for seed in range(300):
        p, y, n_bins = answers(seed)
        if seed % 4 > 1: n_bins, p = 15, np.random.default_rng(seed).integers(0, 16, len(p)) / 15    # its edges equal ours at 15
        accuracy, confidence = calibration_curve(y, p, n_bins=n_bins, pos_label=1)
        b = reliability_bins(p, y, n_bins, "right")
        np.testing.assert_allclose(b.accuracy[b.counts > 0], accuracy, atol=1e-12)
        np.testing.assert_allclose(b.confidence[b.counts > 0], confidence, atol=1e-12)


@pytest.mark.promise("calibration")
def test_against_torchmetrics():
    torch = pytest.importorskip("torch")
    their = pytest.importorskip("torchmetrics.functional.classification", reason="torchmetrics is not installed").binary_calibration_error
    for seed in range(200):
        p, y, n_bins = answers(seed, on_edges=False)
        for norm, ours in (("l1", ece), ("max", mce)):
            value = their(torch.tensor(p), torch.tensor(y), n_bins=n_bins, norm=norm).item()
            assert ours(p, y, n_bins, "left") == pytest.approx(value, abs=1e-10), (seed, norm)
    p, y = np.array([.95, 1.]), np.array([1, 0])           # where they part: confidence 1 is a bin of its own there
    assert their(torch.tensor(p), torch.tensor(y), n_bins=10).item() == pytest.approx((.05 + 1) / 2) and ece(p, y, 10, "left") == pytest.approx(.475)


@pytest.mark.promise("calibration")
def test_against_netcal():
    metrics = pytest.importorskip("netcal.metrics", reason="netcal is not installed")
    for seed in range(200):
        p, y, n_bins = answers(seed)
        if seed % 4 > 1: n_bins, p = 15, np.random.default_rng(seed).integers(0, 16, len(p)) / 15
        assert ece(p, y, n_bins, "left") == pytest.approx(metrics.ECE(n_bins).measure(p, y), abs=1e-10), seed
        assert mce(p, y, n_bins, "left") == pytest.approx(metrics.MCE(n_bins).measure(p, y), abs=1e-10), seed


# ---- Brier, ICE, MacroCE

@pytest.mark.promise("calibration")
def test_against_scikit_learn():
    for seed in range(100):
        p, y, _ = answers(seed)
        assert brier(p, y) == pytest.approx(brier_score_loss(y, p, pos_label=1), abs=1e-12)
        assert 2 * brier(p, y) == pytest.approx(brier_score_loss(y, np.stack([1 - p, p], 1), labels=[0, 1], scale_by_half=False), abs=1e-12)
        assert ice(p, y) == pytest.approx(mean_absolute_error(y, p), abs=1e-12)
        if 0 < y.sum() < len(y):
            sides = [mean_absolute_error(y[y == k], p[y == k]) for k in (0, 1)]
            assert macro_ce(p, y) == pytest.approx(np.mean(sides), abs=1e-12)
            balanced = np.where(y == 1, .5 / y.sum(), .5 / (1 - y).sum())
            assert macro_ce(p, y) == pytest.approx(mean_absolute_error(y, p, sample_weight=balanced), abs=1e-12)


def test_by_hand():
    p, y = [.9, .9, .6, .6], [1, 0, 1, 1]
    assert [f(p, y) for f in ALL] == pytest.approx([.285, .4, .4, .45, .6])
    assert [f([.3], [1]) for f in ALL[:4]] == pytest.approx([.49, .7, .7, .7])
    assert all(type(f(p, y)) is float and f(np.array(p), np.array(y) == 1) == f(p, y) for f in ALL)
    assert ece([.5, .5], [1, 0]) == 0 and ice([.5, .5], [1, 0]) == .5


@pytest.mark.parametrize("y", [[1, 1, 1], [0, 0, 0]])
def test_macro_ce_needs_both_kinds(y):
    with pytest.raises(ValueError, match="right and wrong"): macro_ce([.2, .5, .9], y)
    assert np.isfinite([f([.2, .5, .9], y) for f in ALL[:4]]).all()


# ---- chance

def test_what_chance_alone_gives():
    p = np.random.default_rng(0).beta(4, 2, 300)
    drawn = ece_if_calibrated(p, n=300)
    rng = np.random.default_rng(1)
    slow = [by_loop(p, (rng.random(300) < p).astype(int), 15, "right")[0] for _ in range(100)]
    assert drawn.shape == (300,) and drawn.mean() == pytest.approx(np.mean(slow), abs=.006)
    assert (drawn == ece_if_calibrated(p, n=300)).all() and (drawn[:5] != ece_if_calibrated(p, n=5, seed=1)).any()
    assert (ece_if_calibrated([0, 1, 1], n=4) == 0).all()  # certainties are never off
    for bad in ([1.2], [], .5, [[.5]]):
        with pytest.raises(ValueError): ece_if_calibrated(bad)
    with pytest.raises(ValueError): ece_if_calibrated([.5], n=0)


# ---- input without a meaning

@pytest.mark.promise("refused")
@pytest.mark.parametrize("p, y, words", [
    ([], [], "no answers"), ([.5], [1, 0], "1 entries and correct has 2"), ([1.01], [1], "lie in"), ([-.1, .5], [1, 0], "-0.1 at position 0"),
    ([.5, float("nan")], [1, 0], "nan at position 1"), ([.5, float("inf")], [1, 0], "inf"), ([.5], [2], "0 or 1"), ([.5], [float("nan")], "0 or 1"),
    ([.5, .5], [1, .3], "0.3 at position 1"), (["a"], [1], "numbers"), ([None, .5], [1, 0], "numbers"), ([[.5]], [[1]], "flat"), (.5, 1, "flat")])
def test_refusals(p, y, words):
    for f in ALL:
        with pytest.raises(ValueError, match=words) as e: f(p, y)
        assert "\n" not in str(e.value)


@pytest.mark.parametrize("settings", [dict(n_bins=0), dict(n_bins=-3), dict(n_bins=1.5), dict(n_bins=True), dict(closed="both"), dict(closed=None)])
def test_settings_without_a_meaning(settings):
    for f in (ece, mce, reliability_bins):
        with pytest.raises(ValueError): f([.5], [1], **settings)


# ---- confidence from a reply

def test_choice_against_softmax():
    rng = np.random.default_rng(0)
    for _ in range(200):
        n = int(rng.integers(2, 6))
        logs = np.log(rng.dirichlet(np.ones(n + 1)))[:n] - rng.exponential(5)
        names = list("ABCDE"[:n])
        reply = Reply("B", candidates=dict(zip(names, logs.tolist())) | {"unanswerable": -1.})
        shares = [choice_confidence(reply, x, names) for x in names]
        np.testing.assert_allclose([c.renormalised for c in shares], softmax(logs), rtol=1e-9)
        assert sum(c.renormalised for c in shares) == pytest.approx(1) and all(0 <= c.renormalised <= 1 for c in shares)
        for c, log in zip(shares, logs): assert c.mass == pytest.approx(np.exp(logs).sum()) and c.raw == pytest.approx(math.exp(log))


def test_choice_by_hand_and_far_below_the_smallest_float():
    log = {k: math.log(v) for k, v in dict(A=.30, B=.10, C=.05, D=.05, unanswerable=.40).items()}
    assert choice_confidence(Reply("A", candidates=log), "A", "ABCD") == pytest.approx((.6, .5))
    assert choice_confidence(Reply("A", candidates=log), "A", ["A", "B", "C", "D", "unanswerable"]) == pytest.approx((1 / 3, .9))
    tiny = choice_confidence(Reply("A", candidates=dict(A=-2000., B=-2000. - math.log(3))), "A", "AB")
    assert tiny == pytest.approx((.75, 0)) and tiny.raw == 0
    assert choice_confidence(Reply("A", candidates=dict(A=-.5, B=-math.inf)), "B", "AB") == pytest.approx((0, math.exp(-.5)))
    assert choice_confidence(Reply("A", candidates=dict(A=1e-7, B=-30.)), "A", "AB").renormalised <= 1


def test_answer_against_products():
    rng = np.random.default_rng(1)
    for _ in range(200):
        p = rng.uniform(.01, 1, rng.integers(1, 30))
        got = answer_confidence(Reply("x", logprobs=tuple(np.log(p).tolist())))
        assert got.product == pytest.approx(np.prod(p)) and got.length_normalised == pytest.approx(np.prod(p) ** (1 / len(p)))
        assert got.product <= got.length_normalised + 1e-15 and p.min() - 1e-12 <= got.length_normalised <= p.max() + 1e-12
    assert answer_confidence(Reply("x", logprobs=(0.,))) == (1, 1)


@pytest.mark.parametrize("reply", [Reply("B"), Reply("B", candidates={}), Reply("", finish="refused"), Reply("B", logprobs=(-.1,)),
                                   Reply("B", candidates=dict(A=-1.)), Reply("B", candidates=dict(A=-1., B=math.nan)),
                                   Reply("B", candidates=dict(A=-1., B=.7)), Reply("B", candidates=dict(A=-math.inf, B=-math.inf))])
def test_choice_refuses_what_it_would_have_to_guess(reply):
    with pytest.raises(ModelError) as e: choice_confidence(reply, "B", "AB")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("reply", [Reply("x"), Reply("x", logprobs=()), Reply("", finish="failed", error="timeout"), Reply("A", candidates=dict(A=-1.)),
                                   Reply("x", logprobs=(-1., math.nan)), Reply("x", logprobs=(-1., .5))])
def test_answer_refuses_what_it_would_have_to_guess(reply):
    with pytest.raises(ModelError) as e: answer_confidence(reply)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("letter, letters", [("E", "ABCD"), ("", "AB"), ("A", "AAB"), ("A", "")])
def test_letters_that_do_not_fit(letter, letters):
    with pytest.raises(ValueError): choice_confidence(Reply("A", candidates=dict(A=-1., B=-1.)), letter, letters)
