"Packing changes no number, a stopped run goes on as if it had not stopped, and the prompts are the package's own."
import json, random
import pytest
torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
from unsaf.prompts import benchmarks as bench_prompts, templates as prompts
from unsaf.world import grammar, tiny, scenes as world
from unsaf.world import lessons as L, training as T
from unsaf.core import ModelError, Picture, Question
from unsaf.world.exam import bundle

SMALL = T.Recipe(size="s", ranks=1, images=2, vision_steps=2, look_steps=4, choice_steps=4, full_steps=4, warmup=2)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    "A folder with a tokenizer of the world's words."
    out = tmp_path_factory.mktemp("run")
    tiny.tokenizer(T.corpus(scenes=200), L.phrases()).save_pretrained(out/"tokenizer")
    return out


@pytest.fixture(scope="module")
def made(words):
    run = T.Run(SMALL, 0, words)
    return run, tiny.processor(run.tokenizer)


def turn(prompt, image_first):
    "The chat turn of a prompt that holds `<image>` unless the picture stands in front."
    text = [{"type": "text", "text": t} for t in prompt.split(tiny.IMAGE)]
    return [{"type": "image"}, *text] if image_first else [text[0], {"type": "image"}, *text[1:]]


@pytest.mark.parametrize("layout,mc", [("image_first", False), ("image_first", True), ("paper", False), ("paper", True)])
def test_a_packed_lesson_costs_what_its_branches_cost_alone(made, layout, mc):
    run, processor = made
    scene = world.scene(1, 0)
    branches, first = L.answers(scene, random.Random(0), mc, 4, layout, 0), layout == "image_first"
    packed = T.pack(run.encoder, branches)
    loss, _ = T.tree_loss(run.model, T.collate([packed], run.encoder), T.pixels([world.render(scene)]))
    total = weight = 0.
    for b in branches:
        turns = [{"role": "user", "content": turn(b.prompt, first)}, {"role": "assistant", "content": b.reply}]
        text = processor.apply_chat_template(turns, tokenize=False)
        x = processor(images=[world.render(scene)], text=[text], return_tensors="pt")
        ids, logp = x["input_ids"][0], run.model(**x).logits[0].log_softmax(-1)
        reply = [*run.encoder.encode(b.reply), run.encoder.end]
        assert ids[-len(reply):].tolist() == reply
        for j, i in enumerate(reply):
            w = b.weight * (1/3 if i == run.encoder.end else 1)
            total -= w * logp[len(ids) - len(reply) + j - 1, i].item()
            weight += w
    assert loss.item() == pytest.approx(total / weight, rel=1e-4)
    assert len(packed.ids) < sum(len(run.encoder.encode(b.prompt)) + 12 for b in branches)


def test_training_pixels_are_the_processor_s(made):
    _, processor = made
    im = world.render(world.scene(1, 1))
    assert torch.allclose(T.pixels([im]), processor.image_processor(im, return_tensors="pt")["pixel_values"], atol=1e-5)


def test_training_prompts_are_the_prompts_of_the_evaluation():
    p = Picture("x", lambda: None)
    assert L.gen_text(False, "mc", 3) == prompts.gen_parts(p, "mc", False, 3)[1]
    assert L.gen_text(True, "oe", 5, "paper") == "<image>".join(prompts.gen_parts(p, "oe", True, 5, layout="paper")[::2])
    posed = grammar.answerable(world.scene(0, 0), "where")
    assert L.answer_text(posed) == prompts.answer_parts(p, Question(posed.text, "oe", True))[1]
    assert posed.text in L.answer_text(posed) and "<image>" not in L.answer_text(posed)


def test_benchmark_prompts_in_lessons_are_the_package_s_own():
    p, rng = Picture("x", lambda: None), random.Random(0)
    for i in range(20):
        s = world.scene(1, i, "easy")
        for b in L.plain_questions(s, rng) + L.plain_choices(s, rng):
            if b.topic == "rephrase": continue
            question = b.prompt.split("\n")[0]
            tails = {bench_prompts.accuracy_parts(p, question, abstain=a)[1] for a in (0, 1)} | {
                bench_prompts.yes_no_parts(p, question, abstain=a)[1] for a in (0, 1)}
            assert b.prompt in tails or "\nA. " in b.prompt


def test_phrases_are_single_tokens_and_texts_come_back(words):
    tok = T.Run(SMALL, 0, words).tokenizer
    prompt = L.gen_text(False, "oe", 5)
    assert tok.decode(tok.encode(prompt, add_special_tokens=False)) == prompt and len(tok.encode(prompt)) < 16
    for phrase in L.phrases(): assert len(tok.encode(phrase, add_special_tokens=False)) == 1, phrase
    other = "Zoë asked: why?  \tq\nNo idea, 12 of them."
    assert tok.decode(tok.encode(other, add_special_tokens=False)) == other


def test_every_lesson_is_right():
    "Replies of question branches are what the oracle would accept."
    from unsaf.world.oracle import check, is_right
    rng = random.Random(0)
    for i in range(300):
        scene = world.scene(2, i, tuple(world.DOMAINS)[i % 5])
        for mc in (False, True):
            p = L.any_question(scene, rng, mc)
            assert is_right(check(scene, p.text, p.options), p.reply, p.options)


def test_questions_in_easy_vqa_s_wording_are_answered_right():
    rng = random.Random(1)
    for i in range(400):
        (t,), p = world.scene(5, i, "easy").things, None
        p = L.easy_question(world.scene(5, i, "easy"), rng)
        if p.answer in ("yes", "no"):
            named = t.shape in p.text or t.color in p.text
            assert (p.answer == "yes") == (named != bool({"no", "not"} & set(p.text.split()))), p
        else: assert p.answer in (t.shape, t.color)


def test_lessons_depend_on_seed_rank_and_block_only(words):
    a, b = T.Run(SMALL, 0, words), T.Run(SMALL, 0, words)
    for block in (1, 0): second = b.batches(block)
    first = a.batches(0)
    for (x, im), (y, jm) in zip(first, second):
        assert torch.equal(im, jm) and all(torch.equal(x[k], y[k]) for k in ("ids", "mask", "weights"))
    other = T.Run(SMALL, 1, words).batches(0)
    assert any(not torch.equal(x[1], y[1]) for x, y in zip(first, other))


def test_the_rate_rises_stays_and_falls():
    r = T.Recipe(look_steps=100, choice_steps=0, full_steps=100, warmup=10, decay=.5, rate=1.)
    rates = [r.rate_at(i) for i in range(200)]
    assert rates[0] == .1 and rates[10:100] == [1.]*90 and rates[150] == .5 and rates[199] == .01


@pytest.mark.promise("trained")
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(words):
    straight = T.Run(SMALL, 0, words)
    T.teach_vision(straight)
    start = {k: v.clone() for k, v in straight.model.state_dict().items()}
    T.teach(straight)
    stopped = T.Run(SMALL, 0, words)
    stopped.model.load_state_dict(start)
    T.teach(stopped, until=4)
    T.save_state(stopped)
    resumed = T.Run(SMALL, 0, words)
    T.load_state(resumed)
    assert resumed.step == 4
    T.teach(resumed)
    again = resumed.model.state_dict()
    for name, a in straight.model.state_dict().items(): assert torch.equal(a, again[name]), name
    assert any(not torch.equal(a, start[k]) for k, a in straight.model.state_dict().items())


@pytest.mark.promise("retrained")
@pytest.mark.slow
def test_from_recipe_to_card(tmp_path):
    "The command that makes a checkpoint, and the card that it gets; then damage is noticed."
    T.main(["--out", str(tmp_path), "--size", "s", "--ranks", "1", "--images", "2", "--vision-steps", "2", "--look-steps", "4",
            "--choice-steps", "0", "--full-steps", "4", "--scenes", "100"])
    card = bundle(tmp_path, tmp_path/"tiny-x", images=2)
    assert card["recipe"]["size"] == "s" and card["sha256"] == tiny.checksum(tmp_path/"tiny-x") and card["step"] == 8
    assert json.loads((tmp_path/"tiny-x"/"card.json").read_text())["exam"]["answering"]


def test_sizes_and_names():
    with pytest.raises(ModelError, match="xxl"): tiny.config("xxl", None)
    with pytest.raises(ModelError, match="nobody"): tiny.card("nobody")
