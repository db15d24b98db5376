"The ledger: verdicts known by hand, nothing dropped, and what is written comes back."
import json
import pandas as pd
import pytest
from unsaf.core import UnsafError
from unsaf.paper import ledger
from unsaf.paper.audit import audit
from unsaf.paper.ledger import (BUILT_IN, CANNOT, FAILED, NOT_RUN, REPRODUCED, UNDECIDED, Entry, audit_entries, cell_entries, judge, lines, read, read_csv,
                                table, write)
from unsaf.paper.published import published


def entry(**changes):
    return Entry(**dict(of="table04", kind="claim", claim="commercial above open", published="all", measured="3 of 4", low=None, high=None, tolerance="",
                        verdict=FAILED, why="", profile="testbed") | changes)


@pytest.mark.parametrize("measured, low, high, tolerance, verdict", [
    (.67, None, None, 0, REPRODUCED), (.6751, None, None, 0, FAILED), (.675, None, None, 0, REPRODUCED), (.68, None, None, .005, REPRODUCED),
    (.70, .66, .74, 0, REPRODUCED), (.70, .68, .72, 0, FAILED), (.70, .68, .72, "0.01", REPRODUCED),
    (.60, .55, .6649, 0, FAILED), (.60, .55, .665, 0, REPRODUCED),
    (None, None, None, 0, NOT_RUN), (float("nan"), None, None, 0, NOT_RUN), (.67, float("nan"), float("nan"), 0, REPRODUCED)])
def test_judge(measured, low, high, tolerance, verdict): assert judge("0.67", measured, low, high, tolerance) == verdict


def test_judge_what_is_not_printed_and_what_is_wrong():
    assert judge("", .5) == CANNOT and judge("", None) == CANNOT and judge("84", 84.4) == REPRODUCED and judge("84", 84.6) == FAILED
    for wrong in (dict(low=.8, high=.6), dict(tolerance=-1), dict(tolerance=float("nan"))):
        with pytest.raises(ValueError): judge("0.67", .7, **wrong)
    with pytest.raises(ValueError): judge("7/1/1", 7)


@pytest.mark.parametrize("wrong", [dict(kind="rumour"), dict(verdict="yes"), dict(profile="laptop")])
def test_an_entry_knows_its_words(wrong):
    with pytest.raises(ValueError, match="is none of"): entry(**wrong)


def test_every_published_cell_has_a_line():
    ours = published("table01").query("status == 'printed'")[["teacher", "student", "strategy", "dataset", "metric", "value"]].reset_index(drop=True)
    ours.loc[0, "value"] += .2
    found = cell_entries("table01", ours.iloc[:10], "paper")
    verdicts = [e.verdict for e in found]
    assert len(found) == 189 and [verdicts.count(v) for v in (REPRODUCED, FAILED, NOT_RUN, CANNOT)] == [9, 1, 152, 27]
    assert all(e.kind == "cell" and e.profile == "paper" for e in found) and {e.why for e in found if e.verdict == CANNOT} == {"omitted"}


def test_tolerance_and_interval_are_written_down():
    row = dict(model="GPT-4o", dataset="CoCo", setting="OE", metric="UnF1", value=.90, low=.86, high=.94)
    off, = [e for e in cell_entries("table04", pd.DataFrame([row]), "paper") if e.verdict != NOT_RUN]
    on, = [e for e in cell_entries("table04", pd.DataFrame([row]), "paper", tolerance=.02) if e.verdict != NOT_RUN]
    assert (off.verdict, on.verdict) == (FAILED, REPRODUCED) and on.low == .86 and on.tolerance == "half unit 0.005, tolerance 0.02" and off.measured == "0.9"


def test_counts_are_exact():
    rows = pd.DataFrame([dict(strategy="UnD-QA", dataset="VizWiz", metric=m, value=v) for m, v in (("win", 7), ("tie", 0), ("loss", 2))])
    got = {e.claim.split(" / ")[-1]: e for e in cell_entries("table10", rows, "paper") if e.verdict != NOT_RUN}
    assert {k: e.verdict for k, e in got.items()} == {"win": REPRODUCED, "tie": FAILED, "loss": FAILED} and got["win"].published == "7"


def test_what_the_paper_does_not_print_is_counted():
    rows = pd.DataFrame([dict(model=m, dataset="CoCo", setting="OE", metric="UnF1", value=.8) for m in ("GPT-4o", "new-1", "new-2")])
    last = cell_entries("table04", rows, "paper")[-1]
    assert last.claim == "2 measured cells" and last.verdict == CANNOT
    *printed, own = cell_entries("table04", rows.iloc[1:], "paper")
    assert "the first is new-1 / CoCo / OE / UnF1" in own.why and own.verdict == CANNOT and {e.verdict for e in printed} == {NOT_RUN}


def test_testbed_has_one_line_a_table():
    for name, n in (("table04", 144), ("table01", 162)):
        one, = cell_entries(name, pd.DataFrame(), "testbed")
        assert one.verdict == NOT_RUN and one.claim == f"{n} printed cells" and "testbed" in one.why


def test_audit_entries_lose_nothing():
    found = audit()
    entries = audit_entries(found)
    counts = found["verdict"].value_counts()
    assert sum(e.verdict == FAILED for e in entries) == counts[["inconsistent", "not credible", "impossible"]].sum()
    assert sum(e.verdict == CANNOT for e in entries) == 0 and sum(e.verdict == UNDECIDED for e in entries) == counts["not decidable"]
    summed = sum(int(e.claim.rsplit(": ", 1)[1].split()[0]) if e.claim.endswith(" checks") else 1 for e in entries if e.verdict == REPRODUCED)
    assert summed == counts["consistent"]
    assert {e.kind for e in entries} == {"audit"} and {e.profile for e in entries} == {"published"}


def test_written_and_read_back(tmp_path):
    one, two = [entry(low=float("nan"), high=.5), entry(verdict=BUILT_IN)], [entry(kind="cell", of="table01", why="nö")]
    write(one, tmp_path / "ledger" / "table04.json")
    write(two, tmp_path / "ledger" / "table01.json")
    assert read(tmp_path / "ledger") == two + one and one[0].low is None
    write(two, tmp_path / "ledger" / "table04.json")
    assert read(tmp_path / "ledger") == two + two
    (tmp_path / "ledger" / "notes.txt").write_text("not a ledger")
    assert len(read(tmp_path / "ledger")) == 2


def test_a_csv_holds_the_same(tmp_path):
    every = [entry(low=float("nan"), high=.1 + .2, why="nö, \"x\"\ny"),
             entry(verdict=BUILT_IN, published="0.50", measured="NA", kind="claim"), *audit_entries(audit())]
    table(every).to_csv(tmp_path/"ledger.csv", index=False)
    assert read_csv(tmp_path/"ledger.csv") == every and read_csv(tmp_path/"none.csv") == []
    for content in ("", "of\nx\n", "a,b\n1,2\n", ",".join(Entry.__dataclass_fields__) + "\n" + "x," * 10 + "x\n"):
        (tmp_path/"bad.csv").write_text(content)
        with pytest.raises(UnsafError, match="bad.csv"): read_csv(tmp_path/"bad.csv")


@pytest.mark.parametrize("content", ["{", "{}", "[1]", '[{"of": "table04"}]', json.dumps([{f: "x" for f in Entry.__dataclass_fields__}])])
def test_a_spoiled_file_is_named(tmp_path, content):
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(UnsafError, match="bad.json"): read(tmp_path)


def test_no_folder(tmp_path):
    with pytest.raises(UnsafError, match="nowhere"): read(tmp_path / "nowhere")


def test_kinds_are_never_mixed():
    entries = [entry(kind="audit", profile="published"), entry(), entry(kind="cell"), entry(verdict=REPRODUCED)]
    text = lines(entries, width=100)
    heads = [i for i, line in enumerate(text) if not line.startswith(" ") and line]
    assert [text[i].rsplit(" (", 1)[0] for i in heads] == list(ledger.KINDS.values()) and max(map(len, text)) <= 100
    assert text[heads[1] + 1].strip() == "1 reproduced, 1 not reproduced"
    assert list(table(entries)["kind"]) == ["cell", "claim", "claim", "audit"] and lines([]) == ["the ledger is empty"]
