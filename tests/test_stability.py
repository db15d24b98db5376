"unsaf.metrics.stability against scipy, naive loops, full enumeration and hand-worked numbers."
import itertools
from math import factorial
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings, strategies as st
from unsaf.metrics import resampling, stability
from unsaf.metrics.awareness import auroc, scorer
from unsaf.metrics.stability import (
    Interval, cell_counts, cluster_bootstrap, cluster_bootstrap_any, cv, footrule, footrule_chance, footrule_max, holm,
    images_needed, inversions, kendall_tau, paired_permutation, rank, rank_bootstrap, reliability)


def images(n, k=5, seed=0, t=.8, f=.4):
    rng = np.random.default_rng(seed)
    ta, fa = rng.binomial(k, t, n), rng.binomial(k, f, n)
    return np.stack([ta, fa, k - fa, k - ta], axis=1)


def j(counts): return scorer("youden_j")(counts)["youden_j"]
def unf1(counts): return scorer("unf1")(counts)["unf1"]


# ---- ranks, footrule, cv

def test_ranks_by_hand():
    assert rank([.9, .7, .7, .4]).tolist() == [1, 2.5, 2.5, 4]
    assert rank([.9, .7, .7, .4], higher_is_better=False).tolist() == [4, 2.5, 2.5, 1]
    assert rank([.9, .7, .7, .4], ties="min").tolist() == [1, 2, 2, 4]
    assert rank([[1, 2], [2, 1]]).tolist() == [[2, 1], [1, 2]]
    for bad in ([1, np.nan], [], ["a", "b"]):
        with pytest.raises(ValueError): rank(bad)


@pytest.mark.parametrize("n", range(1, 7))
def test_footrule_by_full_enumeration(n):
    start = np.arange(1, n + 1)
    distances = [footrule(start, p) for p in itertools.permutations(start)]
    assert len(distances) == factorial(n)
    assert max(distances) == footrule_max(n)
    assert np.mean(distances) == pytest.approx(footrule_chance(n))


some_scores = st.lists(st.integers(0, 5), min_size=2, max_size=8)


@given(some_scores.flatmap(lambda a: st.tuples(st.just(a), st.permutations(a), st.permutations(a))))
@settings(deadline=None)
def test_footrule_is_a_distance(lists):
    a, b, c = (rank(x) for x in lists)
    assert footrule(a, b) == footrule(b, a) == sum(abs(x - y) for x, y in zip(a, b))
    assert footrule(a, a) == 0
    assert footrule(a, c) <= footrule(a, b) + footrule(b, c)
    assert footrule(a, b) <= footrule_max(len(a))


def test_footrule_refuses_scores_and_other_lengths():
    for a, b in (([.91, .85], [.88, .9]), ([1, 2, 3], [1, 2]), ([1, np.nan], [1, 2]), ([1, 9], [1, 2]), (1, 2)):
        with pytest.raises(ValueError): footrule(a, b)
    assert type(footrule([1, 2], [2, 1])) is float


def test_cv_against_scipy():
    x = np.random.default_rng(0).uniform(1, 2, 20)
    assert cv(x) == pytest.approx(scipy.stats.variation(x))
    assert cv(x, ddof=1) == pytest.approx(scipy.stats.variation(x, ddof=1))
    for bad in ([1.], [], [1, np.nan], [-1, 1], [-1, -2], [[1, 2]]):
        with pytest.raises(ValueError): cv(bad)


# ---- Kendall's tau

@given(st.integers(2, 8).flatmap(lambda n: st.tuples(*[st.lists(st.integers(0, 4), min_size=n, max_size=n)] * 2)))
@settings(deadline=None)
def test_tau_against_scipy(lists):
    a, b = lists
    theirs = scipy.stats.kendalltau(a, b, variant="b").statistic
    assert kendall_tau(a, b) == pytest.approx(theirs, nan_ok=True)
    assert kendall_tau(rank(a), rank(b)) == pytest.approx(theirs, nan_ok=True)
    assert kendall_tau(rank(a), b) == pytest.approx(-theirs, nan_ok=True)


def test_tau_broadcasts_and_refuses():
    x = np.random.default_rng(0).normal(size=(3, 6))
    assert kendall_tau(x[:, None], x[None])[1, 2] == pytest.approx(scipy.stats.kendalltau(x[1], x[2]).statistic)
    assert np.isnan(kendall_tau([1, 1, 1], [1, 2, 3])) and type(kendall_tau([1, 2], [2, 1])) is float
    for a, b in (([1, np.nan], [1, 2]), ([1, 2, 3], [1, 2]), ([1], [1]), (1, 2), ([], [])):
        with pytest.raises(ValueError): kendall_tau(a, b)


# ---- reliability and inversions

def test_reliability_by_hand():
    # means 2 and 6: between 2 * 8 = 16, within 2, so (16 - 2) / (16 + 2)
    assert reliability([[1, 3], [5, 7]]) == pytest.approx(14 / 18)


def test_reliability_against_analysis_of_variance():
    x = np.random.default_rng(3).normal(size=(5, 4)) + np.arange(5)[:, None]
    big_f = scipy.stats.f_oneway(*x).statistic
    assert reliability(x) == pytest.approx((big_f - 1) / (big_f + 4 - 1))
    assert reliability(3 * x - 7) == pytest.approx(reliability(x))
    assert reliability(np.repeat(np.arange(3.)[:, None], 4, axis=1)) == 1
    assert np.isnan(reliability(np.ones((3, 3))))


def test_inversions_by_loops():
    x = np.random.default_rng(4).integers(0, 4, size=(4, 5))
    seen = []
    for m, o in itertools.combinations(range(4), 2):
        for r, q in itertools.combinations(range(5), 2):
            u, v = np.sign(x[m, r] - x[o, r]), np.sign(x[m, q] - x[o, q])
            seen.append(1. if u * v < 0 else .5 if (u == 0) != (v == 0) else 0.)
    assert inversions(x) == pytest.approx(np.mean(seen))
    assert inversions([[1, 2], [3, 4]]) == 0 and inversions([[1, 4], [3, 2]]) == 1
    assert inversions(np.random.default_rng(0).normal(size=(20, 40))) == pytest.approx(.5, abs=.03)
    for bad in ([[1, 2]], [[1], [2]], [1, 2], [[1, np.nan], [1, 2]]):
        with pytest.raises(ValueError): inversions(bad)


# ---- the bootstrap

@pytest.mark.promise("intervals")
def test_bootstrap_draws_from_the_same_distribution_as_a_naive_one():
    c = images(40)
    fast = cluster_bootstrap(j, c, n=20_000, keep=True)
    pick = np.random.default_rng(9).integers(0, 40, size=(20_000, 40))
    slow = j(c[pick].sum(1))
    assert scipy.stats.ks_2samp(np.round(fast.samples, 9), np.round(slow, 9)).pvalue > .001
    assert fast.low == pytest.approx(np.quantile(slow, .025), abs=.01)
    assert fast.high == pytest.approx(np.quantile(slow, .975), abs=.01)
    assert fast.value == pytest.approx(j(c.sum(0)[None])[0])


@pytest.mark.parametrize("method, theirs", [("percentile", "percentile"), ("bca", "BCa")])
@pytest.mark.parametrize("seed", range(3))
def test_limits_equal_scipys_on_the_same_resamples(method, theirs, seed):
    c = images(35, seed=seed, t=.9)
    mine = cluster_bootstrap(unf1, c, n=3000, seed=seed, method=method, keep=True, level=.9)
    def of(i, axis=-1): return unf1(c[np.asarray(i, int)].sum(axis=-2))     # image numbers, vectorised over the leading axes
    index = (np.arange(len(c)),)
    shell = scipy.stats.bootstrap(index, of, n_resamples=2, method="percentile", vectorized=True)
    shell.bootstrap_distribution = mine.samples
    result = scipy.stats.bootstrap(index, of, n_resamples=0, bootstrap_result=shell, method=theirs, confidence_level=.9,
                                   vectorized=True)
    assert (mine.low, mine.high) == pytest.approx(tuple(result.confidence_interval), abs=1e-9)


def test_the_order_of_images_and_the_parts_do_not_matter(monkeypatch):
    c = images(50)
    whole = cluster_bootstrap(j, c, n=500, keep=True)
    shuffled = cluster_bootstrap(j, np.random.default_rng(1).permutation(c), n=500, keep=True)
    sizes = resampling._sizes
    monkeypatch.setattr(resampling, "_sizes", lambda n, width: sizes(n, width, at_once=100))
    parts = cluster_bootstrap(j, c, n=500, keep=True)
    np.testing.assert_array_equal(whole.samples, shuffled.samples)
    np.testing.assert_array_equal(whole.samples, parts.samples)
    assert whole == cluster_bootstrap(j, c, n=500) != cluster_bootstrap(j, c, n=500, seed=1)


def test_results_come_back_in_the_form_of_the_statistic():
    c = images(20)
    single = cluster_bootstrap(j, c, n=200)
    several = cluster_bootstrap(lambda x: np.stack([j(x), unf1(x)], -1), c, n=200)
    named = cluster_bootstrap(scorer("youden_j", "unf1"), c, n=200)
    assert isinstance(single, Interval) and isinstance(several, tuple)
    assert single == several[0] == named["youden_j"] and several[1] == named["unf1"]
    for wrong in (lambda x: 1., lambda x: x.sum(), lambda x: np.zeros((len(x), 2, 2)), lambda x: x[:1, 0]):
        with pytest.raises(ValueError, match="one result a row"): cluster_bootstrap(wrong, c, n=10)


def test_undefined_resamples_are_counted():
    # one image of four answers: audacity does not exist where it is not drawn, (3/4)^4 of the time
    c = np.array([[5, 0, 5, 0], [0, 0, 5, 5], [0, 0, 5, 5], [0, 0, 5, 5]])
    i = cluster_bootstrap(scorer("audacity"), c, n=20_000, keep=True)["audacity"]
    assert i.undefined == pytest.approx(.75**4, abs=.01) == np.isnan(i.samples).mean()
    assert (i.low, i.high) == (1, 1) and "undefined in" in str(i)
    never = cluster_bootstrap(scorer("audacity"), np.array([[0, 0, 5, 5]] * 3), n=100)["audacity"]
    assert never.undefined == 1 and np.isnan([never.value, never.low, never.high]).all() and 0 not in never


def test_images_without_a_question_are_still_images():
    c = np.array([[5, 1, 4, 0], [0, 0, 0, 0]])
    i = cluster_bootstrap(scorer("unf1"), c, n=20_000)["unf1"]
    assert i.undefined == pytest.approx(.25, abs=.01) and i.value == pytest.approx(10 / 11)


def test_degenerate_data_give_a_point():
    same = np.tile([4, 2, 3, 1], (10, 1))
    for method in ("percentile", "bca"):
        i = cluster_bootstrap(unf1, same, n=100, method=method)
        assert i.low == pytest.approx(i.value) and i.high == pytest.approx(i.value)


@pytest.mark.promise("intervals")
def test_intervals_cover_the_truth():
    hits = 0
    for seed in range(200):
        i = cluster_bootstrap(j, images(60, seed=seed), n=400, seed=seed)
        hits += .4 in i                                    # t - f of the generator
    assert .89 < hits / 200 < .99


@pytest.mark.parametrize("change", [dict(n=0), dict(level=0), dict(level=95), dict(method="basic")])
def test_settings_without_a_meaning_are_refused(change):
    with pytest.raises(ValueError): cluster_bootstrap(j, images(5), **change)
    with pytest.raises(ValueError): cluster_bootstrap_any(len, [1, 2], **change)


@pytest.mark.parametrize("counts", [[[1, 2, 3, 4]], [1, 2, 3], [[1, np.nan], [1, 2]], [], [["a"], ["b"]]])
def test_counts_without_a_meaning_are_refused(counts):
    with pytest.raises(ValueError): cluster_bootstrap(lambda c: c[:, 0], counts)


# ---- any statistic of rows

def test_any_agrees_with_the_collapsed_bootstrap():
    c = images(30)
    rows = np.repeat(np.tile(np.arange(4), len(c)), c.ravel())
    image = np.repeat(np.repeat(np.arange(len(c)), 4), c.ravel())
    of = lambda picked: float(j(np.bincount(rows[picked], minlength=4)[None])[0])
    slow, fast = cluster_bootstrap_any(of, image, n=4000), cluster_bootstrap(j, c, n=20_000)
    assert slow.value == pytest.approx(fast.value)
    assert (slow.low, slow.high) == pytest.approx((fast.low, fast.high), abs=.02)
    slow, fast = cluster_bootstrap_any(of, image, n=4000, method="bca"), cluster_bootstrap(j, c, n=20_000, method="bca")
    assert (slow.low, slow.high) == pytest.approx((fast.low, fast.high), abs=.02)


def test_any_resamples_whole_clusters_of_unequal_size():
    clusters = ["a", "b", "a", "c", "a"]
    seen = []
    def of(rows): seen.append(sorted(rows.tolist())); return len(rows)
    i = cluster_bootstrap_any(of, clusters, n=300, keep=True)
    assert seen[0] == [0, 1, 2, 3, 4] and i.value == 5
    for rows in seen[1:]:
        times = {c: rows.count(r) for r, c in enumerate(clusters)}
        assert sum(times.values()) == 3 and all(rows.count(r) == times[c] for r, c in enumerate(clusters))
    assert set(i.samples) <= {3, 5, 7, 9}


def test_any_counts_a_refusal_in_a_resample_and_raises_it_on_the_data():
    kind, p = np.array([True, True, False, True]), np.array([.1, .2, .9, .3])
    area = lambda rows: auroc(p[rows], kind[rows])
    i = cluster_bootstrap_any(area, np.arange(4), n=4000)
    assert i.undefined == pytest.approx(.75**4 + .25**4, abs=.03)            # the one unanswerable question never, or alone
    one_kind = lambda rows: auroc(p[rows], kind[rows] | True)
    with pytest.raises(ValueError, match="both kinds"): cluster_bootstrap_any(one_kind, np.arange(4))
    calls = []
    def broken(rows):
        calls.append(rows)
        if len(calls) == 3: raise KeyError("a fault of the statistic")
        return 1.
    with pytest.raises(KeyError): cluster_bootstrap_any(broken, np.arange(4))
    named = cluster_bootstrap_any(lambda rows: dict(size=len(rows), mean=p[rows].mean()), np.arange(4), n=50)
    assert named["size"].low == 4 and named["mean"].value == pytest.approx(.375)


@pytest.mark.parametrize("clusters", [["a", None], [1., np.nan], [], ["a"], ["a", "a"], [["a"], ["b"]]])
def test_any_refuses_missing_and_too_few_clusters(clusters):
    with pytest.raises(ValueError): cluster_bootstrap_any(len, clusters)


# ---- the paired test

def by_enumeration(statistic, a, b):
    "p by visiting all 2^images exchanges."
    a, b = np.asarray(a, float), np.asarray(b, float)
    observed = abs(statistic(a.sum(0)[None])[0] - statistic(b.sum(0)[None])[0])
    gaps = []
    for swap in itertools.product([False, True], repeat=len(a)):
        s = np.array(swap)[:, None]
        x, y = np.where(s, b, a).sum(0), np.where(s, a, b).sum(0)
        gaps.append(abs(statistic(x[None])[0] - statistic(y[None])[0]))
    return np.mean(np.array(gaps) >= observed - 1e-12)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("statistic", [unf1, j])
def test_exact_p_by_full_enumeration(seed, statistic):
    a, b = images(7, k=2, seed=seed), images(7, k=2, seed=seed + 100, t=.6)
    got = paired_permutation(a, b, statistic)
    assert got.exact and got.p == pytest.approx(by_enumeration(statistic, a, b), abs=1e-12)
    assert got.a - got.b == got.difference == pytest.approx(got.interval.value)


def test_drawn_p_approaches_the_exact_one():
    d = np.random.default_rng(0).normal(.8, 1, 15)
    signs = 1 - 2 * ((np.arange(2**15)[:, None] >> np.arange(15)) & 1)
    truth = np.mean(np.abs(signs @ d) >= abs(d.sum()) - 1e-12)
    drawn = paired_permutation(d, np.zeros(15), n=20_000)
    assert .02 < truth < .3 and not drawn.exact and drawn.n == 20_000
    assert drawn.p == pytest.approx(truth, abs=.01)


def test_numbers_by_image_against_scipy():
    rng = np.random.default_rng(0)
    a = rng.normal(size=9)
    b = a + rng.normal(.5, .5, size=9)
    theirs = scipy.stats.permutation_test((a, b), lambda x, y, axis=-1: np.mean(x - y, axis=axis), permutation_type="samples",
                                          n_resamples=np.inf, vectorized=True)
    mine = paired_permutation(a, b)
    assert mine.exact and mine.p == pytest.approx(theirs.pvalue, abs=1e-9) and mine.difference == pytest.approx(theirs.statistic)


def test_by_hand_and_ends():
    assert paired_permutation([1, 1, 1], [0, 0, 0]).p == pytest.approx(.25)
    same = paired_permutation(images(10), images(10))
    assert same.p == 1 and same.difference == 0 and same.exact and (same.interval.low, same.interval.high) == (0, 0)
    far = paired_permutation(images(300, t=.95, f=.1), images(300, seed=5, t=.6, f=.6), n=999)
    assert far.p == pytest.approx(1 / 1000) and not far.exact and 0 not in far.interval


def test_exchanging_the_models_turns_the_sign_only():
    a, b = images(30, seed=3), images(30, seed=4, t=.7)
    one, other = paired_permutation(a, b, n=3000), paired_permutation(b, a, n=3000)
    assert one.difference == pytest.approx(-other.difference)
    assert one.p == pytest.approx(other.p, abs=.03) and one.interval.low == pytest.approx(-other.interval.high, abs=.01)


def test_interval_of_the_difference_is_paired():
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 2, 200)
    a, b = hard + rng.normal(0, .1, 200) + .05, hard + rng.normal(0, .1, 200)
    pair = paired_permutation(a, b)
    assert pair.interval.high - pair.interval.low < .05 and pair.p < .01


def test_undefined_exchanges_count_against_the_finding():
    # audacity does not exist once every answer has been handed to the other model
    a, b = np.array([[5, 0, 5, 0], [0, 0, 5, 5]]), np.array([[0, 0, 5, 5], [1, 2, 3, 4]])
    got = paired_permutation(a, b, scorer("audacity"))["audacity"]
    assert got.exact and got.undefined == pytest.approx(.5) and got.p == 1
    nothing = np.array([[0, 0, 5, 5]] * 2)
    assert np.isnan(paired_permutation(a, nothing, scorer("audacity"))["audacity"].p)


def test_tables_are_matched_by_image():
    a = pd.DataFrame(dict(image_id=list("aabbcc"), cell=["TA", "TU", "FA", "FU", None, "TA"]))
    b = pd.DataFrame(dict(image_id=list("ccbbaa"), cell=["TA", "TA", "TU", "TA", "FU", np.nan]))
    ids, counts = cell_counts(a)
    assert ids.tolist() == list("abc") and counts.tolist() == [[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 0, 0]]
    assert cell_counts(b)[1].tolist() == [[0, 0, 0, 1], [1, 0, 1, 0], [2, 0, 0, 0]]
    assert paired_permutation(a, b) == paired_permutation(counts, cell_counts(b)[1])
    renamed = (t.rename(columns={"image_id": "scene"}) for t in (a, b))
    assert paired_permutation(*renamed, cluster="scene").images == 3
    with pytest.raises(ValueError, match="1 of the images, such as 'a'"): paired_permutation(a, b[b.image_id != "a"])
    got = paired_permutation(a, b[b.image_id != "a"], missing="drop")
    assert (got.images, got.left_out) == (2, 1)
    got = paired_permutation(a, b.replace({"image_id": {"a": "d"}}), missing="drop")
    assert (got.images, got.left_out) == (2, 2)


def test_tables_and_pairs_without_a_meaning_are_refused():
    a = dict(image_id=["a", "b"], cell=["TA", "FA"])
    for bad in (dict(image_id=["a", "b"], cell=["TA", "XX"]), dict(image_id=["a", None], cell=["TA", "FA"]),
                dict(cell=["TA", "FA"]), dict(image_id=["a", "b"])):
        with pytest.raises(ValueError): cell_counts(bad)
    with pytest.raises(ValueError): paired_permutation(a, images(2))
    with pytest.raises(ValueError): paired_permutation(a, a, missing="zero")
    with pytest.raises(ValueError): paired_permutation(images(3), images(4))
    with pytest.raises(ValueError): paired_permutation(images(1), images(1))
    with pytest.raises(ValueError): paired_permutation([1, 2], [1, np.nan])
    with pytest.raises(ValueError): paired_permutation([1, 2], [1, 2], unf1)


# ---- many comparisons

def test_holm_by_hand_and_by_definition():
    assert holm([.01, .04, .03]) == pytest.approx([.03, .06, .06])
    assert holm([.5, .9]) == pytest.approx([1, 1]) and holm([.2]) == pytest.approx([.2])
    p = np.random.default_rng(0).uniform(0, .2, 12)
    adjusted = holm(p)
    for level in (.01, .05, .1, .3, .6):                   # step down: reject the smallest while p <= level / (tests left)
        rejected = 0
        for k, value in enumerate(sorted(p)):
            if value > level / (len(p) - k): break
            rejected += 1
        assert (adjusted <= level).sum() == rejected
    for bad in ([1.2], [-.1], [np.nan], []):
        with pytest.raises(ValueError): holm(bad)


# ---- the ranking under the bootstrap

def crowd(n, seed=0, skills=(.3, .4, .5)):
    rng = np.random.default_rng(seed)
    hard = rng.normal(0, 1.5, n)
    chance = lambda p: 1 / (1 + np.exp(-(np.log(p / (1 - p)) + hard)))
    answered = [(rng.binomial(5, chance(.8)), rng.binomial(5, chance(f))) for f in skills]
    return np.array([np.stack([ta, fa, 5 - fa, 5 - ta], 1) for ta, fa in answered])


@pytest.mark.parametrize("paired", [True, False])
def test_rank_bootstrap_against_a_naive_one(paired):
    x, rng = crowd(25), np.random.default_rng(8)
    mine = rank_bootstrap(unf1, x, n=20_000, paired=paired)
    pick = rng.integers(0, 25, size=(4000, 3, 25))
    if paired: pick[:, 1:] = pick[:, :1]
    scores = np.stack([unf1(x[m][pick[:, m]].sum(1)) for m in range(3)], 1)
    data = unf1(x.sum(1))
    wrong = np.zeros((3, 3))
    for i, k in itertools.product(range(3), range(3)):
        u, v = np.sign(data[i] - data[k]), np.sign(scores[:, i] - scores[:, k])
        wrong[i, k] = np.mean(np.where(u * v < 0, 1., np.where((u == 0) != (v == 0), .5, 0.)))
    assert mine.scores == pytest.approx(data) and mine.ranks.tolist() == rank(data).tolist()
    assert mine.inversion == pytest.approx(wrong, abs=.03)
    ranks = rank(scores)
    assert mine.changed == pytest.approx(np.mean((ranks != rank(data)).any(1)), abs=.03)
    assert mine.footrule == pytest.approx(np.mean(footrule(ranks, rank(data))), abs=.06)
    assert mine.first == pytest.approx([np.mean(scores.argmax(1) == m) for m in range(3)], abs=.03)
    assert mine.mean_inversion == pytest.approx(wrong[np.triu_indices(3, 1)].mean(), abs=.03) and mine.undefined == 0


def test_pairing_and_images_and_direction():
    shared, alone = (rank_bootstrap(unf1, crowd(60), n=4000, paired=p) for p in (True, False))
    assert shared.mean_inversion < alone.mean_inversion
    assert rank_bootstrap(unf1, crowd(2000), n=2000).changed < .01 < shared.changed
    low = rank_bootstrap(lambda c: -unf1(c), crowd(60), n=4000, higher_is_better=False)
    assert low.inversion == pytest.approx(shared.inversion) and low.first == pytest.approx(shared.first)
    twins = rank_bootstrap(unf1, np.repeat(crowd(30)[:1], 2, axis=0), n=500)
    assert twins.ranks.tolist() == [1.5, 1.5] and twins.mean_inversion == .5 and twins.first.tolist() == [.5, .5]


def test_rank_bootstrap_counts_the_undefined_and_refuses():
    audacity = scorer("audacity")                                            # undefined where nothing was answered
    shy = np.array([[[1, 0, 5, 4], [0, 0, 5, 5], [0, 0, 5, 5]], [[5, 0, 5, 0], [1, 1, 1, 1], [2, 1, 1, 1]]])
    assert rank_bootstrap(audacity, shy, n=20_000).undefined == pytest.approx((2 / 3) ** 3, abs=.01)
    shy[0, 0] = [0, 0, 5, 5]
    with pytest.raises(ValueError, match=r"models \[0\]"): rank_bootstrap(audacity, shy)
    for x in (crowd(9)[:1], crowd(1), crowd(9)[0], crowd(9) * np.nan):
        with pytest.raises(ValueError): rank_bootstrap(unf1, x)
    with pytest.raises(ValueError, match="one score"): rank_bootstrap(scorer("unf1", "youden_j"), crowd(9))


# ---- how many images

def mean_of(sums): return sums[:, 0] / sums[:, 1]


def test_images_for_a_mean_by_the_textbook():
    x = np.random.default_rng(0).normal(3, .7, 50)
    rows, s = np.stack([x, np.ones(50)], 1), x.std(ddof=1)
    z, b = scipy.stats.norm.ppf([.975, .8])
    plan = images_needed(mean_of, rows, half_width=.1)
    assert plan.spread == pytest.approx(s) and plan.images == np.ceil((z * s / .1) ** 2) and plan.pilot == 50
    assert images_needed(mean_of, rows, difference=.2).images == np.ceil(2 * ((z + b) * s / .2) ** 2)
    y = x + np.random.default_rng(1).normal(.1, .2, 50)
    pair = images_needed(mean_of, rows, difference=.05, power=.9, level=.99, other=np.stack([y, np.ones(50)], 1))
    z, b = scipy.stats.norm.ppf([.995, .9])
    assert pair.images == np.ceil(((z + b) * (x - y).std(ddof=1) / .05) ** 2)


def test_equal_images_collapse_and_the_spread_is_the_bootstraps():
    c = images(400, t=.7)
    plan = images_needed(unf1, c, half_width=.02)
    drawn = cluster_bootstrap(unf1, c, n=20_000, keep=True).samples.std() * 20
    assert plan.spread == pytest.approx(drawn, rel=.03)
    left = unf1(c.sum(0) - c)
    assert plan.spread == pytest.approx(np.sqrt(399 * ((left - left.mean()) ** 2).sum()))
    assert images_needed(unf1, np.random.default_rng(0).permutation(c), half_width=.02) == plan


def test_the_planned_interval_has_its_half_width():
    plan = images_needed(unf1, crowd(4000, seed=1)[0], half_width=.03)
    truth = unf1(crowd(200_000, seed=2)[0].sum(0)[None])[0]
    scores = unf1(np.array([crowd(plan.images, seed=50 + s)[0].sum(0) for s in range(1500)]))
    assert 30 < plan.images < 400 and np.mean(np.abs(scores - truth) <= .03) == pytest.approx(.95, abs=.02)


def test_the_planned_test_has_its_power():
    pilot = crowd(4000, seed=1)
    true = np.subtract(*unf1(crowd(400_000, seed=2).sum(1))[:2])
    plan = images_needed(unf1, pilot[0], difference=abs(true), other=pilot[1])
    found = [paired_permutation(*crowd(plan.images, seed=50 + s)[:2], n=200).p <= .05 for s in range(300)]
    assert np.mean(found) == pytest.approx(.8, abs=.07)
    assert plan.images < images_needed(unf1, pilot[0], difference=abs(true)).images


def test_the_interval_of_a_plan_covers_the_true_number():
    truth = images_needed(unf1, crowd(20_000, seed=3)[0], half_width=.03, n=1).images
    plans = [images_needed(unf1, crowd(80, seed=s)[0], half_width=.03, n=200) for s in range(150)]
    assert .82 < np.mean([p.low <= truth <= p.high for p in plans]) < .99
    assert "80" in str(plans[0]) and all(p.low <= p.images <= p.high for p in plans)


def test_plans_without_a_meaning_are_refused():
    c = images(20)
    for wanted in ({}, dict(half_width=.1, difference=.1), dict(half_width=0), dict(difference=-.1), dict(half_width=.1, level=1),
                   dict(difference=.1, power=.2), dict(half_width=.1, n=0), dict(half_width=.1, other=images(19)), dict(half_width=np.nan)):
        with pytest.raises(ValueError): images_needed(unf1, c, **wanted)
    for pilot in (c[:1], c[0], np.repeat(c[:1], 9, 0), c * np.nan):
        with pytest.raises(ValueError): images_needed(unf1, pilot, half_width=.1)
    with pytest.raises(ValueError, match="one score"): images_needed(scorer("unf1", "youden_j"), c, half_width=.1)


def test_everything_is_still_found_in_stability():
    came_later = {"limits_text"}
    for name in set(resampling.__all__) - came_later: assert name in stability.__all__ and getattr(stability, name) is getattr(resampling, name)
