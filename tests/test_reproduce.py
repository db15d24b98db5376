"The runner: units once, then notebooks; failures named, nothing left running, nothing done twice."
import json, os, shutil, signal, subprocess, sys, threading, time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
import numpy as np
import psutil
import pytest
import toy_units as toy
from toy_units import Toy
from typer.testing import CliRunner
from unsaf.cli import paper as cli_reproduce
from unsaf.core import UnsafError
from unsaf.paper import demand as estimates, notebooks, runner
from unsaf.paper.runspec import RunSpec, Student
from unsaf.paper.workers import Task, Workers, alone

A, B = Toy("a", 1), Toy("b", 20)
C = Toy("c", 300, (A, B))


def job(tmp, name, units, book=None, **parameters):
    book = book or toy.adding(tmp, name, {u.key for u in units})
    return runner.Job(name, book, dict(out=str(tmp/"out"), store=str(tmp/"store"), **parameters), "testbed", tmp/"out", tmp/"store", tuple(units))


def go(jobs, workers=2, **options):
    said = []
    with Workers(workers, jobs[0].store/"log") as machine:
        found = runner.reproduce(jobs, machine, run=toy.run, kept=toy.kept, say=said.append, **options)
    return found, said


def state(found): return {row.name: row.state for row in found.rows}


def starts(tmp): return sorted(name.partition("-")[0] for name in toy.started(tmp/"store"))


# ---------------------------------------------------------------- what is run, and what is not run again

@pytest.mark.promise("units")
@pytest.mark.slow
def test_units_run_once_then_notebooks_and_nothing_twice(tmp_path):
    jobs = [job(tmp_path, "one", [A, C]), job(tmp_path, "two", [B, C], factor=2)]
    found, said = go(jobs)
    assert found.exit_code == 0 and starts(tmp_path) == ["a", "b", "c"]
    assert (tmp_path/"out"/"one.csv").read_text() == "sum\n322\n"           # a 1, c 300 + 1 + 20
    assert (tmp_path/"out"/"two.csv").read_text() == "sum\n682\n"           # twice b 20 and c 321
    assert all(j.executed.is_file() for j in jobs) and any("[notebook 2/2] done" in line for line in said)
    assert any("[unit 3/3] done" in line and line.endswith("toy c") for line in said)
    before = [j.executed.stat().st_mtime_ns for j in jobs]

    again, said = go(jobs)
    assert state(again) == {"one": "kept", "two": "kept"} and again.exit_code == 0 and starts(tmp_path) == ["a", "b", "c"]
    assert [j.executed.stat().st_mtime_ns for j in jobs] == before

    (tmp_path/"out"/"two.csv").unlink()                                     # an output that is gone: this notebook alone
    changed = job(tmp_path, "one", [A, C], jobs[0].book, factor=3)          # another parameter: this one, too
    assert [runner.finished(j) for j in (*jobs, changed)] == [True, False, False]
    forced, _ = go(jobs[:1], force=True)
    assert state(forced) == {"one": "done"} and jobs[0].executed.stat().st_mtime_ns != before[0]
    assert starts(tmp_path) == ["a", "b", "c"]                              # units stay kept


def test_a_changed_notebook_or_other_units_are_run_again(tmp_path):
    one = job(tmp_path, "one", [A])
    runner.stamp(one, 1.0)
    one.executed.parent.mkdir(parents=True)
    one.executed.write_text("{}")
    assert runner.finished(one)
    assert not runner.finished(job(tmp_path, "one", [A, B], one.book))
    one.book.write_text(one.book.read_text() + " ")
    assert not runner.finished(one)


# ---------------------------------------------------------------- failures

@pytest.mark.slow
def test_a_failing_unit_fails_what_needs_it_and_nothing_else(tmp_path):
    bad, worse, dead = Toy("bad", how="fails"), Toy("worse", how="breaks"), Toy("dead", how="dies")
    after = Toy("after", needs=(bad,))
    jobs = [job(tmp_path, "fine", [A]), job(tmp_path, "lost", [A, after]), job(tmp_path, "broken", [worse]), job(tmp_path, "gone", [dead])]
    found, _ = go(jobs)
    assert found.exit_code == 1
    assert state(found) == {"toy a": "done", "toy bad": "failed", "toy worse": "failed", "toy dead": "failed", "toy after": "not run",
                            "fine": "done", "lost": "not run", "broken": "not run", "gone": "not run"}
    text = "\n".join(found.lines())
    assert "failed: toy bad: no weights for bad" in text and "SIGKILL" in text and "not run: lost: it needs 'toy bad', which failed" in text
    trace = next(r.where for r in found.rows if r.name == "toy worse")
    assert "a fault of ours" in Path(trace).read_text() and trace in text
    assert (tmp_path/"out"/"fine.csv").is_file() and not (tmp_path/"out"/"lost.csv").exists()
    assert not jobs[1].stamp.exists()


@pytest.mark.slow
def test_failing_notebooks_keep_their_executed_copy(tmp_path, capfd):
    "And what a kernel prints goes to the log of its worker."
    broken = job(tmp_path, "broken", [], toy.book(tmp_path/"broken.ipynb", "x = 0\nprint('from the kernel')", "1 / x"))
    killed = job(tmp_path, "killed", [], toy.book(tmp_path/"killed.ipynb", "import os; os.kill(os.getpid(), 9)"))
    fine = job(tmp_path, "fine", [])
    found, _ = go([broken, killed, fine], workers=1)
    assert state(found) == {"broken": "failed", "killed": "failed", "fine": "done"} and found.exit_code == 1
    text = "\n".join(found.lines())
    assert "ZeroDivisionError" in text and "DeadKernelError" in text and str(broken.executed) in text
    assert "ZeroDivisionError" in broken.executed.read_text()
    assert not broken.stamp.exists() and fine.stamp.exists()
    assert "from the kernel" not in capfd.readouterr().out and list((tmp_path/"store"/"log").glob("worker-*.txt"))
    broken.book.write_text(toy.book(tmp_path/"mended.ipynb", "x = 1", "1 / x").read_text())
    found, _ = go([broken, fine])
    assert state(found) == {"fine": "kept", "broken": "done"}


def _gone(pid, seconds=15):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE: return True
        time.sleep(.1)
    return False


def _wait_for(path, seconds=90):
    until = time.monotonic() + seconds
    while not (path.is_file() and path.read_text()):
        assert time.monotonic() < until, f"{path} did not come"
        time.sleep(.05)
    return path.read_text()


SLEEPING = """import os, time
from dataclasses import replace
from pathlib import Path
Path(store).mkdir(exist_ok=True)
Path(store, 'pid').write_text(f'{os.getpid()} {os.getppid()}')
time.sleep(120)"""
DRIVER = """import sys
sys.path.insert(0, {tests!r})
from dataclasses import replace
from pathlib import Path
from unsaf.paper import runner as reproduce
from unsaf.cli import paper as cli_reproduce
if __name__ == "__main__":
    tmp = Path({tmp!r})
    reproduce.jobs = lambda *a: [reproduce.Job("sleeps", tmp/"sleeps.ipynb", dict(store=str(tmp/"store")), "testbed", tmp/"out", tmp/"store")]
    try: cli_reproduce._run(["sleeps"], "testbed", tmp/"out", tmp/"store", 1, None, {{}}, False)
    except KeyboardInterrupt: sys.exit(130)
"""


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "term"])
def test_a_stopped_run_leaves_no_kernel_behind(tmp_path, ending):
    toy.book(tmp_path/"sleeps.ipynb", SLEEPING)
    (tmp_path/"driver.py").write_text(DRIVER.format(tests=str(Path(__file__).parent), tmp=str(tmp_path)))
    run = subprocess.Popen([sys.executable, str(tmp_path/"driver.py")], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                           preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    try:
        kernel, worker = map(int, _wait_for(tmp_path/"store"/"pid").split())
        os.killpg(run.pid, ending) if ending == signal.SIGINT else run.send_signal(ending)
        assert run.wait(15) == 130
        assert _gone(kernel) and _gone(worker)
    finally:
        run.kill()
        run.wait(10)


KILLED = """import sys
sys.path.insert(0, {tests!r})
from dataclasses import replace
from pathlib import Path
import toy_units as toy
from dataclasses import replace
from unsaf.paper import runner as reproduce
from unsaf.paper.workers import Workers
if __name__ == "__main__":
    tmp = Path({tmp!r})
    job = reproduce.Job("sleeps", tmp/"sleeps.ipynb", dict(store=str(tmp/"store")), "testbed", tmp/"out", tmp/"store", (toy.Toy("long", how="for long"),))
    with Workers(2) as machine: reproduce.run_tasks(reproduce.tasks([job, replace(job, units=())], toy.run, toy.kept), machine)
"""


@pytest.mark.promise("units")
@pytest.mark.slow
def test_workers_and_kernels_end_with_a_parent_that_is_killed(tmp_path):
    "And no unit runs twice at a time: what a living orphan does is locked."
    toy.book(tmp_path/"sleeps.ipynb", SLEEPING)
    (tmp_path/"driver.py").write_text(KILLED.format(tests=str(Path(__file__).parent), tmp=str(tmp_path)))
    run = subprocess.Popen([sys.executable, str(tmp_path/"driver.py")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        kernel, worker = map(int, _wait_for(tmp_path/"store"/"pid", 120).split())
        until = time.monotonic() + 60
        while not toy.started(tmp_path/"store") and time.monotonic() < until: time.sleep(.05)
        unit = json.loads((tmp_path/"store"/"started"/toy.started(tmp_path/"store")[0]).read_text())["pid"]
        assert not any(_gone(pid, .1) for pid in (kernel, worker, unit))
    finally:
        run.kill()
        run.wait(10)
    began = time.monotonic()
    assert all(_gone(pid, 30) for pid in (kernel, worker, unit))
    with alone(tmp_path/"store"/"locks"/"long.lock"): pass      # the system gives it back with the last thread of a killed process
    assert time.monotonic() - began < 60                        # the unit would have slept for 120


@pytest.mark.promise("units")
def test_a_unit_that_another_run_is_at_is_waited_for_and_not_run_again(tmp_path):
    store = tmp_path/"store"
    def other():
        with alone(store/"locks"/"a.lock"):
            held.set()
            time.sleep(.5)
            toy.run(A, store)
    held = threading.Event()
    thread = threading.Thread(target=other)
    thread.start()
    assert held.wait(30)
    runner._run_unit(toy.run, A, str(store), toy.kept)
    thread.join(30)
    assert starts(tmp_path) == ["a"]


@pytest.mark.parametrize("spec,said", [(dict(argv=["/gone/bin/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]), "cannot be started"),
                                       (dict(argv=[sys.executable, "-I", "-S", "-m", "ipykernel_launcher", "-f", "{connection_file}"]), "No module named"),
                                       (dict(argv=[]), "no program"), (dict(argv=["/etc/hostname", "x"]), "cannot be started"), ("{", "cannot be read")])
def test_a_kernel_of_another_environment_is_one_line(tmp_path, monkeypatch, spec, said):
    where = tmp_path/"kernels"/"python3"
    where.mkdir(parents=True)
    (where/"kernel.json").write_text(spec if isinstance(spec, str) else json.dumps(spec | dict(display_name="x", language="python")))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    with pytest.raises(UnsafError, match=said) as e: notebooks.check_kernel()
    assert "\n" not in str(e.value) and "ipykernel install" in str(e.value)


@pytest.mark.slow
def test_a_worker_that_is_killed_is_a_failure_and_its_kernel_ends(tmp_path):
    sleeps = job(tmp_path, "sleeps", [], toy.book(tmp_path/"sleeps.ipynb", SLEEPING))
    fine, pids = job(tmp_path, "fine", []), []

    def say(line):
        if not pids and (tmp_path/"store"/"pid").is_file():
            pids.extend(map(int, (tmp_path/"store"/"pid").read_text().split()))
            if pids: os.kill(pids[1], signal.SIGKILL)
    with Workers(1) as machine: found = runner.reproduce([sleeps, fine], machine, run=toy.run, kept=toy.kept, say=say, minute=.2)
    assert state(found) == {"sleeps": "failed", "fine": "done"} and "SIGKILL" in found.of("failed")[0].error
    assert _gone(pids[0])


def test_a_run_in_which_nothing_can_start_ends_at_once():
    began = time.monotonic()
    with Workers(1) as machine:
        ended = runner.run_tasks([Task("a", "a", dict, gpus=99), Task("b", "b", dict, ("a",))], machine, minute=30)
    assert "99 GPUs" in ended["a"].error and "was not run" in ended["b"].error or "failed" in ended["b"].error
    assert time.monotonic() - began < 25            # before even one turn of waiting, 30 s, has passed


# ---------------------------------------------------------------- threads and devices

def _env(tmp): return {name.partition("-")[0]: json.loads((tmp/"store"/"started"/name).read_text()) for name in toy.started(tmp/"store")}


def test_workers_share_the_cores_and_reuse_their_process(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("unsaf.paper.workers.cores", lambda: 8)
    with Workers(4) as machine: runner.reproduce([], machine)
    assert machine.environment["OMP_NUM_THREADS"] == "2"
    with Workers(1) as machine:
        runner.run_tasks(runner.tasks([job(tmp_path, "x", [A, B])], toy.run, toy.kept)[:2], machine)
    seen = _env(tmp_path)
    assert seen["a"]["threads"] == "8" and seen["a"]["pid"] == seen["b"]["pid"] and seen["a"]["gpus"] == ""


def test_a_process_keeps_its_devices_and_the_model_that_it_has_loaded_is_used_first(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4")
    units = [Toy("p", gpus=1), Toy("q", gpus=1), Toy("r", gpus=1), Toy("s", gpus=1, how="fails"), Toy("t", gpus=1)]
    models, ended = dict(p="large", q="small", r="large", s="small", t="small"), []
    todo = [replace(task, loads=models[task.name]) for task in runner.tasks([job(tmp_path, "x", units)], toy.run, toy.kept)[:5]]
    with Workers(2) as machine: runner.run_tasks(todo, machine, lambda task, how: ended.append(task.name))
    pids = {name: facts["pid"] for name, facts in _env(tmp_path).items()}
    assert ended == list("prqst") and len({pids[name] for name in "prqs"}) == 1 != len(set(pids.values()))      # a failure ends it
    assert [task.gpus for task in runner.tasks([job(tmp_path, "y", [Toy("u", gpus=1)])], toy.run, toy.kept, 0)[:1]] == [0]


@pytest.mark.slow
def test_each_task_sees_its_own_devices(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    units = [Toy("p", gpus=1, how="slowly"), Toy("q", gpus=1, how="slowly"), Toy("r", gpus=2), Toy("s"), Toy("t", gpus=3)]
    with Workers(3) as machine:
        ended = runner.run_tasks(runner.tasks([job(tmp_path, "x", units)], toy.run, toy.kept)[:5], machine)
    seen = {name: facts["gpus"] for name, facts in _env(tmp_path).items()}
    assert {seen["p"], seen["q"]} == {"4", "7"} and set(seen["r"].split(",")) == {"4", "7"} and seen["s"] == "" and "t" not in seen
    assert ended["t"].error == "it asks for 3 GPUs and this machine has 2"


def test_a_line_says_what_is_running(tmp_path):
    said = []
    with Workers(1) as machine:
        runner.run_tasks(runner.tasks([job(tmp_path, "x", [Toy("slow", how="slowly")])], toy.run, toy.kept)[:1], machine, say=said.append, minute=.3)
    assert any(line.startswith("still running: toy slow (") for line in said)


def test_a_call_that_cannot_be_read_by_the_worker_is_a_failure(tmp_path):
    (tmp_path/"passing_module.py").write_text("def f(): pass\n")
    sys.path.insert(0, str(tmp_path))
    import passing_module
    sys.path.remove(str(tmp_path))
    with Workers(1) as machine: ended = runner.run_tasks([Task("x", "x", passing_module.f), Task("y", "y", dict)], machine)
    assert "ModuleNotFoundError" in ended["x"].error and not ended["y"].error


# ---------------------------------------------------------------- the command

@pytest.fixture
def paper(tmp_path, monkeypatch):
    "A paper of two notebooks in a folder, in place of the real one."
    toy.adding(tmp_path, "table01_toy", {"a"})
    toy.book(tmp_path/"audit_toy.ipynb", "from pathlib import Path\nPath(out, 'audit.csv').write_text('x')", parameters="profile = 'published'\nout = '.'")
    asked = []

    def open_study(name, profile="testbed", out=None, store="", **changes):
        asked.append((name, profile, changes))
        return SimpleNamespace(specs=lambda: [A])
    known = {"table01": (SimpleNamespace(takes=lambda p: ["factor"]), "table01_toy"), "audit": (SimpleNamespace(takes=lambda p: []), "audit_toy")}
    monkeypatch.setattr(runner, "studies", lambda: known)
    monkeypatch.setattr(runner, "open_study", open_study)
    monkeypatch.setattr(runner, "notebook_path", lambda stem: tmp_path/f"{stem}.ipynb")
    monkeypatch.chdir(tmp_path)
    return asked


def cli(*words): return CliRunner().invoke(cli_reproduce.app, list(words), env={"COLUMNS": "200"})


def test_parameters_go_to_the_notebooks_that_have_them(paper):
    said = []
    table, audit = runner.jobs(["table01", "audit"], parameters={"factor": 5}, say=said.append)
    assert table.parameters == dict(out="runs/reproduce/figures/testbed", store="runs/reproduce", factor=5)
    assert paper == [("table01", "testbed", {"factor": 5})]
    assert audit.parameters == dict(out="runs/reproduce/figures/testbed") and not audit.units and said == ["-p factor does not concern audit"]


@pytest.mark.parametrize("words,expected", [
    (["table01", "-p", "facto", "2"], "close: factor"), (["table1"], "close: table01"), (["table01", "-p", "out", "x"], "option of its own"),
    (["ledger"], "unsaf reproduce all"), (["ledger", "all"], "stands alone"), (["table01", "-p", "factor"], "give a name and a value"),
    (["table01", "--ray", "127.0.0.1:9"], "no Ray cluster at 127.0.0.1:9"),
    *((["table01", "--dry-run", "--price", f"gpt-4o={two}"], "--price gpt-4o=") for two in ("-1,2", "nan,2"))])
def test_mistakes_end_in_one_line(paper, words, expected):
    error = cli(*words).exception
    assert isinstance(error, UnsafError) and expected in str(error) and "\n" not in str(error)


def test_dry_run_runs_nothing(paper, tmp_path, monkeypatch):
    unit = RunSpec("assess", "hf:llava-hf/llava-1.5-7b-hf", "coco:test2017", n=1000)
    monkeypatch.setattr(runner, "open_study", lambda *a, **k: SimpleNamespace(specs=lambda: [unit]))
    found = cli("all", "--profile", "paper", "--dry-run")
    assert found.exit_code == 0, found.exception
    assert "hf:llava-hf/llava-1.5-7b-hf" in found.output and "12,000 calls" in found.output
    assert "coco:test2017" in found.output and "ask no model: audit" in found.output
    assert "0.6 GPU-hours" in found.output and "10% (assumed)" in found.output and not (tmp_path/"runs").exists()
    assert "0.3 GPU-hours" in cli("all", "--dry-run", "--utilisation", "0.2").output
    monkeypatch.delenv("UNSAF_DATA", raising=False)
    some = [RunSpec("bench", "tiny-s", "conbench", "mc", 4, 5, 0, {"benchmarks": "mr"}), RunSpec("student", Student("tiny-student", "MM-UPD", data="coco"))]
    monkeypatch.setattr(runner, "open_study", lambda *a, **k: SimpleNamespace(specs=lambda: some))
    said = cli("all", "--profile", "paper", "--dry-run").output
    assert "MR on conbench: its free questions" in said and "MM-UPD: no copy of mm-upd is at hand" in said


@pytest.mark.slow
def test_the_command_end_to_end(paper, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "reproduce", _with_toys(runner.reproduce))
    (out := tmp_path/"runs"/"reproduce"/"figures"/"testbed").mkdir(parents=True)      # a toy makes no folder
    found = cli("all", "--workers", "2", "-p", "factor", "5")
    assert found.exit_code == 0, found.output
    assert (out/"table01_toy.csv").read_text() == "sum\n5\n" and "notebooks: 2 done" in found.output
    assert "notebooks: 2 kept" in cli("all", "-p", "factor=5", "--notebooks").output
    kept = (out/"notebooks"/"table01_toy.ipynb").read_text()
    assert "papermill" not in kept and str(tmp_path) not in kept and '"outputs"' in kept


def _with_toys(real): return lambda jobs, machine, force, gpus: real(jobs, machine, force, gpus, run=toy.run, kept=toy.kept)


# ---------------------------------------------------------------- estimates

def test_estimates_count_shared_units_once_and_never_guess():
    llava, unknown, gpt = "hf:llava-hf/llava-1.5-7b-hf", "bridge:qwen-vl-chat", "api:gpt-4o"
    own = [RunSpec("assess", m, "coco:test2017", n=10) for m in (llava, unknown, gpt)]
    table = estimates.estimate({"x": own, "y": own[:1]})
    assert table["first"].tolist() == [True, True, True, False]
    text = "\n".join(estimates.lines(table))
    assert "total, finished ones left out and shared ones once: 3 units; 360 calls; at least 0.0 GPU-hours" in text
    assert "size unknown, so no hours: bridge:qwen-vl-chat" in text and "price unknown, so no dollars: api:gpt-4o" in text
    assert estimates.hours(llava, 1e9) == pytest.approx(2 * 7e9 * 1e9 / (989.5e12 * .1) / 3600)
    assert estimates.hours(llava, 1e9, estimates.Rates(peak=None)) is None
    assert "hours are too" in "\n".join(estimates.Rates(peak=None).lines())
    with pytest.raises(UnsafError, match="utilisation"): estimates.Rates(utilisation=0)


def test_a_student_costs_its_training_and_its_teacher_once():
    student = Student("hf:llava-hf/llava-1.5-7b-hf", "UnD-Joint", "api:gpt-4o", "coco:train2017", n=100, k=5, epochs=5)
    unit = RunSpec("student", student)
    rows = [estimates.demand(u, prices={"gpt-4o": (1.0, 10.0)}) for u in estimates.with_needs([unit])]
    assert [r["task"] for r in rows] == ["teach", "train"] and rows[0]["calls"] == 1200
    assert rows[0]["dollars"] == pytest.approx(1200 * (1200 * 1 + 30 * 10) / 1e6)
    assert rows[1]["gpu_hours"] == pytest.approx(2 * 2 * 7e9 * (5 * 2000 * 1230) / (989.5e12 * .1) / 3600)     # 5 epochs of 1,000 QA and 1,000 IQ records
    pairs = Student("hf:llava-hf/llava-1.5-7b-hf", "DPO", "api:gpt-4o", n=100)
    assert estimates.demand(RunSpec("student", pairs))["gpu_hours"] is None


# ---------------------------------------------------------------- the ledger

def test_the_ledger_is_printed_and_written_in_its_sections(tmp_path, monkeypatch):
    from unsaf.paper import ledger
    one = ledger.Entry("table04", "cell", "LLaVA-7B | COCO, OE", "0.61", "0.60", .55, .66, "0.005", "reproduced", "", "paper")
    two = ledger.Entry("table04", "claim", "larger is better", "yes", "yes", None, None, "", "built in", "sizes were trained for longer", "testbed")
    ledger.write([one, two], tmp_path/"figures"/"paper"/"ledger"/"table04.json")
    monkeypatch.chdir(tmp_path)
    found = cli("ledger", "--profile", "paper")     # what is committed is read, and stays as it is
    assert found.exit_code == 0 and "built in" in found.output and "read: figures/paper, as committed" in found.output
    assert not (tmp_path/"figures"/"paper"/"ledger.md").exists()
    found = cli("ledger", "--profile", "paper", "--out", "figures/paper")
    assert found.exit_code == 0 and "figures/paper/ledger.md" in found.output
    text = (tmp_path/"figures"/"paper"/"ledger.md").read_text()
    assert text.index("## Cells") < text.index("1 reproduced") < text.index("## Claims") < text.index("1 built in") and "LLaVA-7B \\| COCO" in text
    assert len((tmp_path/"figures"/"paper"/"ledger.csv").read_text().splitlines()) == 3


def test_the_ledger_keeps_what_it_knows_of_notebooks_that_were_not_run_here(tmp_path):
    "The files of single notebooks are not in the repository, their sum is."
    import shutil
    from unsaf.paper import ledger
    same = dict(claim="x", published="0.6", measured="0.61", low=.1 + .2, high=None, tolerance="", verdict="reproduced", why="", profile="testbed")
    def line(of, kind="cell", **more): return ledger.Entry(of=of, kind=kind, **(same | more))
    out, single = tmp_path/"figures"/"testbed", tmp_path/"figures"/"testbed"/"ledger"
    ledger.write([line("table04", "audit", profile="published")], single/"audit.json")
    ledger.write([line("table04"), line("table04", "claim")], single/"table04.json")
    ledger.write([line("table05")], single/"table05.json")
    first, _ = runner.write_ledger(out)
    text = (out/"ledger.csv").read_bytes()
    shutil.rmtree(single)
    assert runner.write_ledger(out)[0] == first and (out/"ledger.csv").read_bytes() == text
    ledger.write([line("table04", why="new")], single/"table04.json")
    second, _ = runner.write_ledger(out)
    assert [(e.of, e.kind, e.why) for e in second] == [("table04", "audit", ""), ("table04", "cell", "new"), ("table05", "cell", "")]


def test_before_the_run_no_secret_is_shown_and_no_error_of_the_hub_ends_it(monkeypatch):
    "A password in an address; a hub that answers and then breaks off, which its HTTP library tells by errors of its own."
    import huggingface_hub
    from unsaf.paper import beforehand, demand
    unit = RunSpec("assess", "api:x@http://me:secretpw@127.0.0.1:9/v1", "scenes", n=1)
    table = demand.estimate({"x": [unit]})
    said = [*demand.lines(table), *beforehand.route_lines([unit]), *beforehand.provide_lines([unit])]
    assert "secretpw" not in "".join(said) and sum("127.0.0.1:9" in line for line in said) == 3
    class Broken(Exception): pass
    def breaks_off(name): raise Broken
    monkeypatch.setattr(beforehand, "hub_answers", lambda: True)
    monkeypatch.setattr(huggingface_hub, "model_info", breaks_off)
    assert beforehand.gated("nobody/breaks-off") == "unknown"


def test_a_smallest_difference_is_found_with_its_chance():
    "Two models whose UnF1 differ by it, simulated; and the hardest row's is above that of half of the rows."
    from unsaf.metrics.awareness import scorer
    from unsaf.metrics.stability import images_needed
    from unsaf.paper import beforehand
    rng, n, runs, able, unable = np.random.default_rng(1), 400, 400, .68, .46        # a row of Table 6
    def counts(able):
        ta, fa = (beforehand._answered(rate, runs * n, 5, rng).reshape(runs, n).sum(1) for rate in (able, unable))
        return np.stack([ta, fa, 5 * n - fa, 5 * n - ta], 1).astype(float)
    unf1 = lambda c: scorer("unf1")(c)["unf1"]
    expected = lambda able: unf1(np.array([able, unable, 1 - unable, 1 - able]))
    ta, fa = (beforehand._answered(rate, 4000, 5, rng) for rate in (able, unable))
    pilot = np.stack([ta, fa, 5 - fa, 5 - ta], 1).astype(float)
    least = .05 * np.sqrt(images_needed(scorer("unf1"), pilot, difference=.05, n=100).images / n)
    other = min(np.linspace(.7, .95, 2000), key=lambda a: abs(expected(a) - expected(able) - least))
    a, b = unf1(counts(able)), unf1(counts(other))
    assert (np.abs(b - a) > 1.96 * np.sqrt(a.var() + b.var())).mean() == pytest.approx(.8, abs=.08)
    assert beforehand.smallest_difference(n) < least < 1.2 * beforehand.smallest_difference(n, share=1)
    line, = beforehand.power_lines({"table04": (3000, 5)})
    assert "160 and 145 of the 168" in line


def test_one_model_is_held_and_none_after_its_like_has_changed(tmp_path):
    "The last is gone before the next is loaded, also where it stands in a circle; a folder with other files is another model."
    import gc, weakref
    from unsaf.models import holding
    from unsaf.models.base import identity_of
    from unsaf.paper.runspec import model_of
    from unsaf.world import tiny
    class Model:
        def __init__(self): self.own = self
    last = weakref.ref(holding.hold("a", Model))
    gc.disable()
    try: assert holding.hold("b", lambda: last() is None)
    finally: gc.enable()
    class Broken:
        def close(self): raise OSError
    holding.let_go()
    holding.hold("broken", Broken)
    with pytest.raises(OSError): holding.let_go()
    assert holding.hold("next", lambda: "next") == "next"
    spec, names = RunSpec("assess", str(tmp_path/"own"), "scenes", n=1), []
    for name in ("tiny-s", "tiny-m"):
        shutil.rmtree(tmp_path/"own", ignore_errors=True)
        shutil.copytree(tiny.path(name), tmp_path/"own")
        names.append(identity_of(model_of(spec, tmp_path))["weights"])
        assert model_of(spec, tmp_path) is model_of(spec, tmp_path)
    holding.let_go()
    assert names[0] != names[1]



def test_half_a_checkpoint_in_the_hub_s_cache_is_not_at_hand(tmp_path, monkeypatch):
    "One of its two files of weights is there; then both, but not of the revision that is asked for."
    from huggingface_hub import constants
    folder = tmp_path/"models--x--half"/"snapshots"/("a" * 40)
    for path, text in {folder/"config.json": "{}", folder.parents[1]/"refs"/"main": folder.name, folder/"one.safetensors": "x",
                       folder/"model.safetensors.index.json": json.dumps(dict(weight_map=dict(a="one.safetensors", b="two.safetensors")))}.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(estimates, "hub_answers", lambda: False)
    assert "lacks two.safetensors in the hub's cache" in estimates.model_lacks("hf:x/half")
    (folder/"two.safetensors").write_text("x")
    assert not estimates.model_lacks("hf:x/half") and "is not in the hub's cache" in estimates.model_lacks(f"hf:x/half@{'b' * 40}")
