"docs/gaps.md lists every gap, and what it says of parameters, options and checks is what the code has."
import re
from pathlib import Path
import pytest
from typer.main import get_command
from unsaf.cli import app
from unsaf.core import UnsafError
from unsaf.paper.audit import audit
from unsaf.paper.study import open_study

PAGE = (Path(__file__).parents[1] / "docs" / "gaps.md").read_text(encoding="utf-8")


def test_every_gap_is_there_with_its_weight():
    rows = re.findall(r"^\| (\d+) \| ([HML]) \| (.+?) \| (.+?) \| (.+?) \|$", PAGE, re.M)
    assert [int(n) for n, *_ in rows] == list(range(1, 57)) and "".join(weight for _, weight, *_ in rows) == "H" * 18 + "M" * 31 + "L" * 7


def written(value):
    "A value as the page has it."
    if isinstance(value, (list, tuple)): return ",".join(map(written, value))
    return f"{value:g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


@pytest.mark.promise("gaps")
@pytest.mark.parametrize("notebook, name, value", sorted(set(re.findall(r"`((?:table|fig)\d\d) (\w+)(?:=([^`]+))?`", PAGE))))
def test_a_parameter_is_as_the_page_says(notebook, name, value):
    given = open_study(notebook, "paper").choices
    if value: assert written(given[name]) == value
    else: assert name not in given and "no choice" not in complaint(notebook, name)


def complaint(notebook, name):
    "What is said of a parameter that is set."
    try: open_study(notebook, "paper", **{name: "0"})
    except UnsafError as e: return str(e)
    return ""


def test_a_parameter_that_there_is_not(): assert "no choice 'colour'" in complaint("table04", "colour")


@pytest.mark.promise("gaps")
@pytest.mark.parametrize("command, name, value", sorted(set(re.findall(r"`unsaf (\w+) (--[\w-]+)(?: ([^`]+))?`", PAGE))))
def test_an_option_is_as_the_page_says(command, name, value):
    option = next(o for o in get_command(app).commands[command].params if name in o.opts)
    assert not value or written(option.default) == value


@pytest.mark.parametrize("words", re.findall(r"`audit: ([^`]+)`", PAGE))
def test_a_check_of_the_audit_is_there(words):
    found = audit()
    assert (found["where"] + ": " + found["claim"]).str.contains(words, regex=False).any()
