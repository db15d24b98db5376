"A judge of abstention: blind to the label, counted beside the word rule, kept in the store, never the default."
import json
from dataclasses import replace
import numpy as np
import pytest
import unsaf
from sklearn.metrics import cohen_kappa_score
from unsaf.assessment.estimate import estimate
from unsaf.assessment.judge import JUDGED, Unjudged, judge, judge_request, kappa, saved_judgement
from unsaf.assessment.judge_estimate import judge_estimate
from unsaf.assessment.probes import StyleCheat
from unsaf.assessment.report import page as report
from unsaf.cli.probes import judged, judged_before
from unsaf.core import Reply, UnsafError
from unsaf.models.base import Scripted
from unsaf.models.budget import Budget


@pytest.fixture(scope="module")
def result(): return unsaf.assess(StyleCheat(), unsaf.images("scenes", n=6, seed=5), "mc", k=2, progress=False)


@pytest.mark.parametrize("counts", [(40, 10, 10, 40), (3, 7, 1, 9), (0, 5, 5, 0), (9, 0, 0, 1)])
def test_kappa_is_that_of_scikit_learn(counts):
    rule, judged = zip(*(pair for pair, n in zip(((1, 1), (1, 0), (0, 1), (0, 0)), counts) for _ in range(n)))
    assert float(kappa(counts)) == pytest.approx(cohen_kappa_score(rule, judged))


@pytest.mark.promise("judge")
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
    with pytest.raises(UnsafError, match="nothing to judge") as e: judge(_with(result, result.table.assign(reply="")), "tiny-s")
    assert e.value.exit_code == 4


def test_failed_calls_of_a_judge_say_why(result):
    class Failing:
        name = "failing"
        def generate(self, requests):
            for i, _ in enumerate(requests): yield Reply("", index=i, finish="failed", error=f"HTTP 503 after {i} s")
    said = str(judge(result, Failing(), max_failures=None))
    assert "replies have no verdict, and are in none of its scores; most often (" in said and "HTTP 503" in said


@pytest.mark.promise("judge")
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


def test_a_saved_judgement_is_of_its_replies_alone(result, tmp_path):
    found = judge(result, Scripted(lambda r: "No", name="no"))
    found.save(tmp_path, "mc")
    assert str(saved_judgement(result, tmp_path, "mc")) == str(found) and saved_judgement(result, tmp_path, "oe") is None
    other = result.table.assign(reply=["B", *result.table["reply"][1:]])
    with pytest.raises(UnsafError, match="of other replies"): saved_judgement(_with(result, other), tmp_path, "mc")
    (tmp_path / "judged-mc.json").write_text("[]")
    with pytest.raises(UnsafError, match="judge again"): saved_judgement(result, tmp_path, "mc")


def test_a_page_made_anew_keeps_the_section_of_the_judge(result, inside, tmp_path):
    again = unsaf.assess(StyleCheat(), unsaf.images("scenes", n=6, seed=5), "mc", k=2, store=tmp_path, progress=False)
    again.save(tmp_path)
    judge(again, Scripted(lambda r: "No", name="reader")).save(tmp_path, "mc")
    assert inside("report", tmp_path, "--limit", "1").returncode == 0
    assert "abstention judged by reader" in (tmp_path / "report.html").read_text()
    (tmp_path / "judged-mc.parquet").unlink()
    (tmp_path / "judged-mc.csv").write_text("torn")
    assert judged_before([again], tmp_path) == [None]


def _yes(r): return Reply("Yes", prompt_tokens=30, output_tokens=1)


def test_a_setting_without_replies_keeps_no_other_unjudged(result, capsys):
    silent = _with(result, result.table.assign(reply=""))
    found = judged([silent, result], Scripted(_yes, name="yes"), None)
    assert found[0] is None and found[1].judge == "yes" and "nothing to judge" in capsys.readouterr().err
    with pytest.raises(Unjudged): judged([silent], Scripted(_yes, name="yes"), None)


@pytest.mark.promise("bounds")
def test_a_bound_holds_for_a_run_and_its_judge_together():
    model, budget = StyleCheat(), Budget(calls=20)
    result = unsaf.assess(model, unsaf.images("scenes", n=2, seed=5), "mc", k=2, progress=False, budget=budget)
    used = budget.asked
    found = judge(result, Scripted(_yes, name="yes"), budget=budget)
    assert used == 12 and budget.asked == 20 - (20 - used - found.calls["asked"]) <= 20
    tight = Budget(calls=used + 3)
    unsaf.assess(model, unsaf.images("scenes", n=2, seed=5), "mc", k=2, progress=False, budget=tight)
    some = judge(result, Scripted(_yes, name="yes"), budget=tight)
    assert some.calls["asked"] == 3 and "--max-calls is 15" in some.stopped and (some.table["verdict"] == "no verdict").sum() > 0


@pytest.mark.promise("dry")
def test_a_dry_run_counts_the_judge(result, tmp_path):
    made = estimate(StyleCheat(), unsaf.images("scenes", n=6, seed=5), "mc", 2, tmp_path, sample=6)
    told, reader = judge_estimate(made, Scripted(_yes, name="yes"), 2, tmp_path), Scripted(_yes, name="yes")
    once = result.table.drop_duplicates(["image_id", "question", "options", "reply"])
    assert told.measures["calls"][0] == len(once) and told.measures["prompt_tokens"][0] == 30 * len(once)
    assert judge(result, reader, tmp_path).calls["asked"] == 0
    bare = judge_estimate(estimate(StyleCheat(), "scenes", "mc", 2, n=6, sample=0), reader, 2)
    assert bare.measures["calls"] == (24, 0, 24) and not bare.calls


def test_dry_run_and_prices_of_the_judge_at_the_command_line(inside):
    args = ("assess", "--model", "tiny-s", "--limit", "2", "--k", "1", "--judge", "tiny-m")
    run = inside(*args, "--dry-run", "--sample", "1")
    assert "dry run of the judge tiny-m" in run.stdout and "the run and its judge together" in run.stdout, run.stderr
    calls = [float(line.split()[1].replace(",", "")) for line in run.stdout.splitlines() if line.startswith("  calls")]
    assert len(calls) == 2 and f"together: {sum(calls):,.0f} calls" in run.stdout
    nobody = "@http://127.0.0.1:9/v1"
    run = inside("assess", "--model", f"api:m{nobody}", "--prices", "1,2", "--limit", "2", "--judge", f"api:j{nobody}", "--max-cost", "1")
    assert run.returncode == 2 and "--judge-prices" in run.stderr
