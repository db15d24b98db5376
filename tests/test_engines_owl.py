"mPLUG-Owl3: a bundled tiny model in its clothes is in the old environment what it is here, and its merge is helped by a plugin."
import pytest
from test_bridge import old_world  # noqa: F401  (a fixture)
from test_export import RECORDS
from rehearsal.clothes_owl import dress_owl
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
