"""Every architecture that the table of families calls native, as a tiny checkpoint: batches, pictures, markup, probabilities. And the table."""
import re
from dataclasses import replace
import pytest
from unsaf.core import ModelError

torch = pytest.importorskip("torch")
tf = pytest.importorskip("transformers")
from parity import ASKS, CLOSE, TALL, WIDE, forced, greedy, picture, same  # noqa: E402
from unsaf.models import families, ways  # noqa: E402
from unsaf.models.base import collect  # noqa: E402
from unsaf.models.bridge import legacy  # noqa: E402
from unsaf.models.hf import HF  # noqa: E402

# how each writes a reply (what stands before it) and which token ends it; llava, qwen2_5_vl, internvl and gemma3 are in test_hf
REPLY = {"qwen2_vl": ("", "<|im_end|>"), "qwen3_vl": ("", "<|im_end|>"), "qwen3_5": ("", "<|im_end|>"),
         "llava_next": (" ", "</s>"), "llava_onevision": ("", "<|im_end|>"), "idefics3": (" ", "<end_of_utterance>"),
         "smolvlm": (" ", "<end_of_utterance>"), "glm4v": ("", "<|user|>"), "minicpmv4_7": ("", "<|im_end|>"),
         "gemma4": ("", "<eot>"), "mistral3": ("", "</s>")}
NEEDS_TORCHVISION = {"gemma4", "mistral3"}   # transformers imports torchvision with their processors
IN_TEST_HF = {"llava", "qwen2_5_vl", "internvl", "gemma3"}
NATIVE = [pytest.param(f, marks=pytest.mark.skipif(
    f in NEEDS_TORCHVISION and not tf.utils.is_torchvision_available(),
    reason=f"transformers {tf.__version__} cannot import the processor of {f} without torchvision")) for f in REPLY]


# ---- the proof of the native rows

@pytest.mark.promise("batching")
@pytest.mark.parametrize("family", NATIVE)
def test_batch_is_its_rows(load, family):
    "One and two pictures, none at all, another size, a system message: all in one batch."
    hf = load(family)
    assert len(hf.batches(ASKS)) == 1
    for together, ask in zip(collect(hf, ASKS), ASKS):
        assert together.finish in ("stop", "length") and len(together.logprobs) == together.output_tokens > 0, together.error
        same(together, collect(hf, [ask])[0])


@pytest.mark.parametrize("family", NATIVE)
def test_padding_is_on_the_left(load, family):
    x = load(family).chat.encode(ASKS, {id(p): p.pixels() for p in (WIDE, TALL)})
    mask = x["attention_mask"]
    assert mask[:, -1].all() and not mask[:, 0].all(), "rows end together and do not begin together"
    assert ((mask[:, 1:] - mask[:, :-1]) >= 0).all()


@pytest.mark.parametrize("family", NATIVE)
def test_pictures_are_told_apart(load, family):
    "Three in one request, in two orders, and beside requests with others: pixels and places belong together."
    hf = load(family)
    asks = [replace(ASKS[0], parts=(*pictures, "Compare."), candidates=("A",)) for pictures in
            ((WIDE, TALL, WIDE), (TALL, WIDE, WIDE), (WIDE,), (TALL, TALL))]
    together = collect(hf, asks)
    for reply, ask in zip(together, asks): same(reply, collect(hf, [ask])[0])
    assert len({round(r.candidates["A"], 5) for r in together}) == 4
    assert together[0].prompt_tokens == together[1].prompt_tokens


@pytest.mark.parametrize("family", NATIVE)
def test_markup_in_a_question_is_text(load, family):
    hf = load(family)
    tags = [t for t in hf.chat.special if t.isascii()]
    assert len(tags) > 3
    ask = replace(ASKS[0], parts=(WIDE, "Is " + " or ".join(tags) + " a tag?"), candidates=())
    tokens = hf.chat.encode([ask], {id(WIDE): WIDE.pixels()})["input_ids"][0].tolist()
    usual = hf.chat.encode([ASKS[0]], {id(WIDE): WIDE.pixels()})["input_ids"][0].tolist()
    special = set(hf.processor.tokenizer.convert_tokens_to_ids(tags))
    assert [t for t in tokens if t in special] == [t for t in usual if t in special]
    assert collect(hf, [ask, *ASKS])[0].finish in ("stop", "length")


@pytest.mark.parametrize("family", NATIVE)
def test_candidates_against_plain_teacher_forcing(load, family):
    hf = load(family)
    before, stop = REPLY[family]
    for ask, reply in zip(ASKS, collect(hf, ASKS)):
        assert set(reply.candidates) == set(ask.candidates)
        for candidate, found in reply.candidates.items():
            assert found == pytest.approx(forced(hf, ask, before + candidate, stop), **CLOSE)


@pytest.mark.parametrize("family", NATIVE)
def test_greedy_is_the_largest_and_its_logprob_is_raw(load, family):
    hf = load(family)
    ask = replace(ASKS[3], candidates=(), max_tokens=5)
    ids, logps = greedy(hf, ask, 5)
    reply = collect(hf, [ask])[0]
    assert reply.logprobs == pytest.approx(logps, **CLOSE) and reply.text == hf.chat.read(ids)[0]


@pytest.mark.parametrize("family", NATIVE)
def test_lengths_are_foreseen(load, family):
    hf = load(family)
    foreseen, found = hf.chat.lengths(ASKS), [r.prompt_tokens for r in collect(hf, ASKS)]
    if family == "llava_onevision":   # it cuts a picture into tiles only where it is alone, which is not foreseen
        assert foreseen[3] > found[3]
        del foreseen[3], found[3]
    assert foreseen == found


def test_a_missing_speller_is_missing_again_afterwards(load):
    from transformers.models.smolvlm import processing_smolvlm
    before = processing_smolvlm.num2words
    assert load("smolvlm").processor.image_processor and processing_smolvlm.num2words is before


@pytest.mark.xfail(strict=True, raises=RuntimeError, reason="transformers 5.18 takes all slices to have the size of the first: "
                                                            "huggingface/transformers pull request 48599")
def test_minicpm_4_6(load):
    "When this and the next pass, the row of MiniCPM-V-4.6 can become native."
    collect(load("minicpmv4_6"), ASKS)


@pytest.mark.parametrize("family", [
    pytest.param("minicpmv4_6", marks=pytest.mark.xfail(strict=True, raises=AssertionError, reason="as above, without an error")),
    "minicpmv4_7"])
def test_minicpm_with_pictures_of_one_area_and_two_shapes(load, family):
    hf = HF(load(family).model.name_or_path, device="cpu", processor_kwargs={"images_kwargs": {"slice_mode": False}})
    asks = [replace(ASKS[0], parts=(picture("red", size), "What?")) for size in ((96, 32), (32, 96))]
    for together, ask in zip(collect(hf, asks), asks): same(together, collect(hf, [ask])[0])


# ---- the table

# section 4 and Tables 1, 2, 4-9, 11-13; the left column of Table 3; teachers of section 5.2
PRINTED = """LLaVA-7B LLaVA-13B LLaVA-v1.5-7B LLaVA-v1.5-13B Qwen-VL-7B Qwen-VL-Chat Qwen-VL-Chat-7B Qwen2-VL-7B Qwen2.5-VL-Instruct-7B
Qwen2.5-VL-Instruct-32B InternVL-8B InternVL-7B InternVL-14B InternVL2-8B InternVL3-8B InternVL3-14B mPLUG-Owl-2B mPLUG-Owl-7B
MiniCPM-3B MiniCPM-8B GPT-4o Moonshot-v1 GLM-4V-Plus""".split()
LINKED = """llava-hf/llava-1.5-7b-hf llava-hf/llava-1.5-13b-hf Qwen/Qwen2-VL-7B Qwen/Qwen-VL-Chat Qwen/Qwen2.5-VL-7B-Instruct
Qwen/Qwen2.5-VL-32B-Instruct OpenGVLab/InternVL2-8B OpenGVLab/InternVL3-8B OpenGVLab/InternVL3-14B mPLUG/mPLUG-Owl3-2B-241014
mPLUG/mPLUG-Owl3-7B-240728 openbmb/MiniCPM-V-2 openbmb/MiniCPM-V-2_6 gpt-4-turbo-2024-04-09 moonshot-v1-8k-vision-preview
glm-4v-plus-0111""".split()   # Table 3, right column


def test_every_name_and_every_link_in_the_paper_is_known():
    assert not [name for name in PRINTED if name not in families.find(name).paper]
    assert not [name for name in LINKED if not families.find(name).paper], "a checkpoint of the paper carries the names that the paper gives it"


def test_names_are_unambiguous():
    for row in families.KNOWN:
        for name in row.names: assert families.find(name.upper()) is row


def test_an_unknown_name_gets_close_ones():
    with pytest.raises(ModelError, match="internvl3-8b") as e: families.find("InternVL3-88B")
    assert "\n" not in str(e.value) and "unsaf models" in str(e.value)


def test_rows_are_whole():
    mapping = tf.models.auto.modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    for row in families.KNOWN:
        assert row.route in families.ROUTES and row.sources and row.proof and not re.search(r"\n", " ".join((*row.traps, row.proof)))
        assert row.template in ("none", "llava", "qwen", "gpt")
        if row.route == "native": assert row.model_type in mapping and row.load.startswith("hf:")
        if row.route == "server": assert row.serve[0] == row.load.removeprefix("api:").partition("@")[0] == row.hub
        if row.route == "legacy": assert row.bridge
        if row.bridge: assert row.hub in legacy(row.bridge).hub, "the bridge knows this repository"
        if row.route == "api": assert row.base_url and row.key_env


def test_native_rows_are_proved():
    "A row says native only where its architecture is built and run here or in test_hf, and says where."
    for row in families.KNOWN:
        if row.route == "native":
            assert row.model_type in set(REPLY) | IN_TEST_HF, row.name
            where = "tests/test_hf.py" if row.model_type in IN_TEST_HF else "tests/test_families.py"
            assert where in row.proof and ("torchvision" in row.proof) == (row.model_type in NEEDS_TORCHVISION)


@pytest.mark.parametrize("family", NATIVE)
def test_template_is_the_one_that_loading_takes(load, family):
    assert {k.template for k in families.KNOWN if k.model_type == family} <= {load(family).template}


def test_cards_tell_what_to_do():
    cards = {row.name: "\n".join(ways.card_lines(row.name)) for row in families.KNOWN}
    assert 'unsaf.load("hf:OpenGVLab/InternVL3-8B-hf")' in cards["internvl3-8b"]
    assert "vllm serve OpenGVLab/InternVL2-8B --trust-remote-code" in cards["internvl2-8b"]
    assert "unsaf assess --model api:OpenGVLab/InternVL2-8B@http://127.0.0.1:8000/v1" in cards["internvl2-8b"]
    assert "unsaf bridge qwen-vl-chat" in cards["qwen-vl-chat"]
    assert "MOONSHOT_API_KEY" in cards["moonshot-v1"] and "https://api.moonshot.ai/v1" in cards["moonshot-v1"]
    for row in families.KNOWN: assert row.proof in cards[row.name] and all(t in cards[row.name] for t in row.traps)
    assert len(list(ways.lines())) >= len(families.KNOWN)


def test_load_names_load(monkeypatch):
    "The name that a row gives is one that `unsaf.load` takes to the right backend."
    import unsaf
    from unsaf.models import loading
    seen = []
    monkeypatch.setattr(loading, "_hf", lambda path, options: seen.append((path, options)))
    monkeypatch.setattr(loading, "_api", lambda name, options: seen.append((name, options)))
    for row in families.KNOWN:
        if row.load: unsaf.load(row.load, **row.options)
    assert len(seen) == sum(bool(row.load) for row in families.KNOWN)


# ---- can it run here?

def row(**changes):
    return replace(families.find("llava-1.5-7b"), **changes)


def test_native_needs_the_libraries_and_the_architecture(monkeypatch):
    monkeypatch.setattr(ways, "room", lambda: (10**12, "a large card", 2))
    assert ways.can_run(row())[0]
    ok, why = ways.can_run(row(model_type="of_tomorrow"))
    assert not ok and "of_tomorrow" in why and "update transformers" in why
    monkeypatch.setattr(ways, "find_spec", lambda name: None)
    ok, why = ways.can_run(row())
    assert not ok and "pip install 'unsaf[hf]'" in why


def test_native_needs_memory(monkeypatch):
    monkeypatch.setattr(ways, "room", lambda: (8 * 2**30, "the CPU", 4))
    ok, why = ways.can_run(row(billions=7.0))
    assert not ok and "7 billion parameters" in why and "8 GiB" in why
    assert ways.can_run(row(billions=0.5))[0]
    ok, why = ways.can_run(row(billions=None))
    assert ok and "size unknown" in why


def test_weights_are_looked_for_without_the_network(monkeypatch, tmp_path):
    from huggingface_hub import constants
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    known = row()
    assert ways.cached(known) is False and "weights not here" in ways.can_run(row(billions=0.001))[1]
    repo = tmp_path/"models--llava-hf--llava-1.5-7b-hf"
    (repo/"refs").mkdir(parents=True)
    (repo/"refs"/"main").write_text("a" * 40)
    snapshot = repo/"snapshots"/("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot/"config.json").write_text("{}")
    assert ways.cached(known) is False, "a configuration alone is no model"
    (snapshot/"model.safetensors.index.json").write_text('{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}')
    (snapshot/"model-1.safetensors").write_bytes(b"x")
    assert ways.cached(known) is False, "one shard of two"
    (snapshot/"model-2.safetensors").write_bytes(b"x")
    assert ways.cached(known) is True and "weights are here" in ways.can_run(row(billions=0.001))[1]


def test_api_needs_a_key(monkeypatch):
    gpt = families.find("gpt-4o")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    ok, why = ways.can_run(gpt)
    assert not ok and "OPENAI_API_KEY" in why
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert ways.can_run(gpt)[0]


def test_legacy_needs_an_interpreter(monkeypatch):
    from unsaf.models import environments
    old = families.find("qwen-vl-chat")
    monkeypatch.setattr(environments, "version_of", lambda path: "")   # dead shims
    ok, why = ways.can_run(old)
    assert not ok and "Python" in why and "\n" not in why
    monkeypatch.setattr(environments, "version_of", lambda path: legacy("qwen-vl-chat").pythons[0])
    monkeypatch.setattr(environments, "_candidates", lambda version: iter(["/old/python"]))
    assert ways.can_run(old) == (True, "/old/python starts; the pins go into an environment of their own")


def test_doctor_lines():
    marks = [line[:2] for line in ways.doctor_lines()]
    assert set(marks) <= {"ok", "--"} and len(marks) == len(families.KNOWN), "what cannot run here is optional, not broken"


@pytest.mark.promise("trust")
def test_no_code_of_checkpoints_is_run_in_this_process():
    "Rows that need remote code are for a server or the bridge, which have processes of their own."
    for known in families.KNOWN: assert known.route in ("server", "legacy") or "trust-remote-code" not in " ".join(known.serve)
