"Assessments on replicas: the table of one machine, whatever dies, and nothing asked twice."
import os
from pathlib import Path
import pandas as pd
import pytest
import unsaf
from unsaf.assessment.run import assess
from unsaf.cluster.assessing import assess_on_ray
from unsaf.cluster.nodes import secrets_for
from unsaf.cluster.replicas import Job, Spec
from unsaf.core import UnsafError

ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'unsaf[cluster]'")
TINY = dict(dtype="float32", device="cpu")


def same(a, b):
    for name in ("table", "lists", "failures"): pd.testing.assert_frame_equal(getattr(a, name), getattr(b, name))
    assert (a.images, a.run_id) == (b.images, b.run_id)
    if len(a.table): assert a.scores.as_dict() == b.scores.as_dict()


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    "A head without cores, and one node with a core that stays."
    from ray.cluster_utils import Cluster
    stub = tmp_path_factory.mktemp("stub")
    (stub/"rfc3987_syntax.py").write_text("raise ImportError('it takes four seconds of every process, for nothing')")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(stub), str(Path(__file__).parent), str(Path(unsaf.__file__).parents[1])]))
        none = dict(num_gpus=0, include_dashboard=False)
        made = Cluster(initialize_head=True, head_node_args=dict(num_cpus=0, **none), connect=False)
        made.add_node(num_cpus=1, **none)
        ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
        yield made
        ray.shutdown()
        made.shutdown()


@pytest.fixture
def cluster(head):
    "The head, and a second node with a core that a test may kill."
    victim = head.add_node(num_cpus=1, num_gpus=0, include_dashboard=False)
    head.wait_for_nodes()
    yield head, victim
    if victim in head.worker_nodes: head.remove_node(victim, allow_graceful=True)


@pytest.fixture
def one_thread():
    "As a replica has: sums on two are rounded otherwise in the seventh digit."
    import torch
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_any_number_of_replicas_gives_the_table_of_one_machine(tmp_path, cluster, one_thread):
    broken = tmp_path/"broken.png"
    broken.write_bytes(b"no image")
    some = [*(s.picture.pixels() for s in unsaf.images("scenes", n=7)), str(broken)]
    plan = dict(setting="mc", k=2, block=3)
    alone = assess(unsaf.load("tiny-s", **TINY), some, progress=False, **plan)
    for replicas, send in ((1, False), (2, True)):
        store = tmp_path/f"{replicas}"
        spread = assess_on_ray("tiny-s", some, store=store, ray="auto", replicas=replicas, send=send, model_options=TINY, **plan)
        same(spread, alone)
        assert spread.calls == alone.calls and len(list(store.rglob("part-*.parquet"))) == 3


def test_what_can_be_told_before_a_cluster_is_joined(tmp_path):
    for options, message in ((dict(store=""), "--store"), (dict(colour=1), "unknown option 'colour'"), (dict(block=0), "block = 0"),
                             (dict(ray="ray://x:1"), "a node of the cluster"), (dict(ray="127.0.0.1:1"), "no Ray cluster at")):
        with pytest.raises(UnsafError, match=message): assess_on_ray("tiny-s", "scenes", n=2, **dict(store=tmp_path) | options)


def test_no_key_is_shown(monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-123")
    spec = Spec("api:x@http://h/v1", {"key_env": "MY_KEY"}, secrets_for("api:x@http://h/v1", {"key_env": "MY_KEY"}))
    assert spec.secrets["MY_KEY"] == "sk-123" and "sk-123" not in repr(Job(spec, {}, "r"))
