"The studies beyond the paper: found, set, run by one command, and not run twice."
import pytest
import toy_units as toy
from typer.testing import CliRunner
from unsaf.cli import paper as cli_reproduce
from unsaf.core import UnsafError
from unsaf.paper import beyond
from unsaf.paper.notebooks import parameters_of


def cli(*words): return CliRunner().invoke(cli_reproduce.app, list(words), env={"COLUMNS": "200"})


def test_the_command_finds_the_three_studies_and_what_can_be_set():
    books = beyond.beyond_books()
    assert {"gold", "labels", "optimised"} <= set(books)
    for name, book in books.items(): assert {"folder", "out", "seeds"} <= set(parameters_of(book)), name
    found = cli("beyond", "--dry-run", "-p", "seeds", "[7]")
    assert found.exit_code == 0 and found.output.count("seeds = [7]") == len(books)
    assert "optimised: Does self-assessed J survive being optimised?" in found.output and "n_exam = " in found.output


@pytest.mark.parametrize("words,expected", [
    (["gold", "table04"], "table04 is no study of beyond"), (["beyond", "-p", "imagess", "3"], "close: images"),
    (["gold", "-p", "folder", "x"], "folder follows from"), (["gold", "--profile", "paper"], "leave it out")])
def test_mistakes_end_in_one_line(words, expected):
    error = cli(*words).exception
    assert isinstance(error, UnsafError) and expected in str(error) and "\n" not in str(error)


@pytest.mark.slow
def test_a_study_is_run_into_folders_of_its_own_and_not_twice(tmp_path, monkeypatch):
    book = tmp_path/"colours.ipynb"
    toy.book(book, "from pathlib import Path", "Path(out).mkdir(exist_ok=True, parents=True)\nPath(out, 'colours.csv').write_text(f'{folder} {seeds}')",
             parameters="folder = '.'\nseeds = [0]\nout = None")
    monkeypatch.setattr(beyond, "beyond_books", lambda: {"colours": book})
    monkeypatch.chdir(tmp_path)
    found = cli("beyond", "-p", "seeds=[1]")
    assert found.exit_code == 0 and "notebooks: 1 done" in found.output, found.output
    assert (tmp_path/"runs/beyond/colours.csv").read_text() == "runs/reproduce/beyond/colours [1]"
    assert "notebooks: 1 kept" in cli("colours", "-p", "seeds=[1]").output
    assert not (tmp_path/"runs/beyond/ledger.csv").exists()
