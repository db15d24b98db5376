"The dress rehearsal in small: the paper's profile, killed once, to the last cell of some tables, on stand-ins of each route."
import os
import re
import subprocess
import sys
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_the_paper_s_profile_in_small(tmp_path):
    run = subprocess.run([sys.executable, "-m", "rehearsal.run", "--reduced", "--out", tmp_path], capture_output=True, text=True, timeout=1800,
                         env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT/"tests")})
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-3000:]
    assert re.search(r"killed with [1-9]\d* units finished", run.stdout) and "found 0 faults" in run.stdout
    met = re.search(r"GPT-4o: \d+ replies; quirks met: (.*)", run.stdout)[1]
    assert "renamed" in met and "refusing" in met and "crowded" in met
    table = (tmp_path/"routes.md").read_text()
    for name in ("LLaVA-7B", "InternVL2-8B", "GPT-4o"): assert f"| {name} |" in table
