"Every module notebook is one test case: its cells run from top to bottom, and its assertions hold."
from pathlib import Path
import pytest
from nbdev import test as nbtest
from nbdev.config import get_config

root = Path(__file__).resolve().parent.parent
cfg = get_config(cfg_name="settings.ini", path=root)
books = sorted(p for p in (root / "nbs").glob("*.ipynb"))


@pytest.mark.parametrize("book", books, ids=lambda p: p.stem)
def test_notebook(book):
    ok, _ = nbtest.test_nb(book, skip_flags=cfg.tst_flags.split(), basepath=root)
    assert ok, f"{book.name} failed: see the captured standard error"
