"Every module notebook is one test case: its cells run from top to bottom, and its assertions hold. Cells with `#| slow` wait for the slow suite."
from pathlib import Path
import pytest
from nbdev import test as nbtest
from nbdev.config import get_config

root = Path(__file__).resolve().parent.parent
cfg = get_config(cfg_name="settings.ini", path=root)
books = sorted([root/"nbs"/"index.ipynb", *(root/"nbs").rglob("[0-9]*.ipynb")])
lessons = [p for p in books if p.parent.name == "tutorials" and p.name[:2] != "02"]      # that one takes minutes
books = [p for p in books if p.parent.name != "tutorials"]


def name(book): return str(book.relative_to(root/"nbs").with_suffix(""))


def run(book, *left_out):
    ok, _ = nbtest.test_nb(book, skip_flags=left_out, basepath=root)
    assert ok, f"{book.name} failed: see the captured standard error"


# Five seconds or more each: they train adapters, examine several models or run studies. The slow suite has them.
LONG = {"60_assessment/03_probes", "60_assessment/04_leakage", "60_assessment/06_probe_runs", "65_benchmarking/04_run",
        "70_distill/03_train", "70_distill/08_evaluation", "70_distill/09_study",
        "80_paper/10_runspec", "80_paper/30_stats", "80_paper/75_notebooks", "80_paper/90_runner",
        *(f"80_paper/studies/{name}" for name in ("10_main", "30_prompts", "60_ranks", "65_sizes", "68_scale", "70_distillation",
                                                  "75_accuracy", "80_hallucination", "90_audit", "97_stability", "20_tuning")),
        "60_assessment/08_uncertainty", "10_metrics/14_floors", "80_paper/60_tables", "index", "80_paper/80_workers",
        *(f"80_paper/studies/{name}" for name in ("40_ratio", "50_paraphrases", "95_layout"))}


@pytest.mark.parametrize("book", [pytest.param(p, marks=[pytest.mark.slow] * (name(p) in LONG)) for p in books], ids=name)
def test_notebook(book): run(book, *cfg.tst_flags.split())


@pytest.mark.promise("lessons")
@pytest.mark.slow
@pytest.mark.parametrize("book", lessons, ids=name)
def test_lesson(book): run(book)


def test_the_long_notebooks_are_there(): assert LONG <= {name(p) for p in books}


@pytest.mark.slow
@pytest.mark.parametrize("book", [p for p in books if '"#| slow' in p.read_text("utf-8")], ids=name)
def test_notebook_with_its_slow_cells(book): run(book, "notest")
