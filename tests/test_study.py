"""A study of distillation: its design, its notebook in small under papermill, and the commands."""
import json
from importlib.util import find_spec
from pathlib import Path
import pandas as pd
import pytest
from unsaf.core import UnsafError

for needed in ("torch", "transformers", "peft", "trl", "datasets"):
    if not find_spec(needed): pytest.skip(f"{needed} is not installed", allow_module_level=True)     # imported where it is used: seconds each
from unsaf.distill import study  # noqa: E402
from unsaf.distill.results import Evaluation  # noqa: E402

root = Path(__file__).resolve().parent.parent
SMALL = dict(arms=["UnD-QA", "UnD-IQ", "DPO"], seeds=[0], n_train=8, n_eval=6, n_bench=8, epochs=4, benchmarks=["pope"])


@pytest.mark.slow
def test_the_notebook_in_small(tmp_path):
    "Runs from start to end, twice; the second time everything is kept. Its last values are those of the evaluation."
    papermill = pytest.importorskip("papermill")
    book = root / "nbs/studies/distillation.ipynb"
    known = set(papermill.inspect_notebook(str(book)))
    assert set(SMALL) < known
    def run(name):
        done = papermill.execute_notebook(str(book), str(tmp_path / name), dict(SMALL, folder=str(tmp_path / "run")), kernel_name="python3",
                                          cwd=str(root), progress_bar=False, extra_arguments=["--IPKernelApp.log_level=40"])
        return ["".join(o.get("text", "") for o in c.outputs if o.output_type == "stream" and o.name == "stdout") for c in done.cells if c.cell_type == "code"]
    first, again = run("first.ipynb"), run("again.ipynb")
    design = study.Design(arms=tuple(SMALL["arms"]), seeds=(0,), n_train=8, n_eval=6, n_bench=8, epochs=4, benchmarks=("pope",))
    home = tmp_path / "run" / design.key
    assert json.loads((home / "design.json").read_text())["n_train"] == 8
    found = Evaluation.load(home / "seed-0")
    assert set(found.settings["models"]) >= {"base", "teacher", "UnD-QA", "UnD-IQ"}
    contrast = pd.read_csv(home / "contrast.csv").set_index("metric")
    assert contrast.loc["unf1_class", "difference"] == pytest.approx(found.value("UnD-IQ", "unf1_class") - found.value("UnD-QA", "unf1_class"))
    assert found.value("teacher", "youden_j") > found.value("base", "youden_j")
    said = next(text for text in first if text.startswith("UnD-IQ above UnD-QA"))
    assert said in again and ("undecided" in said or "holds" in said)
    assert (home / "distillation.png").stat().st_size > 10_000
    assert not any("records, sft" in text for text in again), "nothing is trained twice"


def test_a_design_says_what_it_does_not_know():
    with pytest.raises(UnsafError, match="arm 'UnD'.*UnD-QA"): study.Design(arms=("UnD",))
    with pytest.raises(UnsafError, match="at least one seed"): study.Design(seeds=())
    assert study.Design(n_train=3).key != study.Design().key


@pytest.mark.parametrize("arm", [a for a in study.ARMS if a != "DPO confirmed"])
def test_every_arm_gives_records(tmp_path, arm):
    from unsaf.store import Store
    d = study.Design(arms=(arm,), n_train=4, n_eval=2)
    with Store(tmp_path) as store:
        lesson = study.lesson(d, 0, store)
        records = study.ARMS[arm](lesson)
    exam = {s.picture.digest for s in lesson.exam}
    assert records and not exam & {p.digest for r in records for p in r.request.pictures}
    if arm in ("MM-UPD", "UNK-VQA (BY)", "UNK-VQA (OE)", "UnD-QA"): assert len(records) == len(lesson.data.qa)


def test_an_arm_without_records_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(study.ARMS, "DPO", lambda s: [])
    d = study.Design(arms=("DPO",), seeds=(0,), n_train=3, n_eval=3, n_bench=2, benchmarks=())
    told = []
    found = study.run(d, tmp_path, told.append)
    assert any("DPO is left out: no record came of it" in line for line in told)
    assert list(found[0].settings["models"]) == ["base", "teacher"]
    assert json.loads((tmp_path / d.key / "seed-0" / "done.json").read_text())["without"] == {"DPO": "no record came of it"}
    assert study.contrast(d, tmp_path).empty and study.verdict(study.contrast(d, tmp_path)) == "not measured"


@pytest.mark.slow
def test_the_commands(tmp_path, inside):
    "Data, training and export, each from the folder of the one before."
    def command(*words, code=0):
        done = inside(*words)
        assert done.returncode == code, done.stderr[-2000:]
        return done
    taught = command("distill", "data", "--teacher", "tiny-l", "--n", 4, "--out", tmp_path / "taught").stdout
    assert "IQ: 40 records" in taught and "card.json" in taught
    trained = command("distill", "train", "--base", "tiny-student", "--data", tmp_path / "taught", "--strategy", "qa", "--recipe", "tiny",
                      "--epochs", 2, "--out", tmp_path / "adapter").stdout
    assert "40 records" in trained and (tmp_path / "adapter" / "adapter_model.safetensors").is_file()
    exported = command("distill", "export", "--data", tmp_path / "taught", "--to", "llama-factory", "--out", tmp_path / "out").stdout
    assert "llamafactory" in exported.lower() or "llama-factory" in exported.lower()
    wrong = command("distill", "train", "--base", "tiny-student", "--data", tmp_path / "nowhere", "--out", tmp_path / "b", code=2)
    assert wrong.stderr.count("\n") == 1 and "no teacher data here" in wrong.stderr
