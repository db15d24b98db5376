"Runs of probes and label audits: knowns by hand, planted noise found again, and nothing missing without its reason."
import json
import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta
import unsaf
from unsaf.core import ImageError, Picture, Reply, Sample, UnsafError
from unsaf.assessment.label_audit import COLUMN, SHEET, _ids, audit_labels, audit_scenes, filled, sheet
from test_evaluation import mind
from unsaf.models.base import Scripted
from unsaf.world.oracle import check
from unsaf.assessment.probe_runs import PROBES, Missing, Why, probe, probes_of
from unsaf.assessment.probes import StyleCheat, _labelled, audited, blanked, reask, relabelled, swapped
from unsaf.assessment.report import page
from unsaf.world.grammar import question_list, written
from unsaf.store import Store
from unsaf.world.scenes import Scene

LISTS = {"[A high-quality answerable question.]": True, "[A high-quality unanswerable question.]": False}


@pytest.fixture(scope="module")
def scenes():
    return unsaf.images("scenes", n=12, seed=5)


@pytest.fixture(scope="module")
def sighted(scenes):
    "A model that knows the scene of what it is shown, writes proper questions about it and answers by it."
    shown = {s.picture.digest: Scene.from_dict(s.info["scene"]) for some in (scenes, blanked(scenes), swapped(scenes)) for s in some}
    def say(request):
        scene = shown[request.pictures[0].digest]
        for line, answerable in LISTS.items():
            if line in request.text: return written(question_list(scene, answerable, "oe"))
        question = next(x for x in request.text.splitlines() if x.startswith("Question:")).removeprefix("Question: ")
        return (check(scene, question).answers or ("unanswerable",))[0]
    return Scripted(say, name="sighted")


def values(probes):
    return probes.table.set_index(["probe", "measure"])["value"]


# ---- cross

def test_the_matrix_by_hand_and_its_diagonal(scenes):
    "The careless model answers 18 of 24 unanswerable questions of 12 pictures: J = 1/4. Everything else is answered without an error."
    base, careful, easy = mind("base"), mind("careful", careful=True), mind("easy", easy=True)
    result = unsaf.assess(base, scenes, k=2)
    found = probe(result, base, "cross", others=[careful, easy], n=500)
    grid = found.matrix()
    assert grid.loc["base"].tolist() == [.25, 1, .25] and grid.loc["careful"].tolist() == [.25, 1, .25] and grid.loc["easy"].tolist() == [1, 1, 1]
    for name, model in (("base", base), ("careful", careful), ("easy", easy)):
        own = unsaf.assess(model, scenes, k=2)
        assert grid.loc[name, name] == own.scores.youden_j == values(found)["cross", f"youden_j, {name} answered by {name}"]
        assert reask(model, own).scores.youden_j == own.scores.youden_j                          # the diagonal is what asking again would give
    assert values(found)["cross", "unf1, base answered by base"] == result.scores.unf1
    note = found.table.set_index("measure").note["youden_j, base answered by careful"]
    assert note.startswith("+0.750 to base itself, p = ") and len(found.table) == 9 * 2 and found.calls["failed"] == 0


def test_intervals_are_those_of_the_scores(scenes):
    base = mind("base")
    result = unsaf.assess(base, scenes, k=2)
    row = probe(result, base, "cross", others=[mind("careful", careful=True)]).table.set_index("measure").loc["youden_j, base answered by base"]
    own = result.scores.intervals["youden_j"]
    assert (row.value, row.low, row.high) == (own.value, own.low, own.high)


def test_the_others_are_asked_as_the_first_was(scenes):
    base, other = mind("base"), mind("other")
    probe(unsaf.assess(base, scenes, k=2, suffix="timidity", layout="paper"), base, "cross", others=[other], n=50)
    like = Scripted(base.say, name="base")
    unsaf.assess(like, scenes, k=2, suffix="timidity", layout="paper")
    assert {r.text for r in like.asked} <= {r.text for r in other.asked} and {r.max_tokens for r in other.asked} == {r.max_tokens for r in like.asked}


@pytest.mark.promise("twice")
def test_nothing_is_asked_twice(scenes):
    base, other, store = mind("base"), mind("other", careful=True), Store()
    result = unsaf.assess(base, scenes, k=2, store=store)
    first = probe(result, base, store=store, others=[other], n=50)
    assert first.calls["asked"] > 0
    base.asked, other.asked = [], []
    again = probe(result, base, store=store, others=[other], n=50)
    assert again.calls["asked"] == 0 and not base.asked and not other.asked
    pd.testing.assert_frame_equal(first.table, again.table)


# ---- blank and swap

def test_who_looks_loses_and_who_does_not_keeps(scenes, sighted):
    cheat, looks = unsaf.assess(StyleCheat(), scenes), unsaf.assess(sighted, scenes)
    kept, lost = probe(cheat, StyleCheat(), "blank,swap", n=500), probe(looks, sighted, "blank,swap", n=500)
    assert all(values(kept)[p, "youden_j"] == 1 and values(kept)[p, "youden_j_lost"] == 0 for p in ("blank", "swap"))
    assert looks.scores.youden_j == 1
    for name, change in (("blank", blanked), ("swap", swapped)):
        again = reask(sighted, looks, change(scenes))
        assert values(lost)[name, "youden_j"] == again.scores.youden_j < .7 and values(lost)[name, "youden_j_lost"] == pytest.approx(1 - again.scores.youden_j)
        row = lost.table[(lost.table.probe == name) & (lost.table.measure == "youden_j_lost")].iloc[0]
        assert row.low > 0 and "p = " in row.note


def test_a_picture_that_could_not_be_read_stays_out(scenes):
    def broken(): raise ImageError("third.png: truncated")
    some = [Sample(Picture(s.image_id, broken if i == 2 else s.picture.read), info=s.info) for i, s in enumerate(scenes)]
    result = unsaf.assess(StyleCheat(), some)
    found = probe(result, StyleCheat(), n=50, others=[mind("base")])
    assert len(result.failures) == 1 and not found.missing and values(found)["blank", "youden_j"] == 1 and found.calls["failed"] == 0


def test_lost_replies_are_counted(scenes):
    result = unsaf.assess(StyleCheat(), scenes)
    def dead(finish): return Scripted(lambda r: Reply("", finish=finish, error="no reply"), name="cheat")
    with pytest.raises(UnsafError, match="more than 20%"): probe(result, dead("failed"), "blank", n=50)
    found = probe(result, dead("refused"), "blank", n=50)
    assert found.calls["asked"] > 100 and found.table.value.isna().all()
    assert "120 of 120 replies are neither" in found.table.note[0] and "undefined" in found.table.note[0] and not found.missing


# ---- what is missing

def test_every_missing_probe_has_a_typed_reason(scenes, monkeypatch):
    result = unsaf.assess(StyleCheat(), scenes[:1])
    found = probe(result, StyleCheat(), n=50)
    assert {k: m.why for k, m in found.missing.items()} == {"cross": Why.NO_OTHER, "swap": Why.NO_PICTURES, "leakage": Why.NO_ESTIMATE,
                                                            "audit": Why.NO_ESTIMATE, "corrected": Why.NO_ESTIMATE}
    assert list(dict.fromkeys(found.table.probe)) == list(PROBES) and np.isnan(found.table.low[found.table.probe == "blank"]).all()
    gone = unsaf.assess(StyleCheat(), scenes)
    gone.samples = None
    found = probe(gone, StyleCheat(), n=50, others=[mind("base")])
    assert {k: m.why for k, m in found.missing.items()} == dict.fromkeys(("cross", "blank", "swap"), Why.NO_PICTURES) | dict.fromkeys(
        ("audit", "corrected"), Why.NO_TRUTH)
    found = probe(gone, None, "leakage,blank")
    assert {k: m.why for k, m in found.missing.items()} == {"blank": Why.NO_MODEL}
    assert str(found.missing["blank"]) in found.lines()[2] and all(isinstance(m, Missing) for m in found.missing.values())


def test_names_are_checked_first(scenes):
    assert probes_of("all") == list(PROBES) and probes_of("swap, cross") == ["cross", "swap"]
    with pytest.raises(UnsafError, match="'luck' is unknown"): probes_of("blank,luck")
    with pytest.raises(UnsafError, match="unknown"): probes_of([])
    model = mind("base")
    result = unsaf.assess(model, scenes, k=2)
    model.asked = []
    with pytest.raises(UnsafError, match="called 'base'"): probe(result, model, others=[mind("base")])
    with pytest.raises(UnsafError, match="the model to ask is other"): probe(result, mind("other"))
    with pytest.raises(UnsafError, match="tiny-giant"): probe(result, model, others="tiny-giant")
    assert not model.asked


# ---- the audit

def noisy(a, b, seed, t=.9, f=.3, images=100, k=10):
    "Replies at rates t and f to questions whose labels are wrong at rates a and b, by lot; the truth stands beside them."
    rng = np.random.default_rng([seed, 1])        # relabelled draws from `seed` itself: the replies must not share its dice
    label = np.tile([True] * k + [False] * k, images)
    said = rng.random(len(label)) < np.where(label, t, f)
    table = pd.DataFrame(dict(image_id=np.repeat([f"p{i}" for i in range(images)], 2 * k), setting="oe", answerable=label, number=np.arange(len(label)),
                              question="?", options="", outcome=np.where(said, "answered", "abstained")))
    return relabelled(_labelled(table, label), a, b, seed=seed).assign(truth=pd.array(label, "boolean"))


def test_planted_noise_is_found_and_taken_away():
    found = [audit_labels(noisy(.2, .1, seed), n=300) for seed in range(20)]
    assert all(abs(x.a.value - .2) < .002 and abs(x.b.value - .1) < .002 for x in found)
    assert abs(np.mean([x.observed.value for x in found]) - .6 * .7) < .01 and abs(np.mean([x.corrected.value for x in found]) - .6) < .015
    assert sum(.6 in x.corrected for x in found) >= 16 and sum(0 in x.excess for x in found) >= 16


def test_a_hand_made_sample_covers_the_truth():
    hits, widths = 0, []
    for seed in range(20):
        table = noisy(.2, .1, seed)
        page = sheet(table, 100, seed)
        words = dict(zip(_ids(table), table.truth.map({True: "yes", False: "no"})))
        x = audit_labels(filled(table.drop(columns="truth"), page.assign(**{COLUMN: page.id.map(words)})), n=500, seed=seed)
        hits += .6 in x.corrected
        widths.append(x.corrected.high - x.corrected.low)
        assert x.by == "hand" and x.counts["answerable"] == x.counts["unanswerable"] == 100
    assert x.observed.value == pytest.approx(audit_labels(table, n=50).observed.value)
    assert hits >= 17 and .05 < np.median(widths) < .3          # 95 % of 20 are 19


def test_the_interval_of_no_error_and_the_weights_by_hand():
    "300 answerable and 100 unanswerable questions, 20 of each looked at: 16 of 20 are answered and true, and 4 of the others are answered and wrong."
    label, looked = np.repeat([True, False], [300, 100]), np.r_[np.arange(300) < 20, np.arange(100) < 20]
    answered = np.r_[np.arange(300) % 5 < 4, np.arange(100) % 5 < 1]
    truth = np.r_[np.ones(300, bool), np.arange(100) % 5 < 1]                     # what is answered among the unanswerable is mislabelled
    t = pd.DataFrame(dict(image_id=[f"p{i % 20}" for i in range(400)], answerable=label, outcome=np.where(answered, "answered", "abstained"), looked_at=looked,
                          truth=pd.array(np.where(looked, truth, None), "boolean")))
    x = audit_labels(_labelled(t, label), n=200)
    assert (x.a.value, x.a.low) == (0, 0) and x.a.high == pytest.approx(beta.ppf(.975, .5, 20.5)) and x.b.value == .2
    assert x.observed.value == pytest.approx(.8 - .2) and x.corrected.value == pytest.approx(.6 / .8)
    right = (.8 * 300 + .2 * 100) / (300 + .2 * 100)                              # of those truly answerable; the truly unanswerable are all abstained on
    assert x.true.value == pytest.approx(right)
    perfect = audit_labels(_labelled(t.assign(outcome=np.where(label, "answered", "abstained")), label), n=50)
    assert perfect.observed.value == 1 and .5 < perfect.observed.low < 1           # as on the run's own page: no point


def test_labels_worth_nothing_have_no_corrected_score():
    t = noisy(.2, .1, 0)
    x = audit_labels(t.assign(truth=pd.array(~t.answerable.to_numpy(), "boolean")), n=50)
    assert x.a.value == x.b.value == 1 and np.isnan(x.corrected.value) and "no J can be corrected" in x.verdict
    assert x.as_dict()["corrected"]["value"] is None
    with pytest.raises(ValueError, match="written as unanswerable"): audit_labels(t.assign(truth=t.truth.where(t.answerable)))


def test_shared_mistakes_are_told_apart(scenes):
    x = audit_scenes(unsaf.assess(StyleCheat(), scenes), n=200)
    assert x.observed.value == 1 < x.corrected.value and x.excess.low > 0 and "too high" in x.verdict
    honest = audit_scenes(unsaf.assess(StyleCheat(careful=True), scenes), n=200)
    assert honest.a.value == honest.b.value == honest.excess.value == 0 and honest.corrected.value == honest.true.value == 1


# ---- the sheet

@pytest.mark.promise("blind")
def test_the_sheet_hides_what_would_bias(scenes, tmp_path):
    table = unsaf.assess(StyleCheat(), scenes, "mc").table
    page = sheet(table, 20, seed=1)
    assert tuple(page) == SHEET and len(page) == 40 and page.id.is_unique
    assert page.equals(sheet(table, 20, seed=1)) and not page.equals(sheet(table, 20, seed=2))
    found = filled(table, page.assign(**{COLUMN: "yes"}))
    assert found[found.looked_at].answerable.value_counts().to_dict() == {True: 20, False: 20}
    assert len(sheet(table[table.image_id.isin(table.image_id.unique()[:2])], 100)) == 20
    with pytest.raises(UnsafError, match="written as unanswerable"): sheet(table[table.answerable])
    with pytest.raises(UnsafError, match="n = 0"): sheet(table, 0)


def test_a_spreadsheet_may_have_touched_it(scenes, tmp_path):
    table = unsaf.assess(StyleCheat(), scenes).table.assign(reply="NA")
    page = sheet(table, 5, seed=1)
    words = [" Yes", "NO", "y", "n", "unclear", "", "yes", "yes", "no", "no"]
    path = tmp_path / "sheet.csv"
    path.write_bytes(b"\xef\xbb\xbf" + page.assign(**{COLUMN: words}).to_csv(index=False).replace("\n", "\r\n").encode())
    found = filled(table, path)
    assert found.looked_at.sum() == 9 and found.truth.notna().sum() == 8 and found.truth.sum() == 4
    for text, why in (("id,question\n1,2\n", "no column 'can_be_answered'"), ("", "sheet.csv"), (f"id,{COLUMN}\nxyz,yes\n", "line 2: no question 'xyz'"),
                      (f"id,{COLUMN},{COLUMN}\n{page.id[0]},yes,no\n", "two columns"),
                      (f"id,{COLUMN}\n{page.id[0]},yes\n{page.id[0]},no\n", "line 3: question .* occurs twice"),
                      (f"id,{COLUMN}\n{page.id[0]},perhaps\n", "line 2: 'perhaps'"), (f"id,{COLUMN}\n{page.id[0]},\n", "nothing is filled in")):
        path.write_text(text)
        with pytest.raises(UnsafError, match=why): filled(table, path)
    with pytest.raises(UnsafError, match="No such file"): filled(table, tmp_path / "nowhere.csv")


def test_probes_take_a_sheet(scenes):
    grey = [Picture(f"g{i}", s.picture.read) for i, s in enumerate(scenes)]
    result = unsaf.assess(StyleCheat(), grey)
    known = audited(result.table.assign(image_id=[f"scene-5-{i[1:]}" for i in result.table.image_id]), scenes).truth
    whole = sheet(result.table, 1000)
    words = dict(zip(_ids(result.table), known.map({True: "yes", False: "no"})))
    found = probe(result, None, "audit,corrected", labels=whole.assign(**{COLUMN: whole.id.map(words)}), n=100)
    exact = audit_scenes(unsaf.assess(StyleCheat(), scenes), n=100)
    assert not found.missing and values(found)["audit", "a"] == exact.a.value
    assert values(found)["corrected", "youden_j_powered"] == pytest.approx(exact.true.value)
    assert not exact.divides and np.isnan(values(found)["corrected", "youden_j"])       # an assumption that failed has no number
    assert found.table.loc[found.table.measure == "youden_j", "note"].iloc[-1].startswith("not shown: the division assumes")


# ---- what is written

def test_it_can_be_written_down(scenes, tmp_path):
    found = probe(unsaf.assess(StyleCheat(), scenes), StyleCheat(), others=[mind("base")], n=100)
    csv, js = found.save(tmp_path, "oe")
    body = json.loads(js.read_text(), parse_constant=lambda x: pytest.fail(f"{x} is no JSON"))
    assert len(pd.read_csv(csv)) == len(found.table) == len(body["table"]) and body["readings"].keys() == set(PROBES) and not body["missing"]
    assert [p for p in PROBES if any(line.startswith(f"  {p}: ") for line in found.lines())] == list(PROBES)


def test_the_page_has_a_section_of_its_own(scenes, tmp_path):
    evil = mind("<b>bold</b>")
    result, other = unsaf.assess(evil, scenes, k=2), unsaf.assess(evil, scenes, "mc")
    found = probe(result, evil, others=[mind("other, answered by")], n=100)
    plain, html = result.report(tmp_path / "a.html").read_text(), result.report(tmp_path / "b.html", probes=found).read_text()
    assert "probes-oe" not in plain and html.count('id="probes-oe"') == 1 and "<b>bold" not in html and "on empty images" in html
    assert html.count("not done") == len(found.missing) and "its questions, answered by other, answered by" in html
    assert page([result, other], tmp_path / "c.html", 2, probes=[found]).read_text().count('class="probes"') == 1
    with pytest.raises(UnsafError, match="not on the page"): page([other], tmp_path / "d.html", probes=found)
