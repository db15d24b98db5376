"""Promises about stores and processes: kills, sharing, copies, Ctrl-C, orphans, a full disk, memory. Tried by `faults.py`."""
import os, random, shutil, signal, subprocess, sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from promises import RUN, Faulty, Outcome, finished, in_store, promise, spoken, start, tables
from unsaf.models.claims import born
from unsaf.core import StoreError
from unsaf.store import Store


@promise("A run that was killed ends with the tables of one that was not, and asks again only what was in flight")
def kills(out: Outcome, quick: bool, rng: random.Random, tmp: Path) -> None:
    n, rounds = (4, 2) if quick else (12, 40)
    with Faulty(spoken, delay=.01) as server:
        problem = finished(start(tmp / "whole", server, n))
        out.check(not problem, f"the run that nobody killed: {problem}")
        once, whole = len(server.calls), tables(tmp / "whole")
    def tried(i: int, dice: random.Random) -> "float | None":
        "Calls that were made again, for each kill of one run."
        with Faulty(spoken, delay=.01) as server:
            folder, killed = tmp / f"killed-{i}", 0
            for _ in range(1 if quick else dice.randint(1, 3)):
                process, goal = start(folder, server, n), in_store(folder) + dice.randint(1, once // 4)
                while in_store(folder) < goal and process.poll() is None: time.sleep(.005)
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)
                    killed += 1
                process.communicate(timeout=60)
            problem = finished(start(folder, server, n))
            out.check(not problem and tables(folder) == whole, f"round {i}: {problem or 'other tables'}")
            return (len(server.calls) - once) / killed if killed else None
    dice = [random.Random(rng.random()) for _ in range(rounds)]
    with ThreadPoolExecutor(2) as pool: lost = [x for x in pool.map(tried, range(rounds), dice) if x is not None]
    out.notes.append(f"{sum(lost) / len(lost):.1f} calls made again per kill, at 4 in flight, {max(lost):.1f} at most")


@promise("Processes that share a store share the work: each question is paid for once")
def shared_store(out: Outcome, quick: bool, rng: random.Random, tmp: Path) -> None:
    n = 6 if quick else 20
    with Faulty(spoken, delay=.02) as server:
        finished(start(tmp / "alone", server, n))
        once = len(server.calls)
        for many in (2,) if quick else (2, 4):
            before, folder = len(server.calls), tmp / f"together-{many}"
            problems = [finished(p) for p in [start(folder, server, n) for _ in range(many)]]
            calls = len(server.calls) - before
            out.check(not any(problems) and tables(folder) == tables(tmp / "alone"), f"{many} processes: {problems}")
            out.check(calls == once, f"{many} processes made {calls} calls for {once}")
            out.notes.append(f"{many} processes: {calls} calls for {once}")


@promise("What is merged from a store at work has all of it; a plain copy of the file lacks the last seconds, or says that it is torn")
def copies(out: Outcome, quick: bool, rng: random.Random, tmp: Path) -> None:
    def copied(to: str) -> int:
        "Replies in a plain copy of the file; -1 where a line says that it is torn."
        shutil.rmtree(tmp / to, ignore_errors=True)
        (tmp / to).mkdir()
        shutil.copy(tmp / "run/replies.sqlite", tmp / to)
        try:
            with Store(tmp / to) as store: return len(store)
        except StoreError as e: return -1 if "malformed" in str(e) else 0
    for n in (8,) if quick else (8, 24, 48):
        seen, late, torn = [], 0.0, 0
        shutil.rmtree(tmp / "run", ignore_errors=True)
        with Faulty(spoken, delay=.4) as server:
            process, until = start(tmp / "run", server, n), time.monotonic() + 120
            while process.poll() is None and time.monotonic() < until and in_store(tmp / "run") < 10 * n:
                time.sleep(.2)
                if not (tmp / "run/replies.sqlite").exists(): continue
                now, had = time.monotonic(), copied("copy")
                seen.append((now, in_store(tmp / "run")))
                torn += had < 0
                late = max([late, *(now - at for at, count in seen if count > had >= 0)])
                out.check(late < 5, f"a copy lacked replies that had been there for {late:.1f} s")
            with Store(tmp / f"merged-{n}") as store: got = store.merge(tmp / "run")
            out.check(got >= max(count for _, count in seen), f"merged from a store at work: {got} replies")
            process.kill()
            process.communicate(timeout=60)
        whole = in_store(tmp / "run")
        Store(tmp / "run").close()
        out.check(copied("later") == whole > 0, f"after a kill the copy has {in_store(tmp / 'later')} of {whole}")
        out.notes.append(f"{len(seen)} copies, {torn} torn, what the worst lacked was {late:.1f} s old")


@promise("Ctrl-C ends a run when what is under way has come or timed out, twice at once; what was answered is stored, nothing more goes out")
def ctrl_c(out: Outcome, quick: bool, rng: random.Random, tmp: Path) -> None:
    for i in range(2 if quick else 12):
        goal, twice, folder = rng.randint(6, 30), bool(i % 2), tmp / str(i)
        with Faulty(lambda call: "hang" if call.number >= goal else spoken(call)) as server:
            code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from unsaf.cli.main import app; app()"
            args = ["assess", "--model", f"api:m@{server.url}", "--limit", "4", "--store", str(folder), "--max-concurrency", "4", "--timeout", "4"]
            process = subprocess.Popen([sys.executable, "-c", code, *args], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                       env={**os.environ, "OPENAI_API_KEY": "x", "CI": "true", "OMP_NUM_THREADS": "1"})
            until = time.monotonic() + 60
            while in_store(folder) < goal and time.monotonic() < until and process.poll() is None: time.sleep(.05)
            began = time.monotonic()
            for _ in range(1 + twice):
                process.send_signal(signal.SIGINT)
                time.sleep(.2)
            sent = len(server.calls)
            try: said = process.communicate(timeout=30)[1]
            except subprocess.TimeoutExpired: process.kill(); said = "Traceback: it did not end"
            out.check("Traceback" not in said and process.returncode in (130, -signal.SIGINT), f"at {goal}, {1 + twice} x: {process.returncode}, {said[-200:]}")
            out.check(time.monotonic() - began < 10, f"at {goal}, {1 + twice} x: it took {time.monotonic() - began:.1f} s")
            out.check(in_store(folder) == goal, f"{in_store(folder)} of {goal} answers are stored")
            out.check(len(server.calls) == sent, f"{len(server.calls) - sent} calls went out behind the interrupt")


DRIVER = """
import os, sys, time
from functools import partial
from unsaf.paper.workers import Task, Workers, locked
def hold(log, seconds):
    with open(log, "a") as f: print(os.getpid(), file=f)
    time.sleep(seconds)
if __name__ == "__main__":
    folder, seconds = sys.argv[1], float(sys.argv[2])
    todo = [Task(n, n, partial(locked, f"{folder}/{n}.lock", hold, f"{folder}/{n}", seconds)) for n in "ab"]
    with Workers(2) as machine:
        for task in todo: machine.start(task)
        while todo: todo = todo[len(machine.wait(60)):]
"""


@promise("Workers end within a second of a parent that was killed, and the next run never does their unit beside them")
def orphans(out: Outcome, quick: bool, rng: random.Random, tmp: Path) -> None:
    (tmp / "driver.py").write_text(DRIVER, encoding="utf-8")
    def driver(seconds: float) -> subprocess.Popen: return subprocess.Popen([sys.executable, str(tmp / "driver.py"), str(folder), str(seconds)])
    def pids() -> list[int]: return [int(x) for n in "ab" if (folder / n).exists() for x in (folder / n).read_text().split()]
    slowest = 0.0
    for i in range(1 if quick else 8):
        folder = tmp / str(i)
        folder.mkdir()
        first, until = driver(300), time.monotonic() + 60
        while len(pids()) < 2 and time.monotonic() < until: time.sleep(.02)
        time.sleep(rng.random())
        first.kill()
        first.wait(10)
        killed, old = time.monotonic(), pids()
        second = driver(.1)
        while any(born(pid) is not None for pid in old) and time.monotonic() < killed + 30: time.sleep(.01)
        slowest = max(slowest, time.monotonic() - killed)
        out.check(len(old) == 2 and time.monotonic() - killed < 1, f"{len(old)} workers, the last ended after {time.monotonic() - killed:.1f} s")
        out.check(second.wait(120) == 0 and len(pids()) == 4, f"the next run: {len(pids()) - 2} of 2 units")
    out.notes.append(f"the last ended {slowest:.2f} s after its parent")


@promise("A full disk is one line, and what was stored stays")
def full_disk(out: Outcome, quick: bool, rng: random.Random, tmp: Path) -> None:
    for kilobytes in (60,) if quick else (20, 40, 60, 80, 120, 200):
        code = ("import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
                f"resource.setrlimit(resource.RLIMIT_FSIZE, ({kilobytes}_000,) * 2)")
        with Faulty(spoken) as server:
            folder = tmp / str(kilobytes)
            run = subprocess.run([sys.executable, "-c", code + RUN, str(folder), server.url, "12"], capture_output=True, text=True, timeout=120)
            last = (run.stderr.strip().splitlines() or [""])[-1]
            out.check(run.returncode == 0 or "unsaf.core" in last, f"{kilobytes} kB: {last}")
            before = in_store(folder)
            out.check(not (problem := finished(start(folder, server, 12))) and in_store(folder) >= before, f"{kilobytes} kB, again: {problem}")


@promise("Ten thousand requests with 256 in flight take no more memory than a thousand")
def memory(out: Outcome, quick: bool, rng: random.Random, tmp: Path) -> None:
    code = """
import re, sys
from pathlib import Path
from unsaf.core import Request
from unsaf.models.served.api import Api
from unsaf.models.cache import Cached
from unsaf.store import Store
with Store(sys.argv[1]) as store:
    model = Cached(Api("m", sys.argv[2], concurrency=256, max_concurrency=256), store)
    n = sum(r.finish == "stop" for r in model.generate([Request((f"say {i}",), max_tokens=5) for i in range(int(sys.argv[3]))]))
status = Path("/proc/self/status")      # getrusage would count what the parent held before this began
print(n, int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]) // 1024 if status.exists() else 0)
"""
    few, many = (200, 1000) if quick else (1000, 10_000)
    peaks = {}
    with Faulty(delay=.05) as server:
        for n in (few, many):
            run = subprocess.run([sys.executable, "-c", code, str(tmp / str(n)), server.url, str(n)], capture_output=True, text=True, timeout=600)
            got, peaks[n] = map(int, run.stdout.split()) if run.returncode == 0 else (0, 0)
            out.check(got == n, f"{got} replies to {n} requests: {run.stderr[-200:]}")
    growth = peaks[many] - peaks[few]
    out.check(growth < 60 * many / 10_000 + 30, f"{growth} MB more for {many} than for {few}")
    out.notes.append(f"{peaks[few]} MB for {few:,}, {peaks[many]} MB for {many:,}")
