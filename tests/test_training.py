"""A student is what it was trained to be: rendered as it is examined, trained where it should be, resumable, and never mistaken for its base."""
import json, math, os, shutil, signal, subprocess, sys, time
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
import pytest
from PIL import Image
from unsaf.core import ImageError, ModelError, Picture, Request, UnsafError

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
if not find_spec("peft"): pytest.skip("peft is not installed", allow_module_level=True)     # imported where it is used: it takes seconds
from transformers.utils import is_torchvision_available  # noqa: E402
import unsaf  # noqa: E402
from parity import picture  # noqa: E402
from tiny_checkpoints import FAMILIES, build  # noqa: E402
from unsaf.distill.study import adapter, annotate, shelved  # noqa: E402
from unsaf.distill.data import Preference, Record, digest_of  # noqa: E402
from unsaf.distill.recipes import RECIPES, SOURCES, Recipe, lora_pattern, lora_targets  # noqa: E402
from unsaf.distill.recipes import (Order, Rows, order, pack, positioned, reply_loss, reply_width,  # noqa: E402
                                takes_positions, unpack)
from unsaf.distill.train import adapter_card, main, make_trainer, plan_of, prove, train, with_adapter  # noqa: E402
from unsaf.models.base import collect  # noqa: E402
from unsaf.models.checkpoint import attach  # noqa: E402

THREE = ("llava", "qwen", "internvl")
three = pytest.mark.parametrize("family", ["llava", *(pytest.param(name, marks=pytest.mark.slow) for name in THREE[1:])])
CPU = dict(dtype="float32", device="cpu")
FAST = Recipe(rank=4, alpha=16, dropout=0., learning_rate=1e-2, epochs=6, batch_size=4, warmup=0.)
VISION = ("vision", "visual", "projector", "merger", "embed")


PICTURES = [picture("red"), picture("blue", (50, 110)), picture("green", (90, 60))]
RECORDS = [Record(Request((p, ask), max_tokens=20), reply, "qa", p.image_id, reply != "unanswerable", info={"teacher": "nobody"})
           for p in PICTURES for ask, reply in (("What is it?", "a box"), ("Who painted it, and when did he do so?", "unanswerable"))]
RECORDS += [Record(Request(("No picture. Is <image> or <|image_pad|> a tag? </s><|im_end|>",), max_tokens=20), "yes <image>", "iq", "", True)]
PAIRS = [Preference(r.request, r.reply, other, "FA", r.image_id) for r, other in zip(RECORDS[:6], ("unanswerable", "a man") * 3)]


@pytest.fixture(scope="session")
def trained(folders, tmp_path_factory):
    "An adapter of each family, the trainer's own logits at the end, and the names of what it trained."
    root, made = tmp_path_factory.mktemp("adapters"), {}
    def of(family):
        if family in made: return made[family]
        hf = unsaf.load(folders(family), **CPU)
        rows = Rows(hf.chat, RECORDS, hf.positions)
        model = with_adapter(hf, FAST)
        before = {n: p.detach().clone() for n, p in model.named_parameters()}
        trainer = make_trainer(model, rows, FAST, root/family, "cpu")
        trainer.train()
        trainer.save_model(str(root/family))
        model.eval()
        changed = [n for n, p in model.named_parameters() if not torch.equal(p, before[n])]
        losses = [h["loss"] for h in trainer.state.log_history if "loss" in h]
        made[family] = root/family, logits(model, rows), changed, losses, rows
        return made[family]
    return of


@torch.no_grad()
def logits(model, rows, side="left"):
    "Logits that predict the reply tokens, row after row."
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    given = positioned(rows.collate(range(len(rows)), side), takes_positions(base))
    labels = given.pop("labels")
    return model(**given, use_cache=False).logits[:, :-1][labels[:, 1:] != -100]


# ---- one renderer

class Spy:
    "Notes what `generate` is given and what it gives."
    def __init__(self, model): self.model, self.inner, self.seen = model, model.generate, []
    def __enter__(self): self.model.generate = self; return self
    def __exit__(self, *error): self.model.generate = self.inner
    def __call__(self, **given):
        out = self.inner(**given)
        self.seen.append((given, out.sequences))
        return out


@three
def test_a_row_is_what_evaluation_sends_and_what_a_good_student_emits(folders, family, tmp_path):
    hf = unsaf.load(folders(family), reuse="none", **CPU)
    rows = Rows(hf.chat, RECORDS, hf.positions)
    for record, row in zip(RECORDS, rows.rows):
        encoded, encode = [], hf.chat.encode
        hf.chat.encode = lambda *a, **k: (encoded.append(encode(*a, **k)), encoded[-1])[1]
        with Spy(hf.model) as spy: collect(hf, [record.request])
        hf.chat.encode = encode
        assert spy.seen[0][0]["input_ids"][0].tolist() == list(row.prompt)
        for name, values in row.kinds: assert spy.seen[0][0][name][0].tolist() == list(values)
        for name, value in rows.pixels(rows.rows.index(row)).items(): assert torch.equal(encoded[-1][name], value), name
        assert row.replies[0][-1] == hf.chat.ending and hf.chat.read(list(row.replies[0]))[0].replace("< ", "<") == record.reply
    # a student that has learned them emits exactly these tokens, stop included
    few = [RECORDS[0], RECORDS[3]]
    folder = train(folders(family), few, replace(FAST, epochs=25, batch_size=2), tmp_path/"a", device="cpu", saves=1)
    student = unsaf.load(str(folder), reuse="none", **CPU)
    for record in few:
        with Spy(student.model) as spy: reply, = collect(student, [record.request])
        given, tokens = spy.seen[0]
        assert tokens[0, given["input_ids"].shape[1]:].tolist() == student.chat.reply_tokens(record.reply)
        assert (reply.text, reply.finish) == (record.reply, "stop")


NOT_HERE = {"minicpmv4_6": "transformers' own model fails on the tall picture, also without a batch"} | \
           {f: "its processor cannot be imported without torchvision" for f in ("gemma4", "mistral3") if not is_torchvision_available()}


@pytest.mark.parametrize("family", [pytest.param(f, marks=pytest.mark.skipif(f in NOT_HERE, reason=NOT_HERE.get(f, ""))) for f in FAMILIES])
def test_labels_loss_and_padding(folders, family):
    hf = unsaf.load(folders(family), **CPU)
    rows = Rows(hf.chat, RECORDS, hf.positions)
    batch = rows.collate(range(len(rows)))
    for line, row in zip(batch["labels"].tolist(), rows.rows):
        assert [t for t in line if t != -100] == list(row.replies[0])
        assert sum(t == -100 for t in line) == batch["labels"].shape[1] - len(row.replies[0])
    plain = takes_positions(hf.model)
    if family in THREE: assert plain == (family != "qwen")
    def loss(which, side="left", short=False):
        given = positioned(rows.collate(which, side), plain)
        labels = given.pop("labels")
        kept = {"logits_to_keep": reply_width(labels) + 1} if short else {}
        with torch.no_grad(): return reply_loss(hf.model(**given, **kept).logits, labels).item(), int((labels != -100).sum())
    singles = [loss([i]) for i in range(len(rows))]
    mean = sum(x * n for x, n in singles) / sum(n for _, n in singles)
    for side, short in (("left", False), ("left", True), ("right", False)):
        assert loss(range(len(rows)), side, short)[0] == pytest.approx(mean, abs=2e-5), (side, short)


def test_pixels_that_do_not_fit_are_made_again(folders):
    hf = unsaf.load(folders("internvl"), **CPU)
    kept, fresh = Rows(hf.chat, RECORDS, hf.positions), Rows(hf.chat, RECORDS, hf.positions, keep=0)
    assert len(kept.kept) == 4 and not [k for k in fresh.kept if k]
    a, b = kept.collate([1, 3, 5]), fresh.collate([1, 3, 5])
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_order_is_a_function_of_seed_and_epoch():
    lengths = [i * 37 % 91 for i in range(403)]
    once = order(lengths, 8, 1, 2)
    assert sorted(once) == list(range(403)) and once == order(lengths, 8, 1, 2)
    assert len({tuple(order(lengths, 8, s, e)) for s in (0, 1) for e in (0, 1)}) == 4
    sampler = Order(lengths, 8, 1)
    sampler.epoch = 2
    assert list(sampler) == once
    spread = [max(lengths[i] for i in once[at:at + 8]) - min(lengths[i] for i in once[at:at + 8]) for at in range(0, 400, 8)]
    assert sum(spread) / len(spread) < 5


# ---- what is trained

@three
def test_training_touches_the_language_model_alone(trained, family):
    folder, _, changed, losses, rows = trained(family)
    assert losses[-1] < losses[0] * .8
    assert len(changed) == 2 * 7 * 2 and all(".lora_" in n for n in changed)
    assert not [n for n in changed if any(v in n for v in VISION)]


@three
def test_reloaded_and_merged_are_the_same_model(folders, trained, family):
    folder, end, _, _, rows = trained(family)
    hf = unsaf.load(folders(family), **CPU)
    bare = logits(hf.model, rows)
    dressed = attach(hf.model, folder)
    assert torch.equal(logits(dressed, rows), end)
    assert (logits(dressed.merge_and_unload(), rows) - end).abs().max() <= 1e-4
    assert (bare - end).abs().max() > .1
    proof = prove(folders(family), folder, RECORDS)
    assert proof["active"] > .1 and proof["merged"] <= 1e-4


def test_an_untrained_adapter_is_not_called_active(folders, tmp_path):
    hf = unsaf.load(folders("llava"), **CPU)
    with_adapter(hf, FAST).save_pretrained(str(tmp_path))
    with pytest.raises(ModelError, match="changes no logit"): prove(folders("llava"), tmp_path, RECORDS)


def test_targets_are_checked_against_the_model(folders):
    for family in THREE:
        model = unsaf.load(folders(family), **CPU).model
        assert len(lora_targets(model, lora_pattern(Recipe().projections))) == 14
        assert len(lora_targets(model, lora_pattern(RECIPES["qwen-vl"].projections))) == 12
        with pytest.raises(ModelError, match="no matrix"): lora_targets(model, r".*\.c_attn")
    with pytest.raises(ModelError, match="outside the language model"): lora_targets(model, r".*\.q_proj")


@pytest.mark.skipif("qwen3_5" not in FAMILIES, reason="no tiny checkpoint with linear attention")
def test_linear_attention_is_trained_too(tmp_path):
    model = unsaf.load(str(build("qwen3_5", tmp_path)), **CPU).model
    hit = lora_targets(model, lora_pattern(Recipe().projections))
    assert any("linear_attn" in n for n in hit) and any("self_attn" in n for n in hit)


# ---- preferences

def dpo_loss(model, rows, beta):
    "The loss of Rafailov et al. (2023, Eq. 7), one reply at a time, without padding."
    def logp(line):
        row = replace(rows.rows[line // 2], replies=(rows.rows[line // 2].replies[line % 2],))
        one = Rows.__new__(Rows)
        one.__dict__ = rows.__dict__ | {"rows": [row], "records": [rows.records[line // 2]]}
        given = positioned(one.collate([0]), takes_positions(model.get_base_model()))
        wanted = given.pop("labels")[0, 1:]
        scores = model(**given).logits[0, :-1].double().log_softmax(-1)
        return scores[wanted != -100].gather(-1, wanted[wanted != -100][:, None]).sum()
    with torch.no_grad():
        now = [logp(i) for i in range(2 * len(rows))]
        with model.disable_adapter(): then = [logp(i) for i in range(2 * len(rows))]
    margins = [beta * ((now[i] - then[i]) - (now[i + 1] - then[i + 1])) for i in range(0, len(now), 2)]
    return torch.stack([-torch.nn.functional.logsigmoid(m) for m in margins]).mean().item(), torch.stack(margins).mean().item()


@three
def test_preferences(folders, family, tmp_path):
    pytest.importorskip("trl")
    recipe = replace(FAST, objective="dpo", batch_size=3, epochs=4, learning_rate=5e-3)
    hf = unsaf.load(folders(family), **CPU)
    rows = Rows(hf.chat, PAIRS, hf.positions)
    model = with_adapter(hf, recipe)
    trainer = make_trainer(model, rows, recipe, tmp_path, "cpu", saves=1)
    trainer.train()
    curve = [h for h in trainer.state.log_history if "loss" in h]
    assert curve[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)       # a student begins as its reference
    assert curve[-1]["loss"] < curve[0]["loss"] / 2
    assert curve[-1]["rewards/margins"] > curve[0]["rewards/margins"] + .5
    model.eval()
    batch = trainer.data_collator([{"row": i} for i in range(len(rows))])
    with torch.no_grad(): theirs = trainer.compute_loss(model, batch).item()
    assert theirs == pytest.approx(dpo_loss(model, rows, recipe.beta)[0], abs=1e-4)


# ---- precision, memory, accumulation

def adapter_of(folder):
    from safetensors.torch import load_file
    return load_file(Path(folder)/"adapter_model.safetensors")


def largest_difference(a, b):
    a, b = adapter_of(a), adapter_of(b)
    assert a.keys() == b.keys()
    return max((a[k] - b[k]).abs().max().item() for k in a)


@pytest.mark.slow
def test_accumulation_and_checkpointing_change_nothing(folders, tmp_path):
    base, once = folders("llava"), replace(FAST, epochs=2, batch_size=4, learning_rate=1e-3)
    four = [RECORDS[i] for i in (0, 1, 3, 6)]      # replies of unlike lengths: the mean of two means would be another loss
    plain = train(base, four, once, tmp_path/"plain", device="cpu", saves=1)
    cut = train(base, four, replace(once, batch_size=2, accumulation=2), tmp_path/"cut", device="cpu", saves=1)
    lean = train(base, four, replace(once, gradient_checkpointing=True), tmp_path/"lean", device="cpu", saves=1)
    assert largest_difference(plain, cut) < 1e-5 and largest_difference(plain, lean) < 1e-5
    assert max(v.abs().max() for k, v in adapter_of(plain).items() if "lora_B" in k) > 1e-4


def test_a_base_in_bfloat16_has_an_adapter_in_float32(folders, tmp_path):
    recipe = replace(FAST, dtype="bfloat16", epochs=4)
    folder = train(folders("llava"), RECORDS, recipe, tmp_path/"half", device="cpu", saves=1)
    card = adapter_card(folder)
    assert card["dtype"] == "bfloat16" and card["loss"][1] < card["loss"][0] and card["proof"]["active"] > 0
    assert {v.dtype for v in adapter_of(folder).values()} == {torch.float32}
    half = unsaf.load(str(folder), dtype="bfloat16", device="cpu")
    whole = unsaf.load(str(folder), **CPU)
    assert (half.identity["adapter"]["merged"], whole.identity["adapter"]["merged"]) == (False, True)
    assert type(half.model) is type(whole.model) and half.model.device.type == "cpu"
    assert all(r.finish in ("stop", "length") for r in collect(half, [r.request for r in RECORDS]))


# ---- the folder, the card, the shelf

@pytest.fixture(scope="session")
def made(folders, tmp_path_factory):
    return train(folders("llava"), RECORDS, FAST, tmp_path_factory.mktemp("made")/"und-qa", device="cpu")


def test_card(folders, made):
    card = adapter_card(made)
    assert {p.name for p in made.iterdir()} == {"adapter_model.safetensors", "adapter_config.json", "card.json"}
    assert card["base"]["name"] == folders("llava") and card["base"]["weights"].startswith("sha256:")
    assert card["data"] == digest_of(RECORDS) and card["recipe"] == json.loads(json.dumps(asdict(FAST)))
    assert card["counters"] | {"trained_weights": 0} == dict(
        records=7, kinds={"iq": 1, "qa": 6}, images=4, prompt_tokens=card["counters"]["prompt_tokens"], teacher_calls=0, steps=12, epochs=6.,
        reply_tokens=card["counters"]["reply_tokens"], starts=1, processes=1, spread="NO", trained_weights=0)
    rows = Rows(unsaf.load(folders("llava"), **CPU).chat, RECORDS)
    assert card["counters"]["reply_tokens"] == sum(len(r.replies[0]) for r in rows.rows)
    assert card["teachers"] == ["nobody"] and card["loss"][1] < card["loss"][0] and card["proof"]["merged"] <= 1e-4
    assert json.loads((made/"adapter_config.json").read_text())["base_model_name_or_path"] == folders("llava")


def test_a_finished_adapter_is_not_trained_again(folders, made, monkeypatch):
    import unsaf.distill.train as room
    monkeypatch.setattr(room, "make_trainer", None)
    assert train(folders("llava"), RECORDS, FAST, made) == made
    with pytest.raises(UnsafError, match="another recipe"): train(folders("llava"), RECORDS, replace(FAST, rank=5), made)
    with pytest.raises(UnsafError, match="another data"): train(folders("llava"), RECORDS[:3], FAST, made)


def test_the_key_tells_what_matters(folders, tmp_path):
    key = plan_of(folders("llava"), RECORDS, FAST)["key"]
    moved = shutil.copytree(folders("llava"), tmp_path/"moved")
    assert plan_of(str(moved), RECORDS, FAST)["key"] == key
    others = [plan_of(folders("qwen"), RECORDS, FAST), plan_of(folders("llava"), RECORDS[1:], FAST),
              plan_of(folders("llava"), [replace(RECORDS[0], reply="a bag"), *RECORDS[1:]], FAST),
              plan_of(folders("llava"), RECORDS, replace(FAST, seed=1)),
              plan_of(folders("llava"), RECORDS, FAST, {"processor_kwargs": {"images_kwargs": {"max_patches": 6}}})]
    assert len({p["key"] for p in others} | {key}) == 6


def test_shelf(folders, tmp_path, monkeypatch):
    recipe = replace(FAST, epochs=1)
    folder = adapter(folders("llava"), RECORDS, recipe, tmp_path, device="cpu", saves=1)
    import unsaf.distill.study as room
    monkeypatch.setattr(room, "train", None)
    assert adapter(folders("llava"), RECORDS, recipe, tmp_path) == folder
    annotate(folder, scores={"J": .5})
    table = shelved(tmp_path)
    assert list(table.adapter) == [folder.name] and table.scores[0] == {"J": .5} and table.qa[0] == 6
    with pytest.raises(UnsafError, match="of its training"): annotate(folder, key="x")
    assert shelved(tmp_path/"none").empty


# ---- as a model

def test_an_adapted_model_is_another_model(folders, made):
    base, tuned = unsaf.load(folders("llava"), **CPU), unsaf.load(str(made), **CPU)
    assert "adapter" not in base.identity
    assert {k: v for k, v in tuned.identity.items() if k != "adapter"} == base.identity
    assert tuned.identity["adapter"]["weights"].startswith("sha256:") and tuned.name == f"{base.name}+und-qa"
    asks = [r.request for r in RECORDS]
    assert collect(tuned, asks) != collect(base, asks)
    same = unsaf.load(folders("llava"), adapter=str(made), **CPU)
    assert same.identity == tuned.identity and collect(same, asks) == collect(tuned, asks)


def test_a_bundled_model_takes_an_adapter(tmp_path):
    folder = train("tiny-student", RECORDS, replace(FAST, epochs=1), tmp_path/"a", device="cpu", saves=1)
    assert adapter_card(folder)["base"]["name"] == "tiny-student"
    assert unsaf.load(str(folder), **CPU).name == "tiny-student+a" == unsaf.load("tiny-student", adapter=str(folder), **CPU).name


def test_adapters_that_do_not_fit_are_refused(folders, made, tmp_path):
    with pytest.raises(ModelError, match="other weights"): unsaf.load(folders("internvl"), adapter=str(made), **CPU)
    foreign = shutil.copytree(made, tmp_path/"foreign")         # one of another tool has no card
    (foreign/"card.json").unlink()
    assert unsaf.load(str(foreign), **CPU).identity["adapter"] == unsaf.load(str(made), **CPU).identity["adapter"]
    from safetensors.torch import save_file
    short = adapter_of(foreign)
    short.pop(min(short))
    save_file(short, foreign/"adapter_model.safetensors")
    with pytest.raises(ModelError, match="1 tensors have no partner"): unsaf.load(str(foreign), **CPU)
    config = json.loads((foreign/"adapter_config.json").read_text())
    (foreign/"adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": None}))
    with pytest.raises(ModelError, match="does not name its base"): unsaf.load(str(foreign), **CPU)
    (foreign/"adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": str(tmp_path/"gone")}))
    with pytest.raises(ModelError, match="is not there: give it"): unsaf.load(str(foreign), **CPU)
    with pytest.raises(ModelError, match="adapter itself"): unsaf.load(str(made), adapter=str(made), **CPU)
    with pytest.raises(ModelError, match="there is no LoRA adapter"): unsaf.load(folders("llava"), adapter=str(tmp_path), **CPU)
    with pytest.raises(ModelError, match="is an adapter: give its base"): plan_of(str(made), RECORDS, FAST)


# ---- bad input

def test_what_cannot_be_trained_on_is_named(folders, tmp_path):
    base = folders("llava")
    def torn(): raise OSError("truncated")
    def run(records, recipe=FAST): return train(base, records, recipe, tmp_path/"x", device="cpu")
    with pytest.raises(ValueError, match="no records"): run([])
    with pytest.raises(ValueError, match="no records"): adapter(base, [], FAST, tmp_path)
    lost = Record(Request((Picture("holiday", torn), "What?")), "a box", "qa", "holiday", True)
    with pytest.raises((ImageError, OSError), match="holiday|truncated"): run([*RECORDS, lost])
    hf = unsaf.load(base, **CPU)
    with pytest.raises(ImageError, match="record 7 .qa, image holiday.: its image cannot be read"): Rows(hf.chat, [*RECORDS, lost])
    long = replace(RECORDS[0], request=Request((PICTURES[0], "why " * 1100)))
    with pytest.raises(UnsafError, match=r"record 1 \(qa, image red.*\) has \d+ \+ 7 tokens, the model has 4096 positions"): run([RECORDS[1], long])
    with pytest.raises(UnsafError, match="record 0 .* empty reply"): run([replace(RECORDS[0], reply=" ")])
    with pytest.raises(UnsafError, match="prefers a reply to itself"): run([replace(PAIRS[0], rejected=PAIRS[0].chosen)], replace(FAST, objective="dpo"))
    with pytest.raises(ValueError, match="needs records, not Preferences"): run(PAIRS)
    with pytest.raises(ValueError, match="needs preferences, not Records"): run(RECORDS, replace(FAST, objective="dpo"))
    with pytest.raises(ValueError, match="mixed"): run([*RECORDS, *PAIRS])
    with pytest.raises(ValueError, match="recipe 'huge' is unknown"): run(RECORDS, "huge")
    with pytest.raises(ModelError, match="no checkpoint"): train("api:gpt", RECORDS, FAST, tmp_path/"x")
    with pytest.raises(ModelError, match="no checkpoint"): train("tiny-studnet", RECORDS, FAST, tmp_path/"x")


@pytest.mark.parametrize("wrong", [dict(rank=0), dict(dropout=1.), dict(objective="ppo"), dict(dtype="float16"), dict(projections=("lm_head",))])
def test_a_recipe_without_meaning(wrong):
    with pytest.raises(ValueError, match="recipe: "): Recipe(**wrong)


def test_every_recipe_says_where_it_is_from(): assert SOURCES.keys() == RECIPES.keys()


def test_a_loss_that_is_no_number_is_not_shelved(folders, tmp_path):
    with pytest.raises(ModelError, match="the loss is no number from step"):
        train(folders("llava"), RECORDS, replace(FAST, learning_rate=1e30, max_grad_norm=1e30), tmp_path/"x", device="cpu", saves=1)
    assert not (tmp_path/"x"/"card.json").exists()


def test_records_on_disk(tmp_path):
    mixed = [replace(r, info={"teacher": "line\u2028break"}) for r in RECORDS]
    for records in (mixed, PAIRS):
        again = unpack(pack(records, tmp_path))
        assert digest_of(again) == digest_of(records) and [r.info for r in again] == [r.info for r in records]
    (tmp_path/"odd.jsonl").write_text('{"format": "else"}\n')
    with pytest.raises(UnsafError, match="no packed records"): unpack(tmp_path/"odd.jsonl")
    file = next((tmp_path/"images").iterdir())
    Image.new("RGB", (3, 3)).save(file)
    with pytest.raises(UnsafError, match="changed since"): unpack(tmp_path)
    file.unlink()
    with pytest.raises(ImageError, match="is missing"): unpack(tmp_path)
    with pytest.raises(UnsafError, match="cannot be read as records"): unpack(tmp_path/"nowhere.jsonl")


def test_command_line_says_what_is_wrong(tmp_path):
    with pytest.raises(SystemExit, match="UnsafError: .*cannot be read as records"):
        main(["--base", "tiny-student", "--records", str(tmp_path/"none"), "--out", str(tmp_path/"out")])


# ---- killed, and on several processes

ENV = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"}
LINE = ["--base", "tiny-student", "--device", "cpu", "--epochs", "4", "--batch-size", "4", "--dropout", "0.1"]


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    "Whole batches, since several processes fill up a short one with records that were seen before."
    root = tmp_path_factory.mktemp("packed")
    def many(of): return [replace(r, request=replace(r.request, parts=(*r.request.parts, f" {n}"))) for n in range(7) for r in of][:40]
    return {"tiny": pack(many(RECORDS), root/"records").parent, "tiny-dpo": pack(many(PAIRS), root/"pairs").parent}


def run(packed, out, *more, recipe="tiny", launch=("-m", "unsaf.distill.train")):
    return [sys.executable, *launch, *LINE, "--recipe", recipe, "--records", str(packed[recipe]), "--out", str(out), *more]


@pytest.mark.promise("trained")
@pytest.mark.slow
@pytest.mark.parametrize("recipe, at", [("tiny", (1, 3)), ("tiny-dpo", (3,))])      # in the first epoch, and later
def test_killed_and_resumed_is_as_if_never_killed(packed, tmp_path, recipe, at):
    whole, cut = tmp_path/"whole", tmp_path/"cut"
    subprocess.run(run(packed, whole, "--saves", "11", recipe=recipe), env=ENV, check=True, capture_output=True, timeout=600)
    kills = 0
    for wanted in at:
        child = subprocess.Popen(run(packed, cut, "--saves", "11", recipe=recipe), env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while child.poll() is None:
            steps = [int(p.parent.name.split("-")[1]) for p in cut.glob("checkpoints/checkpoint-*/trainer_state.json")]
            if steps and max(steps) >= 4 * wanted - 1: break
            time.sleep(.01)
        if child.poll() is None:
            child.send_signal(signal.SIGKILL)
            kills += 1
        child.wait(60)
        assert not (cut/"card.json").exists(), "killed too late to prove anything"
    assert kills == len(at)
    subprocess.run(run(packed, cut, "--saves", "11", recipe=recipe), env=ENV, check=True, capture_output=True, timeout=600)
    assert largest_difference(whole, cut) == 0
    card = adapter_card(cut)
    assert card["counters"]["starts"] >= 2 and card["counters"]["steps"] == adapter_card(whole)["counters"]["steps"]
    assert [h["loss"] for h in card["curve"]] == [h["loss"] for h in adapter_card(whole)["curve"]]


def launched(*options, what=("-m", "unsaf.distill.train")):
    "accelerate's launcher for two processes; without GPUs it starts several only where told that there are some."
    return ("-m", "accelerate.commands.launch", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
            "--num_cpu_threads_per_process", "1", "--main_process_port", "0", *options, *what)


TWICE = dict(copies=(launched("--multi_gpu"), "MULTI_CPU"),
             parts=(launched("--use_fsdp", "--fsdp_version", "2", "--fsdp_auto_wrap_policy", "TRANSFORMER_BASED_WRAP",
                             "--fsdp_transformer_layer_cls_to_wrap", "LlamaDecoderLayer", "--fsdp_state_dict_type", "SHARDED_STATE_DICT",
                             what=(str(Path(__file__).with_name("fsdp_on_cpu.py")),)), "FSDP"))


@pytest.fixture(scope="module")
def single(packed, tmp_path_factory):
    out = tmp_path_factory.mktemp("single")/"a"
    subprocess.run(run(packed, out, "--dropout", "0"), env=ENV, check=True, capture_output=True, timeout=600)
    return out


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="the processes of this test are to meet on the CPU")
@pytest.mark.parametrize("way", TWICE)
def test_two_processes_make_the_same_adapter(packed, single, tmp_path, way):
    launch, spread = TWICE[way]
    done = subprocess.run(run(packed, tmp_path/"two", "--dropout", "0", launch=launch), env=ENV, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    counters = adapter_card(tmp_path/"two")["counters"]
    assert (counters["processes"], counters["spread"]) == (2, spread)
    if way == "parts": assert done.stdout.count("LlamaDecoderLayer") == 2 * 4
    assert adapter_card(tmp_path/"two")["key"] == adapter_card(single)["key"]
    assert largest_difference(single, tmp_path/"two") < 1e-4
