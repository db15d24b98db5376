"Probes: the audit against the oracle row by row, relabelling against the linear system and J (1 - a - b), and nothing changed but what is meant."
import json
import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings, strategies as st
from PIL import Image
import unsaf
from unsaf.prompts import templates as prompts
from unsaf.core import ImageError, Outcome, Picture, Reply, Sample, UnsafError
from unsaf.world.scenes import blank, DOMAINS, Scene, Thing
from unsaf.metrics.awareness import awareness
from unsaf.models.base import Scripted
from unsaf.world.oracle import check, is_right
from unsaf.assessment.probes import StyleCheat, at_ratio, audited, blanked, by_truth, label_bias, label_noise, reask, relabelled, swapped


def counted(table):
    return awareness(*((table.cell == c).sum() for c in ("TA", "FA", "TU", "FU")))


def rows(ta, fa, tu, fu, unread=0):
    cells = ["TA"] * ta + ["FA"] * fa + ["TU"] * tu + ["FU"] * fu + [None] * unread
    return pd.DataFrame(dict(image_id=[f"p{i}" for i in range(len(cells))], answerable=[c in ("TA", "FU", None) for c in cells], cell=cells,
                             outcome=[{"A": "answered", "U": "abstained"}.get((c or "??")[1], "unreadable") for c in cells]))


# ---- the cheat

@pytest.mark.parametrize("careful", [False, True])
@pytest.mark.parametrize("setting", ["oe", "mc"])
@pytest.mark.parametrize("layout", prompts.LAYOUTS)
def test_the_cheat_is_perfect_in_every_wording(careful, setting, layout):
    for paraphrase in range(prompts.PARAPHRASES + 1):
        for k in (1, 5):
            r = unsaf.assess(StyleCheat(careful), unsaf.images("scenes", n=3), setting, k=k, layout=layout, paraphrase=paraphrase)
            assert r.scores.unf1 == r.scores.youden_j == 1 and len(r.table) == 3 * 2 * k and not r.scores.leftovers


@pytest.mark.parametrize("domain", DOMAINS)
def test_only_the_careful_cheat_tells_the_truth(domain):
    images = unsaf.images("scenes", n=30, seed=3, domain=domain)
    a, b = label_noise(audited(unsaf.assess(StyleCheat(careful=True), images).table, images))
    assert a == b == 0
    a, b = label_noise(audited(unsaf.assess(StyleCheat(), images).table, images))
    assert a > .1 and b == 0


def test_the_cheat_takes_logit_mode_and_says_when_it_has_no_more():
    r = unsaf.assess(StyleCheat(), unsaf.images("scenes", n=2), "mc", answer_mode="logit")
    assert r.scores.youden_j == 1
    r = unsaf.assess(StyleCheat(), unsaf.images("scenes", n=2), k=9)
    assert r.lists.kept.tolist() == [5, 6] * 2 and (r.lists.asked == 9).all()


# ---- the audit

SCENES = {"p0": Scene((Thing("circle", "red", "small", 0), Thing("circle", "blue", "small", 4)), 1), "p1": Scene((Thing("star", "red", "small", 2),), 2)}
ASKED = [("p0", True, "What color is the star?", "", "red"), ("p0", True, "What color is the circle?", "", "blue"),
         ("p0", False, "Who owns the circle?", "", "unanswerable"), ("p0", False, "Is it nice?", "", "yes"),
         ("p1", True, "What color is the star?", json.dumps(["blue", "red", "green", "black"]), "B"),
         ("p1", True, "What color is the star?", json.dumps(["blue", "gray", "green", "black"]), "B"),
         ("p1", False, "Where is the star?", "", "top right")]


def audit_table():
    outcome = [Outcome.ABSTAINED if a[4] == "unanswerable" else Outcome.ANSWERED for a in ASKED]
    return pd.DataFrame(ASKED, columns=["image_id", "answerable", "question", "options", "reply"]).assign(outcome=list(map(str, outcome)))


def test_the_audit_by_hand():
    t = audited(audit_table(), SCENES)
    assert t.oracle_status.tolist() == ["unanswerable", "ambiguous", "unanswerable", "unread", "answerable", "unanswerable", "answerable"]
    assert t.oracle_reason.tolist() == ["false premise", "", "unobservable", "", "", "no right option", ""]
    assert t.truth.tolist() == [False, pd.NA, False, pd.NA, True, False, True]
    assert t.right.tolist() == [False, True, True, pd.NA, True, False, True]
    assert label_noise(t) == (2 / 3, 1 / 2)
    true = by_truth(t)
    assert len(true) == 5 and true.cell.tolist() == ["FA", "TU", "TA", "FA", "TA"]
    assert np.isnan(label_noise(t[t.answerable])[1])


@pytest.mark.parametrize("setting", ["oe", "mc"])
def test_the_audit_against_the_oracle_row_by_row(setting):
    images = unsaf.images("scenes", n=6, seed=2, domain="cluttered")
    result = unsaf.assess(StyleCheat(), images, setting)
    t = audited(result.table, images)
    scenes = {s.image_id: Scene.from_dict(s.info["scene"]) for s in images}
    pd.testing.assert_frame_equal(t, audited(result.table, scenes))
    pd.testing.assert_frame_equal(t[result.table.columns], result.table)
    for r in t.itertuples():
        options = json.loads(r.options) if r.options else ()
        v = check(scenes[r.image_id], r.question, options)
        assert (v.status, v.reason, v.kind) == (r.oracle_status, r.oracle_reason, r.oracle_kind)
        assert r.right == is_right(v, r.reply, options) and (v.status == "ambiguous" or r.truth == (v.status == "answerable"))


def test_what_cannot_be_audited_is_said():
    t = audit_table()
    with pytest.raises(UnsafError, match="p1 of the table"): audited(t, {"p0": SCENES["p0"]})
    with pytest.raises(UnsafError, match="drawn world only"): audited(t, [Sample(Picture("p0", lambda: None))])
    for f in (label_noise, by_truth):
        with pytest.raises(UnsafError, match="audited"): f(t)
    assert len(audited(t[:0], SCENES)) == 0


# ---- other pictures under the same names

def test_swapped_shows_the_next_and_knows_it():
    images = unsaf.images("scenes", n=4, seed=1)
    s = swapped(images)
    assert s.image_ids == images.image_ids and len(s) == 4 and s.source == f"{images.source}, swapped"
    for i in range(4):
        other = images[(i + 1) % 4]
        assert s[i].image_id == images[i].image_id and s[i].picture.digest == other.picture.digest and s[i].info == other.info
    round_trip = swapped(swapped(swapped(s)))
    assert [x.picture.digest for x in round_trip] == [x.picture.digest for x in images]
    assert [x.image_id for x in swapped(images[1:3])] == images.image_ids[1:3]
    with pytest.raises(UnsafError, match="one image"): swapped(images[:1])


def test_blanked_shows_nothing():
    for domain in DOMAINS:
        images = unsaf.images("scenes", n=2, domain=domain)
        for s, b in zip(images, blanked(images)):
            scene = Scene.from_dict(s.info["scene"])
            assert b.image_id == s.image_id and b.picture.pixels().tobytes() == blank(scene).tobytes() != s.picture.pixels().tobytes()
            assert check(Scene.from_dict(b.info["scene"]), "How many objects are there?").answers == ("0",)
    [b] = blanked([Image.new("RGB", (7, 5), "red")])
    assert b.picture.pixels().size == (7, 5) and b.picture.pixels().getcolors() == [(35, (255, 255, 255))] and not b.info


# ---- the second stage alone

def sums(request):
    "Asks in fixed words, and replies what depends on the picture."
    if request.max_tokens > 100: return "1. Question: What is it?\n2. Question: Why is it?"
    return "unanswerable" if sum(request.pictures[0].digest.encode()) % 2 else "this"


def test_reasking_the_same_is_the_same(tmp_path):
    images = unsaf.images("scenes", n=5, seed=4)
    first = unsaf.assess(model := Scripted(sums), images, k=2, store=tmp_path)
    model.asked = []
    again = reask(model, first, store=tmp_path, block=2)
    assert not model.asked and again.calls["cached"] == len(first.table) // 2      # both classes have the same questions
    pd.testing.assert_frame_equal(again.table, first.table)
    assert again.images == first.images and again.lists is first.lists and again.run_id != first.run_id
    assert again.scores.unf1 == first.scores.unf1


def test_reasking_shows_the_other_picture_and_keeps_questions_and_labels():
    images = unsaf.images("scenes", n=6, seed=4)
    first = unsaf.assess(model := Scripted(sums), images, k=2)
    model.asked = []
    r = reask(model, first, swapped(images))
    same = ["image_id", "setting", "answerable", "number", "question", "options", "notes"]
    pd.testing.assert_frame_equal(r.table[same], first.table[same])
    shown = {s.image_id: s.picture.digest for s in swapped(images)}
    assert {(q.pictures[0].digest, w) for q in model.asked for w in ("What", "Why") if w in q.text} == {(d, w) for d in shown.values() for w in ("What", "Why")}
    assert r.table.outcome.tolist() == ["abstained" if sum(shown[i].encode()) % 2 else "answered" for i in first.table.image_id]


def test_cross_examination_takes_the_other_model_and_its_template():
    first = unsaf.assess(StyleCheat(), unsaf.images("scenes", n=2), "mc")
    other = Scripted(lambda r: "B", name="other")
    other.template = "llava"
    r = reask(other, first, paraphrase=1)
    assert r.model == "other" and set(r.table.answer) == {"B"} and r.plan.paraphrase == 1 and r.plan.template == "llava"
    assert all(q.system for q in other.asked) and all("A. red" in q.text or "A. Tom" in q.text for q in other.asked)
    assert r.identity["questions of"] == first.run_id
    assert reask(other, first, template="none").plan.template == "none"


def test_what_reask_cannot_do_costs_nothing():
    images = unsaf.images("scenes", n=3)
    first = unsaf.assess(StyleCheat(), images, "oe")
    model = Scripted(sums)
    for bad in (dict(setting="mc"), dict(k=3), dict(question_tokens=9), dict(colour="red"), dict(layout="upside"), dict(answer_mode="logit"),
                dict(images=images[:2]), dict(images=unsaf.images("scenes", n=3, seed=9))):
        with pytest.raises(UnsafError) as e: reask(model, first, **bad)
        assert "\n" not in str(e.value)
    model.decides = False
    with pytest.raises(UnsafError, match="probabilities"): reask(model, unsaf.assess(StyleCheat(), images, "mc"), answer_mode="logit")
    assert not model.asked


def test_a_broken_picture_is_one_failure():
    images = list(unsaf.images("scenes", n=3))
    first = unsaf.assess(StyleCheat(), images)
    def broken(): raise ImageError("p.png: truncated")
    images[1] = Sample(Picture(images[1].image_id, broken))
    r = reask(StyleCheat(), first, images)
    assert r.failures.image_id.tolist() == [images[1].image_id] and len(r.table) == 20 and len(r.images) == 2


def test_pictures_without_questions_stay():
    def mute(request):
        if request.max_tokens > 100: return "1. Question: Why?" if request.pictures[0].digest < "8" else Reply("", finish="failed", error="no")
        return "this"
    first = unsaf.assess(Scripted(mute), unsaf.images("scenes", n=12), k=1)
    assert 0 < first.table.image_id.nunique() < 12
    assert reask(Scripted(mute), first).images == first.images


# ---- labels and mixes

cells = st.tuples(*[st.integers(1, 40)] * 4, st.integers(0, 5))
rate = st.floats(0, .5)


@given(cells, rate, rate, st.integers(0, 3), st.sampled_from(["any", "agreeing", "disagreeing"]))
@settings(deadline=None, max_examples=30)
def test_relabelling_moves_what_the_linear_system_says(c, a, b, seed, take):
    t, (p, n) = rows(*c), (c[0] + c[3], c[1] + c[2])
    assume(a + b < .95)
    x, y = np.linalg.solve([[a, 1 - a], [1 - b, b]], [a * p, b * n])
    if not (-.5 <= x <= p and -.5 <= y <= n):
        with pytest.raises(ValueError, match="cannot be relabelled"): relabelled(t, a, b, seed, take)
        return
    new = relabelled(t, a, b, seed, take)
    moved = new.answerable != t.answerable
    assert abs((moved & t.answerable).sum() - x) <= .5 + 1e-6 and abs((moved & ~t.answerable).sum() - y) <= .5 + 1e-6
    assert not moved[t.cell.isna()].any() and (new.outcome == t.outcome).all() and (new.cell.isna() == t.cell.isna()).all()
    agrees = (t.outcome == "answered") != t.answerable       # of a row that moves: its reply with its new label
    for side in (True, False):
        pool = t.cell.notna() & (t.answerable == side)
        many = (moved & pool).sum()
        if take == "agreeing": assert (moved & pool & agrees).sum() == min(many, (pool & agrees).sum())
        if take == "disagreeing": assert (moved & pool & ~agrees).sum() == min(many, (pool & ~agrees).sum())


@pytest.mark.parametrize("a,b", [(.1, .3), (.4, .05), (.25, .25), (0, .2)])
def test_j_shrinks_by_one_minus_a_minus_b(a, b):
    t = rows(150, 60, 140, 50, unread=7)
    found = np.array([counted(relabelled(t, a, b, seed)).youden_j for seed in range(100)])
    assert abs(found.mean() - counted(t).youden_j * (1 - a - b)) < 4 * found.std() / 10 + 1 / 190


def test_the_audit_finds_the_rates_that_were_put_in():
    t = rows(100, 40, 120, 60)
    new = relabelled(t, .2, .1, seed=3).assign(truth=pd.array(t.answerable, "boolean"))
    assert label_noise(new) == pytest.approx((.2, .1), abs=.004)
    assert counted(by_truth(new)) == counted(t) and relabelled(t, .2, .1, seed=3).equals(new.drop(columns="truth"))


def test_the_bias_is_that_of_the_parts():
    t = rows(100, 40, 120, 60, unread=5)
    t = relabelled(t, .2, .1, seed=1, take="agreeing").assign(truth=pd.array([*t.answerable[:-2], pd.NA, pd.NA], "boolean"))
    read = t[t.cell.notna()]
    a, b = label_noise(read)
    found = label_bias(t)
    expected = dict(observed=counted(t).youden_j, true=counted(by_truth(t)).youden_j, a=a, b=b)
    assert {name: found[name].value for name in expected} == pytest.approx(expected)
    assert found["predicted"].value == pytest.approx(expected["true"] * (1 - a - b))
    assert found["excess"].value == pytest.approx(found["observed"].value - found["predicted"].value) and found["excess"].low > 0
    assert label_bias(t, [*t.image_id, "no rows"])["true"].value == found["true"].value
    assert np.isnan(label_bias(t[t.answerable])["observed"].value)


def test_rates_without_a_meaning():
    t = rows(10, 10, 10, 10)
    for bad in (dict(a=-.1, b=0), dict(a=1, b=0), dict(a=.5, b=.5), dict(a=.1, b=np.nan), dict(a=.7, b=.1), dict(a=.1, b=.1, take="all")):
        with pytest.raises(ValueError): relabelled(t, **bad)
    assert relabelled(t, 0, 0).equals(t)


@given(cells, st.sampled_from([.1, .25, .5, 2/3, 1, 1.5, 2, 5]), st.integers(0, 3))
@settings(deadline=None, max_examples=30)
def test_a_mix_has_its_ratio_and_wastes_nothing(c, ratio, seed):
    t = rows(*c)
    p, n = t.answerable.sum(), (~t.answerable).sum()
    if not min(round(ratio * n), round(p / ratio)):
        with pytest.raises(ValueError, match="too few"): at_ratio(t, ratio, seed)
        return
    new = at_ratio(t, ratio, seed)
    q, m = new.answerable.sum(), (~new.answerable).sum()
    assert abs(q - ratio * m) <= .5 or abs(m - q / ratio) <= .5
    assert (q == p or m == n) and new.index.is_monotonic_increasing and new.equals(t.loc[new.index])


def test_mixes_without_a_meaning_and_the_own_mix():
    t = rows(20, 10, 10, 20)
    assert at_ratio(t, 2).equals(t) and not at_ratio(t, 1, 0).equals(at_ratio(t, 1, 1))
    for bad in (0, -1, np.nan, np.inf, 1000):
        with pytest.raises(ValueError): at_ratio(t, bad)
