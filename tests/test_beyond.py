"The studies beyond the paper: found, set, run by one command, and not run twice."
import json
import pandas as pd
import pytest
import toy_units as toy
from typer.testing import CliRunner
from unsaf.cli import paper as cli_reproduce
from unsaf.core import UnsafError
from unsaf.paper import beyond
from unsaf.paper.notebooks import parameters_of


def cli(*words): return CliRunner().invoke(cli_reproduce.app, list(words), env={"COLUMNS": "200"})


def test_the_command_finds_the_studies_and_what_can_be_set():
    books = beyond.beyond_books()
    assert {"gold", "labels", "optimised", "writes_badly"} <= set(books)
    for name, book in books.items(): assert {"folder", "out", "seeds"} <= set(parameters_of(book)), name
    found = cli("beyond", "--dry-run", "-p", "seeds", "[7]")
    assert found.exit_code == 0 and found.output.count("seeds = [7]") == len(books) + 1       # and the stability study
    assert "optimised: Does self-assessed J survive being optimised?" in found.output and "n_exam = " in found.output
    assert "stability: Stability: how much" in found.output and "out = 'runs/beyond'" in found.output


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
    found = cli("colours", "-p", "seeds=[1]")
    assert found.exit_code == 0 and "notebooks: 1 done" in found.output, found.output
    assert (tmp_path/"runs/beyond/colours.csv").read_text() == "runs/reproduce/beyond/colours [1]"
    assert "notebooks: 1 kept" in cli("colours", "-p", "seeds=[1]").output
    assert not (tmp_path/"runs/beyond/ledger.csv").exists()


@pytest.mark.slow
def test_a_spoiled_student_is_made_taught_and_examined_by_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = dict(seeds="[0]", arms="['UnD-QA','UnD-IQ']", control_arms="[]", n_make=4, make_epochs=1, n_train=2, epochs=1, n_exam=3, pairs=4)
    words = [w for name, value in small.items() for w in ("-p", f"{name}={value}")]
    found = cli("writes_badly", *words)
    assert found.exit_code == 0 and "notebooks: 1 done" in found.output, found.output
    rows = pd.read_csv(tmp_path/"runs/beyond/writes_badly.csv")
    assert rows["arm"].tolist() == ["untuned", "untuned", "UnD-QA", "UnD-IQ"] and rows["read"].between(.5, 1).all()
    assert (tmp_path/"runs/beyond/writes_badly.png").is_file()
    text = (tmp_path/"runs/reproduce/notebooks/beyond/writes_badly.ipynb").read_text()
    assert "one run" in text and "not measured" in text      # a single seed decides nothing; nor does what was not trained
    made = list((tmp_path/"runs/reproduce/beyond/writes_badly").glob("student-*/made.json"))
    assert [json.loads(p.read_text())["share"] for p in made] == [1.0]
