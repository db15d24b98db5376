"`unsaf ranks`: several runs, on one data set and on two."
import json
from dataclasses import replace
import numpy as np
import pytest
from typer.testing import CliRunner
from unsaf.assessment.ranks import ranked
from unsaf.assessment.saved import as_saved, saved_runs
from unsaf.cli import app
from unsaf.core import UnsafError
from test_golden import GOLDEN


@pytest.fixture(scope="module")
def one(): return next(as_saved(r) for r in saved_runs(GOLDEN/"run") if r.card["plan"]["setting"] == "oe")


def like(one, model, rate, source="X", seed=0):
    "The same questions, right with a chance of `rate`."
    t = one.table.copy()
    right = np.random.default_rng(seed).random(len(t)) < rate
    t["cell"] = np.where(t["answerable"], np.where(right, "TA", "FU"), np.where(right, "TU", "FA"))
    return replace(one, model=model, table=t, source=source)


def test_a_ranking_and_its_floor(one):
    found = ranked([like(one, m, rate, s, i) for s in "XY" for i, (m, rate) in enumerate(dict(a=.5, b=1.0, c=.8).items())], "unf1", n=200)
    t = found.tables["X"]
    assert t["model"].iloc[0] == "b" and t["score"].iloc[0] == 1 and t["first"].sum() == pytest.approx(1) and np.isnan(t["swaps"].iloc[-1])
    assert t["unseen"].iloc[0] == pytest.approx(2 / 3, abs=.1) and "unseen: a score that takes no look" in "\n".join(found.lines())
    assert all(int(x.split()[0].replace(",", "")) >= 6 for x in t["needed"] if x)      # fewer have no p below .05
    row = found.floors.iloc[0]
    assert len(found.floors) == 1 and (row["distance"], row["differs"], row["half"]) == (0, False, 3) and row["floor"] >= 0
    said = "\n".join(found.lines())
    assert "unf1 on 6 images of X" in said and "X and Y: distance 0" in said
    json.dumps(found.as_dict())
    assert len(ranked([like(one, m, r) for m, r in (("a", .5), ("b", 1))], n=200).floors) == 0


def test_what_cannot_be_ranked_is_one_line(one):
    with pytest.raises(UnsafError, match="1 model has no rank"): ranked([one])
    with pytest.raises(UnsafError, match="two runs of a on X"): ranked([like(one, "a", .5), like(one, "a", .6)])
    with pytest.raises(UnsafError, match="nothing to rank"): ranked([])
    with pytest.raises(UnsafError, match="measure"): ranked([one], "brier")


def test_the_command(tmp_path, one):
    for name, rate in (("a", .6), ("b", .9)): like(one, name, rate).save(tmp_path/name)
    run = CliRunner().invoke(app, ["ranks", str(tmp_path/"a"), str(tmp_path/"b"), "--json", "--n", "100"], prog_name="unsaf")
    assert run.exit_code == 0, run.output
    assert [r["model"] for r in json.loads(run.stdout)["rankings"]["X"]] == ["b", "a"]
    lost = CliRunner().invoke(app, ["ranks", str(tmp_path/"none")], prog_name="unsaf")
    assert lost.exit_code == 2 and "is no run folder" in lost.output
