"Other scores of uncertainty: by hand on scripted models, what a reply lacks is missing and counted, nothing is asked twice."
import math
import numpy as np
import pandas as pd
import pytest
import unsaf
from unsaf.assessment.uncertainty import SCORES, found_by, uncertainty
from unsaf.core import ModelError, Outcome, Reply, UnsafError
from unsaf.metrics.meanings import clusters, inconsistency, semantic_entropy
from unsaf.metrics.pressure import Judge
from unsaf.models.base import Scripted
from unsaf.models.budget import Budget
from unsaf.prompts.certainty import read_certainty

LISTS = {"generate": "1. Question: What color is it?\n2. Question: What shape is it?"}


def mind(asked=None):
    "Knows colours (always red, p(True) .9, says 90), guesses shapes (a new one each time, p(True) .2, says so in words), abstains on shapes."
    def reply(request):
        text = request.text
        if asked is not None: asked.append(request)
        known = "color" in text
        if "questions" in text.lower() and "Proposed" not in text and "Question: What" not in text: return LISTS["generate"]
        if "Is the proposed answer true" in text:
            p = .9 if known else .2
            return Reply("A" if known else "B", candidates={"A": math.log(p), "B": math.log(1 - p)})
        if "How likely" in text: return "90" if known else "quite sure"
        if "unanswerable" in text: return "red" if known else "unanswerable"
        return "red" if known or not request.temperature else f"shape {request.seed % 1000}"
    return Scripted(reply, "by-hand")


@pytest.fixture
def assessed():
    images = unsaf.images("scenes", n=3, seed=2)
    result = unsaf.assess(mind(), images, k=2)
    assert len(result.table) == 12 and set(result.table.outcome) == {"answered", "abstained"}
    return result


def test_scores_by_hand(assessed, tmp_path):
    found = uncertainty(assessed, mind(), samples=4, n=50)
    t = found.table
    color = t.question.str.contains("color")
    assert np.allclose(t.p_true, np.where(color, .1, .8))
    assert np.allclose(t.verbalised[color], .1) and t.verbalised[~color].isna().all() and found.missing["verbalised"] == 6
    assert (t.inconsistency == np.where(color, 0, 1)).all() and np.allclose(t.semantic_entropy, np.where(color, 0, math.log(4)))
    auroc = found.found.set_index(["finds", "score"]).auroc
    assert auroc["abstained", "p_true"] == auroc["abstained", "semantic_entropy"] == 1 and auroc["written", "p_true"] == .5
    assert ("abstained", "verbalised") not in auroc and found.missing["p_abstain"] == 12
    assert [p.name for p in found.save(tmp_path, "oe")] == ["uncertainty-oe.csv", "uncertainty-oe.json"] and "verbalised 6" in "\n".join(found.lines())


@pytest.mark.promise("twice")
def test_nothing_is_asked_twice_and_another_judge_asks_nothing(assessed, tmp_path):
    first = uncertainty(assessed, mind(), store=tmp_path, samples=3, n=20)
    asked = []
    alike = Judge("all the same", lambda pairs: [True] * len(pairs))
    second = uncertainty(assessed, mind(asked), store=tmp_path, samples=3, n=20, judge=alike)
    assert not asked and second.calls["asked"] == 0 < first.calls["asked"] and (second.table.semantic_entropy == 0).all()
    uncertainty(assessed, mind(asked), store=tmp_path, samples=4, n=20)
    assert {bool(r.temperature) for r in asked} == {True}          # the fourth sample alone is new


def test_failed_calls_leave_their_scores_missing(assessed):
    def reply(request):
        if "How likely" in request.text or request.temperature: return Reply("", finish="failed", error="down")
        return "red"
    found = uncertainty(assessed, Scripted(reply, "by-hand"), samples=2, n=20)
    assert found.missing["semantic_entropy"] == found.missing["inconsistency"] == found.missing["verbalised"] == len(found.table)
    assert (found.items["lost"].error == "down").all() and len(found.items["lost"]) == found.calls["failed"] > 0


def test_a_model_that_thinks_aloud(assessed):
    def reply(request):
        if "How likely" in request.text: return "<think>40? No.</think>80"
        if request.temperature: return Reply("<think>It may be", logprobs=(-.1,), finish="length")
        return Reply("<think>It is round.</think>red", logprobs=(-.5,) * 9)
    found = uncertainty(assessed, Scripted(reply, "by-hand"), samples=2, n=20)
    assert np.allclose(found.table.verbalised, .2) and (found.table.guess == "red").all() and found.missing["p_reply"] == len(found.table)
    assert found.missing["semantic_entropy"] == len(found.table) and found.cut == 24 and "raise --answer-tokens" in "\n".join(found.lines())


def test_a_dead_server_ends_the_run_early(assessed):
    dead = Scripted(lambda r: Reply("", finish="failed", error="no route to host"), "by-hand")
    with pytest.raises(ModelError, match="no route to host"): uncertainty(assessed, dead, samples=10, n=20, block=1)
    assert len(dead.asked) < 120


def test_a_bound_scores_the_blocks_that_were_asked_in_full(assessed):
    found = uncertainty(assessed, mind(), samples=2, n=20, block=1, budget=Budget(calls=15))
    assert 0 < len(found.table) < len(assessed.table) and found.stopped


def test_what_cannot_be_asked_is_said(assessed):
    for bad, why in ((dict(samples=0), "samples"), (dict(temperature=0.0), "above 0")):
        with pytest.raises(UnsafError, match=why): uncertainty(assessed, mind(), **bad)
    with pytest.raises(UnsafError, match="is of by-hand"): uncertainty(assessed, Scripted(lambda r: "x", "other"))
    with pytest.raises(UnsafError, match="not among"): uncertainty(assessed, mind(), unsaf.images("scenes", n=2, seed=9))


def test_clusters_against_all_pairs():
    rng = np.random.default_rng(0)
    answers = [[str(rng.integers(0, 4)) for _ in range(rng.integers(0, 8))] for _ in range(50)]
    labels, undecided = clusters(answers)
    assert undecided == 0
    for said, found in zip(answers, labels):
        assert all((a == b) == (x == y) for a, x in zip(said, found) for b, y in zip(said, found))
        assert sorted(set(found)) == list(range(len(set(said))))
        if said:
            p = np.unique(said, return_counts=True)[1] / len(said)
            assert semantic_entropy(found) == pytest.approx(-(p * np.log(p)).sum()) and inconsistency(found[0], found[:1]) == 0
    assert clusters([["a", "b"]], Judge("none", lambda pairs: [Outcome.UNREADABLE] * len(pairs))) == ([[0, 1]], 1)
    assert math.isnan(semantic_entropy([])) and math.isnan(inconsistency(0, []))


@pytest.mark.parametrize("text,value", [
    ("85", .85), ("85 %", .85), ("Confidence: 70%", .7), ("0.25", .25), ("1", .01), ("0", 0), ("100%", 1), ("1.0", 1),
    ("95/100", .95), ("85 out of 100", .85), ("90 (90%)", .9),
    ("I'd say 60, so 60.", .6),
    ("", None), ("A", None), ("40-60", None), ("101", None), ("<think>90</think>", None), ("1,000", None), ("v2", None), ("九十", None),
    ("我有90%的把握", .9), ("90分", .9), ("约８０％", .8)])
def test_stated_numbers(text, value): assert read_certainty(text) == (None if value is None else pytest.approx(value))


def test_every_score_has_its_column(assessed):
    table = uncertainty(assessed, mind(), samples=2, n=20).table
    assert set(SCORES) <= set(table.columns) and "truth" in table and len(found_by(table.iloc[:0])) == 0


def test_coverage_at_a_risk_by_hand():
    "Doubts .1 to .4, of which the second is about an unanswerable question: one can be answered, or all with a quarter wrong."
    table = pd.DataFrame(dict(image_id=["a", "b", "c", "d"], answerable=[True, False, True, True], outcome="answered", p_true=[.1, .2, .3, .4]))
    one, all_ = (found_by(table, 20, risk).set_index("finds").loc["written"] for risk in (.2, .25))
    assert (one.coverage_at_risk, all_.coverage_at_risk) == (.25, 1) and one.coverage_low <= .25 <= one.coverage_high
    assert "coverage_at_risk" not in found_by(table, 20)
