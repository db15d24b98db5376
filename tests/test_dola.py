"DoLa against its formula in a plain loop, its published code, and its promises: rows alone, the plain model untouched, keys apart."
import itertools, math
from dataclasses import replace
import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.special import log_softmax, rel_entr, softmax
from unsaf.core import ModelError, Picture, Request, UnsafError
from unsaf.models.base import Scripted, collect, decides
from unsaf.models.cache import Cached
from unsaf.store import Store

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
import tiny_checkpoints  # noqa: E402
from parity import picture  # noqa: E402
from unsaf.models.dola import Dola, Recipe, candidate_layers, contrast, divergence, penalise  # noqa: E402
from unsaf.models.hf import HF  # noqa: E402

DEPTH = 6
FAMILIES = ("llava", "qwen", "internvl", "gemma")   # gemma's words are tied
WIDE, TALL = picture("red", (90, 60)), picture("blue", (50, 110))
ASKS = [Request((WIDE, "What is it?"), max_tokens=8),
        Request((TALL, "Which color has the shape in the picture, and what stands behind it?"), max_tokens=8),
        Request(("No picture here.",), max_tokens=8, system="Be brief.")]


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    "Checkpoints of six layers, so that there is something to choose from."
    root, made, language = tmp_path_factory.mktemp("deep"), {}, tiny_checkpoints.language
    def deeper(tok, **more):
        if "layer_types" in more: more["layer_types"] = more["layer_types"] * (DEPTH // 2)
        return {**language(tok, **more), "num_hidden_layers": DEPTH}
    def model(family):
        if family not in made:
            tiny_checkpoints.language = deeper
            try: made[family] = HF(tiny_checkpoints.build(family, root / family), device="cpu")
            finally: tiny_checkpoints.language = language
        return made[family]
    return model


# ---- the formula, in numpy, one row at a time, no hooks, no cache, no padding

def released(p, q):
    m = (p + q) / 2
    return (rel_entr(m, p).mean() + rel_entr(m, q).mean()) / 2


def by_formula(final, early, recipe, before, banned):
    "(scores, chosen candidate) of one step; `final` (vocabulary), `early` (candidates, vocabulary), `before`: the tokens so far."
    far = (lambda p, q: jensenshannon(p, q)**2) if recipe.divergence == "jensen-shannon" else released
    place = int(np.argmax([far(softmax(final), softmax(e)) for e in early]))
    p, q = log_softmax(final), log_softmax(early[place])
    scores = np.where(np.exp(p) < recipe.relative_top * np.exp(np.delete(p, banned)).max(), -np.inf, p - q)
    for token in set(before): scores[token] *= recipe.repetition_penalty if scores[token] < 0 else 1 / recipe.repetition_penalty
    return scores, place


@torch.no_grad()
def plain_loop(hf, ask, recipe, forced=()):
    "(tokens, log-probabilities, chosen layers) of `ask`, the tokens chosen by DoLa or `forced`."
    x = dict(hf.chat.encode([ask], {id(p): p.pixels() for p in ask.pictures}))
    tokens, logprobs, chosen = [], [], []
    head, norm = hf.model.get_output_embeddings(), hf.model.get_decoder().norm
    for step in range(len(forced) or ask.max_tokens):
        out = hf.model(**x, output_hidden_states=True, use_cache=False)
        states = [out.hidden_states[i][0, -1] for i in recipe.layers]
        early = np.array([head(norm(s) if recipe.norm else s).double().numpy() for s in states])
        scores, place = by_formula(out.logits[0, -1].double().numpy(), early, recipe, x["input_ids"][0].tolist(), hf.chat.banned)
        allowed = scores.copy()
        allowed[hf.chat.banned] = -np.inf
        tokens.append(forced[step] if forced else int(allowed.argmax()))
        logprobs.append(log_softmax(scores)[tokens[-1]])
        chosen.append(recipe.layers[place])
        if tokens[-1] in hf.chat.stops and not forced: break
        more = torch.tensor([[tokens[-1]]])
        x["input_ids"] = torch.cat([x["input_ids"], more], 1)
        x["attention_mask"] = torch.ones_like(x["input_ids"])
        for k in ("mm_token_type_ids", "token_type_ids"):
            if k in x: x[k] = torch.cat([x[k], torch.zeros_like(more)], 1)
    return tokens, logprobs, chosen


SETTINGS = [dict(layers="low"), dict(layers="high", repetition_penalty=1), dict(layers=[5, 1, 3], divergence="jensen-shannon"),
            dict(layers=range(DEPTH), norm=True, relative_top=0.4), dict(layers=[2], relative_top=0)]


@pytest.mark.parametrize(("family", "settings"), [*(("llava", s) for s in SETTINGS), *((f, s) for f in FAMILIES[1:] for s in SETTINGS[::2])],
                         ids=lambda x: x if isinstance(x, str) else "-".join(map(str, x.values())))
def test_a_padded_batch_with_cache_is_the_plain_loop(load, family, settings):
    hf = load(family)
    dola = Dola(hf, **settings)
    assert len(dola.batches(ASKS)) == 1
    for ask, reply in zip(ASKS, collect(dola, ASKS)):
        tokens, logprobs, _ = plain_loop(hf, ask, dola.recipe)
        assert (reply.text, reply.output_tokens) == (hf.chat.read(tokens)[0], len(tokens))
        assert reply.logprobs == pytest.approx(logprobs, abs=2e-4)


def test_the_loop_exercises_what_it_should(load):
    "Rows choose different layers, and DoLa says something else than the plain model."
    hf = load("llava")
    dola = Dola(hf, [1, 2, 4])
    said, picked = collect(dola, ASKS), [plain_loop(hf, a, dola.recipe)[2] for a in ASKS]
    assert len({layer for row in picked for layer in row}) > 1
    assert any(a.text != b.text for a, b in zip(said, collect(hf, ASKS)))
    assert sum(dola.chosen.values()) == sum(r.output_tokens for r in said)
    assert dola.chosen == {i: sum(row.count(i) for row in picked) for i in dola.chosen}


def test_trace_is_the_loop(load):
    hf = load("qwen")
    dola = Dola(hf, [0, 2, 3, 5])
    for ask in ASKS[:2]:
        seen, (tokens, _, chosen) = dola.trace(ask), plain_loop(hf, ask, dola.recipe)
        assert seen.chosen == tuple(chosen) and seen.divergence.shape == (len(tokens), 4) and len(seen.tokens) == len(tokens)
        assert [seen.layers[i] for i in seen.divergence.argmax(1)] == chosen


# ---- the published code

# transformers 4.55.4, `_dola_select_contrast([1, 2, 3], {k: L(k)[r:r + 1] ...}, L(0)[r:r + 1])` for r = 0 ... 4; None is minus infinity
GOLD = [[0.71662, 4.91878, None, None, None, 3.05724, 1.39568], [None, None, None, 2.92068, 5.15592, -0.54576, None],
        [None, 0.25679, 6.14413, 2.27847, None, None, None], [5.50103, -1.69899, None, None, None, 4.03376, 2.54503],
        [None, None, None, 5.61501, 3.45084, None, None]]


def waves(k):
    return torch.tensor([[3 * math.sin(1 + k * 1.7 + r * 2.3 + v * (1.1 + .6 * k)) for v in range(7)] for r in range(5)])


def test_default_is_what_transformers_gave_row_by_row():
    final, early = waves(0), torch.stack([waves(k) for k in (1, 2, 3)])
    picked = torch.stack([divergence(final, e) for e in early]).argmax(0)
    scores = contrast(final, early[picked, torch.arange(5)])
    gold = torch.tensor([[-math.inf if x is None else x for x in row] for row in GOLD])
    assert torch.equal(scores.isinf(), gold.isinf()) and torch.allclose(scores, gold, atol=2e-5)
    assert len(set(picked.tolist())) > 1


@pytest.mark.parametrize(("depth", "low", "high"), [(32, range(0, 16, 2), range(16, 32, 2)), (40, range(0, 20, 2), range(20, 40, 2)),
                                                    (60, range(0, 20, 2), range(40, 60, 2)), (80, range(0, 20, 2), range(60, 80, 2))])
def test_buckets_are_those_of_the_released_commands(depth, low, high):
    assert candidate_layers("low", depth) == tuple(low) and candidate_layers("high", depth) == tuple(high)


@pytest.mark.parametrize("tied", [False, True])
def test_every_depth_has_candidates(tied):
    for depth, bucket in itertools.product(range(1, 90), ("low", "high")):
        found = candidate_layers(bucket, depth, tied)
        assert found and len(found) <= 10 and min(found) >= 0 and max(found) < depth, (depth, bucket)
        if tied and depth > 2: assert found[0] > 0 if bucket == "high" else found[0] == 2, (depth, bucket)


# ---- the parts

def test_divergences_are_those_of_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 4, (2, 50, 9))
    for kind, far in (("jensen-shannon", lambda p, q: jensenshannon(p, q)**2), ("released", released)):
        ours = divergence(torch.tensor(a), torch.tensor(b), kind)
        assert ours.numpy() == pytest.approx([far(softmax(x), softmax(y)) for x, y in zip(a, b)], abs=1e-6)
    sharp = torch.tensor([[200., 0.], [0., 200.]])   # probabilities below the smallest float
    assert divergence(sharp[0], sharp[1], "jensen-shannon").item() == pytest.approx(math.log(2)) and divergence(sharp[0], sharp[1]).isfinite()


def test_penalty_is_that_of_transformers_without_padding():
    from transformers import RepetitionPenaltyLogitsProcessor
    torch.manual_seed(0)
    scores, tokens = torch.randn(4, 12), torch.randint(0, 12, (4, 6))
    scores[:, 5] = -torch.inf
    theirs = RepetitionPenaltyLogitsProcessor(1.2)(tokens, scores.clone())
    assert torch.equal(penalise(scores, tokens, torch.ones_like(tokens), 1.2), theirs)
    padded = torch.cat([torch.full((4, 3), 7), tokens], 1)
    real = torch.cat([torch.zeros(4, 3, dtype=torch.long), torch.ones_like(tokens)], 1)
    assert torch.equal(penalise(scores, padded, real, 1.2), theirs)


# ---- promises

@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_is_its_rows_sampled_too(load, family):
    dola = Dola(load(family), "low")
    asks = [*ASKS, *(replace(a, temperature=0.9, seed=s) for a in ASKS[:2] for s in (1, 2))]
    for together, ask in zip(collect(dola, asks), asks):
        alone, = collect(dola, [ask])
        assert together.text == alone.text and together.logprobs == pytest.approx(alone.logprobs, abs=2e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_but_the_most_probable_is_plain_greedy(load, family):
    hf = load(family)
    strict = Dola(hf, "high", relative_top=1, repetition_penalty=1)
    assert [r.text for r in collect(strict, ASKS)] == [r.text for r in collect(hf, ASKS)]


def test_the_plain_model_does_not_notice(load):
    hf = load("internvl")
    before, dola = collect(hf, ASKS), Dola(hf, [1, 3])
    collect(dola, ASKS)
    next(replies := dola.generate(ASKS))
    assert [r.text for r in collect(hf, ASKS)] == [r.text for r in before]
    assert len(list(replies)) == 2 and hf.processors == dola.processors == ()
    dola.head = None   # breaks in the middle of a run
    with pytest.raises(AttributeError): collect(dola, ASKS)
    assert hf.processors == dola.processors == () and not any(layer._forward_pre_hooks for layer in hf.model.get_decoder().layers)
    assert [r.logprobs for r in collect(hf, ASKS)] == [r.logprobs for r in before]


def test_keys_are_apart_and_replies_come_back(load):
    hf, store = load("llava"), Store()
    asks = [replace(a, max_tokens=4, candidates=("A", "B")) for a in ASKS[:2]]
    models = [hf, Dola(hf), Dola(hf, "high"), Dola(hf, [1, 2]), Dola(hf, relative_top=0.2), Dola(hf, repetition_penalty=1),
              Dola(hf, divergence="jensen-shannon"), Dola(hf, norm=True)]
    fresh = [collect(Cached(m, store), asks) for m in models]
    assert len(store) == len(models) * len(asks)
    for m, replies in zip(models, fresh):
        again = collect(Cached(m, store), asks)
        assert all(r.cached for r in again) and [replace(r, cached=False) for r in again] == replies   # minus infinity survives too
    assert len({m.name for m in models[:4]}) == 4


@pytest.mark.parametrize("family", ["llava", "gemma"])   # gemma's cache cannot be cut back: the prompt is computed anew
def test_candidates_are_scored_by_the_formula(load, family):
    hf, words = load(family), ("A", "no")
    for dola in (Dola(hf, [1, 2, 4], relative_top=0), Dola(hf, [1, 2, 4])):
        for ask, reply in zip(ASKS, collect(dola, [replace(a, candidates=words) for a in ASKS])):
            for word in words:
                expected = sum(plain_loop(hf, ask, dola.recipe, hf.chat.reply_tokens(word))[1])
                assert reply.candidates[word] == pytest.approx(expected, abs=1e-3)   # where implausible, minus infinity both


# ---- what does not go

def test_refusals(load):
    hf = load("llava")
    for wrong in (dict(layers="middle"), dict(layers=[]), dict(layers=[DEPTH]), dict(layers=[-1]), dict(layers=[1.0]), dict(relative_top=2),
                  dict(repetition_penalty=0), dict(divergence="euclid"), dict(temperature=1)):
        with pytest.raises(UnsafError, match=str(next(iter(wrong)))): Dola(hf, **wrong)
    for model in (Scripted({}), Cached(hf, Store()), Dola(hf)):
        with pytest.raises(ModelError, match="plain checkpoint"): Dola(model)
    with pytest.raises(UnsafError): Recipe((0,), relative_top=math.nan)
    assert not decides(Dola(hf))
    with pytest.raises(ValueError, match="request 0"): collect(Dola(hf), [replace(ASKS[0], candidates=("A",), decide=True)])
    with pytest.raises(ModelError, match="no reply"): Dola(hf).trace(Request((Picture("gone", lambda: (_ for _ in ()).throw(OSError("gone"))), "?")))


def test_logits_that_are_scaled_afterwards_are_refused(load):
    hf = load("qwen")
    def cap(module, args, out):
        out.logits = out.logits.tanh()
        return out
    hook = hf.model.register_forward_hook(cap)
    try:
        with pytest.raises(ModelError, match="scaled or capped"): Dola(hf)
    finally: hook.remove()
    Dola(hf)


def test_failed_rows_fail_alone(load):
    def torn(): raise OSError("truncated")
    replies = collect(Dola(load("llava")), [ASKS[0], Request((Picture("torn", torn), "What?"), max_tokens=8), ASKS[2]])
    assert [r.finish == "failed" for r in replies] == [False, True, False] and "torn" in replies[1].error
