"unsaf.metrics.awareness against scikit-learn, brute force and hand-worked numbers."
import itertools
import warnings
from statistics import NormalDist
from types import SimpleNamespace
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn import metrics as sk
from unsaf.metrics.awareness import SCORES, Awareness, auroc, awareness, bounds, scorer, sentence

count = st.integers(0, 60)
cells = st.tuples(count, count, count, count).filter(lambda c: sum(c) > 0)
both = st.tuples(count, count, count, count).filter(lambda c: c[0] + c[3] > 0 and c[1] + c[2] > 0)
BOUNDED = ("unf1", "unf1_class", "youden_j", "mcc", "balanced_accuracy", "d_prime")


def replies(ta, fa, tu, fu):
    "One row a question: is it answerable, was it answered."
    return np.repeat([1, 0, 0, 1], [ta, fa, tu, fu]), np.repeat([1, 1, 0, 0], [ta, fa, tu, fu])


# what each row of a score table must say, worked by hand
@pytest.mark.promise("hand")
@pytest.mark.parametrize("counts, expected", [
    ((4, 2, 3, 1), dict(audacity=2 / 3, timidity=.8, unf1=8 / 11, unf1_class=8 / 11, always_answer=2 / 3, same_rate_coin=6 / 11,
                        youden_j=.4, mcc=10 / 600**.5, balanced_accuracy=.7, answer_rate=.6, audacity_class=2 / 3)),
    ((5, 5, 0, 0), dict(audacity=.5, timidity=1, unf1=2 / 3, unf1_class=2 / 3, always_answer=2 / 3, same_rate_coin=2 / 3,
                        youden_j=0, mcc=0, balanced_accuracy=.5, d_prime=0)),
    ((5, 0, 5, 0), dict(audacity=1, timidity=1, unf1=1, unf1_class=1, youden_j=1, mcc=1, balanced_accuracy=1, criterion=0)),
    ((0, 5, 0, 5), dict(audacity=0, timidity=0, unf1=0, unf1_class=0, youden_j=-1, mcc=-1, balanced_accuracy=0)),
    ((0, 0, 5, 5), dict(audacity=np.nan, timidity=0, unf1=0, unf1_class=0, audacity_class=np.nan, youden_j=0, mcc=0)),
    ((10, 20, 60, 0), dict(unf1=20 / 40, unf1_class=2 / 2.25, always_answer=20 / 100, youden_j=.75)),
    # one kind missing: what needs both is undefined
    ((3, 0, 0, 1), dict(audacity=1, timidity=.75, unf1=6 / 7, always_answer=1, unf1_class=np.nan, youden_j=np.nan, mcc=np.nan,
                        balanced_accuracy=np.nan, d_prime=np.nan, criterion=np.nan)),
    ((0, 3, 1, 0), dict(audacity=0, timidity=np.nan, unf1=np.nan, always_answer=np.nan, unf1_class=np.nan, mcc=np.nan)),
    ((0, 0, 4, 0), dict(audacity=np.nan, timidity=np.nan, unf1=0, youden_j=np.nan)),
])
def test_by_hand(counts, expected):
    s = awareness(*counts)
    for name, value in expected.items(): assert getattr(s, name) == pytest.approx(value, nan_ok=True, abs=1e-15), name


@pytest.mark.promise("hand")
@given(both)
@settings(max_examples=50, deadline=None)
def test_against_scikit_learn(c):
    s, (kind, answered) = awareness(*c), replies(*c)
    assert s.mcc == pytest.approx(sk.matthews_corrcoef(kind, answered), abs=1e-12)
    assert s.balanced_accuracy == pytest.approx(sk.balanced_accuracy_score(kind, answered), abs=1e-12)
    assert s.unf1 == pytest.approx(sk.f1_score(kind, answered, zero_division=0), abs=1e-12)
    assert s.timidity == pytest.approx(sk.recall_score(kind, answered), abs=1e-12)
    if s.ta + s.fa: assert s.audacity == pytest.approx(sk.precision_score(kind, answered), abs=1e-12)
    assert s.youden_j == pytest.approx(sk.balanced_accuracy_score(kind, answered, adjusted=True), abs=1e-12)
    weights = np.where(kind == 1, 1 / s.answerable, 1 / s.unanswerable)
    assert s.unf1_class == pytest.approx(sk.f1_score(kind, answered, sample_weight=weights, zero_division=0), abs=1e-12)


@pytest.mark.promise("hand")
@given(both)
@settings(deadline=None)
def test_detection_theory_by_the_standard_library(c):
    ta, fa, tu, fu = c
    z = NormalDist().inv_cdf
    hit, alarm = z((ta + .5) / (ta + fu + 1)), z((fa + .5) / (fa + tu + 1))
    s = awareness(*c)
    assert s.d_prime == pytest.approx(hit - alarm, abs=1e-9)
    assert s.criterion == pytest.approx(-(hit + alarm) / 2, abs=1e-9)


@pytest.mark.promise("hand")
@given(both)
@settings(deadline=None)
def test_chance_corrected_unf1_is_j(c):
    s = awareness(*c)
    base = s.same_rate_coin_class
    assert (s.unf1_class - base) / (1 - base) == pytest.approx(s.youden_j, abs=1e-12)
    cross = s.ta * s.tu - s.fa * s.fu                              # the sign of J, in whole numbers
    assert (s.unf1 - s.same_rate_coin) * cross >= -1e-12
    if cross == 0: assert s.unf1 == pytest.approx(s.same_rate_coin, abs=1e-12)
    if s.unf1 > s.always_answer + 1e-12: assert cross > 0          # who beats always answering tells the questions apart


def test_same_rate_coin_is_the_limit_of_coins():
    rng = np.random.default_rng(0)
    s = awareness(300, 100, 500, 100)
    ta, fa = rng.binomial(400, s.answer_rate, 4000), rng.binomial(600, s.answer_rate, 4000)
    assert awareness(ta, fa, 600 - fa, 400 - ta).unf1.mean() == pytest.approx(s.same_rate_coin, abs=.002)


@given(st.lists(cells, min_size=1, max_size=8))
@settings(deadline=None)
def test_arrays_equal_a_loop(rows):
    s = awareness(*np.array(rows).T)
    for name in SCORES:
        loop = [getattr(awareness(*r), name) for r in rows]
        np.testing.assert_array_equal(getattr(s, name), loop, err_msg=name)
    got = scorer(*SCORES)(np.array(rows))
    for name in SCORES: np.testing.assert_array_equal(got[name], getattr(s, name))


@given(cells)
@settings(deadline=None)
def test_scalars_are_plain_numbers_and_nothing_warns(c):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, value, meaning in awareness(*c).table():
            assert type(value) in (float, int) and meaning, name
        assert awareness(*(np.int64(x) for x in c)) == awareness(*(float(x) for x in c)) == awareness(*c)


def test_shapes_broadcast_and_small_types_do_not_overflow():
    assert awareness(np.ones((3, 2)), 1, [1, 2], 1).unf1.shape == (3, 2)
    s = awareness(*(np.array([200], np.uint8) for _ in range(4)))
    assert s.answerable[0] == 400 and s.unf1[0] == .5
    big = awareness(10**9, 10**9, 10**9, 10**9)
    assert big.mcc == 0 and big.unf1 == .5


@pytest.mark.promise("refused")
@pytest.mark.parametrize("bad", [
    (0, 0, 0, 0), (-1, 2, 3, 4), (.5, 1, 1, 1), (np.nan, 1, 1, 1), (np.inf, 1, 1, 1), ("4", 1, 1, 1), (None, 1, 1, 1),
    (True, 1, 1, 1),
    ([], [], [], []), ([1, 2], [1, 2, 3], 1, 1), ([1, 0], [1, 0], [1, 0], [1, 0]), ([1, -1], 1, 1, 1), (1e300, 1, 1, 1)])
def test_what_is_no_count_is_refused(bad):
    with pytest.raises(ValueError) as e: awareness(*bad)
    assert str(e.value) and "\n" not in str(e.value)


def test_scorer_refuses_unknown_names_and_other_shapes():
    with pytest.raises(ValueError, match="f1_macro"): scorer("unf1", "f1_macro")
    with pytest.raises(ValueError): scorer()
    with pytest.raises(ValueError, match="last axis"): scorer("unf1")(np.ones((5, 3)))
    assert np.isnan(scorer("unf1")(np.zeros((1, 4)))["unf1"]).all()


@pytest.mark.promise("outcomes")
@given(st.tuples(*[st.integers(0, 6)] * 4), st.integers(0, 4), st.integers(0, 4))
@settings(max_examples=60, deadline=None)
def test_bounds_by_brute_force(c, a, u):
    ta, fa, tu, fu = c
    if ta + fu + a == 0 or fa + tu + u == 0: return
    all_ways = [awareness(ta + i, fa + j, tu + u - j, fu + a - i) for i, j in itertools.product(range(a + 1), range(u + 1))]
    b = bounds(*c, a, u)
    for name in BOUNDED:
        values = [getattr(s, name) for s in all_ways]
        assert getattr(b.worst, name) == pytest.approx(min(values), abs=1e-12), name
        assert getattr(b.best, name) == pytest.approx(max(values), abs=1e-12), name


def test_bounds_edges():
    assert bounds(4, 2, 3, 1, 0, 0).worst == bounds(4, 2, 3, 1, 0, 0).best == awareness(4, 2, 3, 1)
    none_read = bounds(0, 0, 0, 0, 3, 3)
    assert (none_read.worst.unf1, none_read.best.unf1) == (0, 1)
    many = bounds(np.array([4, 0]), 2, 3, 1, np.array([1, 0]), 0)
    assert many.worst.unf1.shape == (2,)
    with pytest.raises(ValueError): bounds(0, 0, 0, 0, 0, 0)
    with pytest.raises(ValueError, match="unread_answerable"): bounds(1, 1, 1, 1, -1, 0)


@given(st.lists(st.tuples(st.sampled_from([0, .1, .1, .3, .5, .9, 1]), st.booleans()), min_size=2, max_size=40))
@settings(deadline=None)
def test_auroc_against_scikit_learn_and_pairs(rows):
    p, kind = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    if kind.all() or not kind.any():
        with pytest.raises(ValueError, match="both kinds"): auroc(p, kind)
        return
    gap = p[~kind][:, None] - p[kind][None]
    assert auroc(p, kind) == pytest.approx(((gap > 0) + (gap == 0) / 2).mean(), abs=1e-12)
    assert auroc(p, kind) == pytest.approx(sk.roc_auc_score(~kind, p), abs=1e-12)
    assert auroc(p, ~kind) == pytest.approx(1 - auroc(p, kind), abs=1e-12)


def test_auroc_takes_logs_and_refuses_what_it_cannot_rank():
    p, kind = [.2, .8, .6], [1, 0, 1]
    with np.errstate(divide="ignore"): assert auroc(np.log([.2, .8, 0.]), kind) == auroc([.2, .8, 0.], kind) == 1
    assert auroc(p, kind) == 1 and type(auroc(p, kind)) is float
    for bad in ([.2, np.nan, .6], [.2, .8]):
        with pytest.raises(ValueError): auroc(bad, kind)
    for bad in (["yes", "no", "yes"], [0, 1, 2], [[1, 0, 1]]):
        with pytest.raises(ValueError): auroc(p, bad)
    with pytest.raises(ValueError, match="1 of 3"): auroc([.2, np.nan, .6], kind)


def span(low, high, level=.95): return SimpleNamespace(low=low, high=high, level=level)


@pytest.mark.promise("sentence")
@pytest.mark.parametrize("unf1, j, begins", [
    ((.70, .75), (.3, .5), "The score beats"), ((.60, .65), (.3, .5), "The score does not beat"),
    ((.60, .65), (-.1, .1), "The score does not beat"), ((.60, .70), (-.5, -.1), "The score does not beat"),
    ((.60, .70), (.3, .5), "The data cannot tell"), ((.60, .70), (-.1, .1), "The data cannot tell"),
    ((.70, .75), (-.1, .1), "The data cannot tell"), ((np.nan, np.nan), (.3, .5), "Whether the score beats"),
    ((.70, .75), (np.nan, np.nan), "Whether the score beats"), ((2 / 3, .75), (.3, .5), "The data cannot tell")])
def test_sentence_claims_no_more_than_both_intervals(unf1, j, begins):
    text = sentence(awareness(40, 20, 30, 10), dict(unf1=span(*unf1), youden_j=span(*j, level=.9)))
    assert text.startswith(begins + " ") and "the constant always-answer policy" in text
    assert text.endswith(".") and ". " not in text and "\n" not in text
    for level, limits in ((95, unf1), (90, j)): assert ("no interval" if np.isnan(limits[0]) else f"{level}% interval") in text
    assert "0.667 that always answering" in text


def test_sentence_names_the_constant_policy_and_refuses_arrays():
    spans = dict(unf1=span(.6, .7), youden_j=span(0, 0))
    assert "No reply that counts is an abstention" in sentence(awareness(5, 5, 0, 0), spans)      # others may be unreadable
    assert "J undefined" in sentence(awareness(3, 0, 0, 2), spans | dict(youden_j=span(np.nan, np.nan)))
    with pytest.raises(ValueError, match="arrays"): sentence(awareness([4, 5], 2, 3, 1), spans)
    with pytest.raises(ValueError, match="youden_j"): sentence(awareness(4, 2, 3, 1), dict(unf1=span(.6, .7)))


def test_table_lists_every_score_once():
    s = awareness(4, 2, 3, 1)
    named = {n for n, v in vars(Awareness).items() if isinstance(v, property)}
    for parent in Awareness.__mro__: named |= {n for n, v in vars(parent).items() if isinstance(v, property)}
    assert named == set(SCORES) and [row[0] for row in s.table()] == list(SCORES)
    assert s.as_dict()["unf1"] == s.unf1 and s.as_dict()["ta"] == 4
