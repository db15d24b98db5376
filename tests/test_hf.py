"""Checkpoints of true architecture with random weights: a batch must be its rows, and what fails must say so."""
import json, shutil
from dataclasses import replace
import pytest
from unsaf.core import ImageError, ModelError, Picture, Request

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
from parity import ASKS, CLOSE, OPTIONS, WIDE, forced, greedy, picture, same  # noqa: E402
from unsaf.models.base import collect  # noqa: E402
from unsaf.models.chat import Chat, Unfit  # noqa: E402
from unsaf.models.checkpoint import (choose_dtype, images_only, load_processor, settings_fingerprint,  # noqa: E402
                                     weights_fingerprint)
from unsaf.models.sharing import default_budget, tokens_that_fit  # noqa: E402
from unsaf.models.hf import Pick, HF, out_of_memory  # noqa: E402
from unsaf.models.prefix import cut_back  # noqa: E402

CAUSAL = ("llava", "qwen", "internvl")     # their caches can be cut back
ALL = (*CAUSAL, "gemma")                   # gemma's, with sliding windows, cannot


# ---- a batch is its rows

@pytest.mark.promise("batching")
@pytest.mark.parametrize("family", ALL)
def test_batch_is_its_rows(load, family):
    hf = load(family)
    assert len(hf.batches(ASKS)) == 1
    for together, ask in zip(collect(hf, ASKS), ASKS):
        assert together.finish in ("stop", "length") and len(together.logprobs) == together.output_tokens > 0
        same(together, collect(hf, [ask])[0])


@pytest.mark.parametrize("family", ALL)
def test_sampled_rows_do_not_see_each_other(load, family):
    asks = [replace(a, temperature=t, seed=s) for a, t, s in zip(ASKS[:4], (0.7, 1.0, 1.3, 0.7), (1, 2, 3, 4))]
    hf = load(family)
    for together, ask in zip(collect(hf, asks), asks): same(together, collect(hf, [ask])[0])
    again = collect(hf, [replace(asks[0], seed=s) for s in range(5)])
    assert len({r.text for r in again}) > 1


@pytest.mark.parametrize("family", ALL)
def test_lengths_are_foreseen(load, family):
    hf = load(family)
    assert hf.chat.lengths(ASKS) == [r.prompt_tokens for r in collect(hf, ASKS)]


def test_probabilities_do_not_change_the_text(load):
    hf = load("qwen")
    bare = collect(hf, [replace(a, candidates=()) for a in ASKS])
    assert all(r.candidates is None for r in bare)
    assert [r.text for r in bare] == [r.text for r in collect(hf, ASKS)]


@pytest.mark.parametrize("family", ("llava", "qwen"))
def test_few_rows_from_the_other_side_are_the_same_replies(folders, monkeypatch, family):
    from unsaf.models import cpu, hf as room
    if not torch.backends.mkl.is_available(): pytest.skip("this build of torch multiplies without MKL")
    with monkeypatch.context() as m:
        m.setattr(room, "quicker", lambda model: model)
        plain = HF(folders(family), device="cpu")
    monkeypatch.setattr(cpu, "LARGE", 0)
    quick, calls, own = HF(folders(family), device="cpu"), [], torch.mm
    monkeypatch.setattr(torch, "mm", lambda *a, **k: calls.append(a) or own(*a, **k))
    for ours, theirs in zip(collect(quick, ASKS[:3]), collect(plain, ASKS[:3])): same(ours, theirs)
    assert calls and quick.identity == plain.identity
    assert quick.model.config.get_text_config()._attn_implementation == cpu.SHARED_KEYS


def test_layers_that_are_wrapped_spread_or_switched_off_stay_as_they_are(folders, monkeypatch):
    from unsaf.models import cpu
    monkeypatch.setattr(cpu, "LARGE", 0)
    monkeypatch.setenv(cpu.PLAIN, "1")
    model = HF(folders("qwen"), device="cpu").model
    text = model.config.get_text_config()
    changed = lambda: {name for name, m in model.named_modules() if "forward" in vars(m)}  # noqa: E731
    assert not changed() and text._attn_implementation == "sdpa"
    monkeypatch.delenv(cpu.PLAIN)
    head, model.lm_head = model.lm_head, torch.nn.Linear(4, 4, device="meta")     # elsewhere, as with `device_map`
    cpu.quicker(model)
    assert not changed() and text._attn_implementation == "sdpa"
    model.lm_head, hook = head, lambda x: x
    head.forward = hook
    cpu.quicker(model)
    assert head.forward is hook and len(changed()) > 5 and text._attn_implementation == cpu.SHARED_KEYS


@pytest.mark.parametrize("outputs", (256, 200))
@pytest.mark.parametrize("rows", (1, 2, 6, 7, 20, 32, 33))
def test_a_layer_says_the_same_of_few_rows_of_some_and_of_many(rows, outputs):
    from unsaf.models.cpu import few_rows
    layer, x = torch.nn.Linear(96, outputs), torch.randn(rows, 1, 96)
    with torch.inference_mode(): ours, theirs = few_rows(layer, x), layer(x)
    assert ours.shape == theirs.shape == (rows, 1, outputs) and ours.is_contiguous()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


# ---- independent computations: see `parity`

REPLY = {"llava": (" {}", "</s>"), "qwen": ("{}", "<|im_end|>"), "internvl": ("{}", "<|im_end|>"), "gemma": ("{}", "<eot>")}


@pytest.mark.parametrize("family", ALL)
def test_candidates_against_plain_teacher_forcing(load, family):
    hf = load(family)
    written, stop = REPLY[family]
    for ask, reply in zip(ASKS, collect(hf, ASKS)):
        assert set(reply.candidates) == set(ask.candidates)
        for candidate, found in reply.candidates.items():
            assert found == pytest.approx(forced(hf, ask, written.format(candidate), stop), **CLOSE)


@pytest.mark.parametrize("family", ALL)
def test_greedy_is_the_largest_and_its_logprob_is_raw(load, family):
    "Step by step by hand: the largest logit of what may be written, and its probability among all that is there."
    hf = load(family)
    ask = replace(ASKS[0], candidates=(), max_tokens=6)
    ids, logps = greedy(hf, ask, 6)
    reply = collect(hf, [ask])[0]
    assert reply.logprobs == pytest.approx(logps, **CLOSE)
    assert reply.text == hf.chat.read(ids)[0]


@pytest.mark.parametrize("family", CAUSAL)
def test_a_written_reply_has_the_probability_of_its_candidate(load, monkeypatch, family):
    "The model is pushed to a reply that ends by itself; scoring it runs under the same push."
    hf = load(family)
    starts = []
    ids = hf.chat.reply_tokens("cat")
    def push(input_ids, scores):
        starts[:] = starts or [input_ids.shape[1]]
        step = input_ids.shape[1] - starts[0]
        if 0 <= step < len(ids): scores[:, ids[step]] += 30.0
        return scores
    monkeypatch.setattr(hf, "processors", (push,))
    reply = collect(hf, [replace(ASKS[0], candidates=("cat",))])[0]
    assert reply.text == "cat" and reply.finish == "stop" and reply.output_tokens == len(ids)
    assert reply.candidates["cat"] == pytest.approx(sum(reply.logprobs), **CLOSE)


@pytest.mark.parametrize("family", CAUSAL)
def test_scoring_computes_no_prompt_again(load, family):
    hf = load(family)
    hf.sharing.forget()
    counts = []
    for asks in ([replace(a, candidates=()) for a in ASKS], ASKS):
        hf.counters.clear()
        collect(hf, asks)
        hf.sharing.forget()
        counts.append(dict(hf.counters))
    bare, scored = counts
    assert bare["prefill_tokens"] == scored["prefill_tokens"] and bare["vision_encodes"] == scored["vision_encodes"] == 2
    assert "scored_tokens" not in bare and scored["forwards"] == bare["forwards"] + 1, "all candidates in one pass"


@pytest.mark.parametrize("family", CAUSAL)
def test_side_by_side_and_step_by_step_agree(load, monkeypatch, family):
    hf = load(family)
    at_once = collect(hf, ASKS)
    monkeypatch.setattr(hf, "_score", hf._score_by_steps)
    for a, b in zip(at_once, collect(hf, ASKS)): same(a, b)
    monkeypatch.undo()
    monkeypatch.setattr(hf, "token_budget", 1)      # one row, one candidate at a time
    for a, b in zip(at_once, collect(hf, ASKS)): same(a, b)


def test_a_sliding_window_is_not_cut_back(load):
    hf = load("gemma")
    x = hf.chat.encode(ASKS[:1], {id(WIDE): WIDE.pixels()})
    with torch.inference_mode(): _, cache = hf._run(x, 4, Pick())
    assert cut_back(cache, 5) is None


@pytest.mark.parametrize("family", ALL)
def test_decide(load, family):
    hf = load(family)
    asks = [replace(a, decide=True) for a in ASKS]
    for decided, written in zip(collect(hf, asks), collect(hf, ASKS)):
        assert decided.candidates == pytest.approx(written.candidates, **CLOSE)
        assert decided.text == max(written.candidates, key=written.candidates.get)
        assert decided.output_tokens == 0 and decided.finish == "stop"


# ---- nothing that a checkpoint ships leaks in

def test_a_shipped_generation_config_changes_nothing(folders, load, tmp_path):
    shutil.copytree(folders("qwen"), tmp_path/"c")
    file = tmp_path/"c"/"generation_config.json"
    shipped = dict(repetition_penalty=1.05, temperature=0.1, top_k=1, no_repeat_ngram_size=2, do_sample=True)
    file.write_text(json.dumps(json.loads(file.read_text()) | shipped))
    hub_like = HF(tmp_path/"c", device="cpu")
    long = [replace(a, max_tokens=30, candidates=()) for a in ASKS]
    assert [r.text for r in collect(hub_like, long)] == [r.text for r in collect(load("qwen"), long)]
    assert hub_like.identity["settings"] != load("qwen").identity["settings"]


def test_placeholders_are_never_written(load):
    for family in ALL:
        hf = load(family)
        assert hf.chat.banned
        sure = hf.chat.banned[0]
        def insist(input_ids, scores, sure=sure):
            scores[:, sure] += 1000.0
            return scores
        hf.processors = (insist,)
        try: written = collect(hf, [replace(ASKS[0], candidates=())])[0]
        finally: hf.processors = ()
        assert written.output_tokens > 0 and max(written.logprobs) < -500, "what is written is anything but the placeholder"


# ---- prompts

def test_render_shows_what_is_sent(load):
    shown = {f: load(f).render(ASKS[4]) for f in ALL}
    assert "< image>" in shown["llava"] and shown["llava"].count("<image>") == 1
    assert "< |image_pad|>" in shown["qwen"] and shown["qwen"].count("<|image_pad|>") == 1
    assert shown["qwen"].count("<|im_end|>") == 2, "the user's <|im_end|> ends nothing"
    assert "< IMG_CONTEXT>" in shown["internvl"] and shown["internvl"].count("<IMG_CONTEXT>") == 1
    assert all(s == load(f).render(ASKS[4]) for f, s in shown.items())


def test_how_a_text_is_cut_does_not_matter(load):
    a, b = Request((WIDE, "one ", "<ima", "ge> two")), Request((WIDE, "one <image> two"))
    assert load("llava").render(a) == load("llava").render(b)


def test_processor_settings(folders, load):
    few = HF(folders("internvl"), device="cpu", processor_kwargs={"images_kwargs": {"max_patches": 1}})
    small = HF(folders("qwen"), device="cpu", processor_kwargs={"size": {"shortest_edge": 28*28, "longest_edge": 28*28*4}})
    for other, family in ((few, "internvl"), (small, "qwen")):
        got, usual = collect(other, ASKS[:1])[0], collect(load(family), ASKS[:1])[0]
        assert got.finish != "failed" and got.prompt_tokens < usual.prompt_tokens
        assert other.identity["processor_kwargs"] and other.identity != load(family).identity


def test_template_hint(folders, load, tmp_path):
    assert [load(f).template for f in ALL] == ["llava", "qwen", "llava", "llava"]
    assert HF(folders("llava"), template="none", device="cpu").template == "none"
    shutil.copytree(folders("llava"), tmp_path/"c")
    config = json.loads((tmp_path/"c"/"config.json").read_text())
    (tmp_path/"c"/"config.json").write_text(json.dumps(config | {"unsaf_template": "gpt"}))
    assert HF(tmp_path/"c", device="cpu").template == "gpt"


# ---- batches

def test_batches_are_a_fixed_partition(load):
    hf = load("internvl")
    asks = [replace(a, max_tokens=m, temperature=t, seed=i) for i, (a, m, t) in
            enumerate((a, m, t) for m in (5, 9) for t in (0.0, 0.5) for a in ASKS * 3)]
    asks += [replace(a, decide=True) for a in ASKS] + [replace(a, candidates=()) for a in ASKS]
    old, hf.token_budget = hf.token_budget, 700
    try:
        plan = hf.batches(asks)
        assert sorted(i for b in plan for i in b) == list(range(len(asks))) and plan == hf.batches(asks)
        lengths = hf.chat.lengths(asks)
        for b in plan:
            assert len({(asks[i].max_tokens, asks[i].decide, asks[i].temperature > 0, bool(asks[i].candidates)) for i in b}) == 1
            assert len(b) == 1 or len(b) * max(lengths[i] + asks[i].max_tokens for i in b) <= 700
            assert hf.batches([asks[i] for i in b]) == [list(range(len(b)))], "one batch, given alone, is one batch"
            assert len(hf.batches([asks[i] for i in b[::2]])) == 1, "so is a part of it"
    finally: hf.token_budget = old


def test_requests_without_meaning(load):
    for bad in (Request(("x",), decide=True), Request(("x",), max_tokens=0), Request(("x",), temperature=-1.0)):
        with pytest.raises(ValueError): collect(load("llava"), [bad])
    assert collect(load("llava"), []) == []


def test_budget_follows_the_card():
    import transformers as tf
    seven_b = tf.LlamaConfig(hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32)
    small, large = (tokens_that_fit(gb * 10**9, 14 * 10**9, seven_b, 2) for gb in (24, 80))
    assert 2_048 < small < large < 262_144
    assert tokens_that_fit(10**9, 14 * 10**9, seven_b, 2) == 2_048
    per_token = 2 * 32 * 32 * 128 * 2   # the cache alone: keys and values, layers, heads, width, two bytes
    assert large * per_token + 14 * 10**9 < 80 * 10**9
    class Cpu: device = torch.device("cpu")
    assert default_budget(Cpu()) == 16_384


# ---- what breaks

def test_memory_runs_out(load, monkeypatch):
    hf = load("llava")
    whole, real, sizes = collect(hf, ASKS), hf.model.generate, []
    def small(limit):
        def generate(**k):
            sizes.append(len(k["input_ids"]))
            if len(k["input_ids"]) > limit: raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
            return real(**k)
        return generate
    monkeypatch.setattr(hf, "halved", 0)
    monkeypatch.setattr(hf.model, "generate", small(2))
    for a, b in zip(whole, collect(hf, ASKS)): same(a, b)
    assert hf.halved == 2 and sizes[0] == 5          # 5 -> 2 + 3, 3 -> 1 + 2
    monkeypatch.setattr(hf.model, "generate", small(0))
    failed = collect(hf, ASKS)
    assert all(r.finish == "failed" and "out of memory" in r.error and r.text == "" for r in failed)


def test_other_errors_are_not_taken_for_lack_of_memory(load, monkeypatch):
    assert out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"))
    assert out_of_memory(MemoryError()) and not out_of_memory(RuntimeError("shape mismatch"))
    hf = load("llava")
    def broken(**k): raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    monkeypatch.setattr(hf.model, "generate", broken)
    with pytest.raises(RuntimeError, match="mat1"): collect(hf, ASKS)


def test_a_picture_that_cannot_be_read(load):
    hf = load("qwen")
    def torn(): raise ImageError("holiday.jpg: truncated")
    def gone(): raise FileNotFoundError("[Errno 2] No such file: 'x.png'")
    bad = [Request((Picture("holiday.jpg", torn), "What?"), max_tokens=10, candidates=OPTIONS),
           Request((WIDE, Picture("x.png", gone), "What?"), max_tokens=10, candidates=OPTIONS)]
    replies = collect(hf, [*ASKS, *bad])
    for a, b in zip(replies, collect(hf, ASKS)): same(a, b)
    assert [r.finish for r in replies[5:]] == ["failed"] * 2
    assert "holiday.jpg" in replies[5].error and "x.png" in replies[6].error


def test_a_picture_that_the_processor_refuses(load):
    hf = load("qwen")
    strip = Request((picture("red", (6000, 20)), "What?"), max_tokens=10, candidates=OPTIONS)
    replies = collect(hf, [*ASKS[:2], strip, *ASKS[2:]])
    assert replies[2].finish == "failed" and "aspect ratio" in replies[2].error and "\n" not in replies[2].error
    assert all(r.finish in ("stop", "length") for i, r in enumerate(replies) if i != 2)


def test_prompts_beyond_the_positions(load, monkeypatch):
    hf = load("llava")
    whole = collect(hf, ASKS)
    lengths = [r.prompt_tokens for r in whole]
    second = sorted(lengths)[-2]
    assert max(lengths) >= second + 3
    monkeypatch.setattr(hf, "positions", second + 3)
    for a, b in zip(whole, collect(hf, ASKS)):
        if a.prompt_tokens == max(lengths): assert b.finish == "failed" and "positions" in b.error
        else: assert b.output_tokens == min(a.output_tokens, second + 3 - a.prompt_tokens)
        if a.prompt_tokens == second:
            assert b.output_tokens == 3 and b.finish == "length"
            assert b.logprobs == pytest.approx(a.logprobs[:3], **CLOSE)


def test_a_template_that_refuses(folders, tmp_path):
    shutil.copytree(folders("qwen"), tmp_path/"c")
    template = (tmp_path/"c"/"chat_template.jinja").read_text()
    rule = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    (tmp_path/"c"/"chat_template.jinja").write_text(rule + template)
    hf = HF(tmp_path/"c", device="cpu")
    replies = collect(hf, ASKS)
    assert [r.finish == "failed" for r in replies] == [False] * 4 + [True] and "System role" in replies[4].error
    with pytest.raises(Unfit): hf.chat.render(ASKS[4])
    assert "System role" in hf.render(ASKS[4])


# ---- loading

def refusal(*args, **kwargs):
    with pytest.raises(ModelError) as e: HF(*args, **kwargs)
    text = str(e.value)
    assert "\n" not in text and len(text) < 500
    return text


def edited(source, target, **changes):
    shutil.copytree(source, target)
    config = json.loads((target/"config.json").read_text())
    (target/"config.json").write_text(json.dumps(config | changes))
    return target


def test_error_lines(folders, tmp_path):
    llava = folders("llava")
    assert "no such folder" in refusal(tmp_path/"nowhere")
    (tmp_path/"empty").mkdir()
    assert "config.json" in refusal(tmp_path/"empty")
    (tmp_path/"file").write_text("x")
    assert "a checkpoint is a folder" in refusal(tmp_path/"file")
    (tmp_path/"text").mkdir()
    (tmp_path/"text"/"config.json").write_text('{"model_type": "llama"}')
    assert "'llama'" in refusal(tmp_path/"text")
    assert "update transformers" in refusal(edited(llava, tmp_path/"new", model_type="of_tomorrow"))
    code = {"AutoConfig": "configuration_x.XConfig", "AutoModelForImageTextToText": "modeling_x.X"}
    assert "never run" in refusal(edited(llava, tmp_path/"code", model_type="of_tomorrow", auto_map=code))
    assert "dtype 'int3'" in refusal(llava, dtype="int3")
    assert "device 'tpu'" in refusal(llava, device="tpu")
    assert "flash_please" in refusal(llava, attn="flash_please")


def test_damaged_checkpoints(folders, tmp_path):
    llava = folders("llava")
    for part, said in (("model.safetensors", "no weights"), ("chat_template.jinja", "no chat template"),
                       ("processor_config.json", "processor")):
        copy = tmp_path/part
        shutil.copytree(llava, copy)
        (copy/part).unlink()
        assert said in refusal(copy, device="cpu")
    torn = tmp_path/"torn"
    shutil.copytree(llava, torn)
    data = (torn/"model.safetensors").read_bytes()
    (torn/"model.safetensors").write_bytes(data[:len(data) // 2])
    assert "weights cannot be loaded" in refusal(torn, device="cpu")


def test_a_chat_template_of_ones_own(folders, load, tmp_path):
    bare = tmp_path/"bare"
    shutil.copytree(folders("qwen"), bare)
    template = (bare/"chat_template.jinja").read_text()
    (bare/"chat_template.jinja").unlink()
    hf = HF(bare, device="cpu", processor_kwargs={"chat_template": template})
    same(collect(hf, ASKS[:1])[0], collect(load("qwen"), ASKS[:1])[0])


def test_incomplete_weights_are_refused(folders, tmp_path):
    from safetensors.torch import load_file, save_file
    part = tmp_path/"part"
    shutil.copytree(folders("llava"), part)
    tensors = load_file(part/"model.safetensors")
    lost = sorted(tensors)[0]
    save_file({k: v for k, v in tensors.items() if k != lost}, part/"model.safetensors", metadata={"format": "pt"})
    assert "1 tensors are missing from its weights" in refusal(part, device="cpu")


def test_memory_runs_out_while_loading(folders, monkeypatch):
    import transformers
    def full(*a, **k): raise torch.OutOfMemoryError("CUDA out of memory")
    monkeypatch.setattr(transformers.AutoModelForImageTextToText, "from_pretrained", full)
    assert "does not fit" in refusal(folders("llava"), device="cpu")


def test_torch_missing(folders, monkeypatch):
    import sys
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert "pip install 'unsaf[hf]'" in refusal(folders("llava"))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    "A hub cache on disk, with no network behind it."
    import huggingface_hub.constants as constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_the_hub(folders, hub):
    commit, repo = "0123456789abcdef0123456789abcdef01234567", hub/"models--lab--tiny"
    shutil.copytree(folders("llava"), repo/"snapshots"/commit)
    (repo/"refs").mkdir()
    (repo/"refs"/"main").write_text(commit)
    hf = HF("lab/tiny", device="cpu")
    assert hf.name == "lab/tiny" and hf.identity["weights"] == f"hub:{commit}"
    assert collect(hf, ASKS[:1])[0].finish in ("stop", "length")
    assert "lab/other" in refusal("lab/other")
    assert refusal("lab/tiny", revision="not-there")


def test_fingerprints(folders, load, tmp_path):
    copy = tmp_path/"renamed"
    shutil.copytree(folders("llava"), copy)
    assert HF(copy, device="cpu").identity == load("llava").identity, "a moved folder is the same model"
    json.dumps(load("llava").identity)
    before = weights_fingerprint(copy), settings_fingerprint(copy)
    data = bytearray((copy/"model.safetensors").read_bytes())
    data[-1] ^= 1
    (copy/"model.safetensors").write_bytes(data)
    (copy/"chat_template.jinja").write_text("{{ 'other' }}")
    assert weights_fingerprint(copy) != before[0] and settings_fingerprint(copy) != before[1]
    assert weights_fingerprint(copy, whole=10).startswith("sha256-edges:")


def test_the_module_is_light():
    import subprocess, sys
    code = "import sys, unsaf.models.hf; sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], timeout=300).returncode == 0


def test_precision(monkeypatch, folders):
    assert choose_dtype("auto", "cpu") is torch.float32
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert choose_dtype("auto", "cuda") is torch.float16, "an emulated bfloat16 is no bfloat16"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    assert choose_dtype("auto", "cuda:1") is torch.bfloat16
    half = HF(folders("qwen"), device="cpu", dtype="bfloat16")
    assert half.identity["dtype"] == "bfloat16" and collect(half, ASKS[:1])[0].finish in ("stop", "length")


def test_a_device_map_goes_through(monkeypatch):
    from transformers import AutoModelForImageTextToText as auto
    real, maps = auto.from_pretrained, []
    monkeypatch.setattr(auto, "from_pretrained", lambda *args, **more: maps.append(more["device_map"]) or real(*args, **more))
    from unsaf.models.loading import load
    plain, mapped = (load("tiny-s", device="cpu", **more) for more in ({}, dict(device_map={"": "cpu"})))
    assert maps == ["cpu", {"": "cpu"}] and mapped.identity == plain.identity
    asked = [Request("Is there a circle?", max_tokens=8)]
    assert collect(mapped, asked) == collect(plain, asked)


def test_the_stand_in_leaves_no_trace(folders):
    from transformers.utils import is_torchvision_available
    if is_torchvision_available(): pytest.skip("with torchvision nothing is replaced")
    from transformers.models.auto.video_processing_auto import AutoVideoProcessor
    before = AutoVideoProcessor.__dict__["from_pretrained"]
    with images_only() as stub: assert stub is not None and AutoVideoProcessor.__dict__["from_pretrained"] is not before
    assert AutoVideoProcessor.__dict__["from_pretrained"] is before
    assert load_processor(str(folders("qwen"))).image_processor


@pytest.mark.slow
def test_the_stand_in_needs_nothing_loaded_before():
    "What transformers loads lazily depends on what was loaded before, so this needs a process of its own."
    import subprocess, sys
    code = "from unsaf.models.checkpoint import images_only\nwith images_only(): pass"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-500:]


def test_stop_tokens(folders):
    processor = load_processor(str(folders("qwen")))
    chat = Chat(processor, eos=[256, 258])
    assert chat.stops == {256, 258} and chat.ending == 258
    processor = load_processor(str(folders("gemma")))      # its tokenizer ends with <eos>, its template with <eot>
    chat = Chat(processor)
    assert {chat.tok.convert_ids_to_tokens(i) for i in chat.stops} == {"<eos>", "<eot>"}
    assert chat.tok.convert_ids_to_tokens(chat.ending) == "<eot>"
