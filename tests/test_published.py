"The paper's tables as data: what is in them, how far they were rounded, and ours beside theirs."
import re
import pandas as pd
import pytest
from unsaf.core import UnsafError
from unsaf.paper.published import beside, half_unit, keys_of, names, provenance, published, slack

WITH_NUMBERS = [n for n in names() if n != "table03"]


def test_there_are_thirteen():
    assert names() == [f"table{i:02d}" for i in range(1, 14)]
    printed = {n: int((published(n)["status"] == "printed").sum()) for n in WITH_NUMBERS}
    # by hand, from the paper's layout: rows x columns of numbers
    assert printed == {"table01": 18 * 9, "table02": 9 * 6, "table04": 8 * 18, "table05": 4 * 6, "table06": 12 * 10, "table07": 8 * 6, "table08": 8 * 10,
                       "table09": 12 * 6, "table10": 9 * 3, "table11": 4 * 8, "table12": 12 * 9, "table13": 12 * 9}


@pytest.mark.parametrize("name", WITH_NUMBERS)
def test_a_value_is_its_string(name):
    rows = published(name)
    shown = rows[rows["status"] == "printed"]
    plain = shown[~shown["value_str"].str.contains("/")]
    assert (plain["value_str"].astype(float) == plain["value"]).all()
    assert rows.loc[rows["status"] != "printed", "value"].isna().all() and (rows.loc[rows["status"] != "printed", "value_str"] == "").all()
    triples = shown[shown["value_str"].str.contains("/")]
    for r in triples.to_dict("records"): assert int(r["value_str"].split("/")[["win", "tie", "loss"].index(r["metric"])]) == r["value"]


@pytest.mark.parametrize("name", names())
def test_keys_are_unique_and_nothing_points_outside(name):
    rows = published(name)
    assert not rows.duplicated(list(keys_of(name))).any() and "src_line" not in rows
    text = rows.to_csv()
    assert not re.search(r"/work|paper\.txt|\.\./", text)


def test_a_few_cells_by_eye():
    four = published("table04").set_index(["model", "dataset", "setting", "metric"])["value_str"]
    assert four["GPT-4o", "MMBench", "OE", "A"] == "0.93" and four["LLaVA-7B", "CoCo", "MC", "T"] == "0.98"
    assert four["mPLUG-Owl-7B", "ImageNet", "OE", "UnF1"] == "0.57"
    one = published("table01").set_index(["teacher", "student", "strategy", "metric"])["value_str"]
    assert one["InternVL-14B", "mPLUG-Owl-7B", "UnD-Joint", "T"] == "0.90" and one["Moonshot-v1", "InternVL-8B", "UnD-IQ", "UnF1"] == "0.96"
    twelve = published("table12").set_index(["teacher", "student", "strategy", "dataset"])["value_str"]
    assert twelve["GPT-4o", "mPLUG-Owl-7B", "UnD-QA", "OKVQA"] == "49.98"


def test_a_copy_is_your_own():
    mine = published("table04")
    mine["value"] = 0
    assert published("table04")["value"].max() == 1


@pytest.mark.parametrize("text, half", [("0.50", .005), ("0.5", .05), ("84", .5), ("83.98", .005), ("15%", .5), ("-5.0", .05), (" 0.1 ", .05)])
def test_half_unit(text, half): assert half_unit(text) == half


@pytest.mark.parametrize("wrong", [.5, None, "", "high", "7/1/1", "nan", "inf"])
def test_half_unit_of_no_number(wrong):
    with pytest.raises(ValueError): half_unit(wrong)


def test_slack_of_what_was_not_rounded():
    assert slack("7/1/1") == 0 and slack("0.50") == .005 and pd.isna(slack(""))


def test_beside_is_outer_and_in_the_papers_order():
    ours = pd.DataFrame([dict(ratio_answerable_to_unanswerable=1 / 8, model="LLaVA-7B", setting="mc", metric="UnF1", value=.20, n=400),
                         dict(ratio_answerable_to_unanswerable=1, model="LLaVA-7B", setting="mc", metric="UnF1", value=.66, n=400)])
    found = beside(ours, "table08")
    assert found["state"].value_counts().to_dict() == {"published only": 79, "both": 1, "measured only": 1}
    both = found[found["state"] == "both"].iloc[0]
    assert both["published"] == .67 and both["half_unit"] == .005 and abs(both["difference"] + .47) < 1e-12 and both["n"] == 400
    assert list(found["model"][:80]) == list(published("table08")["model"]) and found["state"].iloc[-1] == "measured only"


def test_beside_refuses_in_one_line():
    good = dict(model="GPT-4o", dataset="CoCo", setting="OE", metric="UnF1", value=.8)
    with pytest.raises(UnsafError, match="lacks dataset"): beside(pd.DataFrame([{k: v for k, v in good.items() if k != "dataset"}]), "table04")
    with pytest.raises(UnsafError, match="GPT-4o / CoCo / OE / UnF1 was measured more than once"): beside(pd.DataFrame([good, good]), "table04")
    with pytest.raises(UnsafError, match="no numbers"): beside(pd.DataFrame([good]), "table03")
    with pytest.raises(UnsafError, match="table01"): published("table99")


def test_provenance_says_whose_numbers_these_are():
    text = provenance()
    for part in ("UnSAF: A Self-Assessment Framework of Uncertainty Awareness for Multimodal LLMs", "anonymous", "twice", "rounded", "Cells to doubt"):
        assert part in text
