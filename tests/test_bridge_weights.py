"""What the weights say through the bridge: log-probabilities, candidates and DoLa against plain forward passes of the same stand-ins."""
import importlib, math, re, threading
from dataclasses import replace
import numpy as np
import pytest
from PIL import Image
from unsaf.core import ModelError, Picture, Request, UnsafError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
import tiny_checkpoints  # noqa: E402
from stand_in import tiny_lm  # noqa: E402
from stand_in.make import CODE, LANGUAGE, weights  # noqa: E402
from test_bridge import body, call, fault, uri  # noqa: E402
from test_dola import ASKS, DEPTH, by_formula  # noqa: E402
from unsaf.models.base import collect  # noqa: E402
from unsaf.models.bridge_gate import Exits, reply_tokens  # noqa: E402
from unsaf.models.bridge_server import FAMILIES, Engine, Server, read_ask  # noqa: E402
from unsaf.models.cove import intervene  # noqa: E402
from unsaf.models.dola import BridgedDola, Dola, Recipe, with_dola  # noqa: E402
from unsaf.models.hf import HF  # noqa: E402
from unsaf.models.served.api import Api  # noqa: E402

WORDS = ["yes", "no", "unanswerable", "no idea"]


def engine(family, layers=0):
    "A stand-in behind its family's call, with the habits of its generation_config."
    kind = importlib.import_module("stand_in.modeling_" + CODE[family])
    model = (kind.Layered if layers and CODE[family] == "qwen" else kind.StandIn)(tiny_lm.TinyConfig(layers=layers))
    assert not model.load_state_dict(weights(LANGUAGE[CODE[family]], 3, layers), strict=False).unexpected_keys
    e = Engine("m", family, model.eval(), tiny_lm.ByteTokenizer())
    e.gate.owner.generation_config = transformers.GenerationConfig(chat_format="chatml", do_sample=True, top_p=.9, temperature=2.0, repetition_penalty=1.3,
                                                                   eos_token_id=256, pad_token_id=0, max_new_tokens=512)
    return e


@pytest.fixture
def red(tmp_path):
    Image.new("RGB", (64, 64), "red").save(tmp_path / "red.png")
    return str(tmp_path / "red.png")


@torch.no_grad()
def by_hand(e, family, path, tokens):
    "Log-probabilities of `tokens` after the prompt, in one forward pass that knows nothing of `generate`."
    language, x = e.model.by_hand(e.tokenizer, [path], "What color is it?", family != "qwen-vl")
    x = torch.cat([x, language.embed(torch.tensor([tokens])) + getattr(e.model, "seen", 0)], 1)
    logp = language(inputs_embeds=x).logits[0, -len(tokens) - 1:-1].double().log_softmax(-1)
    return logp.gather(-1, torch.tensor(tokens)[:, None])[:, 0].tolist()


ASKED = body("What color is it?", uri("red", (64, 64)), max_tokens=12)


@pytest.mark.promise("bridge")
@pytest.mark.parametrize("family", FAMILIES)
def test_they_are_those_of_a_plain_forward_pass(family, red):
    e = engine(family)
    plain = e.answer(ASKED)
    full = e.answer(ASKED | {"logprobs": True, "candidates": WORDS})
    choice = full["choices"][0]
    for word in WORDS: assert choice["candidates"][word] == pytest.approx(sum(by_hand(e, family, red, [*word.encode(), 256])), abs=1e-5 * len(word))
    content, ended = choice["logprobs"]["content"], choice["finish_reason"] == "stop"
    tokens = [*choice["message"]["content"].encode(), *[256] * ended]
    assert "".join(t["token"] for t in content[:len(tokens) - ended]) == choice["message"]["content"]
    assert [t["logprob"] for t in content] == pytest.approx(by_hand(e, family, red, tokens), abs=1e-5)
    for name in ("message", "finish_reason"): assert choice[name] == plain["choices"][0][name]
    assert full["usage"] == plain["usage"] and plain["choices"][0].keys() == {"index", "message", "finish_reason"}
    decided = e.answer(ASKED | {"candidates": WORDS, "decide": True})
    likeliest = max(WORDS, key=choice["candidates"].get)
    assert decided["choices"][0]["message"]["content"] == likeliest and decided["choices"][0]["candidates"] == choice["candidates"]
    assert decided["choices"][0]["finish_reason"] == "stop" and decided["usage"]["completion_tokens"] == 0
    assert decided["usage"]["prompt_tokens"] == plain["usage"]["prompt_tokens"]
    drawn = [[e.answer(ASKED | {"temperature": 1.0, "seed": seed} | more)["choices"][0]["message"]["content"] for seed in range(3)]
             for more in ({}, {"logprobs": True, "candidates": WORDS})]
    assert drawn[0] == drawn[1] and len(set(drawn[0])) > 1


def test_of_equals_the_first():
    e = engine("internvl2")
    e.model.language_model.forward = lambda **kw: transformers.modeling_outputs.CausalLMOutput(logits=torch.zeros(1, 1, tiny_lm.VOCAB))
    for words in (["b", "a"], ["a", "b"]):
        choice = e.answer(body("Q", candidates=words, decide=True))["choices"][0]
        assert choice["message"]["content"] == words[0] and choice["candidates"] == {w: pytest.approx(-2 * math.log(260)) for w in words}


@pytest.mark.parametrize("change, param", [
    ({"candidates": "yes"}, "candidates"), ({"candidates": ["yes", 1]}, "candidates"),
    ({"decide": True}, "decide"), ({"decide": "yes", "candidates": ["a"]}, "decide"),
    ({"logprobs": 3}, "logprobs"), ({"dola": "middle"}, "dola"), ({"dola": []}, "dola"), ({"dola": [True]}, "dola"), ({"dola": [-1]}, "dola"),
    ({"dola": "low", "candidates": ["a"]}, "candidates")])
def test_wishes_without_meaning(change, param):
    e = fault(read_ask, body() | change, "m")
    assert e.status == 400 and e.param == param


def test_what_a_checkpoint_does_not_allow():
    "One line each, with the field that can be left out."
    e = engine("internvl2")
    for text in ("<patch>", "a<|endoftext|>"): assert "not what its tokens say" in str(fault(e.answer, body("Q", candidates=[text])))
    assert fault(e.answer, body("Q", dola="low")).param == "dola"            # no layers
    e.gate.owner.generation_config.suppress_tokens = [ord("q")]
    refused = fault(e.answer, body("Q", candidates=["yes", "q"]))
    assert "'q' cannot be scored" in str(refused) and refused.param == "candidates"
    chat = e.model.chat
    e.model.chat = lambda *a, **k: (chat(*a, **k), chat(*a, **k))[1]
    assert e.answer(body("Q", max_tokens=3))["choices"][0]["finish_reason"]
    for wish, value in (("logprobs", True), ("candidates", ["a"])):
        refused = fault(e.answer, body("Q", max_tokens=3, **{wish: value}))
        assert "several steps" in str(refused) and refused.param == wish and refused.status == 400


def test_a_candidate_is_what_comes_after_the_prompt():
    "With a tokenizer that merges a line break with what follows it, and one that writes a first word otherwise."
    class Merging:
        def __call__(self, text, add_special_tokens): return {"input_ids": [hash(p) for p in re.findall(r"\n?a|.|\n", text)]}
        def decode(self, ids, **how): return "a"
    assert "not what its tokens say" in str(fault(reply_tokens, Merging(), "a", "\n"))
    assert reply_tokens(Merging(), "a") == [hash("a")] and reply_tokens(tiny_lm.ByteTokenizer(), "", "\n") == []


# ---- DoLa

@torch.no_grad()
def dola_by_hand(language, embeds, prompt, layers, length):
    "The formula of test_dola in a loop without hooks, cache or `generate`."
    tokens, recipe = [], Recipe(layers)
    while len(tokens) < length and 256 not in tokens:
        out = language(inputs_embeds=embeds, output_hidden_states=True, use_cache=False)
        early = np.array([language.lm_head(out.hidden_states[i][0, -1]).double().numpy() for i in layers])
        scores, _ = by_formula(out.logits[0, -1].double().numpy(), early, recipe, [*prompt, *tokens], [])
        tokens.append(int(np.argmax(scores)))
        embeds = torch.cat([embeds, language.embed(torch.tensor([tokens[-1:]]))], 1)
    return tokens


def said(e, **how): return [(t["token"], round(t["logprob"], 4)) for t in e.answer(ASKED | {"logprobs": True} | how)["choices"][0]["logprobs"]["content"]]


@pytest.mark.parametrize("family, layers, numbers", [("internvl2", "low", (0, 2)), ("internvl2", [4, 1, 2], (1, 2, 4)), ("minicpm-v-2", "high", (3, 5)),
                                                     ("qwen-vl", "low", (0, 2)), ("qwen-vl-chat", "high", (3, 5))])
def test_dola_is_its_formula(family, layers, numbers, red):
    "Two families that hand embeddings to `generate`, and two whose prompts hold the path of an image, which is not the same twice."
    e = engine(family, layers=6)
    language, embeds = e.model.by_hand(e.tokenizer, [red], "What color is it?", family != "qwen-vl")
    query = e.tokenizer.from_list_format([{"image": red}, {"text": "What color is it?"}])
    prompt = {"internvl2": e.model.__dict__.get("system_message", "") + "<patch>\nWhat color is it?", "minicpm-v-2": "<user>What color is it?<AI>",
              "qwen-vl": query, "qwen-vl-chat": e.model.prompt(query) if family == "qwen-vl-chat" else ""}[family]
    ids = [259] * 16 * (family == "minicpm-v-2") + e.tokenizer(prompt)["input_ids"]
    if 257 in ids: ids = ids[:ids.index(257) + 1] + ids[ids.index(258):]
    hooks = lambda: [len(m._forward_pre_hooks) + len(m._forward_hooks) for m in e.model.modules()]
    expected = dola_by_hand(language, embeds, ids, numbers, 12)
    before, answer = hooks(), said(e, dola=layers)
    assert [t for t, _ in answer] == [e.tokenizer.decode([t]) for t in expected] == [t for t, _ in said(e, dola=layers)]
    assert [t for t, _ in answer] != [t for t, _ in said(e)], "the stand-in's layers do not all agree"
    refused = fault(e.answer, ASKED | {"dola": [6]})
    assert hooks() == before and "has 6 layers" in str(refused) and refused.param == "dola"


def test_scaled_logits_and_minicpm_s_divisor():
    e = engine("minicpm-v-2", layers=6)
    lm = e.model.llm
    plain, head = said(e, dola="low"), lm.lm_head.forward
    lm.lm_head.forward = lambda x: head(x).tanh()
    assert said(e, dola="low")                                        # the head itself may do what it likes
    lm.lm_head.forward = head
    hook = lm.model.norm.register_forward_hook(lambda module, args, out: out / 1.5)
    assert said(e, dola="low") != plain
    hook.remove()
    hook = lm.lm_head.register_forward_pre_hook(lambda module, args: (args[0] / 9,))
    assert said(e, dola="low")
    hook.remove()
    output = transformers.modeling_outputs.CausalLMOutputWithPast
    hook = lm.register_forward_hook(lambda module, args, out: output(logits=out.logits * 2, past_key_values=out.past_key_values))
    assert "scaled or capped" in str(fault(e.answer, ASKED | {"dola": "low"}))
    hook.remove()
    lm.config.dim_model_base = lm.config.hidden_size / 9             # as its configuration says, its code does not: seen at once
    assert Exits(lm).divisor == 9 and "scaled or capped" in str(fault(e.answer, ASKED | {"dola": "low"}))


class Wrapped:
    "A checkpoint of today in the place of Qwen-VL's: its prompt is the one that `HF` makes of `request`."
    def __init__(self, hf): self.hf = hf

    def from_list_format(self, items): return ""

    def convert_tokens_to_ids(self, mark): return -1

    def __call__(self, text, return_tensors): return self.hf.chat.encode([self.request], {id(p): p.pixels() for p in self.request.pictures})

    def decode(self, ids, skip_special_tokens=False): return self.hf.chat.tok.decode(ids, skip_special_tokens=skip_special_tokens)


@pytest.mark.promise("bridge")
@pytest.mark.parametrize("family", ["llava", pytest.param("internvl", marks=pytest.mark.slow)])
def test_here_and_behind_the_bridge_are_the_same(family, tmp_path, monkeypatch):
    "Token for token, with the log-probabilities of DoLa's own distribution."
    language = tiny_checkpoints.language
    monkeypatch.setattr(tiny_checkpoints, "language", lambda tok, **more: {**language(tok, **more), "num_hidden_layers": DEPTH})
    hf = HF(tiny_checkpoints.build(family, tmp_path / "c"), device="cpu")
    hf.chat.banned = []            # the server bans nothing
    requests = [replace(a, max_tokens=16) for a in ASKS]
    local = {layers: collect(Dola(hf, layers), requests) for layers in ("low", "high", (1, 3))}
    hf.model.generation_config.eos_token_id = sorted(hf.chat.stops)
    tok = Wrapped(hf)
    e, compared = Engine("m", "qwen-vl", hf.model, tok), 0
    for layers, replies in local.items():
        for tok.request, reply in zip(requests, replies):
            field = layers if isinstance(layers, str) else list(layers)
            choice = e.answer(body("", dola=field, max_tokens=16, logprobs=True))["choices"][0]
            content = choice["logprobs"]["content"]
            assert [t["logprob"] for t in content] == pytest.approx(reply.logprobs, abs=1e-4)
            assert choice["message"]["content"].strip() == reply.text.strip() and len(content) == reply.output_tokens
            compared += len(content)
    assert compared > 80


# ---- the client

@pytest.fixture
def served():
    e = engine("qwen-vl-chat", layers=6)
    with Server(e) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield e, f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def test_an_api_on_a_bridge(served):
    e, url = served
    assert call(url + "/models")[1]["data"][0]["owned_by"] == "unsaf"
    request = Request((Picture("red", lambda: Image.new("RGB", (64, 64), "red")), "What color is it?"), max_tokens=12, candidates=("a",))
    api = Api("m", url, logprobs=True)
    [plain], dola = collect(api, [replace(request, candidates=())]), intervene(api, "dola", layers=[1, 2, 4])
    [reply] = collect(dola, [request])
    assert isinstance(dola, BridgedDola) and dola.name == "m+dola-1-2-4" and api.name == "m" and dola.identity != api.identity
    assert dola.identity["extra_body"] == {"dola": [1, 2, 4]} and not api.extra_body and reply.finish != "failed", reply.error
    direct = e.answer(ASKED | {"dola": [1, 2, 4]})["choices"][0]["message"]["content"]
    assert reply.text == direct != plain.text and len(reply.logprobs) == reply.output_tokens == len(plain.logprobs) and reply.candidates is None
    with pytest.raises(ValueError, match="to decide"): collect(dola, [replace(request, decide=True)])
    [reply] = collect(with_dola(api, [9]), [request])
    assert reply.finish == "failed" and "has 6 layers" in reply.error
    with pytest.raises(UnsafError, match="leave out relative_top"): with_dola(api, relative_top=.2)
    with pytest.raises(UnsafError, match="middle"): with_dola(api, "middle")
    with pytest.raises(ModelError, match="plain checkpoint"): with_dola(dola)


def test_any_other_endpoint_needs_the_weights(monkeypatch):
    "vLLM ignores a field that it does not know; it must not reply under DoLa's name."
    from faulty_server import Faulty
    with pytest.raises(ModelError, match="needs the weights"): with_dola(Api("gpt-4o", "https://api.openai.com/v1"))
    assert collect(with_dola(Api("m", "http://127.0.0.1:9/v1")), []) == []      # nothing is asked: a store may have it all
    with pytest.raises(ModelError, match="not reachable"): collect(with_dola(Api("m", "http://127.0.0.1:9/v1")), [Request(("Q",))])
    with Faulty() as server, pytest.raises(ModelError, match="needs the weights"): collect(with_dola(Api("m", server.url)), [Request(("Q",))])


@pytest.mark.slow
def test_a_unit_of_table_2_on_a_bridge(served, tmp_path):
    "POPE of a student behind the bridge, plain and by DoLa, each under its own key; an endpoint that is no bridge is found before anything runs."
    from faulty_server import Faulty
    from unsaf.paper.demand import lacking
    from unsaf.paper.runspec import RunSpec, run_spec
    e, url = served
    specs = [RunSpec("bench", f"api:m@{url}", "scenes", "both", 2, 5, 1, {"benchmarks": "pope", **more}) for more in ({}, {"intervention": "dola"})]
    assert not lacking(specs)
    plain, dola = (run_spec(spec, tmp_path, lambda line: None) for spec in specs)
    assert (plain.model, dola.model) == ("m", "m+dola-low") and len(plain.items["pope"]) == len(dola.items["pope"]) > 0
    assert set(dola.items["pope"]["reply"]) != set(plain.items["pope"]["reply"])
    with Faulty() as other: [why] = lacking([replace(spec, model=f"api:m@{other.url}") for spec in specs])
    assert "needs the weights" in why and "unsaf bridge" in why
