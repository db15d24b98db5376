"The paper's notebooks on the testbed, in small: all of them run, and what they leave is right, cell by cell."
import json, subprocess, sys
from pathlib import Path
import nbformat
import numpy as np
import pandas as pd
import pytest
from unsaf.paper.ledger import BUILT_IN, NOT_RUN, read
from unsaf.paper.published import keys_of
from unsaf.paper.runner import books, notebook_path
from unsaf.paper.runspec import RunSpec, home
from unsaf.paper.study import PROFILES, open_study, studies

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]      # students are trained, and all notebooks run
root = Path(__file__).resolve().parent.parent
NOTEBOOKS = books()
SMALL = dict(models='["tiny-s", "tiny-m", "tiny-m-base"]', teachers='["tiny-m"]', students='["tiny-student"]', arms='["UnD-QA", "UnD-IQ", "UnD-Joint"]',
             n=6, k=2, n_bench=10, n_train=8, epochs=4, sizes="[4, 8]", draws=5)
GIVEN = dict(models=["tiny-s", "tiny-m", "tiny-m-base"], teachers=["tiny-m"], students=["tiny-student"], arms=["UnD-QA", "UnD-IQ", "UnD-Joint"],
             n=6, k=2, n_bench=10, n_train=8, epochs=4, sizes=[4, 8], draws=5)


def unsaf(*words, cwd): return subprocess.run([Path(sys.executable).parent/"unsaf", *words], cwd=cwd, capture_output=True, text=True, timeout=1500)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    "All notebooks by the command, two at a time, from a folder of its own."
    cwd = tmp_path_factory.mktemp("paper")
    found = unsaf("reproduce", "all", "--workers", "2", "--out", "figures/testbed",
                  *(w for name, value in SMALL.items() for w in ("-p", f"{name}={value}")), cwd=cwd)
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-3000:]
    return cwd, found.stdout


@pytest.fixture(scope="module")
def out(run): return run[0]/"figures"/"testbed"


def table(out, name): return pd.read_csv(out/f"{name}.csv", keep_default_na=False, na_values=["", "nan"])


def study(run, name):
    known = studies()[name][0].takes(PROFILES["testbed"])
    given = {what: value for what, value in GIVEN.items() if what in known}
    return open_study(name, store=run[0]/"runs"/"reproduce", out=run[0]/"figures"/"testbed", **given)


def replies(run, unit): return pd.read_json(home(unit, run[0]/"runs"/"reproduce")/"table.jsonl", lines=True)


def test_every_notebook_runs_and_leaves_its_files(run, out):
    assert f"notebooks: {len(NOTEBOOKS)} done" in run[1]
    figures = set(NOTEBOOKS) - {"table03", "audit"}
    for name in NOTEBOOKS:
        assert (out/"ledger"/f"{name}.json").is_file() and (name == "audit" or len(table(out, name)))
        executed = nbformat.read(run[0]/"runs"/"reproduce"/"notebooks"/"testbed"/f"{name}.ipynb", 4)
        assert len(executed.cells) <= 21 and not any(o.output_type == "error" for c in executed.cells for o in c.get("outputs", []))
    for name in figures: assert (out/f"{name}.png").stat().st_size > 5000 and (out/f"{name}.svg").stat().st_size > 5000


@pytest.mark.promise("units")
def test_a_second_call_runs_nothing(run):
    again = unsaf("reproduce", "all", "--out", "figures/testbed", *(w for name, value in SMALL.items() for w in ("-p", f"{name}={value}")), cwd=run[0])
    assert again.returncode == 0 and f"notebooks: {len(NOTEBOOKS)} kept" in again.stdout and "unit" not in again.stdout.partition("notebooks:")[0]


GOLDEN = root/"tests"/"golden"/"paper"       # what this small run left before the studies were taken apart and put together again


def same(found, golden):
    "Cell by cell: texts to the letter, numbers to nine digits, an empty cell only where there is one."
    pd.testing.assert_frame_equal(found.reset_index(drop=True), golden.reset_index(drop=True), check_dtype=False, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", sorted(f.stem for f in GOLDEN.glob("*.csv") if f.stem != "ledger"))
def test_a_table_is_the_golden_one(out, name): same(table(out, name), table(GOLDEN, name))


def test_the_verdicts_are_the_golden_ones(out):
    found = pd.DataFrame([vars(e) for e in read(out/"ledger") if e.kind != "audit"])
    golden = table(GOLDEN, "ledger")
    printed = {name: rows for name, rows in found.groupby("of")}
    limits = dict(low=float, high=float)
    for name, rows in golden.groupby("of"): same(printed[name].replace("", np.nan).astype(limits), rows.astype(limits))
    assert set(golden["of"]) <= set(printed)


def test_table04_is_what_the_replies_say(run, out):
    "Audacity, timidity, UnF1 and J of every cell, counted anew from the kept rows."
    found = table(out, "table04").set_index(["model", "dataset", "setting", "metric"])["value"]
    for m, d, s, _, spec in study(run, "table04").plan.itertuples(index=False):
        cells = replies(run, spec)["cell"].value_counts()
        ta, fa, tu, fu = (int(cells.get(c, 0)) for c in ("TA", "FA", "TU", "FU"))
        expected = dict(UnF1=2 * ta / (2 * ta + fa + fu), J=ta / (ta + fu) - fa / (fa + tu), T=ta / (ta + fu),
                        always_answer=2 * (ta + fu) / (2 * (ta + fu) + fa + tu))
        if ta + fa: expected["A"] = ta / (ta + fa)
        for metric, value in expected.items(): assert found[m, d, s, metric] == pytest.approx(value, abs=1e-9), (m, d, s, metric)
    assert len(found) == 3 * 3 * 2 * 10


def test_a_model_that_always_answers_is_its_own_reference_line(out):
    "tiny-m-base never abstains: J is 0, UnF1 that of always answering, and at a ratio r it is 2r/(2r+1) by hand."
    base = table(out, "table04").query("model == 'tiny-m-base'").pivot(index=["dataset", "setting"], columns="metric", values="value")
    assert (base["J"] == 0).all() and np.allclose(base["UnF1"], base["always_answer"])
    ratios = table(out, "table08").query("model == 'tiny-m-base'")
    ratios = ratios.pivot(index=["setting", "ratio_answerable_to_unanswerable"], columns="metric", values="value")
    assert np.allclose(ratios["UnF1"], ratios["always_answer"]) and np.allclose(ratios["UnF1_class"], 2 / 3) and np.allclose(ratios["J"], 0)
    r = ratios.index.get_level_values(1).to_numpy(float)
    assert np.abs(ratios["UnF1"] - 2 * r / (2 * r + 1)).max() < .06                    # whole questions
    assert ratios.loc["OE", "UnF1"].is_monotonic_increasing


def test_tables_10_and_12_agree_with_the_graded_answers(run, out):
    "Accuracy is the mean credit; wins, ties and losses are counted by hand with half a point."
    t = table(out, "table12").query("metric == 'accuracy'").set_index(["student", "strategy", "dataset"])["value"]
    for r in study(run, "table12").plan.itertuples():
        items = pd.read_json(home(r.spec, run[0]/"runs"/"reproduce")/"items-accuracy.jsonl", lines=True)
        assert t[r.student, r.strategy, r.dataset] == pytest.approx(100 * items[~items["offered"]]["credit"].mean())
    counts = table(out, "table10").set_index(["strategy", "dataset", "metric"])["value"]
    for arm in GIVEN["arms"]:
        for d in ("textured", "sketch", "cluttered"):
            gain = t["tiny-student", arm, d] - t["tiny-student", "Baseline", d]
            assert tuple(counts[arm, d, m] for m in ("win", "tie", "loss")) == (gain > .5 + 1e-9, abs(gain) <= .5 + 1e-9, gain < -.5 - 1e-9)


def test_a_student_is_trained_once_and_read_everywhere(run, out):
    shelf = [p for p in (run[0]/"runs"/"reproduce"/"adapters").iterdir() if p.is_dir() and not p.name.startswith(".")]
    assert len(shelf) == 3
    a, b = (table(out, name).query("metric == 'UnF1'") for name in ("table01", "table09"))
    own = a[a["pool"] == "own"].set_index(["student", "strategy"])["value"]
    for r in b.itertuples(): assert own[r.student, r.strategy] == pytest.approx(r.value)


def test_the_ledger_keeps_its_three_kinds_apart(run, out):
    entries = read(out/"ledger")
    assert {e.kind for e in entries} == {"cell", "claim", "audit"}
    assert {e.profile for e in entries if e.kind == "audit"} == {"published"} and {e.profile for e in entries if e.kind != "audit"} == {"testbed"}
    assert {e.verdict for e in entries if e.kind == "cell"} == {NOT_RUN}                # the paper has never seen these models
    for name in ("table05", "table06", "table11", "fig06"):
        assert {e.verdict for e in entries if e.kind == "claim" and e.of == name} <= {BUILT_IN, NOT_RUN}, name
    assert all(e.why for e in entries if e.verdict in (BUILT_IN, NOT_RUN))
    shown = unsaf("reproduce", "ledger", cwd=run[0])
    assert shown.returncode == 0 and "UnD-IQ outperforms UnD-QA in UnF1" in shown.stdout and (out/"ledger.csv").is_file() and (out/"ledger.md").is_file()


# ---------------------------------------------------------------- notebooks as they are shipped

@pytest.mark.parametrize("name", sorted(set(NOTEBOOKS.values())))
def test_a_notebook_states_its_claim_and_ends_in_a_run_that_defines_nothing(name):
    book = nbformat.read(notebook_path(name), 4)
    first = next(i for i, c in enumerate(book.cells) if c.metadata.get("tags") == ["parameters"])
    source = [c.source for c in book.cells[first:] if c.cell_type == "code"]
    assert all("#| eval: false" in s for s in source) and len(book.cells) - first <= 20
    assert not any(line.startswith(("def ", "class ", "async ")) for s in source for line in s.splitlines())
    prose = " ".join(c.source for c in book.cells if c.cell_type == "markdown")
    assert "**The claim.**" in prose and "**How long" in prose
    assert [c.metadata.get("tags") for c in book.cells].count(["parameters"]) == 1
    assert not any(c.get("outputs") for c in book.cells[first:])


def test_no_paper_model_at_hand_is_one_line(tmp_path):
    found = unsaf("reproduce", "fig01", "table05", "--profile", "paper", cwd=tmp_path)
    assert found.returncode == 1 and "notebooks: 2 not run" in found.stdout
    lines = [line for line in found.stdout.splitlines() if line.startswith("not run: table05")]
    assert len(lines) == 1 and "Qwen/Qwen-VL brings code of its own" in lines[0] and "UNSAF_TRUST_REMOTE_CODE=1" in lines[0]
    told = read(tmp_path/"runs"/"reproduce"/"figures"/"paper"/"ledger")
    assert [(e.of, e.verdict) for e in told] == [("fig01", NOT_RUN), ("table05", NOT_RUN)] and all("not run: " in e.why for e in told)


def test_a_unit_without_a_result_is_a_gap_with_its_reason(tmp_path):
    "A student for whom no record was left: its cells are nan and say why; the others stand."
    small = dict(students=["tiny-student"], teachers=["tiny-s"], arms=["UnD-QA"], data=["sketch"], n=3, k=1, n_train=2)
    s = open_study("table07", store=tmp_path, out=tmp_path, **small)
    taught = next(u for u in s.specs() if not isinstance(u.model, str))
    folder = home(RunSpec("student", taught.model), tmp_path)
    folder.mkdir(parents=True)
    (folder/"result.json").write_text(json.dumps(dict(adapter="", records=0, why="nothing to learn from", columns={})))
    t = s.run(say=lambda line: None).table().set_index(["strategy", "metric"])
    lost, kept = t.loc[("UnD-QA", "UnF1")], t.loc[("Baseline", "UnF1")]
    assert np.isnan(lost["value"]) and lost["why"] == "nothing to learn from" and kept["value"] >= 0


def test_seeds_are_averaged(tmp_path):
    def unf1(*seeds):
        s = open_study("table04", models=["tiny-s"], data=["plain"], settings="OE", n=4, k=2, seeds=list(seeds), store=tmp_path, out=tmp_path)
        return s.run(say=lambda line: None).table().set_index("metric").loc["UnF1"]
    one, two, both = unf1(0), unf1(1), unf1(0, 1)
    assert both["value"] == pytest.approx((one["value"] + two["value"]) / 2) and both["seeds"] == 2 and both["n"] == one["n"] + two["n"]


def test_a_student_that_was_trained_elsewhere_takes_part_by_its_address():
    s = open_study("table01", "paper", addresses={"InternVL2-8B, UnD-IQ by GPT-4o": "api:mine@http://127.0.0.1:9/v1"})
    assert "api:mine@http://127.0.0.1:9/v1" in {u.model for u in s.specs()}


# ---------------------------------------------------------------- the profile `paper`, with tiny models under the names of the real ones

STAND_INS = {"LLaVA-7B": "tiny-s", "Qwen-VL-Chat-7B": "tiny-m", "Qwen-VL-7B": "tiny-m-base", "InternVL2-8B": "tiny-student", "InternVL3-8B": "tiny-m",
             "InternVL3-8B-Pretrained": "tiny-m-base", "GPT-4o": "tiny-m", "COCO": "scenes:plain", "ImageNet": "scenes:sketch", "MMBench": "scenes:textured",
             "OKVQA": "scenes:cluttered", "coco:train2014": "scenes:plain", "coco:test2017": "scenes:plain", "VQAv2": "scenes:textured",
             "VizWiz": "scenes:sketch", "TextVQA": "scenes:easy",
             "POPE (COCO)": "scenes:plain", "CHAIR (MSCOCO)": "scenes:plain"}
PAPER = {
    "table04": (dict(models=["LLaVA-7B", "InternVL2-8B", "InternVL3-8B"]), 2 * 3 * 2 * 3),     # two are printed: 3 sources, 2 settings, A T UnF1
    "table05": ({}, 2 * 2 * 2 * 3), "table06": (dict(models=["LLaVA-7B", "Qwen-VL-Chat-7B"]), 2 * 2 * 2 * 5),
    "table08": (dict(models=["LLaVA-7B"], n=12), 8 * 2), "table11": (dict(models=["LLaVA-7B"]), 4 * 2),
    "table09": (dict(teachers=["GPT-4o"], students=["InternVL2-8B"], arms=["UnD-QA"], answers="short"), 2 * 2),
    "table12": (dict(teachers=["GPT-4o"], students=["InternVL2-8B"], arms=["UnD-QA"], answers="short"), 2 * 3),
    "table13": (dict(teachers=["GPT-4o"], students=["InternVL2-8B"], arms=["UnD-QA"], answers="short"), 2 * 3)}


@pytest.fixture(scope="module")
def paper_store(tmp_path_factory): return tmp_path_factory.mktemp("stand-ins")


@pytest.mark.parametrize("name", PAPER)
def test_the_profile_paper_joins_the_printed_cells(name, paper_store):
    "The same code as under the testbed; every printed cell of these models gets a number and a verdict, all others are not run."
    given, expected = PAPER[name]
    known = studies()[name][0].takes(PROFILES["paper"])
    small = dict(n=4, k=2, seeds=[0], n_bench=6, n_pope=6, n_chair=5, n_train=8, epochs=4, recipe="tiny")
    small = {k: v for k, v in small.items() if k in known}
    s = open_study(name, "paper", addresses=STAND_INS, store=paper_store, out=paper_store, **(small | given)).run(say=lambda line: None)
    cells = [e for e in s.entries(s.table()) if e.kind == "cell"]
    judged = [e for e in cells if e.verdict in ("reproduced", "not reproduced")]
    empty = [e for e in cells if e.verdict == NOT_RUN and e.why != "no measured cell with this key"]
    assert len(judged) == expected and not empty and all(e.measured and e.published and e.profile == "paper" for e in judged)
    assert len(cells) >= len(keys_of(name)) and not {e.verdict for e in cells} - {"reproduced", "not reproduced", NOT_RUN, "not reproducible"}
