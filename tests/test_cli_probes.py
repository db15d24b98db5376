"assess --probes, compare, report and audit as a user meets them: what is printed and written, one line for what can be mended, and nothing asked that is kept."
import json, os
import pandas as pd
import pytest
from PIL import Image
import unsaf
from browser import cards_of
from unsaf.assessment.label_audit import COLUMN, _ids
from unsaf.models.base import Scripted
from unsaf.assessment.probes import StyleCheat, audited
from unsaf.assessment.saved import as_saved, opened, paired, saved_runs
from unsaf.store import Store


def one_line(run, *words, code=2):
    lines = [line for line in run.stderr.splitlines() if line.startswith("unsaf: ")]
    assert run.returncode == code and len(lines) == 1, run.stderr
    for word in words: assert str(word) in lines[0], lines[0]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for i in range(8): Image.new("RGB", (60, 40), (30 * i, 20, 200)).save(folder / f"p{i}.png")
    return folder


@pytest.fixture
def cheated(tmp_path):
    "A run folder of the cheat on drawn scenes, both settings; returns it with its assessments."
    results = [unsaf.assess(StyleCheat(), "scenes", s, n=12, seed=5, store=tmp_path / "cheat") for s in ("oe", "mc")]
    for r in results: r.save(tmp_path / "cheat")
    return tmp_path / "cheat", results


def replies(folder):
    with Store(folder) as store: return len(store)


# ---- assess --probes

@pytest.mark.slow
def test_assess_with_all_probes(tmp_path, inside):
    args = ("assess", "--model", "tiny-m", "--limit", "6", "--store", tmp_path / "run", "--probes", "all", "--cross", "tiny-s,tiny-student")
    run = inside(*args)
    assert run.returncode == 0, run.stderr
    for name in ("cross", "blank", "swap", "leakage", "audit", "corrected"): assert f"\n  {name}: " in run.stdout
    assert "tiny-s answered by tiny-student" in run.stdout and "not done" not in run.stdout
    assert 'id="probes-oe"' in (tmp_path / "run/report.html").read_text() and len(pd.read_csv(tmp_path / "run/probes-oe.csv")) > 30
    kept = replies(tmp_path / "run")
    again = inside(*args, "--json")
    (body,) = json.loads(again.stdout)
    assert body["probes"]["calls"]["asked"] == 0 and replies(tmp_path / "run") == kept and body["probes"]["readings"].keys() >= {"cross", "corrected"}


def test_cross_alone_asks_for_cross_and_some_are_told_why_not(tmp_path, inside, photos):
    run = inside("assess", "--model", "tiny-m", "--images", photos, "--k", "1", "--cross", "tiny-s")
    assert run.returncode == 0 and "cross: its own J" in run.stdout and "blank:" not in run.stdout
    run = inside("assess", "--model", "tiny-m", "--images", photos, "--k", "1", "--probes", "cross,audit")
    assert "cross: not done (no other model" in run.stdout and "audit: not done (no truth" in run.stdout and "unsaf audit" in run.stdout


def test_probes_are_checked_before_anything_is_asked(tmp_path, inside):
    one_line(inside("assess", "--model", "tiny-m", "--probes", "luck", "--store", tmp_path / "run"), "'luck'", "blank")
    one_line(inside("assess", "--model", "tiny-m", "--cross", "tiny-giant", "--store", tmp_path / "run"), "tiny-giant")
    assert not (tmp_path / "run").exists()


# ---- compare

def test_compare_two_models_on_the_same_pictures(tmp_path, inside):
    args = ("compare", "tiny-s", "tiny-l", "--limit", "8", "--store", tmp_path / "both")
    run = inside(*args, "--cross")
    assert run.returncode == 0, run.stderr
    assert "tiny-s and tiny-l on the same 8 images of scenes:0" in run.stdout and "tiny-s answered by tiny-l" in run.stdout
    body = json.loads((tmp_path / "both/compare.json").read_text())
    a, b = (unsaf.assess(m, "scenes", n=8, store=tmp_path / "both") for m in ("tiny-s", "tiny-l"))
    row = next(r for r in body["measures"] if r["measure"] == "youden_j")
    assert a.calls["asked"] == b.calls["asked"] == 0
    assert (row["a"], row["b"], row["difference"]) == (a.scores.youden_j, b.scores.youden_j, pytest.approx(b.scores.youden_j - a.scores.youden_j))
    kept = replies(tmp_path / "both")
    runs = inside("compare", f"{tmp_path / 'both'}@tiny-s", f"{tmp_path / 'both'}@tiny-l", "--json")
    assert json.loads(runs.stdout)["measures"] == body["measures"] and replies(tmp_path / "both") == kept
    one_line(inside("compare", tmp_path / "both", "tiny-l"), "2 such runs", "@MODEL")
    report = inside("report", tmp_path / "both")
    assert report.returncode == 0 and len(list((tmp_path / "both").glob("report*.html"))) == 2


def test_compare_a_model_with_a_run(cheated, inside, tmp_path):
    folder, (oe, mc) = cheated
    run = inside("compare", folder, "tiny-s", "--setting", "mc", "--json")
    body = json.loads(run.stdout)
    like = unsaf.assess("tiny-s", unsaf.images("scenes", n=12, seed=5), "mc")
    assert run.returncode == 0 and body["a"]["run"] == mc.run_id and body["measures"][0]["b"] == like.scores.youden_j and body["images"] == 12


def test_what_cannot_be_compared_is_one_line(cheated, inside, tmp_path):
    folder, _ = cheated
    other = unsaf.assess(StyleCheat(), "scenes", n=4, seed=6, store=tmp_path / "other")
    other.save(tmp_path / "other")
    one_line(inside("compare", folder, tmp_path / "other", "--setting", "oe"), "0 images in common")
    one_line(inside("compare", folder, tmp_path / "other"), "2 such runs", "--setting")
    one_line(inside("compare", folder, tmp_path / "other", "--cross"), "--cross")
    one_line(inside("compare", folder, tmp_path / "other", "--limit", "3", "--seed", "1"), "--limit, --seed", "leave it out")
    one_line(inside("compare", "tiny-s", "tiny-s"), "both are tiny-s", "--store")
    one_line(inside("compare", "tiny-s", "tiny-m", "--measure", "bleu"), "bleu", "youden_j")
    one_line(inside("compare", "tiny-s", tmp_path / "nowhere"), "nowhere")
    (tmp_path / "store").mkdir()
    Store(tmp_path / "store").close()
    one_line(inside("compare", tmp_path / "store", "tiny-s"), "holds no run", "--store")
    card = json.loads((folder / "scores-oe.json").read_text())
    for broken in (None, [], card | dict(plan={}), dict.fromkeys(card), card | dict(unreadable_images=None)):
        (tmp_path / "store" / "scores-oe.json").write_text(json.dumps(broken))
        with pytest.raises(unsaf.UnsafError, match="scores-oe.json is not of this version; run again"): saved_runs(tmp_path / "store")


def test_settings_that_differ_are_told():
    a, b = (unsaf.assess(StyleCheat(), unsaf.images("scenes", n=6, seed=5)[:n], suffix=s) for n, s in ((5, None), (6, "timidity")))
    pair = paired(a, b)
    assert pair.notes[0] == "asked differently: suffix None and 'timidity'" and "1 image that" in pair.notes[1] and len(pair.images) == 5


# ---- report

@pytest.mark.slow
def test_a_page_is_rebuilt_without_asking(cheated, inside):
    folder, results = cheated
    kept = replies(folder)
    for file in (*folder.glob("*.html"), *folder.glob("table-*")): os.rename(file, f"{file}.old")
    one_line(inside("report", folder), "table-mc.csv" if (folder / "table-oe.csv").exists() else "table-oe.csv")
    for file in folder.glob("*.old"): os.rename(file, str(file).removesuffix(".old"))
    run = inside("report", folder, "--probes", "leakage,audit", "--limit", "3")
    html = (folder / "report.html").read_text()
    assert run.returncode == 0 and run.stdout.count("its raw replies, read anew") == 2 and replies(folder) == kept
    assert len(cards_of(html)) == 6 and html.count('class="probes"') == 2 and html.count("data:image") == 3
    for r, run in zip(results, saved_runs(folder)):
        back, _ = opened(run)
        pd.testing.assert_frame_equal(back.scores.frame(), r.scores.frame())
        assert back.run_id == r.run_id and back.calls["asked"] == 0 == back.calls["failed"]


def test_readers_of_today_read_the_replies_of_then(cheated):
    "The saved table may hold an old version's reading; the raw replies decide."
    folder, (oe, _) = cheated
    path = folder / "table-oe.csv"
    path.write_text(path.read_text().replace(",answered,", ",unreadable,"))
    path.with_suffix(".parquet").unlink()      # else it is what is read
    run = next(r for r in saved_runs(folder) if r.stem == "oe")
    assert (as_saved(run).table.outcome == "unreadable").any() and opened(run)[0].table.outcome.tolist() == oe.table.outcome.tolist()


def test_pictures_that_moved_or_are_gone(tmp_path, inside, photos):
    here, store = tmp_path / "photos", tmp_path / "run"
    here.mkdir()
    for p in photos.iterdir(): (here / p.name).write_bytes(p.read_bytes())
    first = unsaf.assess(StyleCheat(), here, store=store)
    first.save(store)
    here.rename(tmp_path / "moved")
    gone = inside("report", store)
    assert gone.returncode == 0 and "as saved, without images" in gone.stdout and cards_of((store / "report.html").read_text())
    moved = inside("report", store, "--images", tmp_path / "moved", "--out", tmp_path / "page.html")
    assert "read anew" in moved.stdout and (tmp_path / "page.html").read_text().count("data:image") == 8
    (tmp_path / "moved/p3.png").unlink()
    one_line(inside("report", store, "--images", tmp_path / "moved"), "p3.png")
    one_line(inside("report", tmp_path / "nowhere"), "nowhere")
    (store / "scores-oe.json").write_text("{")
    one_line(inside("report", store), "scores-oe.json")


def test_a_table_comes_back_as_it_was(tmp_path):
    "Words that look like missing values, line breaks and quotes; pictures with numbers for names; failed calls."
    said = iter(["None", "NA", 'a "quoted"\r\n\ttwo lines', "unanswerable", "", "007", "nan", "1e5", "unanswerable, I think", "ünïcode", "x", "y"] * 9)
    talk = Scripted(lambda r: "\n".join(f"{i}. Question: Is it {i}, or not?" for i in (1, 2)) if r.max_tokens > 100 else next(said), name="odd")
    pictures = [unsaf.Picture(f"{i:03}", lambda i=i: Image.new("RGB", (9, 9), (i, 0, 0))) for i in range(9)]
    first = unsaf.assess(talk, pictures, k=2, store=tmp_path)
    first.save(tmp_path)
    back = as_saved(saved_runs(tmp_path)[0])
    for name in ("table", "lists"):
        a, b = getattr(back, name), getattr(first, name)
        assert list(a) == list(b) and a.astype(object).where(a.notna(), None).to_dict("records") == b.astype(object).where(b.notna(), None).to_dict("records")
    assert back.run_id == first.run_id and back.images == first.images and opened(saved_runs(tmp_path)[0])[1].startswith("as saved, without images")
    (tmp_path / "table-oe.parquet").unlink()
    pd.DataFrame(first.table[:-1]).to_csv(tmp_path / "table-oe.csv", index=False)
    assert f"table-oe holds {len(first.table) - 1} of {len(first.table)} questions" in opened(saved_runs(tmp_path)[0])[1]


# ---- audit

def test_audit_of_a_run_and_of_a_model(cheated, inside, tmp_path):
    folder, (oe, _) = cheated
    run = inside("audit", folder, "--setting", "oe")
    body = json.loads((folder / "audit-oe.json").read_text())
    truth = audited(oe.table, oe.samples).truth
    assert run.returncode == 0 and body["a"]["value"] == pytest.approx((~truth[oe.table.answerable]).mean()) and body["b"]["value"] == 0
    assert "too high" in run.stdout and len(pd.read_csv(folder / "audit-oe.csv")) == len(oe.table)
    run = inside("audit", "tiny-s", "--limit", "8", "--json")
    assert run.returncode == 0 and json.loads(run.stdout)["by"] == "the oracle"
    kept = inside("audit", "tiny-s", "--limit", "8", "--out", tmp_path / "new")
    assert kept.returncode == 0 and len(saved_runs(tmp_path / "new")) == 1


def test_audit_by_hand_there_and_back(cheated, inside):
    folder, (oe, _) = cheated
    told = inside("audit", folder, "--setting", "oe", "--by-hand", "--n", "1000")
    sheet = folder / "label-oe.csv"
    page = pd.read_csv(sheet, dtype=str, keep_default_na=False)
    assert told.returncode == 0 and f"--labels {sheet}" in told.stdout and len(page) == len(oe.table) and not {"answerable", "reply"} & set(page.columns)
    one_line(inside("audit", folder, "--setting", "oe", "--by-hand"), "there already", "--labels")
    one_line(inside("audit", folder, "--setting", "oe", "--labels", sheet), "nothing is filled in")
    truth = dict(zip(_ids(oe.table), audited(oe.table, oe.samples).truth.map({True: "yes", False: "no"})))
    assert page.id.str.startswith("q").all()                        # a spreadsheet takes 12e45 for a number
    page.assign(id=[x[i % 2:] for i, x in enumerate(page.id)], **{COLUMN: page.id.map(truth)}).to_csv(sheet, index=False, sep=";", encoding="utf-8-sig")
    hand = json.loads(inside("audit", folder, "--setting", "oe", "--labels", sheet, "--json").stdout)
    oracle = json.loads(inside("audit", folder, "--setting", "oe", "--json").stdout)
    assert (hand["beside"]["by"], oracle["beside"]["by"]) == ("the oracle", "hand") and oracle["beside"] == {k: v for k, v in hand.items() if k != "beside"}
    files = {name: json.loads((folder / f"audit-oe{name}.json").read_text())["by"] for name in ("", "-hand")}
    assert files == {"": "the oracle", "-hand": "hand"}
    for ending in (".json", ".csv", ".parquet"): (folder / f"audit-oe-hand{ending}").rename(folder / f"audit-oe{ending}")     # as an earlier version had it
    both = inside("audit", folder, "--setting", "oe").stdout
    assert both.index("audited by the oracle") < both.index("audited by hand") and (folder / "audit-oe-hand.json").exists()
    assert inside("report", folder, "--limit", "1").returncode == 0 and "labels audited by hand" in (folder / "report.html").read_text()
    assert hand["by"] == "hand" and all(hand[k]["value"] == pytest.approx(oracle[k]["value"]) for k in ("a", "b", "observed", "corrected", "true", "excess"))
    one_line(inside("audit", folder, "--setting", "mc", "--labels", sheet), "belongs to another")


def test_photographs_go_to_a_person(tmp_path, inside, photos):
    one_line(inside("audit", "tiny-m", "--images", photos, "--k", "2"), "--out")
    run = inside("audit", "tiny-m", "--images", photos, "--k", "2", "--out", tmp_path / "run", "--n", "4")
    assert run.returncode == 0 and "8 questions to label" in run.stdout and len(pd.read_csv(tmp_path / "run/label-oe.csv")) == 8
    page = pd.read_csv(tmp_path / "run/label-oe.csv", dtype=str, keep_default_na=False)
    assert [os.path.basename(p) for p in page.image] == page.image_id.tolist() and all(map(os.path.isfile, page.image))
    assert (tmp_path / "run/label-oe.html").read_text().count("data:image/") == page.image_id.nunique() and "label-oe.html" in run.stdout
    page.assign(**{COLUMN: ["yes", "no"] * 4}).to_csv(tmp_path / "run/label-oe.csv", index=False)
    run = inside("audit", tmp_path / "run", "--labels", tmp_path / "run/label-oe.csv")
    assert run.returncode == 0 and "labels audited by hand: the truth of 8" in run.stdout and (tmp_path / "run/audit-oe.json").exists()


def test_how_many_labels_and_which(cheated, inside, tmp_path):
    folder, (oe, _) = cheated
    run = inside("audit", folder, "--setting", "oe", "--labels-for-width", ".6")
    sheet = folder / "label-oe.csv"
    page = pd.read_csv(sheet, dtype=str, keep_default_na=False)
    assert run.returncode == 0 and run.stdout.count("95% interval of J 0.6 wide: ") == 3 and f"{len(page)} questions to label" in run.stdout
    assert not {"answerable", "reply"} & set(page.columns) and len(page) < len(oe.table)
    assert all(Image.open(f).size for f in page.image) and "without the other replies: " in run.stdout
    none = inside("audit", folder, "--setting", "oe", "--labels-for-width", ".01").stdout
    assert none.count("no number of labels is enough") == 1 == none.count("no sheet is written")
    assert "is there already" in inside("audit", folder, "--setting", "oe", "--labels-for-width", ".5").stdout
    truth = dict(zip(_ids(oe.table), audited(oe.table, oe.samples).truth.map({True: "yes", False: "no"})))
    page.assign(**{COLUMN: page.id.map(truth)}).to_csv(sheet, index=False)
    more = inside("audit", folder, "--setting", "oe", "--labels", sheet, "--labels-for-width", ".4")
    next_one = pd.read_csv(folder / "label-oe-more.csv", dtype=str, keep_default_na=False)
    assert f"{len(page)} labels are there" in more.stdout and set(page.id) < set(next_one.id) and (next_one[COLUMN] != "").sum() == len(page)
    done = inside("audit", folder, "--setting", "oe", "--labels", sheet, "--json")
    powered = json.loads(done.stdout)["powered"]["scores"]["youden_j"]
    known = audited(oe.table, oe.samples)
    true_j = known.cell.isin(["TA", "FA"]).groupby(known.truth).mean().diff().iloc[-1]
    assert powered["low"] <= true_j <= powered["high"]
    (plan,) = json.loads(inside("audit", folder, "--setting", "oe", "--labels", sheet, "--labels-for-width", ".001", "--json").stdout)
    assert plan["n"] is None and plan["least"] == plan["width"] > .001
    one_line(inside("audit", folder, "--setting", "oe", "--labels-for-width", "3"), "a width of 3")


def test_report_says_which_probes_it_cannot_make(cheated, inside):
    folder, _ = cheated
    run = inside("report", folder, "--probes", "blank,leakage", "--limit", "1")
    assert run.returncode == 0 and run.stderr.count("report asks nobody, so it has no probe blank") == 1 and "--probes blank --store" in run.stderr
