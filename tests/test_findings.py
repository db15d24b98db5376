"Old lines under today's rules, lines about one zero, findings, and the text of the rules."
import re
from dataclasses import replace
from pathlib import Path
import pytest
from unsaf.paper.audit import audit
from unsaf.paper.findings import MIXED, findings, judged_anew, one_zero, rejudged, seeds_beside
from unsaf.paper.ledger import BUILT_IN, FAILED, NOT_RUN, ONE_RUN, REPRODUCED, UNDECIDED, Entry, read_csv
from unsaf.paper.rules import RULES, SINCE, rules_hash

ROOT = Path(__file__).resolve().parent.parent
LEDGER = ROOT/"figures"/"testbed"


def line(**changes):
    return Entry(**dict(of="table06", kind="claim", claim="c", published="", measured="+0.100", low=.05, high=.15, tolerance="interval above 0", verdict=FAILED,
                        why="1 of 1 cells as claimed, 1 beyond chance, 0 the other way beyond chance", profile="testbed") | changes)


@pytest.mark.parametrize("changes,seeds,verdict", [
    ({}, 0, REPRODUCED), (dict(low=-.05), 0, UNDECIDED), (dict(low=-.2, high=-.1), 0, FAILED), (dict(claim="UnD-IQ raises c"), 1, ONE_RUN),
    (dict(claim="UnD-IQ raises c"), 3, REPRODUCED), (dict(claim="UnD-IQ raises c", low=-.05), 1, UNDECIDED),
    (dict(tolerance="interval above 0, no cell the other way beyond chance", low=-.05, why="1 the other way beyond chance"), 0, FAILED),
    (dict(tolerance="interval below 0.02 (tolerance ours)", low=-.01, high=.01), 0, REPRODUCED),
    (dict(tolerance="interval below 0.02 (tolerance ours)", low=.01), 0, UNDECIDED),
    (dict(tolerance="interval above -0.01 (tolerance ours)", low=-.3, high=-.02), 0, FAILED),
    (dict(tolerance="point values: all", low=None, high=None), 0, FAILED),
    (dict(verdict=NOT_RUN, low=None, high=None), 0, NOT_RUN), (dict(verdict=BUILT_IN, why="came out otherwise, but so"), 0, BUILT_IN)])
def test_a_line_is_judged_by_what_it_stores(changes, seeds, verdict):
    new = rejudged(line(**changes), seeds)
    assert new.verdict == verdict and rejudged(new, seeds) == new


def test_an_undecided_check_of_the_audit_is_not_called_impossible_to_reproduce():
    assert rejudged(line(kind="audit", verdict="not reproducible", why="not decidable: no values")).verdict == UNDECIDED


def test_lines_about_one_zero():
    zero = line(measured="+0.000", low=0, high=0, verdict=UNDECIDED)
    made = one_zero([zero, line(), replace(zero, claim="d"), replace(zero, claim="e", of="table05"), replace(zero, claim="f", verdict=BUILT_IN)])
    assert [e.claim for e in made] == ["c; d", "c", "e", "f"] and one_zero(made) == made
    apart = [zero, replace(zero, claim="d"), line(), replace(zero, claim="e", of="table05"), replace(zero, claim="f")]
    assert findings(made)["finding"].tolist() == findings(apart)["finding"].tolist() == list("cdef")


def test_findings_gather_lines():
    some = [line(claim="UnD-IQ lowers FU (student tiny-m-base)", verdict=BUILT_IN), line(claim="UnD-IQ lowers FU", verdict=FAILED),
            line(claim="UnD-IQ outperforms UNK-VQA (OE) in UnF1"),
            line(claim="UnD-IQ outperforms UNK-VQA (BY) in UnF1"),
            line(claim="UnF1 is calm (MC)", verdict=REPRODUCED), line(claim="UnF1 is calm (OE)"), line(kind="audit")]
    found = findings(some).set_index("finding")
    assert found["lines"].tolist() == [2, 1, 1, 2]
    assert found.loc["UnF1 is calm", "verdict"] == MIXED and found.loc["UnD-IQ lowers FU", "verdict"] == FAILED


def test_the_committed_ledger_is_under_todays_rules_and_carries_their_hash():
    entries = read_csv(LEDGER/"ledger.csv")
    assert judged_anew(entries, LEDGER) == entries and set(seeds_beside(LEDGER).values()) <= {1, 3}
    assert f"rules {rules_hash()}" in (LEDGER/"ledger.md").read_text() and SINCE in (LEDGER/"ledger.md").read_text()


@pytest.mark.promise("gaps")
def test_the_docs_count_what_the_committed_ledger_holds():
    docs, entries = " ".join((ROOT/"docs"/"paper.md").read_text().split()), read_csv(LEDGER/"ledger.csv")
    n = findings(entries)["verdict"].value_counts()
    assert (f"Of {n.sum()} findings {n[REPRODUCED]} reproduce, {n[FAILED]} do not, {n[UNDECIDED]} is undecided, {n[ONE_RUN]} rest on one run, "
            f"{n[BUILT_IN]} had been built in, {n[NOT_RUN]} could not be run.") in docs
    assert f"of {n.sum()} findings on the testbed {n[REPRODUCED]} do, {n[FAILED]} do not, {n[UNDECIDED]} is undecided" in (ROOT/"README.md").read_text()
    lines = [e.verdict for e in entries if e.kind == "claim"]
    counts = ", ".join(f"{lines.count(v)} {v}" for v in (REPRODUCED, FAILED, UNDECIDED, ONE_RUN, BUILT_IN, NOT_RUN))
    assert f"They have {len(lines)} lines: {counts}." in docs
    checks = audit()["verdict"].value_counts()
    assert f"has {checks.sum()} checks: {checks['consistent']} are consistent, {checks['inconsistent']} are not" in docs


@pytest.mark.promise("gaps")
def test_the_docs_say_the_rules_with_their_hash_and_date():
    docs = " ".join((ROOT/"docs"/"paper.md").read_text().split())
    assert rules_hash() in docs and SINCE in docs and re.search(r"commit `[0-9a-f]{7}", docs)
    for name, text in RULES.items(): assert f"**{name}**: {text}" in docs, name
