import os, subprocess
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
def tiny_m():
    "The bundled model, loaded once."
    import unsaf
    return unsaf.load("tiny-m", dtype="float32", device="cpu")


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
