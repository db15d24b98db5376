"Assessments on replicas: the table of one machine, whatever dies, and nothing asked twice."
import json, os, signal, subprocess, sys, threading, time
from functools import partial
import pandas as pd
import pytest
from replica_models import AllFail, Breaks, OnPaper, busy_on, calls, scripted
import unsaf
from unsaf.assessment.run import assess
from unsaf.cluster.assessing import assess_on_ray
from unsaf.cluster.nodes import secrets_for
from unsaf.cluster.replicas import Job, Spec
from unsaf.core import ModelError, UnsafError
from unsaf.models.base import Scripted

ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'unsaf[cluster]'")
TINY = dict(dtype="float32", device="cpu")
WHOLE = pytest.mark.skipif(not os.environ.get("UNSAF_WHOLE_CLUSTER"), reason="starts nodes for minutes: UNSAF_WHOLE_CLUSTER=1 has it run")


def same(a, b):
    for name in ("table", "lists", "failures"): pd.testing.assert_frame_equal(getattr(a, name), getattr(b, name))
    assert (a.images, a.run_id) == (b.images, b.run_id)
    if len(a.table): assert a.scores.as_dict() == b.scores.as_dict()


@pytest.fixture
def one_thread():
    "As a replica has: sums on two are rounded otherwise in the seventh digit."
    import torch
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.promise("replicas")
@pytest.mark.slow
def test_any_number_of_replicas_gives_the_table_of_one_machine(tmp_path, cluster, one_thread):
    broken = tmp_path/"broken.png"
    broken.write_bytes(b"no image")
    some = [*(s.picture.pixels() for s in unsaf.images("scenes", n=7)), str(broken)]
    plan = dict(setting="mc", k=2, block=3)
    alone = assess(unsaf.load("tiny-s", **TINY), some, progress=False, **plan)
    for replicas, send in ((1, False), (2, True)):
        store = tmp_path/f"{replicas}"
        how = dict(replicas=replicas, send=send, model_options=TINY)
        spread = assess_on_ray("tiny-s", some, store=store, **how, **plan)
        same(spread, alone)
        assert spread.calls == alone.calls and len(list(store.rglob("part-*.parquet"))) == 3


def run(tmp, n=8, at=None, **more):
    "The scripted model on the cluster; its calls are counted in the folder `tmp`."
    tmp.mkdir(exist_ok=True)
    given = {name: more.pop(name) for name in ("seconds", "dies_on", "fails_on") if name in more}
    plan = dict(n=n, k=2, block=2, replicas=2, max_failures=None) | more
    return assess_on_ray(partial(OnPaper, tmp, **given), "scenes", store=tmp/"run", **plan)


def names(n): return unsaf.images("scenes", n=n).image_ids


def alone(n=8): return assess(Scripted(scripted, "on-paper"), "scenes", n=n, k=2, progress=False)


@pytest.mark.slow
def test_a_second_run_asks_only_what_is_missing(tmp_path, cluster, capsys):
    every = names(8)
    first = run(tmp_path, fails_on=every[3], dies_on=every[5])
    assert first.images == [name for name in every if name != every[5]], "an image that kills its process costs itself"
    assert "1 images did not come back" in first.stopped and first.calls["failed"] and first.scores
    before = len(calls(tmp_path))
    assert sum(image == every[5] for _, image in calls(tmp_path)) == 3
    torn = next(part for part in (tmp_path/"run").rglob("part-*.parquet") if b'"done": [0, 1]' in part.read_bytes())
    torn.write_bytes(torn.read_bytes()[:100])
    again = run(tmp_path, replicas=1)
    asked = calls(tmp_path)[before:]
    assert {image for _, image in asked} == {*every[:2], every[3], every[5]}
    assert "torn" in capsys.readouterr().err
    third = run(tmp_path, replicas=1)
    assert len(calls(tmp_path)) == before + len(asked) and third.calls["asked"] == 0
    for found in (again, third): same(found, alone())


@pytest.mark.promise("replicas")
@pytest.mark.slow
def test_a_killed_actor_and_a_killed_node_cost_their_block(tmp_path, cluster):
    made, victim = cluster
    plain, killed = alone(16), []
    needed, block = plain.calls["asked"], plain.calls["asked"]//8
    stays = next(node for node in made.worker_nodes if node is not victim)
    def kill():
        os.kill(busy_on(tmp_path, stays.node_id, block), signal.SIGKILL)
        killed.append(len(calls(tmp_path)))
        busy_on(tmp_path, victim.node_id, block)
        made.remove_node(victim, allow_graceful=False)
        killed.append(len(calls(tmp_path)))
    watcher = threading.Thread(target=kill)
    watcher.start()
    found = run(tmp_path, n=16, seconds=.15)
    watcher.join(250)
    same(found, plain)
    assert len(killed) == 2 and killed[1] < needed, "nothing was under way, so nothing was tried"
    assert 0 < len(calls(tmp_path)) - needed <= 2*block, "more was asked again than the blocks under way"


@pytest.mark.promise("replicas")
@WHOLE
@pytest.mark.slow
def test_ctrl_c_stores_what_came_and_the_next_run_goes_on(tmp_path, cluster):
    code = (f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            f"from test_cluster import run, Path\nrun(Path({str(tmp_path)!r}), n=12, seconds=.3)")
    driver = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True,
                              env=os.environ | dict(RAY_ADDRESS=cluster[0].address))
    until = time.monotonic() + 200
    parts = lambda: list(tmp_path.rglob("part-*.parquet"))
    while time.monotonic() < until and driver.poll() is None and not parts(): time.sleep(.05)
    driver.send_signal(signal.SIGINT)
    said = driver.communicate(timeout=60)[1]
    before, there = len(calls(tmp_path)), len(parts())
    assert driver.returncode and "what has come is being stored" in said and 0 < there < 6
    found = run(tmp_path, n=12)
    same(found, plain := alone(12))
    block = plain.calls["asked"]//6
    assert found.calls["asked"] == plain.calls["asked"] - there*block == len(calls(tmp_path)) - before


@WHOLE
@pytest.mark.slow
def test_commands_on_replicas_write_what_they_write_here(tmp_path, cluster, inside, one_thread):
    model = ("--device", "cpu", "--dtype", "float32", "--seed", "3")
    commands = dict(
        assess=("assess", "--model", "tiny-s", "--limit", "6", "--k", "2", "--setting", "mc"),
        bench=("bench", "--model", "tiny-s", "--n", "6", "--benchmarks", "accuracy"),
        taught=("distill", "data", "--teacher", "tiny-s", "--n", "6", "--k", "2"))
    for name, command in commands.items():
        here, there = tmp_path/f"{name}-here", tmp_path/f"{name}-there"
        into = "--out" if name == "taught" else "--store"
        for folder, spread in ((here, ()), (there, ("--ray", "auto", "--replicas", "2"))):
            done = inside(*command, *model, into, folder, *spread)
            assert done.returncode == 0, done.stderr
        tables = [p.relative_to(here) for p in here.rglob("*") if p.suffix in (".csv", ".jsonl")]
        assert tables and not [p for p in tables if (here/p).read_bytes() != (there/p).read_bytes()]
    one, other = (json.loads((tmp_path/f"assess-{where}"/"scores-mc.json").read_text()) for where in ("here", "there"))
    assert one["run"] == other["run"] and one["scores"] == other["scores"]
    assert (tmp_path/"assess-there"/"report.html").is_file()
    assert inside("report", tmp_path/"assess-there", "--out", tmp_path/"page.html").returncode == 0


@WHOLE
@pytest.mark.slow
def test_errors_are_one_line(tmp_path, cluster):
    for model, message in (("tiny-x", "model 'tiny-x' is unknown"), (Breaks, "lost: RuntimeError: it broke")):
        with pytest.raises(ModelError, match=message): assess_on_ray(model, "scenes", n=16, store=tmp_path, block=2)
    with pytest.raises(UnsafError, match="replica takes 1 GPU and the largest node of the cluster has 0"):
        assess_on_ray("tiny-s", "scenes", n=2, store=tmp_path, gpus=1)
    with pytest.raises(ModelError, match="requests failed, more than 20%"):
        assess_on_ray(AllFail, "scenes", n=100, store=tmp_path, block=10)


def test_what_can_be_told_before_a_cluster_is_joined(tmp_path):
    for options, message in ((dict(store=""), "--store"), (dict(colour=1), "unknown option 'colour'"),
                             (dict(block=0), "block = 0"), (dict(ray="ray://x:1"), "a node of the cluster"),
                             (dict(ray="127.0.0.1:1"), "no Ray cluster at")):
        with pytest.raises(UnsafError, match=message):
            assess_on_ray("tiny-s", "scenes", n=2, **dict(store=tmp_path) | options)


def test_another_pace_or_price_goes_on_with_the_same_parts(tmp_path):
    "And the first line of a run says what it does not look up."
    from unsaf.cli.first import planned
    from unsaf.cluster.assessing import _run_in, run_of
    spec, what = lambda **options: Spec("api:m", options), ({}, "scenes", ["a"])
    plain = _run_in(tmp_path, spec(), *what)
    assert plain == _run_in(tmp_path, spec(timeout=9, concurrency=3, prices=(1, 2)), *what) != _run_in(tmp_path, spec(omit=("seed",)), *what)
    before = run_of(spec(timeout=9), *what, ())       # as it was called until now
    (tmp_path/f"parts-{before}").mkdir()
    assert _run_in(tmp_path, spec(timeout=9), *what) == before != plain
    say = lambda store: [planned("m", ["a"], ("oe",), 2, store, on_ray=there) for there in (True, False)]
    assert "(what it holds is not asked again)" in say(tmp_path)[0] and "earlier run with --ray are not used here" in say(tmp_path)[1]
    (tmp_path/"here").mkdir()
    (tmp_path/"here"/"replies.sqlite").touch()
    assert "without --ray are not used here, and are asked for again; leave out --ray to go on" in say(tmp_path/"here")[0]


@pytest.mark.parametrize("options, message", [
    ("--replicas 2", "--replicas is for --ray"), ("--ray auto --batch", "leave --ray out"),
    ("--ray auto --dry-run", "--dry-run asks its sample on this machine"), ("--ray auto --replicas 0", "replicas = 0"),
    ("--ray auto --max-calls 9", "--max-minutes is kept"),
    ("--ray auto --until-halfwidth .1", "leave it out with --ray"),
    ("bench --ray auto --max-cost 1", "--max-minutes is kept"), ("bench --ray auto --gpus nan", "gpus = nan"), ("bench --ray auto --gpus 1.5", "gpus = 1.5"),
    ("--ray auto --probes blank", "probe blank asks a model on this machine"),
    ("reproduce table04 --replicas 2", "--replicas is for --ray"),
    ("reproduce table04 --ray local --workers 2", "--workers counts processes of this machine"),
    ("reproduce labels --ray local --replicas 2", "labels has no units of one model"), ("reproduce labels --gpus 3", "--gpus: labels has no units"),
    ("reproduce table04 --dry-run --ray local --replicas 4", "--dry-run runs nothing: leave --ray and --replicas out"),
    ("reproduce labels --dry-run --gpus 3", "--dry-run runs nothing: leave --gpus out"),
    ("reproduce ledger --ray local --replicas 2", "ledger runs nothing: leave --ray and --replicas out")])
def test_what_replicas_cannot_do_is_one_line(inside, tmp_path, options, message):
    asked = options.split() if options.startswith("reproduce") else ["assess", "--model", "tiny-s", "--limit", "1", *options.split()]
    if options.startswith("bench"): asked = ["bench", "--model", "tiny-s", *options.split()[1:]]
    done = inside(*asked, "--store", tmp_path)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.promise("keys")
def test_no_key_is_shown(monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-123")
    name, options = "api:x@http://h/v1", {"key_env": "MY_KEY"}
    spec = Spec(name, options, secrets_for(name, options))
    monkeypatch.setenv("OPENAI_BASE_URL", "http://gateway.example/v1")      # the driver's: a node's own would send images elsewhere
    here = Spec.of("api:x", options)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://another.example/v1")
    assert here.load().url == "http://gateway.example/v1"
    monkeypatch.delenv("OPENAI_BASE_URL")
    unset = Spec.of("api:x", options)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://another.example/v1")
    assert unset.load().url == "https://api.openai.com/v1"
    assert spec.secrets["MY_KEY"] == "sk-123" and "sk-123" not in repr(Job(spec, {}, "r"))
