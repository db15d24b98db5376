"A study is one notebook: dropped into the folder, it is found, run and judged, and nothing else is touched."
import json, os, shutil, subprocess, sys
from pathlib import Path
import pandas as pd
import pytest
from unsaf.core import UnsafError
from unsaf.paper.ledger import read
from unsaf.paper.study import PROFILES, Study, grid, open_study, studies
from unsaf.paper.tables import awareness_table

root = Path(__file__).resolve().parent.parent
CELLS = ['#| default_exp paper.studies.colours', '''#| export
from unsaf.paper.ledger import line
from unsaf.paper.study import Study, grid
from unsaf.paper.tables import awareness_table

def table(e): return awareness_table(e, "model", "dataset")

def claims(e, table):
    rows = table[table["metric"] == "UnF1"]
    return [line(e, "(ours) there is a score", "not printed", f"{len(rows)} rows", 0.0, 0.0, bool(len(rows)))]

own = dict(models=("tiny-s",), data=("plain",), settings=("OE",))
COLOURS = Study("table14", grid, table, own, own, claims=claims)''']
RUN = ['name = "table14"\nprofile = "testbed"\nn = None\nk = None\nout = None\nstore = "runs/reproduce"',
       'from unsaf.paper.study import open_study\nstudy = open_study(name, profile, out, store, n=n, k=k)\ntable = study.run().table()',
       'study.save(table, study.figure(table), study.entries(table))']


def notebook(path):
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
    run = [new_code_cell(f"#| eval: false\n{s}", metadata=dict(tags=["parameters"] if not i else [])) for i, s in enumerate(RUN)]
    book = new_notebook(cells=[new_markdown_cell("# Colours"), *map(new_code_cell, CELLS), *run],
                        metadata=dict(kernelspec=dict(name="python3", display_name="python3", language="python")))
    path.write_text(json.dumps(book))


@pytest.mark.promise("howtos")
@pytest.mark.slow
def test_a_new_notebook_is_all_that_it_takes(tmp_path):
    for name in ("settings.ini", "pyproject.toml"): shutil.copy(root/name, tmp_path/name)
    shutil.copytree(root/"unsaf", tmp_path/"unsaf", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(root/"nbs"/"80_paper"/"studies", tmp_path/"nbs"/"80_paper"/"studies")
    before = {p.relative_to(tmp_path): p.read_bytes() for p in (tmp_path/"unsaf").rglob("*.py")}
    book = tmp_path/"nbs"/"80_paper"/"studies"/"99_colours.ipynb"
    notebook(book)
    env = os.environ | {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    def run(*words): return subprocess.run([sys.executable, *words], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    exported = run("-c", f"from nbdev.export import nb_export; nb_export({str(book)!r}, lib_path={str(tmp_path/'unsaf')!r})")
    assert exported.returncode == 0, exported.stderr
    found = run("-m", "unsaf", "reproduce", "table14", "--out", "figures/testbed", "-p", "n", "3", "-p", "k", "2")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "notebooks: 1 done" in found.stdout and (tmp_path/"figures"/"testbed"/"table14.csv").is_file()
    assert [(e.of, e.verdict) for e in read(tmp_path/"figures"/"testbed"/"ledger")] == [("table14", "reproduced")]
    after = {p.relative_to(tmp_path): p.read_bytes() for p in (tmp_path/"unsaf").rglob("*.py")}
    assert {p.name for p in after if after[p] != before.get(p)} <= {"colours.py", "_modidx.py"}


def test_every_study_is_found_with_its_notebook():
    from unsaf.paper.runner import notebook_path
    known = studies()
    assert [n for n in known if n.startswith("table")] == [f"table{i:02}" for i in range(1, 14)] and "layout" in known
    assert [n for n in known if n.startswith("fig")] == [f"fig{i:02}" for i in range(1, 11)]
    for name, (study, module) in known.items(): assert study.name == name and notebook_path(module).is_file()


def own(**changes):
    given = dict(models=("tiny-s",), data=("plain",), settings=("OE",)) | changes
    return Study("mine", grid, lambda e: awareness_table(e, "model", "dataset", "setting", printed=("UnF1",)), given, given)


def test_a_study_that_the_paper_never_printed_has_no_cells(tmp_path):
    e = open_study(own(), store=tmp_path, out=tmp_path, n=2, k=1).run(say=lambda line: None)
    table = e.table()
    assert e.beside(table) is None and e.entries(table) == [] and [p.name for p in e.save(table)] == ["mine.csv", "mine.json"]


@pytest.mark.parametrize("model", ["base", "bench", "teacher", "own"])
def test_a_model_may_be_called_anything(tmp_path, model):
    "Such names once had a meaning of their own in a plan, and the model vanished from the table."
    e = open_study("table04", store=tmp_path, addresses={model: "tiny-s"}, models=[model], data="plain", settings="OE", n=2, k=1)
    table = e.run(say=lambda line: None).table()
    assert set(table["model"]) == {model} and table["value"].notna().any()


def test_a_default_that_is_written_out_is_no_other_run():
    for name in ("table04", "table06", "fig02", "table11"):
        usual = open_study(name).specs()
        assert open_study(name, layout="image_first", template="auto").specs() == usual
        assert [s.key for s in open_study(name, layout="image_first").specs()] == [s.key for s in usual]
        assert not {s.key for s in open_study(name, layout="paper").specs() if s.kind == "assess"} & {s.key for s in usual}
    graded = [s.key for s in open_study("table12").specs()]
    assert [s.key for s in open_study("table12", rule="auto").specs()] == graded != [s.key for s in open_study("table12", rule="vqa").specs()]


def test_the_layouts_share_the_runs_of_the_main_table():
    main, both = open_study("table04", data="plain"), open_study("layout")
    assert set(main.specs()) < set(both.specs()) and len(both.specs()) == 2 * len(main.specs())


@pytest.mark.parametrize("profile", PROFILES)
def test_no_column_is_lost_on_the_way(profile):
    "Every run of a plan is told apart from every other by its columns."
    for name in studies():
        plan = open_study(name, profile).plan
        if not len(plan): continue
        keys = [c for c in plan if c != "spec"]
        assert not plan.duplicated(keys).any(), name
        assert isinstance(plan, pd.DataFrame) and plan["spec"].notna().all()


def test_an_unknown_study_is_one_line():
    with pytest.raises(UnsafError, match="notebook 'table99' is unknown: there are table01, table02"): open_study("table99")
