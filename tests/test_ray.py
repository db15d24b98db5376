"On a cluster: the files are those of a run in series, also where a node is killed with tasks on it."
import json, threading, time
from pathlib import Path
import pytest
import toy_units as toy
from toy_units import Toy
from unsaf.core import UnsafError
from unsaf.paper import runner
from unsaf.paper.runspec import RunSpec, done, home, run_spec
from unsaf.paper.workers import Task, Workers

ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'unsaf[cluster]'")
pytestmark = pytest.mark.slow


def test_a_local_cluster_is_started_and_ended(tmp_path, monkeypatch):
    "--ray local starts one and ends it."
    from unsaf.paper.workers import Cluster
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with Cluster("local", [tmp_path]) as machine:
        ended = runner.run_tasks([Task("x", "x", _touch(tmp_path/"there"))], machine)
    assert not ended["x"].error and (tmp_path/"there").is_file() and not ray.is_initialized()


def _touch(path):
    from functools import partial
    return partial(Path.touch, path)


def job(tmp, name, units, book):
    return runner.Job(name, book, dict(out=str(tmp/"out"), store=str(tmp/"store")), "testbed", tmp/"out", tmp/"store", tuple(units))


def facts(tmp): return [json.loads((tmp/"store"/"started"/name).read_text()) for name in toy.started(tmp/"store")]


def kill_when_busy(cluster, node, tmp, killed):
    "Kill a node without grace as soon as a task has said that it runs there."
    until = time.monotonic() + 240
    while time.monotonic() < until:
        here = toy.started(tmp/"store")
        if any(json.loads((tmp/"store"/"started"/name).read_text())["node"] == node.node_id for name in here):
            cluster.remove_node(node, allow_graceful=False)
            return killed.append(time.monotonic())
        time.sleep(.05)


def toys():
    first = [Toy(f"u{i}", 10 ** i, how="slowly") for i in range(4)]
    return [*first, Toy("last", 5, tuple(first))]


def test_a_node_that_dies_changes_nothing(tmp_path, cluster):
    from unsaf.paper.workers import Cluster
    units, (made, victim) = toys(), cluster
    jobs = [job(tmp_path, name, some, toy.adding(tmp_path, name, {u.key for u in some})) for name, some in (("sum", units), ("one", units[:1]))]
    said, killed = [], []
    watcher = threading.Thread(target=kill_when_busy, args=(made, victim, tmp_path, killed))
    watcher.start()
    with Cluster(folders=[tmp_path/"store"]) as machine: found = runner.reproduce(jobs, machine, run=toy.run, kept=toy.kept, say=said.append)
    assert found.exit_code == 0, found.lines()
    watcher.join(300)
    assert killed, "the node was never busy, so nothing was tried"
    assert len(facts(tmp_path)) > len(units), "no task was on the node when it died"
    sums = {f.parent.name: json.loads(f.read_text())["sum"] for f in tmp_path.glob("store/units/*/result.json")}
    assert sums == dict(u0=1, u1=10, u2=100, u3=1000, last=1116)
    assert [(tmp_path/"out"/f"{name}.csv").read_text() for name in ("sum", "one")] == ["sum\n2227\n", "sum\n1\n"]


def test_failures_and_devices_on_a_cluster(tmp_path, cluster):
    from unsaf.paper.workers import Cluster
    units = [Toy("fine"), Toy("bad", how="fails"), Toy("dead", how="dies"), Toy("large", gpus=9)]
    with Cluster(folders=[tmp_path/"store"], retries=1) as machine:
        ended = runner.run_tasks(runner.tasks([job(tmp_path, "x", units, Path("x"))], toy.run, toy.kept)[:4], machine)
    assert not ended["fine"].error and ended["bad"].error == "no weights for bad" and "9 GPUs and the largest node has 0" in ended["large"].error
    assert "WorkerCrashedError" in ended["dead"].error
    count = {key: sum(name.startswith(key) for name in toy.started(tmp_path/"store")) for key in ("bad", "dead")}
    assert count == {"bad": 1, "dead": 2}, "a call that raises is not repeated, a worker that dies is, as often as was said"
    assert {f["gpus"] for f in facts(tmp_path)} == {""} and {f["threads"] for f in facts(tmp_path)} == {"1"}


def test_a_folder_that_a_node_cannot_see_is_refused(tmp_path, cluster, monkeypatch):
    from unsaf.paper import workers as room
    assert len(room.check_nodes([tmp_path])) >= 3
    monkeypatch.setattr(room, "write_file", lambda path, text: Path(f"/nowhere/{path.name}"))
    with pytest.raises(UnsafError, match="does not see .* a disk that all nodes share"): room.check_nodes([tmp_path])


def test_real_units_on_a_dying_cluster_equal_those_in_series(tmp_path, cluster):
    "Two self-assessments of bundled models and a cross-examination; the node is killed while the second runs."
    from unsaf.paper.workers import Cluster
    made, victim = cluster
    small, large = (RunSpec("assess", m, "scenes", n=4, k=2, seed=9100) for m in ("tiny-s", "tiny-m"))
    units = [small, large, RunSpec("reask", "tiny-m", "scenes", n=4, k=2, seed=9100, of=small)]
    _in_series(units, tmp_path/"serial")
    tasks = [Task(u.key, u.title, _call(u, tmp_path/"ray"), tuple(n.key for n in u.needs)) for u in units]
    killed = []
    threading.Thread(target=_kill_once_there, args=(made, victim, large, tmp_path/"ray", killed), daemon=True).start()
    with Cluster(folders=[tmp_path/"ray"]) as machine: ended = runner.run_tasks(tasks, machine)
    assert not [e.error for e in ended.values() if e.error] and killed == ["before it was finished"]
    for unit in units:
        for name in ("table.jsonl", "lists.jsonl", "failures.jsonl"):
            assert (home(unit, tmp_path/"ray")/name).read_bytes() == (home(unit, tmp_path/"serial")/name).read_bytes(), (unit.title, name)


def _in_series(units, store):
    "On one thread, as a Ray task has: sums on two are rounded otherwise in the seventh digit."
    import torch
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for unit in units: run_spec(unit, store, lambda line: None)
    finally: torch.set_num_threads(threads)


def _call(unit, store):
    from functools import partial
    return partial(runner._run_unit, run_spec, unit, str(store))


def _kill_once_there(cluster, node, unit, store, killed):
    until = time.monotonic() + 120
    while time.monotonic() < until and not home(unit, store).is_dir(): time.sleep(.02)
    killed.append("too late" if done(unit, store) else "before it was finished")
    cluster.remove_node(node, allow_graceful=False)


@pytest.mark.timeout(1800)      # a busy machine takes minutes for each start of a replica
def test_units_that_ask_replicas_are_those_of_one_process(tmp_path, cluster, monkeypatch):
    "A teacher, the student that it taught and its examination; a replica, and a node that trains."
    from unsaf.paper.runspec import Student
    from unsaf.paper.spread import Spread
    monkeypatch.setenv("OMP_NUM_THREADS", "1")      # sums on two threads are rounded otherwise in the seventh digit
    student = Student("tiny-student", "UnD-IQ", "tiny-s", n=24, k=2, epochs=2)
    units = [RunSpec("assess", student, "scenes", n=4, k=2, seed=9100)]
    for where in ("alone", "spread"):
        work = job(tmp_path/where, "x", units, Path("x"))
        with (Workers(1) if where == "alone" else Spread("auto", 1, 0, [tmp_path/where], tmp_path/"log")) as machine:
            run = run_spec if where == "alone" else machine.run
            ended = runner.run_tasks(runner.tasks([work], run, done, 0)[:-1], machine)
        assert len(ended) == 3 and not [e for e in ended.values() if e.error], ended
    tables = sorted(p.relative_to(tmp_path/"alone") for p in (tmp_path/"alone").rglob("units/*/*.jsonl"))
    assert len(tables) == 6
    for table in tables: assert (tmp_path/"spread"/table).read_bytes() == (tmp_path/"alone"/table).read_bytes(), table
