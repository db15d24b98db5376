import os, shutil, subprocess
import pytest
from clusters import cluster, head      # noqa: F401  (fixtures of the tests that take a Ray cluster)
from hypothesis import settings

os.environ["CI"] = "true"                  # no progress bars
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# the same examples in every run, so that a green suite stays green; HYPOTHESIS=search draws new ones
settings.register_profile("repeatable", derandomize=True, database=None, deadline=None, max_examples=50)
settings.register_profile("search", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS", "repeatable"))


@pytest.fixture(scope="session")
def old_environments(tmp_path_factory):
    "The folder of the environments of old checkpoints: each is made once for all processes of a run of tests, which takes minutes."
    own = tmp_path_factory.getbasetemp()
    return (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own)/"old-environments"


def pytest_sessionfinish(session):
    "They are gigabytes."
    if not hasattr(session.config, "workerinput"):
        shutil.rmtree(session.config._tmp_path_factory.getbasetemp()/"old-environments", ignore_errors=True)


@pytest.fixture(scope="session")
def tiny_m():
    "The bundled model, loaded once."
    import unsaf
    return unsaf.load("tiny-m", dtype="float32", device="cpu")


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    "Tiny checkpoints of true architecture by the name of their family, each built once."
    from tiny_checkpoints import build
    root, made = tmp_path_factory.mktemp("checkpoints"), {}
    def folder(family):
        if family not in made: made[family] = str(build(family, root/family))
        return made[family]
    return folder


@pytest.fixture(scope="session")
def load(folders):
    "The same, loaded."
    from unsaf.models.hf import HF
    made = {}
    def model(family, reuse="auto"):
        if (family, reuse) not in made: made[family, reuse] = HF(folders(family), device="cpu", reuse=reuse)
        return made[family, reuse]
    return model


@pytest.fixture
def inside(monkeypatch, capfd):
    "The command line within this process: its libraries are loaded already."
    from unsaf.cli.main import app
    for name in [n for n in os.environ if n.endswith("_API_KEY")]: monkeypatch.delenv(name)
    def run(*args) -> subprocess.CompletedProcess:
        with pytest.raises(SystemExit) as e: app([str(a) for a in args])
        out, err = capfd.readouterr()
        return subprocess.CompletedProcess(args, e.value.code, out, err)
    return run
