"Finished runs for other tools: rows, tables and cards hold what the run holds, nothing is sent unasked, and what is unknown stays unknown."
import io, json
from dataclasses import replace
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import unsaf
import yaml
from unsaf.assessment.probes import StyleCheat
from unsaf.core import UnsafError
from unsaf.export import hub
from unsaf.export.hub import data_card, model_index, push_data, push_index
from unsaf.export.rows import ROW, as_jsonl, as_parquet, dataset_of, rows_of
from unsaf.export.tables import as_latex, as_markdown, table_of


@pytest.fixture(scope="module")
def results():
    return [unsaf.assess(StyleCheat(), unsaf.images("scenes", n=8, seed=5), s, progress=False) for s in ("oe", "mc")]


def test_a_line_and_a_row_per_question(results):
    rows = [json.loads(line) for line in as_jsonl(results).splitlines()]
    tables = pd.concat([r.table for r in results], ignore_index=True)
    assert len(rows) == len(tables) and all(set(row) == set(ROW) for row in rows)
    assert [row["cell"] for row in rows] == tables.cell.tolist() and {row["label"] for row in rows} == {"answerable", "unanswerable"}
    assert rows[0]["p_abstain"] is None and rows[0]["options"] == [] and len(rows[-1]["options"]) == 4 and rows[-1]["number"] == int(tables.number.iloc[-1])
    again = pd.read_parquet(io.BytesIO(as_parquet(results)))
    assert again.reply.tolist() == [row["reply"] for row in rows] and list(again.options.iloc[-1]) == rows[-1]["options"]
    with pytest.raises(UnsafError, match="nothing to export"): rows_of([])


def test_files_of_several_runs_are_read_as_one(results):
    "Columns have the same types, whatever one run does not know."
    dear = replace(results[0], table=results[0].table.assign(cost=.5, p_abstain=.25, reasoning_tokens=7))
    cheap, costly = (pq.read_table(io.BytesIO(as_parquet([r]))) for r in (results[1], dear))
    both = pa.concat_tables([cheap, costly]).to_pandas()
    assert both.cost.dropna().unique().tolist() == [.5] and both.reasoning_tokens.isna().sum() == len(results[1].table)


def test_a_path_of_this_machine_stays_here():
    assert [dataset_of(s) for s in ("folder:/home/me/photos/", "glob:/a/*.png", "easy-vqa", "file:C:\\x\\t.csv")] == ["photos", "*.png", "easy-vqa", "t.csv"]


def test_the_table_has_the_scores_of_the_run(results):
    oe, mc = table_of(results).to_dict("records")
    assert oe["J"].startswith(f"{results[0].scores.youden_j:.3f} [") and mc["setting"] == "mc" and oe["counted"] == "80 of 80"
    odd = unsaf.assess(StyleCheat(), unsaf.images("scenes", n=2, seed=5), progress=False)
    odd.model, odd.min_read = "a|b_c%", 1.0
    odd.lists = odd.lists.assign(asked=50)                    # of 200 that were asked for 20 could be read
    assert r"a\|b_c%†" in as_markdown([odd]) and "† Scores of the readable ones only" in as_markdown([odd])
    text = as_latex([odd])
    assert r"a|b\_c\%\textsuperscript{\textdagger}" in text and text.count(r"\\") == 2 and r"\label{tab:unsaf}" in text

    mute = replace(odd, table=odd.table.iloc[:0], model="mute")      # one of two without a score: a line says why
    assert "mute§ | 2 of" in (text := as_markdown([odd, mute])) and "§ mute, oe: nothing" in text
    with pytest.raises(UnsafError, match="nothing"): as_markdown([mute])
    other = replace(results[0], plan=replace(results[0].plan, suffix="timidity"))
    assert table_of([results[0], other, results[1]]).model.tolist() == [f"cheat, run {results[0].run_id}", f"cheat, run {other.run_id}", "cheat"]


def test_the_model_card_is_what_the_hub_reads(results):
    from huggingface_hub import ModelCard
    card = ModelCard(model_index(results, "me/photos"))
    found = {(e.task_name, e.metric_type): e for e in card.data.eval_results}
    j = found["self-assessment of uncertainty awareness, open-ended", "youden_j"]
    assert len(found) == 10 and card.data.model_name == "cheat" and j.dataset_type == "me/photos"
    assert j.metric_value == pytest.approx(results[0].scores.youden_j, abs=1e-4)
    assert j.metric_args["level"] == .95 and j.dataset_args["run"] == results[0].run_id
    other = unsaf.assess(StyleCheat(), unsaf.images("scenes", n=2, seed=5), k=2, progress=False)
    other = replace(other, source=results[0].source)
    three = ModelCard(model_index([*results, other])).data.eval_results
    assert {e.dataset_config for e in three} == {f"oe-{results[0].run_id}", f"oe-{other.run_id}", "mc"} and len(three) == 15
    half = model_index([replace(other, stopped="stopped", planned=[*other.images, "x"])])
    assert "J (of a run that ended early)" in half
    other.model = "another"
    with pytest.raises(UnsafError, match="cheat, another"): model_index([results[0], other])


def test_the_data_card_is_what_the_hub_reads(results, tmp_path):
    from huggingface_hub import DatasetCard
    data_card(results, tmp_path / "card")
    data = DatasetCard.load(tmp_path / "card/README.md").data
    assert data.configs == [dict(config_name="default", data_files="questions.jsonl")] and data.license is None and data.size_categories == ["n<1K"]
    assert len((tmp_path / "card/questions.jsonl").read_text().splitlines()) == sum(len(r.table) for r in results)


@pytest.mark.promise("unasked")
def test_nothing_is_sent_unasked(results, tmp_path, monkeypatch):
    data_card(results, tmp_path)
    (tmp_path / "secret.txt").write_text("mine")
    sent = []

    class Hub:
        ModelCardData, EvalResult = hub._hub().ModelCardData, hub._hub().EvalResult
        def HfApi(self): return self
        def create_repo(self, *args, **more): sent.append(("create", args, more))
        def upload_folder(self, **more): sent.append(("upload", more["allow_patterns"], more["repo_id"])) or "https://hub/x"
        def metadata_update(self, repo, body): sent.append(("card", repo, body)) or "https://hub/y"
    monkeypatch.setattr(hub, "_hub", Hub)
    assert "would send" in push_data(tmp_path, "me/q")[0] and "would put" in push_index(results, "me/m")[0] and not sent
    push_data(tmp_path, "me/q", yes=True)
    push_index(results[:1], "me/m", yes=True)
    assert sent[0] == ("create", ("me/q",), dict(repo_type="dataset", private=True, exist_ok=True))
    assert sent[1] == ("upload", ["README.md", "questions.jsonl"], "me/q")
    assert sent[2][:2] == ("card", "me/m") and sent[2][2] == yaml.safe_load(model_index(results[:1]).strip("-\n"))
    monkeypatch.setattr(Hub, "upload_folder", lambda self, **more: (_ for _ in ()).throw(OSError("401\nunauthorized")))
    with pytest.raises(UnsafError, match="401 unauthorized; look whether .* is logged in"): push_data(tmp_path, "me/q", yes=True)


def test_the_command(tmp_path, inside):
    for s in ("oe", "mc"): unsaf.assess(StyleCheat(), "scenes", s, n=4, seed=5, store=tmp_path / "run").save(tmp_path / "run")
    assert inside("export", tmp_path / "run", "--to", "markdown").stdout.count("| cheat |") == 2
    run = inside("export", tmp_path / "run", "--to", "jsonl", "--setting", "oe")
    assert {json.loads(line)["setting"] for line in run.stdout.splitlines()} == {"oe"}
    run = inside("export", tmp_path / "run", "--to", "data-card", "--out", tmp_path / "card", "--push", "me/q")
    assert run.returncode == 0 and "would send" in run.stdout and (tmp_path / "card/README.md").exists()
    for args, words in ((("--to", "csv"), "use one of jsonl"), (("--to", "parquet"), "--out"), (("--to", "latex", "--push", "me/q"), "--push goes with"),
                        (("--to", "jsonl", "--yes"), "--push"), (("--to", "inspect", "--out", tmp_path / "x.eval"), "holds one run")):
        wrong = inside("export", tmp_path / "run", *args)
        assert wrong.returncode == 2 and words in wrong.stderr.splitlines()[-1], wrong.stderr
