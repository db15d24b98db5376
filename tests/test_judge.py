"A judge of abstention: blind to the label, counted beside the word rule, kept in the store, never the default."
import json
from dataclasses import replace
import numpy as np
import pytest
import unsaf
from sklearn.metrics import cohen_kappa_score
from unsaf.assessment.judge import JUDGED, judge, judge_request, kappa
from unsaf.assessment.probes import StyleCheat
from unsaf.assessment.report import page as report
from unsaf.core import Reply, UnsafError
from unsaf.models.base import Scripted


@pytest.fixture(scope="module")
def result(): return unsaf.assess(StyleCheat(), unsaf.images("scenes", n=6, seed=5), "mc", k=2, progress=False)


@pytest.mark.parametrize("counts", [(40, 10, 10, 40), (3, 7, 1, 9), (0, 5, 5, 0), (9, 0, 0, 1)])
def test_kappa_is_that_of_scikit_learn(counts):
    rule, judged = zip(*(pair for pair, n in zip(((1, 1), (1, 0), (0, 1), (0, 0)), counts) for _ in range(n)))
    assert float(kappa(counts)) == pytest.approx(cohen_kappa_score(rule, judged))


def test_the_judge_sees_question_options_and_reply_and_nothing_else(result):
    asked = []
    class Recorder:
        name = "recorder"
        def generate(self, requests):
            asked.extend(requests)
            for i, _ in enumerate(requests): yield Reply("No", index=i)
    flipped = result.table.assign(answerable=~result.table["answerable"].astype(bool), cell=None)
    first = judge(result, Recorder())
    texts, n = [r.text for r in asked], len(asked)
    judge(_with(result, flipped), Recorder())
    assert [r.text for r in asked[n:]] == texts and not any(r.pictures or r.system for r in asked)
    assert not any("answerable" in t.replace("unanswerable", "") for t in texts) and "A. " in texts[0]
    assert (first.table["verdict"] == "answered").all() and first.as_dict()["calls"]["failed"] == 0


def _with(result, table): return replace(result, table=table)


def test_no_reply_is_lost_and_no_verdict_is_invented(result):
    said = {"unanswerable": "Yes.", "A": "perhaps"}
    def reader(request): return said[request.text.partition("Reply: ")[2].partition("\n")[0]]
    found = judge(result, Scripted(reader, name="reader"))
    counts = found.counts
    assert counts.to_numpy().sum() == len(result.table) and list(counts) == list(JUDGED)
    assert counts.loc["abstained", "abstained"] == (result.table["outcome"] == "abstained").sum() and counts.loc["answered", "no verdict"] > 0
    assert np.isnan(found.kappa.value) and found.as_dict()["kappa"]["value"] is None and "kappa undefined" in str(found)
    assert judge_request("q", "", " ") is None and judge_request("q", "", "<think>unanswerable") is None
    with pytest.raises(UnsafError, match="nothing to judge"): judge(_with(result, result.table.assign(reply="")), "tiny-s")


def test_its_replies_are_kept_and_it_changes_no_score(result, tmp_path):
    class Always:
        name = "always"
        def generate(self, requests):
            for i, _ in enumerate(requests): yield Reply("Yes", index=i)
    before = result.as_dict()
    first, again = (judge(result, Always(), tmp_path) for _ in range(2))
    assert first.calls["asked"] > 0 == again.calls["asked"] and first.table.equals(again.table) and result.as_dict() == before
    csv, body = first.save(tmp_path, "mc")
    assert json.loads(body.read_text())["equal"] == int((result.table["outcome"] == "abstained").sum()) and csv.exists()
    assert first.scores["youden_j"].value == 0 and "judged" not in str(result.scores)
    page = report([result], tmp_path / "page.html", judged=[first]).read_text()
    assert "abstention judged by always" in page and "abstention judged" not in result.report(tmp_path / "plain.html").read_text()
