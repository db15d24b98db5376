import os
import pytest

os.environ["CI"] = "true"                  # no progress bars
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def tiny_m():
    "The bundled model, loaded once."
    import unsaf
    return unsaf.load("tiny-m", dtype="float32", device="cpu")
