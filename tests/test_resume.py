"A run that was killed and run again ends with the same table as one that never was, and repeats at most the batch that was in flight."
import hashlib, os, signal, sqlite3, subprocess, sys, time
from pathlib import Path
import pytest

CODE = """
import sys, unsaf
from unsaf.models.cache import Cached
batches = []
model = unsaf.load('tiny-m', dtype='float32', device='cpu', token_budget=2500)
inner = model.generate
def counted(requests):
    with open(sys.argv[2], 'a') as f: f.write(f'{len(requests)}\\n')
    return inner(requests)
model.generate = counted
r = unsaf.assess(model, unsaf.images('scenes', n=8, seed=5), setting=sys.argv[3], store=sys.argv[1], block=4, progress=False)
r.save(sys.argv[1])
"""


def start(folder: Path, log: Path, setting: str) -> subprocess.Popen:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", CODE, str(folder), str(log), setting], env=env, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> None:
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err


def stored(folder: Path) -> int:
    "How many replies are in the store, as another process sees them; 0 while there is none."
    try:
        with sqlite3.connect(f"file:{folder}/replies.sqlite?mode=ro", uri=True, timeout=10) as db:
            return db.execute("select count(*) from replies").fetchone()[0]
    except sqlite3.OperationalError: return 0


def kill_after(folder: Path, log: Path, setting: str, more: int) -> None:
    "Run until `more` further replies are stored, then kill -9."
    process, begin = start(folder, log, setting), stored(folder)
    while stored(folder) < begin + more:
        assert process.poll() is None, "it ended before it could be killed: " + process.stderr.read()
        time.sleep(.01)
    process.send_signal(signal.SIGKILL)
    process.wait(60)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.promise("killed")
@pytest.mark.slow
@pytest.mark.parametrize("setting", ["oe", "mc"])
def test_killed_twice_is_equal_to_never_killed(tmp_path, setting):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    finish(start(whole, tmp_path / "whole.log", setting))
    kill_after(broken, tmp_path / "broken.log", setting, more=1)
    kill_after(broken, tmp_path / "broken.log", setting, more=20)
    assert 0 < stored(broken) < stored(whole)
    finish(start(broken, tmp_path / "broken.log", setting))
    for name in (f"table-{setting}.csv", f"lists-{setting}.csv"): assert (whole / name).read_bytes() == (broken / name).read_bytes()
    once = [int(n) for n in (tmp_path / "whole.log").read_text().split()]
    again = [int(n) for n in (tmp_path / "broken.log").read_text().split()]
    assert len(again) <= len(once) + 2          # one batch in flight for each of the two kills
    finish(start(broken, tmp_path / "third.log", setting))
    assert not (tmp_path / "third.log").exists()   # a finished run asks nothing


@pytest.mark.promise("shared")
@pytest.mark.slow
def test_two_processes_on_one_folder_do_no_harm(tmp_path):
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    finish(start(alone, tmp_path / "alone.log", "oe"))
    both = [start(shared, tmp_path / f"{i}.log", "oe") for i in range(2)]
    for process in both: finish(process)
    assert digest(alone / "table-oe.csv") == digest(shared / "table-oe.csv")
    assert stored(alone) == stored(shared)
    logs = [(tmp_path / f"{name}.log").read_text().split() for name in ("alone", 0, 1) if (tmp_path / f"{name}.log").exists()]
    assert sorted(sum(logs[1:], [])) == sorted(logs[0])        # the very batches of the run alone, each asked by one of the two


HANGING = """
import re, signal, sys, time, unsaf, contextlib
from unsaf.assessment import run as assessment
from unsaf.core import Reply
signal.signal(signal.SIGINT, signal.default_int_handler)       # a shell's background job ignores it
class Model:
    name = "m"
    @contextlib.contextmanager
    def session(self): yield 4
    def generate(self, requests):
        for i, r in enumerate(requests):
            if sys.argv[2] == "model" and i == 5: time.sleep(600)
            yield Reply("1. Question: What is it?", index=i)
def hangs(*a, **k):
    print("go", flush=True)
    re.match("(a+)+$", "a" * 64 + "b")
assessment.readers.read_questions = hangs
if sys.argv[2] == "model": print("go", flush=True)
try: unsaf.assess(Model(), unsaf.images("scenes", n=4), store=sys.argv[1], progress=False)
except KeyboardInterrupt: print("interrupted")
"""


@pytest.mark.promise("interrupt")
@pytest.mark.slow
@pytest.mark.parametrize("where", ["model", "reader"])
def test_ctrl_c_twice_ends_a_run_whatever_hangs(tmp_path, where):
    "A reader in a thread that is inside of C code and lets nobody else have a turn; a model that sleeps. What came is stored."
    process = subprocess.Popen([sys.executable, "-c", HANGING, str(tmp_path), where], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "go\n"
        expected = 8 if where == "reader" else 5
        until = time.monotonic() + 30
        while stored(tmp_path) < expected and time.monotonic() < until: time.sleep(.05)
        process.send_signal(signal.SIGINT)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    finally: process.kill()
    assert process.returncode == -signal.SIGINT and stored(tmp_path) == expected
