"A Ray cluster of two nodes on this machine, of which a test may kill one."
import os
from pathlib import Path
import pytest
import unsaf


def started(make, tries=3):
    "A node; Ray gives it 30 seconds to start, which a busy machine does not always keep."
    for left in reversed(range(tries)):
        try: return make()
        except Exception:
            if not left: raise


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    "A head without cores, and one node with a core that stays."
    import ray
    from ray.cluster_utils import Cluster
    stub = tmp_path_factory.mktemp("stub")
    (stub/"rfc3987_syntax.py").write_text("raise ImportError('it takes four seconds of every process, for nothing')")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        places = stub, Path(__file__).parent, Path(unsaf.__file__).parents[1]
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, places)))
        none = dict(num_gpus=0, include_dashboard=False)
        made = started(lambda: Cluster(initialize_head=True, head_node_args=dict(num_cpus=0, **none), connect=False))
        started(lambda: made.add_node(num_cpus=1, **none))
        ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
        yield made
        ray.shutdown()
        made.shutdown()


@pytest.fixture
def cluster(head):
    "The head, and a second node with a core that a test may kill; where it lives on, the next test has it."
    if getattr(head, "victim", None) not in head.worker_nodes:
        head.victim = started(lambda: head.add_node(num_cpus=1, num_gpus=0, include_dashboard=False))
        head.wait_for_nodes()
    return head, head.victim
