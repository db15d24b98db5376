"The page to label with: what it holds and must not hold, its keys in a browser, and two judges' files read back."
import json, os, re, shutil, subprocess
from dataclasses import replace
from pathlib import Path
import numpy as np
import pandas as pd
import pytest
from PIL import Image
import unsaf
from unsaf.assessment.label_audit import COLUMN, _ids, filled, sheet
from unsaf.assessment.label_judges import judged
from unsaf.assessment.label_page import label_page, page_data, sheet_of
from unsaf.assessment.probes import StyleCheat
from unsaf.core import UnsafError
from unsaf.models.base import Scripted

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def mc():
    return unsaf.assess(StyleCheat(), unsaf.images("scenes", n=6, seed=5), "mc", progress=False)


@pytest.mark.promise("page", "blind")
def test_the_page_is_one_file_and_blind(mc, tmp_path):
    odd = mc.table.assign(question=[f"</script><b>{q}" if i == 0 else q for i, q in enumerate(mc.table.question)])
    some = sheet(odd, n=100)
    text = label_page(mc, some, tmp_path / "page.html").read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])
    assert not re.findall(r'(?:src|href)="(?!data:)[^"]', text) and "http" not in text      # nothing is loaded from anywhere
    assert {key for item in data["items"] for key in item} == {"id", "image", "question", "options"} and mc.model not in text
    assert any(item["question"].startswith("</script>") for item in data["items"])
    assert len(data["images"]) == some.image_id.nunique() and all(url.startswith("data:image/") for url in data["images"].values())


def test_a_sheet_half_filled_in_is_on_the_page(mc, tmp_path):
    some = sheet(mc.table, n=2)
    some[COLUMN] = ["yes", "N", " unclear ", ""]
    some.assign(question="lost on the way").to_csv(tmp_path / "s.csv", sep=";", index=False)
    items = page_data(mc, sheet_of(mc.table, tmp_path / "s.csv"))["items"]
    assert [item.get("label", {}).get(COLUMN) for item in items] == ["yes", "no", "unclear", None]
    assert items[0]["label"]["one_right_option"] == "yes" and [item["question"] for item in items] == some.question.tolist()
    with pytest.raises(UnsafError, match="belongs to another"): sheet_of(mc.table[:0], tmp_path / "s.csv")


def written(path, ids, words, options=()):
    rows = [{"id": i, COLUMN: word} | ({"one_right_option": options[k]} if k < len(options) else {}) for k, (i, word) in enumerate(zip(ids, words))]
    path.write_text(json.dumps(dict(format="unsaf-labels", labels=rows)))
    return path


def test_what_the_page_exports_is_read_as_the_sheet(mc, tmp_path):
    ids = _ids(mc.table)[:4]
    found = filled(mc.table, written(tmp_path / "a.json", ids, ["yes", "yes", "no", "unclear"], ["yes", "no"]))
    assert found.truth[:4].tolist() == [True, False, False, pd.NA] and found.looked_at.sum() == 4
    for text, words in (("{", "what its page exports"), ('{"labels": 3}', "not the JSON"), ('{"a": 1}', "not the JSON")):
        (tmp_path / "b.json").write_text(text)
        with pytest.raises(UnsafError, match=words): filled(mc.table, tmp_path / "b.json")


def test_two_judges_against_numbers_known_by_hand(mc, tmp_path):
    ids = _ids(mc.table)[::6]
    a = written(tmp_path / "ann.json", ids, ["yes"] * 5 + ["no"] * 4)                             # not the tenth
    b = written(tmp_path / "ben.json", ids, ["yes"] * 4 + ["no"] + ["no"] * 3 + ["unclear", "yes"])
    assert len(ids) == 10
    rows, both = judged(mc.table, [a, b], n=200)
    equal, chance = 7 / 9, (5 * 4 + 4 * 4) / 81
    assert both.kappa.value == pytest.approx((equal - chance) / (1 - chance)) and (both.both, both.equal, both.alone) == (9, 7, (0, 1))
    assert rows.truth[::6].tolist() == [True] * 4 + [pd.NA] + [False] * 3 + [pd.NA, True]
    assert "yes and no 1, no and unclear 1" in both.lines()[1] and both.as_dict()["kappa"]["low"] <= both.kappa.value
    one = judged(mc.table, [written(tmp_path / "x.json", ids[:3], ["yes"] * 3), written(tmp_path / "y.json", ids[:3], ["yes"] * 3)], n=50)[1]
    assert np.isnan(one.kappa.value) and "one word for all" in one.lines()[0] and one.as_dict()["kappa"]["value"] is None
    with pytest.raises(UnsafError, match="3 files"): judged(mc.table, [a, b, a])


def test_the_command_writes_the_page_and_reads_two_judges(tmp_path, inside):
    result = unsaf.assess(StyleCheat(), "scenes", n=6, seed=5, store=tmp_path / "run")
    result.save(tmp_path / "run")
    told = inside("audit", tmp_path / "run", "--page", "--n", "5")
    ids = pd.read_csv(tmp_path / "run/label-oe.csv").id
    assert told.returncode == 0 and (tmp_path / "run/label-oe.html").exists() and f"labels-{result.run_id}.json" in told.stdout
    assert "is there already: the page" in inside("audit", tmp_path / "run", "--page").stdout
    files = [written(tmp_path / f"{name}.json", ids, words) for name, words in (("ann", ["yes", "no"] * 5), ("ben", ["yes"] * 10))]
    run = inside("audit", tmp_path / "run", "--labels", files[0], "--labels", files[1])
    body = json.loads((tmp_path / "run/audit-oe-hand.json").read_text())
    assert "two judges, ann and ben: the same word for 5 of the 10" in run.stdout and body["judges"]["kappa"]["value"] == 0 and body["by"] == "hand"


def test_options_of_an_audit_that_would_do_nothing_are_refused(tmp_path, inside):
    result = unsaf.assess(StyleCheat(), "scenes", n=6, seed=5, store=tmp_path / "run")
    result.save(tmp_path / "run")
    for more, word in ((("--n", "5"), "--by-hand"), (("--n", "5", "--labels-for-width", ".5"), "--n:"), (("--page", "--labels-for-width", ".5"), "--page")):
        run = inside("audit", tmp_path / "run", *more)
        assert run.returncode == 2 and word in run.stderr and len(run.stderr.splitlines()) <= 2, run.stderr


def test_two_runs_in_one_folder_and_every_page_anew(tmp_path, inside):
    runs = [unsaf.assess(StyleCheat(), "scenes", n=6, seed=seed, store=tmp_path / f"run{seed}") for seed in (5, 6)]
    for seed, result in zip((5, 6), runs):
        result.save(tmp_path / f"run{seed}")
        told = inside("audit", tmp_path / f"run{seed}", "--by-hand", "--n", "2", "--out", tmp_path / "out", "--json")
        place = str(tmp_path / f"out/label-oe-{result.run_id}")
        assert json.loads(told.stdout) == [dict(sheet=f"{place}.csv", page=f"{place}.html")]
        assert inside("audit", tmp_path / f"run{seed}", "--out", tmp_path / "out").returncode == 0
    assert len(list((tmp_path / "out").glob("audit-oe-*.json"))) == 2
    pages = [tmp_path / f"out/label-oe-{runs[0].run_id}{more}.html" for more in ("", "-more")]
    shutil.copy(pages[0].with_suffix(".csv"), pages[1].with_suffix(".csv"))
    pages[0].unlink()
    assert inside("audit", tmp_path / "run5", "--out", tmp_path / "out", "--page").returncode == 0 and all(p.exists() for p in pages)


def test_files_of_a_sheet_beside_each_other(mc, tmp_path):
    from unsaf.assessment.label_audit import audit_labels
    from unsaf.assessment.label_files import save_audit, with_images
    from unsaf.assessment.probes import audited
    samples = [replace(s, picture=replace(s.picture, image_id=name)) for s, name in zip(mc.samples, ("a b", "a_b"))]
    page = pd.DataFrame(dict(image_id=["a b", "a_b"]))
    images = with_images(page, replace(mc, samples=samples), tmp_path, "x").image
    assert images.nunique() == 2 and all(map(os.path.exists, images))
    rows = audited(mc.table, mc.samples)
    oracle = audit_labels(rows, mc.images)
    bare = replace(mc, samples=None)
    paths = [save_audit(replace(oracle, by=by), rows, bare, tmp_path, "mc")[1].name for by in ("the oracle", "hand")]
    assert paths == ["audit-mc.json", "audit-mc-hand.json"]


# ---- in a browser

PRESS = """<script>
const press = keys => { for (const key of keys) document.dispatchEvent(new KeyboardEvent("keydown", { key })); };
STEPS
const out = document.createElement("pre");
out.id = "out";
out.textContent = JSON.stringify({ ...exported(), at: state.at, seen: document.body.innerText });
document.body.append(out);
</script>"""


def test_an_image_whose_name_is_no_text_is_copied_beside_the_sheet(tmp_path):
    from unsaf.assessment.label_files import with_images
    folder = tmp_path / "f"
    folder.mkdir()
    for name in ("bad\udcff.png", "good.png"): Image.new("RGB", (8, 8)).save(folder / name)
    run = unsaf.assess(Scripted(lambda r: "1. Question: What is it?", name="m"), folder, k=1, progress=False)
    page = run.table.drop_duplicates("image_id")[["image_id"]]
    bad, good = with_images(page, run, tmp_path, "oe").image
    assert good == str(folder / "good.png") and Path(bad).parent == tmp_path / "label-oe-images" and Path(bad).exists()


def in_browser(page, steps, folder):
    "What the page exports after `steps`, and what is to be seen."
    text = page.read_text().replace("</body>", PRESS.replace("STEPS", steps) + "</body>")
    (folder / "driven.html").write_text(text)
    done = subprocess.run([BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=3000",
                           "--dump-dom", (folder / "driven.html").as_uri()], capture_output=True, text=True, timeout=120)
    out = re.search(r'<pre id="out">(.*?)</pre>', done.stdout, re.S)
    assert out, done.stderr[-1000:]
    return json.loads(out[1].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", " "))


@pytest.mark.slow
@pytest.mark.skipif(not BROWSER, reason="no chromium here")
def test_keys_undo_and_what_the_browser_keeps(mc, tmp_path):
    some = sheet(mc.table, n=3)
    page = label_page(mc, some, tmp_path / "page.html")
    # the first can be answered, but has not one right option; unclear; no; a yes that is taken back, step by step; no
    found = in_browser(page, 'press(["y", "n", "3", "2", "1", "z", "n"]); state.judge = "Ann"; keep();', tmp_path)
    said = [(row["id"], row[COLUMN], row.get("one_right_option")) for row in found["labels"]]
    assert said == [(some.id[0], "yes", "no"), (some.id[1], "unclear", None), (some.id[2], "no", None), (some.id[3], "no", None)]
    assert found["run"] == mc.run_id and found["at"] == 4 and "question 5 of 6, 4 judged" in found["seen"]
    again = in_browser(page, 'press(["ArrowLeft", "ArrowLeft", "u"]);', tmp_path)       # in the same browser: nothing is lost
    assert again["judge"] == "Ann" and [row[COLUMN] for row in again["labels"]] == ["yes", "unclear", "unclear", "no"]
    assert again["at"] == 4
    (tmp_path / "labels.json").write_text(json.dumps(again))
    assert filled(mc.table, tmp_path / "labels.json").looked_at.sum() == 4


def test_buttons_in_a_notebook_write_what_the_page_exports(mc, tmp_path):
    from unsaf.assessment.label_widget import Labeller
    odd = mc.table.assign(question=[f"<b>{q}" if i == 0 else q for i, q in enumerate(mc.table.question)])
    some, path = sheet(odd, n=100), tmp_path/"labels-ann.json"
    ann = Labeller(mc, some, path, "Ann")
    assert "&lt;b&gt;" in "".join((setattr(ann, "at", i), ann._show(), ann.view.value)[2] for i in range(len(ann.items))) and "<b><b>" not in ann.view.value
    ann.at = 0
    for word in ("yes", "no", "no", "unclear"): ann.say(word)          # the first is asked about its options, too
    done = filled(mc.table, path)
    assert int(done.looked_at.sum()) == 3 and json.loads(path.read_text())["judge"] == "Ann"
    assert done.truth.dropna().tolist() == [False, False], "a question without exactly one right option counts as none"
    ann.undo()
    assert Labeller(mc, some, path).done == 2
    while ann.done < len(ann.items): ann.say("no")
    assert all(b.disabled for b in ann.buttons) and "all are judged" in ann.place.value      # a click too many turns nothing
    ann.undo()
    assert not any(b.disabled for b in ann.buttons)
    path.write_text(path.read_text().replace(mc.run_id, "another"))
    with pytest.raises(UnsafError, match="labels of other questions"): Labeller(mc, some, path)
    for text in ("[]", '{"labels": ["x"]}', "{"):
        path.write_text(text)
        with pytest.raises(UnsafError, match="no file of labels"): Labeller(mc, some, path)
    with pytest.raises(UnsafError, match="has no question"): Labeller(mc, some.iloc[:0], tmp_path/"none.json")
    with pytest.raises(UnsafError, match="is no judgement"): ann.say("perhaps")
