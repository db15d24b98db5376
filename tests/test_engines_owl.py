"mPLUG-Owl3: a bundled tiny model in its clothes is in the old environment what it is here, and a student that ms-swift trains and merges."
from dataclasses import replace
import pytest
from test_bridge import old_world  # noqa: F401  (a fixture, as is mended)
from test_engines import mended  # noqa: F401
from test_export import RECORDS, interpreter
from rehearsal.clothes_owl import dress_owl
from unsaf.distill.curricula import curriculum
from unsaf.distill.data import TeacherData
from unsaf.distill.export import to_ms_swift
from unsaf.models.bridge import check


def test_its_merge_imports_a_plugin_that_lies_beside_the_data(tmp_path):
    out = to_ms_swift(RECORDS, tmp_path, recipe="common")
    files = {name: " --external_plugins own_tokenizer.py" in " ".join(c["merge"].split()) for name, c in out.commands.items()}
    assert files == {"InternVL2-8B": False, "Qwen-VL-Chat": False, "mPLUG-Owl3-7B": True}
    compile((tmp_path/"own_tokenizer.py").read_text(), "own_tokenizer.py", "exec")
    assert not any("external_plugins" in c["train"] for c in out.commands.values())


@pytest.fixture(scope="module")
def where(old_world):  # noqa: F811
    "The family's own environment where it is ready; else one without what its clothes do not import."
    own = {} if next(check("mplug-owl3")).startswith("ok") else old_world("mplug-owl3")
    return own | dict(trust_remote_code=True, device="cpu", dtype="float32", retries=0)


def assessed(model, n):
    import unsaf
    return unsaf.assess(model, "scenes", n=n, k=2, progress=False)


@pytest.mark.slow
def test_a_tiny_model_is_asked_through_the_bridge_as_it_was_taught(where, tiny_m, tmp_path):
    import unsaf
    from unsaf.models.dola import with_dola
    dressed = unsaf.load(f"bridge:mplug-owl3@{dress_owl(tmp_path/'owl')}", **where)
    there, here = (assessed(model, 6) for model in (dressed, tiny_m))
    assert len(here.table) == 24 and here.table.outcome.nunique() > 1
    for column in ("question", "reply", "outcome"): assert list(there.table[column]) == list(here.table[column])
    assert list(there.table.p_abstain) == pytest.approx(list(here.table.p_abstain), abs=1e-4)
    assert list(there.lists.kept) == list(here.lists.kept)
    there, here = (assessed(with_dola(model, "high"), 3).table for model in (dressed, tiny_m))
    assert list(there.reply) == list(here.reply) and list(there.question) == list(here.question)
    low = assessed(with_dola(dressed), 3)       # its words are untied, as the 7B's, so the lowest layers are others than tiny-m's
    assert len(low.table) > 9
    dressed.close()


@pytest.mark.slow
def test_it_is_taught_trained_served_and_assessed(where, mended, tmp_path, inside):  # noqa: F811
    "A model that never abstains learns the word, under transformers 4.46, and says it under 4.37."
    import unsaf
    from unsaf.models.base import collect
    python, base = interpreter("swift-old"), f"bridge:mplug-owl3@{dress_owl(tmp_path/'base', 'tiny-m-base')}"
    assert inside("distill", "data", "--teacher", "tiny-l", "--images", "scenes", "--n", "3", "--k", "2", "--out", tmp_path/"taught").returncode == 0
    run = inside("distill", "train", "--engine", "swift", "--base", base, "--data", tmp_path/"taught", "--strategy", "qa", "--recipe", "tiny", "--epochs", "8",
                 "--trust-remote-code", "--python", python, "--out", tmp_path/"student")
    assert run.returncode == 0, run.stderr + (tmp_path/"student/train.log").read_text()[-2000:]
    name = run.stdout.split("--model ")[1].strip()
    assert name == f"bridge:mplug-owl3@{tmp_path}/student/merged/mPLUG-Owl3-7B"
    records = curriculum(TeacherData.load(tmp_path/"taught"), "qa", 2, 0, template="llava")
    asked = [replace(r.request, candidates=("unanswerable",), max_tokens=2) for r in records if r.reply.strip().lower() == "unanswerable"]
    known, results = [], []
    for which in (base, name):
        model = unsaf.load(which, **where)
        known.append([r.candidates["unanswerable"] for r in collect(model, asked)])
        results.append(assessed(model, 3))
        model.close()
    assert asked and sum(known[1]) > sum(known[0]) + 3 * len(asked), known      # on the whole: an epoch is one step
    assert len(results[1].table) >= .9 * len(results[0].table) > 9 and results[1].identity["bridge"] == model.running.key
