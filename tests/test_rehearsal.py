"The dress rehearsal in small: the paper's profile, killed once, to the last cell of some tables, on stand-ins of each route."
import os
import re
import subprocess
import sys
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/"tests"))


@pytest.mark.promise("rehearsed")
@pytest.mark.slow
def test_the_paper_s_profile_in_small(tmp_path, old_environments):
    run = subprocess.run([sys.executable, "-m", "rehearsal.run", "--reduced", "--out", tmp_path], capture_output=True, text=True, timeout=1800,
                         env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT/"tests"), "REHEARSAL_ENVIRONMENTS": str(old_environments)})
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-3000:]
    assert re.search(r"killed with [1-9]\d* units finished", run.stdout) and "found 0 faults" in run.stdout
    assert "not played: the kill" not in run.stdout
    met = re.search(r"GPT-4o: \d+ replies; quirks met: (.*)", run.stdout)[1]
    assert "renamed" in met and "refusing" in met and "crowded" in met
    table = (tmp_path/"routes.md").read_text()
    for name in ("LLaVA-7B", "InternVL2-8B", "GPT-4o"): assert f"| {name} |" in table


def test_the_rehearsal_sees_what_it_is_for(tmp_path):
    "Faults that are planted: cells that are empty by an error, keys that are nobody's, processes that live on, students who were never trained."
    import json
    import pandas as pd
    from rehearsal import routes, run
    why = "api:x: its server has ended (ModelError: every reply failed)"
    pd.DataFrame([dict(model="x", value=None, why=why)]).to_csv(tmp_path/"table04.csv", index=False)
    pd.DataFrame([dict(kind="cell", of="table04", verdict="not run"), dict(kind="cell", of="table05", verdict=run.FAILED)]).to_csv(tmp_path/"ledger.csv")
    assert run.unjoined(tmp_path) == ["table04"] and run.unjoined(tmp_path/"nothing")
    reasons = run.empty_cells(tmp_path)
    assert not [*run.faults(0, set(), 0, {})] and len([*run.faults(0, set(), 0, reasons)]) == 1
    told = [*run.faults(0, set(), -1, {}, None, run.unjoined(tmp_path))]
    assert len(told) == 2 and "not counted" in told[0] and "table04" in told[1]
    fine = {("table01", "chair, captions: f1 is undefined here"): [{}]}
    assert not [*run.faults(0, set(), 0, fine)] and len([*run.faults(0, set(), 0, {}, ["one"])]) == 1
    student = dict(base="bridge:x@y", arm="UnD-QA")
    for name, facts in {"a": dict(unit=dict(kind="student", model=student), why="no legible question"),
                        "b": dict(unit=dict(kind="assess", model=student), missing="no legible question"),
                        "c": dict(unit=dict(kind="student", model=student | dict(base="z")), why="")}.items():
        (tmp_path/"units"/name).mkdir(parents=True)
        (tmp_path/"units"/name/"result.json").write_text(json.dumps(facts))
    assert routes.trained(tmp_path) == {"z": (True, False)}
