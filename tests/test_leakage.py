"Leakage: a planted leak is found whole, no leak is none, pictures are never split, and the parts agree with scikit-learn's own cross-validation."
import json
import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
import unsaf
from unsaf.assessment.leakage import _within, grams, leakage
from unsaf.assessment.probes import StyleCheat
from unsaf.assessment.scores import score
from unsaf.assessment import blind as W


def table(questions, answerable, images, cells=None, options=""):
    "A table of replies; the model is right everywhere where no cells are given."
    answerable = np.asarray(answerable, bool)
    return pd.DataFrame(dict(image_id=list(map(str, images)), answerable=answerable, question=questions, options=options,
                             cell=np.where(answerable, "TA", "TU") if cells is None else cells))


def lot(seed, images=30, k=5, words=("red", "blue", "old", "dog", "who")):
    "Questions by lot, the same for both classes."
    rng = np.random.default_rng(seed)
    n = 2 * k * images
    return table([" ".join(rng.choice(words, 3)) for _ in range(n)], np.tile([True] * k + [False] * k, images), np.repeat(np.arange(images), 2 * k))


def test_words_and_pairs_stay_within_their_piece():
    assert grams(("Who's IT?", "5 € x")) == ["who", "s", "it", "who s", "s it", "5", "x", "5 x"]
    assert grams(("?", "")) == [] and grams(("誰が買う",)) == ["誰", "が", "買", "う", "誰 が", "が 買", "買 う"]


def test_a_planted_word_is_found_whole():
    t = lot(0)
    t["question"] = [q if a else f"{q} perhaps" for q, a in zip(t.question, t.answerable)]
    f = leakage(t, n=200)
    assert f.auroc.value == f.accuracy.value == f.policy["youden_j"].value == f.policy["unf1"].value == 1
    assert np.isnan([f.auroc.low, f.auroc.high, f.accuracy.low, f.accuracy.high]).all() and "no interval" in str(f.auroc)      # nothing varied
    assert abs(np.mean(f.permuted) - .5) < .05 and "'perhaps'" in f.told_by("unanswerable", 1)
    row = f.words[f.words.word == "perhaps"].iloc[0]
    assert (row.answerable, row.unanswerable) == (0, 1) and row.weight > 0


def test_a_habit_in_a_script_without_spaces_is_found():
    rng = np.random.default_rng(1)
    t = lot(1)
    t["question"] = ["这是" + "".join(rng.choice(list("红蓝绿黑狗猫球车"), 4)) + ("吗" if a else "谁的") for a in t.answerable]
    assert W.word_policy(t).policy["youden_j"].value > .95


@pytest.mark.parametrize("setting", ["oe", "mc"])
def test_the_cheat_leaks(setting):
    f = leakage(unsaf.assess(StyleCheat(careful=True), "scenes", setting, n=10).table, n=100, permutations=2)
    assert f.auroc.value == f.policy["youden_j"].value == f.model["youden_j"].value == 1 and f.gap["youden_j"].value == 0


def test_without_a_leak_there_is_none():
    found = [leakage(lot(seed), n=50, permutations=3) for seed in range(12)]
    assert abs(np.mean([f.auroc.value for f in found]) - .5) < .03 and abs(np.mean([f.permuted for f in found]) - .5) < .03
    assert abs(np.mean([f.policy["youden_j"].value for f in found])) < .05 and all(f.model["youden_j"].value == 1 for f in found)


def test_options_are_words_too():
    t = lot(1, images=10).assign(question="Which one?")
    t["options"] = [json.dumps(["red", "blue", "green", "gray"] if a else ["1 year", "2 years", "5 years", "9 years"]) for a in t.answerable]
    assert leakage(t, n=50, permutations=2).auroc.value == 1
    assert leakage(t.assign(options=""), n=50, permutations=2).auroc.value == .5


@pytest.mark.promise("words")
def test_a_picture_is_never_in_both_parts():
    "Each picture has a noun of its own and one class only: whoever has seen some of its questions knows the rest, and nobody else knows anything."
    images = np.repeat(np.arange(40), 6)
    t = table([f"what about thing{i}" for i in images], images % 2 == 0, images)
    assert leakage(t, n=50, permutations=2).auroc.value <= .5
    x, y, rows = TfidfVectorizer(analyzer=lambda q: grams((q,))).fit_transform(t.question), ~t.answerable, np.random.default_rng(0).permutation(len(t))
    split = cross_val_predict(LogisticRegression(max_iter=1000), x[rows], y.to_numpy()[rows], cv=5, method="predict_proba")[:, 1]
    assert roc_auc_score(y.to_numpy()[rows], split) > .95


@pytest.mark.promise("words")
def test_against_scikit_learns_own_cross_validation():
    t = unsaf.assess(StyleCheat(), unsaf.images("scenes", n=12, seed=2)).table
    rng = np.random.default_rng(0)
    t = t.assign(question=[q.replace("Who owns", "What color is") if rng.random() < .4 else q for q in t.question])      # a leak in part
    f = leakage(t, folds=4, n=50, permutations=1)
    place, y = np.unique(t.image_id.astype(str), return_inverse=True)[1], (~t.answerable).to_numpy()
    pipe = make_pipeline(TfidfVectorizer(analyzer=lambda q: grams((q,))), LogisticRegression(max_iter=1000))
    p = cross_val_predict(pipe, t.question.to_numpy(), y, groups=place, cv=GroupKFold(4), method="predict_proba")[:, 1]
    np.testing.assert_allclose(f.table.p_unanswerable, p, atol=1e-12)
    parts = [(y[f.table.fold == k], p[f.table.fold == k]) for k in range(4)]
    pairs = [s.sum() * (~s).sum() for s, _ in parts]
    assert f.auroc.value == pytest.approx(np.average([roc_auc_score(*part) for part in parts], weights=pairs), abs=1e-12) and .5 < f.auroc.value < 1
    assert f.accuracy.value == pytest.approx(((p > .5) == y).mean())
    assert f.table.groupby("image_id").fold.nunique().max() == 1


def test_a_picture_drawn_twice_counts_twice():
    rng = np.random.default_rng(3)
    p, hard, place, fold = rng.integers(0, 6, 48) / 5, rng.random(48) < .5, np.arange(48) // 4, np.arange(48) // 16
    value = _within(p, hard, place, fold)
    for _ in range(5):
        times = rng.multinomial(12, np.full(12, 1 / 12))
        again = np.repeat(np.arange(48), times[place])
        assert value(times) == pytest.approx(_within(p[again], hard[again], place[again], fold[again])(np.ones(12, int)), nan_ok=True)


def test_the_policy_is_counted_where_the_model_is():
    "By hand: the word tells 8 of 10 of each class, so J = 0.6; the model's lost replies are in neither."
    images, label = np.repeat(np.arange(20), 10), np.tile([True] * 5 + [False] * 5, 20)
    spoilt = np.tile(([True] + [False] * 4) * 2, 20)                                   # one of five of each class has the other class's word
    t = table(["plain" if a != s else "odd" for a, s in zip(label, spoilt)], label, images)
    f = leakage(t, n=100, permutations=2)
    assert f.policy["youden_j"].value == pytest.approx(.6) and f.model["youden_j"].value == 1 and f.gap["youden_j"].value == pytest.approx(.4)
    lost = t.assign(cell=t.cell.where(~spoilt, None))
    f = leakage(lost, n=100, permutations=2)
    assert f.policy["youden_j"].value == 1 and f.counted == 160 and len(f.table) == 200


def test_classes_of_unequal_size():
    """By hand: one question of ten is unanswerable and odd, and so are three of the nine others. `odd` is a sign of it, though three to one against:
    the policy compares with the share of the class, so t = 6/9 and f = 0; the majority is the larger class."""
    images, label = np.repeat(np.arange(20), 10), np.tile([True] * 9 + [False], 20)
    f = leakage(table(["odd" if i % 10 in (0, 1, 2, 9) else "plain" for i in range(200)], label, images), n=100, permutations=2)
    assert f.majority.value == .9 and f.policy["youden_j"].value == pytest.approx(6 / 9) and f.accuracy.value == .9


def test_the_order_of_rows_does_not_matter():
    t = lot(5, images=12)
    a, b = (leakage(x, n=100, permutations=2) for x in (t, t.sample(frac=1, random_state=1)))
    assert a.auroc.value == pytest.approx(b.auroc.value, abs=1e-9) and a.policy["unf1"].value == pytest.approx(b.policy["unf1"].value)


def test_what_cannot_be_computed_is_said():
    t = lot(2, images=6)
    for some, why in ((t[t.answerable], "written as unanswerable"), (t[t.image_id.isin(["0", "1"])], "2 images have questions"),
                      (t.assign(question="?!"), "no word"), (t.assign(cell=None), "no reply"), (t[:0], "0 images")):
        with pytest.raises(ValueError, match=why): leakage(some)
    with pytest.raises(ValueError, match="folds = 1"): leakage(t, folds=1)
    one = t.assign(answerable=[a or i != "0" for a, i in zip(t.answerable, t.image_id)])
    with pytest.raises(ValueError, match="1 images have a question written as unanswerable"): leakage(one)


def test_it_can_be_written_down():
    f = leakage(lot(7, images=8), n=50, permutations=2)
    body = json.loads(json.dumps(f.as_dict(), allow_nan=False))
    assert body["questions"] == 80 and body["images"] == 8 and body["auroc"]["low"] <= body["auroc"]["high"] and len(body["permuted"]) == 2
    assert len(f.lines()) == 7 and f.lines()[0].startswith("AUROC")


# ---- the reference line beside every score

def scored(t):
    "Scores of a table whose lists do not matter."
    t = t.assign(setting="oe", p_abstain=np.nan, p_abstain_choice=np.nan, outcome=t.cell.map(lambda c: "answered" if c in ("TA", "FA") else "abstained"),
                 finish="stop", soft_abstain=False)
    lists = pd.DataFrame(dict(answerable=[True, False], finish="stop", asked=100, pieces="{}"))
    return score(t, lists, list(dict.fromkeys(t.image_id)), n=500)


def half_told(images=40):
    "Questions of which six in ten name their class; the model is right about all."
    t = lot(3, images)
    marks = np.tile([f" {'may' if i < 5 else 'who'}{i % 2}" if i % 5 < 3 else "" for i in range(10)], images)
    return t.assign(question=t.question + marks)


@pytest.mark.promise("words")
def test_a_model_that_only_reads_is_not_above_the_words():
    t = half_told()
    p, prior = W.rated(W.fold_words(W.wordings(t), np.unique(t.image_id, return_inverse=True)[1], 5), ~t.answerable.to_numpy())
    reader = t.assign(cell=np.where(t.answerable, np.where(p > prior, "FU", "TA"), np.where(p > prior, "TU", "FA")))
    s, perfect = scored(reader), scored(t)
    assert s.youden_j > .4 and s.words.gap["youden_j"].value == 0 and "every reference that sees no image" in s.sentence
    assert s.sentence.startswith("The data cannot tell") and "abstaining by the words" in s.sentence
    assert perfect.sentence.startswith("The score beats every reference") and perfect.words.gap["youden_j"].low > .2
    assert perfect.frame().loc["youden_j_words", "value"] == perfect.words.policy["youden_j"].value == s.words.policy["youden_j"].value
    assert json.loads(json.dumps(perfect.as_dict()))["words"]["questions"] == len(t) and not [x for x in perfect.caution() if "sees no image" in x]


@pytest.mark.parametrize("some,why", [(lot(0, 19), "these are 190"), (lot(0, 4, k=30), "5 images"), (lot(0).assign(question="?!"), "no word"),
                                      (lot(0).assign(answerable=True, cell="TA"), "one class")])
def test_where_there_is_no_word_policy_the_run_says_why(some, why):
    s = scored(some)
    assert why in s.words.missing and not s.words.policy and "unf1_words" not in s.frame().index
    assert any(why in line for line in s.caution()) and "words alone" not in s.sentence


def test_a_large_run_is_judged_by_its_first_images(monkeypatch):
    t = lot(0)
    monkeypatch.setattr(W, "MOST", 215)
    found = W.word_policy(t)
    assert found.questions == 210 and found.as_dict() == W.word_policy(t[:210]).as_dict()
