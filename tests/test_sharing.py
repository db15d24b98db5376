"""What is computed once must not change what is said: with and without reuse, every family gives the same tokens."""
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
import pytest
from PIL import Image
from unsaf.core import ModelError, Picture, Request

torch = pytest.importorskip("torch")
tf = pytest.importorskip("transformers")
from parity import picture, same  # noqa: E402
from tiny_checkpoints import FAMILIES  # noqa: E402
from unsaf.models.base import collect  # noqa: E402
from unsaf.models.chat import Unfit  # noqa: E402
from unsaf.models.hf import HF  # noqa: E402
from unsaf.models.prefix import LRUCache, joined, look, prompt_ids  # noqa: E402

OPTIONS = ("A", "B", "unanswerable")
PICTURES = [picture("red", (90, 60)), picture("blue", (50, 110)), picture("green", (64, 64))]
ANSWER = "You are shown an image. Answer the question in a word, or say unanswerable if the image does not tell. "
QUESTIONS = ["What is it?", "Which color has the shape?", "Where does it stand, and why there?", "How many?", "Is <image> or <|image_pad|> a tag?"]


def lists(n=8):
    return [Request((p, f"Write five questions that {kind} be answered."), max_tokens=n) for p in PICTURES for kind in ("can", "cannot")]


def answers(n=6, **more):
    return [Request((p, ANSWER + q), max_tokens=n, candidates=OPTIONS, **more) for p in PICTURES for q in QUESTIONS]


PAPER = [Request((ANSWER + q, p), max_tokens=6, candidates=OPTIONS[2:]) for p in PICTURES for q in QUESTIONS[:2]]
MIXED = [*answers()[:7], Request(("No picture here. Say something long enough to be longer than the rest.",), max_tokens=6, candidates=OPTIONS),
         Request((PICTURES[0], PICTURES[1], "Name a difference."), max_tokens=6, candidates=OPTIONS),
         Request((PICTURES[0], PICTURES[1], "Name another."), max_tokens=6, candidates=OPTIONS, system="Be brief.")]


WORKS = {"lists, then answers": [lists(), answers()], "paper's layout": [PAPER], "a mixed batch": [MIXED],
         "drawn": [answers(temperature=.8, seed=3)], "decided": [answers(decide=True)]}


MODES = dict.fromkeys(FAMILIES, "prefix") | dict(gemma="encoder", gemma4="encoder", qwen3_5="encoder", minicpmv4_7="encoder", minicpmv4_6="none")
TORCHVISION = {"gemma4", "mistral3"}      # transformers imports it with their processors
THERE = [pytest.param(f, marks=pytest.mark.skipif(f in TORCHVISION and not tf.utils.is_torchvision_available(), reason=f"{f} needs torchvision"))
         for f in FAMILIES if MODES[f] != "none"]
CORE = ("llava", "qwen", "internvl", "gemma", "qwen3_vl")
QUICK = ("llava", "gemma")                # a kept beginning, and a kept look at the picture alone


@pytest.mark.promise("sharing")
@pytest.mark.parametrize("family, work", [pytest.param(f, w, marks=() if f in QUICK or w == "a mixed batch" else pytest.mark.slow)
                                          for f in CORE for w in list(WORKS)[1:]])
def test_reuse_changes_no_other_work(load, family, work): compare(load, family, work)


@pytest.mark.promise("sharing")
@pytest.mark.parametrize("family", THERE)
def test_reuse_changes_nothing(load, family): compare(load, family, "lists, then answers")


def compare(load, family, work):
    "Token for token; each stage starts from what the one before has left, and another prompt was read in between."
    plain, ours = load(family, "none"), load(family)
    assert plain.sharing.mode == "none" and ours.sharing.mode != "none", ours.sharing.why
    for asks in WORKS[work]:
        for a, b in zip(collect(ours, asks), collect(plain, asks)): same(a, b)
        collect(ours, [Request((PICTURES[2], PICTURES[0], "Something else."), max_tokens=2)])
    for a, b in zip(collect(load(family, "encoder"), WORKS[work][-1]), collect(plain, WORKS[work][-1])): same(a, b)


@pytest.mark.parametrize("family", THERE)
def test_what_is_computed(load, family):
    "One look and one encoding a picture over both stages; far fewer prompt tokens where the cache can be shared."
    hf = load(family)
    hf.sharing.forget()
    hf.counters.clear()
    asks = [lists(), answers()]
    for part in asks: collect(hf, part)
    c = hf.counters
    assert c["images_preprocessed"] == c["vision_encodes"] == len(PICTURES) and c["requests"] == sum(map(len, asks))
    assert c["prompt_tokens"] == sum(r.prompt_tokens for part in asks for r in collect(load(family, "none"), part))
    if hf.sharing.mode == "prefix": assert c["prefill_tokens"] < c["prompt_tokens"] / 1.6
    else: assert c["prefill_tokens"] >= c["prompt_tokens"]


def test_which_families_share_their_cache(load):
    there = [p.values[0] for p in THERE if not p.marks[0].args[0]] + ["minicpmv4_6"]
    assert {f: load(f).sharing.mode for f in there} == {f: MODES[f] for f in there}
    assert load("minicpmv4_6").sharing.why and "sliding window" in load("gemma").sharing.why
    with pytest.raises(ModelError, match="reuse 'prefix' is not possible with this model: some of its layers"): load("gemma", "prefix")
    with pytest.raises(ModelError, match="reuse 'all' is unknown"): load("llava", "all")


def test_reuse_is_part_of_the_identity(load):
    assert load("llava").identity["reuse"] == "prefix" and load("llava", "none").identity["reuse"] == "none"


@pytest.mark.parametrize("family", ("llava", "qwen"))
def test_a_resumed_stage_computes_the_same_bits(load, family):
    "The second stage alone, on an empty shelf, as after a kill: equal to the last bit."
    hf = load(family)
    hf.sharing.forget()
    collect(hf, lists())
    through = collect(hf, answers())
    hf.sharing.forget()
    assert [r.candidates for r in collect(hf, answers())] == [r.candidates for r in through]
    assert [r.logprobs for r in collect(hf, answers())] == [r.logprobs for r in through]


@pytest.mark.parametrize("limits", ((0, 0), (10_000, 10_000)))
def test_small_shelves_cost_time_and_change_nothing(load, monkeypatch, limits):
    hf = load("qwen")
    whole = collect(hf, answers())
    monkeypatch.setattr(hf.sharing.encoder_cache, "lru", LRUCache(limits[0]))
    monkeypatch.setattr(hf.sharing, "prefixes", LRUCache(limits[1]))
    for a, b in zip(whole, collect(hf, answers())): same(a, b)
    assert hf.sharing.encoder_cache.lru.bytes <= limits[0] and hf.sharing.prefixes.bytes <= limits[1]


@pytest.mark.parametrize("family", ("llava", "internvl"))
def test_pictures_prepared_ahead(load, monkeypatch, family):
    hf = load(family)
    whole = collect(hf, answers())
    hf.sharing.forget()
    monkeypatch.setattr(hf, "workers", 2)
    monkeypatch.setattr(hf, "token_budget", 400)
    hf.counters.clear()
    assert len(hf.batches(answers())) > 2
    for a, b in zip(whole, collect(hf, answers())): same(a, b)
    assert hf.counters["images_preprocessed"] == len(PICTURES) and not hf.sharing.encoder_cache.coming


def test_a_picture_that_breaks_ahead_fails_its_own_requests(load, monkeypatch):
    hf = load("llava")
    monkeypatch.setattr(hf, "workers", 2)
    def torn(): raise OSError("truncated")
    asks = [*answers()[:3], Request((Picture("torn", torn), "What?"), max_tokens=4, candidates=OPTIONS)]
    replies = collect(hf, asks)
    assert [r.finish == "failed" for r in replies] == [False] * 3 + [True] and "torn" in replies[3].error


def test_a_family_that_does_not_suit_works_as_before(load, monkeypatch):
    import unsaf.models.sharing as sharing
    def silent(chat, image): raise Unfit("the processor does not tell what it writes for a picture")
    plain = load("llava", "none")
    monkeypatch.setattr(sharing, "look", silent)
    hf = HF(load("llava").model.config._name_or_path, device="cpu")
    assert hf.sharing.mode == "none" and "does not tell" in hf.sharing.why
    for a, b in zip(collect(hf, answers()), collect(plain, answers())): same(a, b)


def test_requests_about_a_picture_stay_together(load):
    hf = load("llava")
    asks = [answers()[i] for i in (0, 5, 10, 1, 6, 11, 2, 7, 12)]
    plan = hf.batches(asks)
    assert sorted(i for b in plan for i in b) == list(range(9))
    mine = hf.token_budget
    try:
        hf.token_budget = 3 * (max(hf.chat.lengths(asks)) + 6)
        plan = hf.batches(asks)
    finally: hf.token_budget = mine
    assert len(plan) == 3 and all(len({asks[i].pictures for i in batch}) == 1 for batch in plan)


def test_flips_are_measured_in_sixteen_bit(load):
    folder = load("llava").model.config._name_or_path
    hf = HF(folder, device="cpu", dtype="bfloat16")
    collect(hf, answers())
    differing, compared = hf.flips
    assert compared == len(answers()) and 0 <= differing <= compared
    assert hf.counters["requests"] == len(answers()), "the check is no part of the run"
    assert load("llava").flips is None


def test_the_check_in_sixteen_bit_finds_a_difference(load, monkeypatch):
    hf = HF(load("llava").model.config._name_or_path, device="cpu", dtype="bfloat16")
    real = hf._one_batch
    def other(rows, pixels, share=True): return real(rows, pixels, share) if share else [replace(r, text=r.text + "!") for r in real(rows, pixels, share)]
    monkeypatch.setattr(hf, "_one_batch", other)
    collect(hf, answers())
    assert hf.flips == (len(answers()), len(answers()))


def test_the_check_in_sixteen_bit_breaks_nothing(load):
    hf = HF(load("qwen").model.config._name_or_path, device="cpu", dtype="bfloat16")
    flat = Picture("flat", lambda: Image.new("RGB", (4000, 4), "red"))        # Qwen's processor refuses it
    replies = collect(hf, [*answers()[:3], Request((flat, "What?"), max_tokens=6, candidates=OPTIONS)])
    assert [r.finish == "failed" for r in replies] == [False] * 3 + [True]


def test_a_kept_beginning_holds_what_its_shelf_says(load):
    hf = load("llava")
    hf.sharing.forget()
    collect(hf, answers())
    shelf = hf.sharing.prefixes
    held = sum(t.untyped_storage().nbytes() for head, _ in shelf._kept.values() for layer in head.cache.layers for t in (layer.keys, layer.values))
    assert held == shelf.bytes > 0


def test_shelf():
    s = LRUCache(10)
    assert s.put("large", 1, 11) == 1 and len(s) == 0 and s.get("large") is None
    s.put("a", 1, 6), s.put("a", 2, 3)
    assert s.get("a") == 2 and s.bytes == 3


def test_threads_do_not_share_a_tokenizer(load):
    encoder_cache = load("internvl").sharing.encoder_cache
    images = [Image.new("RGB", (40 + i, 60), "red") for i in range(12)]
    with ThreadPoolExecutor(4) as pool: found = list(pool.map(encoder_cache._elsewhere, images))
    for seen, im in zip(found, images):
        alone = look(encoder_cache.chat, im)
        assert seen.text == alone.text and torch.equal(seen.inputs["pixel_values"], alone.inputs["pixel_values"])


def test_places_and_pictures_must_match(load):
    chat = load("llava").chat
    seen = look(chat, PICTURES[0].pixels())
    with pytest.raises(Unfit, match="1 places for 2 images"): prompt_ids(chat, Request((PICTURES[0], "?")), [seen, seen])
    assert joined([seen]) is seen
