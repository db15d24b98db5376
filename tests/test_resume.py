"A run that was killed and run again ends with the same table as one that never was, and repeats at most the batch that was in flight."
import os, signal, sqlite3, subprocess, sys, time
from pathlib import Path
import pytest

CODE = """
import sys, unsaf
from unsaf.models.cache import Cached
batches = []
model = unsaf.load('tiny-s', dtype='float32', device='cpu', token_budget=2500)
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


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    "A run that nobody killed, of each setting once; its log stands beside it."
    root = tmp_path_factory.mktemp("whole")
    def made(setting: str) -> Path:
        if not (root / setting).exists(): finish(start(root / setting, root / f"{setting}.log", setting))
        return root / setting
    return made


@pytest.mark.promise("killed")
@pytest.mark.slow
@pytest.mark.parametrize("setting, kills", [("oe", (1, 20)), ("mc", (20,))])
def test_killed_is_equal_to_never_killed(whole, tmp_path, setting, kills):
    plain, broken, log = whole(setting), tmp_path / "broken", tmp_path / "broken.log"
    for more in kills: kill_after(broken, log, setting, more)
    assert 0 < stored(broken) < stored(plain)
    finish(start(broken, log, setting))
    for name in (f"table-{setting}.csv", f"lists-{setting}.csv"): assert (plain / name).read_bytes() == (broken / name).read_bytes()
    again, once = (len(path.read_text().split()) for path in (log, plain.with_suffix(".log")))
    assert again <= once + len(kills)           # one batch in flight for each kill


@pytest.mark.promise("shared")
@pytest.mark.slow
def test_two_processes_on_one_folder_do_no_harm(whole, tmp_path):
    alone, shared = whole("oe"), tmp_path / "shared"
    both = [start(shared, tmp_path / f"{i}.log", "oe") for i in range(2)]
    for process in both: finish(process)
    assert (alone / "table-oe.csv").read_bytes() == (shared / "table-oe.csv").read_bytes() and stored(alone) == stored(shared)
    logs = [log.read_text().split() for log in tmp_path.glob("*.log")]
    assert sorted(sum(logs, [])) == sorted(alone.with_suffix(".log").read_text().split())        # each batch asked by one of the two


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
