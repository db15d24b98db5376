"""Teaching data for other tools: what was written is read back here, and, where the tools can be had, by their own loaders.

The slow tests run ms-swift and LLaMA-Factory in environments of their own: the interpreters that $UNSAF_SWIFT_PYTHON and
$UNSAF_LLAMAFACTORY_PYTHON name, or those in ~/.cache/unsaf/tools, which UNSAF_BUILD_TOOLS=1 builds."""
import json
import os
import shlex
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from unsaf.core import ImageError, Picture, Request, UnsafError
from unsaf.distill.data import Preference, Record
from unsaf.distill.dialects import GAPS, MARKUP, unmarked
from unsaf.distill.export import NEWER, PAPER, STUDENTS, Student, students_for, to_llama_factory, to_ms_swift, to_trl
from unsaf.distill.recipes import Recipe

LOADERS = Path(__file__).parent/"loaders"


def picture(name, color, size):
    im = Image.new("RGB", size, "white")
    ImageDraw.Draw(im).rectangle((4, 6, size[0] // 2, size[1] // 2), fill=color)
    return Picture(name, lambda: im)


A, B, AGAIN = picture("a", "red", (90, 60)), picture("b", "blue", (50, 110)), picture("c", "red", (90, 60))
RECORDS = [
    Record(Request((A, "Instruction:\nGenerate ", "5 questions"), system="You are helpful."), "Question: What colour?\nQuestion: 图片 où?",
           "iq", "a", True, "k1", {"k": 5}),
    Record(Request((A, "Is <image> a tag? <|im_end|>"), system="You are helpful."), "unanswerable", "qa", "a", False, "k2"),
    Record(Request((B, "What {{content}}, or \"quoted\" \\n, is it?")), "blue </s> ünd grün", "qa", "b", True, "k3"),
    Record(Request((A, B, "Which differs?"), system="Two pictures."), "the first", "qa", "b", True, "k4"),
    Record(Request((AGAIN, "What is it?"), system="You are helpful."), "a square", "qa", "c", True, "k5")]
PAIRS = [Preference(RECORDS[1].request, "unanswerable", "red", "FA", "a", "", {"n": 1}),
         Preference(RECORDS[2].request, "blue", "unanswerable", "FU", "b", "k7")]
WRITERS = {"ms-swift": to_ms_swift, "LLaMA-Factory": to_llama_factory, "TRL": to_trl}
DATA = {"ms-swift": "data.jsonl", "LLaMA-Factory": "data_qwen2_vl.jsonl", "TRL": "rows/data.jsonl"}


def lines(path): return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def text_of(content):
    "A message's content as one string, however a tool splits it."
    return content if isinstance(content, str) else "".join(p["text"] or "<image>" for p in content)


def parts_of(row):
    "(system, user's turn, replies) of a row in any dialect."
    turns = row.get("messages") or row["prompt"]
    said = {m["role"]: text_of(m["content"]) for m in turns}
    replies = [said["assistant"]] if "assistant" in said else []
    for name in ("completion", "chosen", "rejected"):
        if name in row: replies.append(text_of((row[name][0] if isinstance(row[name], list) else row[name])["content"]))
    if "rejected_response" in row: replies.append(row["rejected_response"])
    return said.get("system", ""), said["user"], replies


@pytest.mark.parametrize("tool", WRITERS)
@pytest.mark.parametrize("records", [RECORDS, PAIRS], ids=["records", "pairs"])
def test_rows_hold_the_records(tool, records, tmp_path):
    out = WRITERS[tool](records, tmp_path)
    rows = lines(tmp_path/DATA[tool])
    assert len(rows) == len(records) == out.facts.rows
    for row, r in zip(rows, records):
        system, user, replies = parts_of(row)
        assert system == unmarked(r.request.system)
        assert user == "<image>" * len(r.request.pictures) + unmarked(r.request.text)
        assert user.count("<image>") == len(row["images"]) == len(r.request.pictures), "a place for each picture, and no other"
        assert replies == [unmarked(x) for x in ((r.chosen, r.rejected) if isinstance(r, Preference) else (r.reply,))]
        for path, p in zip(row["images"], r.request.pictures):
            im = Image.open(tmp_path/path)
            assert (im.format, im.mode, im.size, im.tobytes()) == ("PNG", "RGB", p.pixels().size, p.pixels().tobytes())
    assert [(x["key"], x["kind"], x["image_id"], x["info"]) for x in lines(tmp_path/"lineage.jsonl")] == \
        [(r.key, r.kind, r.image_id, dict(r.info)) for r in records]
    assert out.facts.kinds == Counter(r.kind for r in records) and len(list((tmp_path/"images").iterdir())) == 2 == out.facts.pictures
    assert (out.facts.systems, out.facts.changed) == ((4, 3) if records is RECORDS else (1, 2)), "three texts hold markup"


@pytest.mark.parametrize("template", ["llava", "intern_vl"])
def test_gaps_of_factory_templates_are_filled(template, tmp_path):
    to_llama_factory(RECORDS, tmp_path)
    before, after, behind = GAPS[template]
    for filled, plain in zip(lines(tmp_path/f"data_{template}.jsonl"), lines(tmp_path/"data_qwen2_vl.jsonl")):
        (s, u, r), (system, user, replies) = parts_of(filled), parts_of(plain)
        assert s == (before + system + after if system else "") and u == user.replace("<image>", "<image>" + behind) and r == replies


PIECES = st.lists(st.one_of(st.sampled_from(["<image>", "</img>", "<|im_end|>", "{{image}}", "<", "|>", "<|", "{{", "}}", "image>", "<s>", "\n", " "]),
                            st.text(max_size=4))).map("".join)


@given(PIECES)
def test_nothing_that_reads_as_markup_is_left(text):
    clean = unmarked(text)
    assert not MARKUP.search(clean) and unmarked(clean) == clean
    assert [c for c in clean if c != " "] == [c for c in text if c != " "], "only blanks are added"


def test_settings_say_what_the_recipe_says(tmp_path):
    yaml = pytest.importorskip("yaml")
    recipe = Recipe(rank=4, alpha=9, learning_rate=1e-6, warmup=.03, batch_size=4, accumulation=2, seed=3, weight_decay=1e-5)
    to_llama_factory(RECORDS, tmp_path/"f", recipe=recipe)
    to_trl(PAIRS, tmp_path/"t", recipe=replace(recipe, objective="dpo", beta=.25))
    settings = [yaml.safe_load((tmp_path/folder/f"{name}.yaml").read_text()) for folder in "ft" for name in NEWER]
    for s in settings:
        assert (s["num_train_epochs"], s["learning_rate"], s["weight_decay"], s["lr_scheduler_type"]) == (5, 1e-6, 1e-5, "cosine")
        assert s["per_device_train_batch_size"] * s["gradient_accumulation_steps"] == 8 and s["seed"] == 3
    assert settings[0]["lora_rank"] == settings[3]["lora_r"] == 4 and settings[3]["beta"] == .25 and settings[3]["max_length"] is None
    info = json.loads((tmp_path/"f/dataset_info.json").read_text())
    for name, s in zip(NEWER, settings):
        entry = info[s["dataset"]]
        assert (tmp_path/"f"/entry["file_name"]).exists() and s["template"] == STUDENTS[name].factory
    train = to_ms_swift(RECORDS, tmp_path/"s", recipe="codebase").commands
    assert set(train) == set(PAPER) and all("--strict true" in c["train"] and "--num_train_epochs 5" in c["train"] for c in train.values())
    assert "--learning_rate 0.000001 " in train["InternVL2-8B"]["train"] and "--target_modules attn.c_proj c_attn w1 w2 " in train["Qwen-VL-Chat"]["train"]


@pytest.mark.parametrize("tool, student", [*(("LLaMA-Factory", s) for s in PAPER), *(("TRL", s) for s in PAPER)])
def test_a_student_that_a_tool_lacks(tool, student, tmp_path):
    with pytest.raises(UnsafError, match=f"does not train {student}: of the students here it trains LLaVA"): WRITERS[tool](RECORDS, tmp_path/"x", [student])
    assert not (tmp_path/"x").exists()


def test_what_is_refused(tmp_path):
    broken = Record(Request((Picture("lost", lambda: (_ for _ in ()).throw(ImageError("lost: cannot be read"))), "?")), "x", "qa", "lost", True)
    for records, say in (([], "no records"), ([*RECORDS, *PAIRS], "record 5 .* cannot share"), ([replace(RECORDS[0], reply=" \n")], "reply is empty"),
                         ([replace(PAIRS[0], rejected="unanswerable")], "both replies"), ([broken], "cannot be read")):
        with pytest.raises(UnsafError, match=say): to_ms_swift(records, tmp_path/"x")
    with pytest.raises(UnsafError, match="'GPT' is unknown"): students_for("TRL", ["GPT"])
    with pytest.raises(UnsafError, match="objective is dpo"): to_trl(RECORDS, tmp_path/"x", recipe="common-dpo")
    with pytest.raises(UnsafError, match="names no code base"): to_trl(RECORDS, tmp_path/"x", recipe="codebase")
    with pytest.raises(UnsafError, match="share their names"): to_ms_swift(RECORDS, tmp_path/"x", ["mPLUG-Owl3-7B"], Recipe(projections=("q_proj",)))


# --- the tools themselves ---------------------------------------------------------------------------------------------

PINS = {"swift": ("UNSAF_SWIFT_PYTHON", ["ms-swift==4.6.0", "qwen_vl_utils", "timm"]),
        "swift-old": ("UNSAF_SWIFT_OLD_PYTHON", ["ms-swift==4.6.0", "transformers==4.46.3", "timm"]),
        "llamafactory": ("UNSAF_LLAMAFACTORY_PYTHON", ["llamafactory==0.9.5"])}
PROBE = "import wheels, {0}"
FAMILY = {"LLaVA-1.5-7B": "llava", "Qwen2.5-VL-7B": "qwen", "InternVL3-8B": "internvl"}
SMALL = Recipe(epochs=2, batch_size=2, dtype="float32", learning_rate=1e-3, dropout=0., warmup=0.)


def call(command, cwd=None):
    env = {**os.environ, "PYTHONPATH": str(LOADERS), "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "WANDB_DISABLED": "true"}
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done


def interpreter(tool):
    "The interpreter of `tool`'s own environment; skips where there is none."
    variable, packages = PINS[tool]
    home = Path.home()/".cache/unsaf/tools"/tool
    python = Path(os.environ.get(variable) or home/"bin/python")
    if not python.exists() and variable not in os.environ and os.environ.get("UNSAF_BUILD_TOOLS") == "1":
        import torch
        subprocess.run([sys.executable, "-m", "venv", home], check=True, timeout=300)
        subprocess.run([python, "-m", "pip", "install", "-q", f"torch=={torch.__version__}", "torchvision", *packages], check=True, timeout=1200)
    if not python.exists(): pytest.skip(f"{tool} is not there: name its interpreter in {variable}, or set UNSAF_BUILD_TOOLS=1 to build {home}")
    call([python, "-c", PROBE.format(tool.partition("-")[0])])
    return python


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    "Tiny checkpoints of true architecture by the student's name."
    pytest.importorskip("torch")
    from tiny_checkpoints import build
    root, made = tmp_path_factory.mktemp("students"), {}
    def folder(name):
        if name not in made: made[name] = build(FAMILY[name], root/FAMILY[name])
        return made[name]
    return folder


@pytest.fixture(scope="module")
def chat(checkpoint):
    from unsaf.models.hf import HF
    made = {}
    def one(name):
        if name not in made: made[name] = HF(str(checkpoint(name)), device="cpu").chat
        return made[name]
    return one


def local(name, checkpoint): return replace(STUDENTS[name], source=str(checkpoint(name)))


def shown(chat, record, system=None):
    "The prompt tokens that evaluation sends for the record as it was exported."
    r = record.request
    parts = tuple(unmarked(p) if isinstance(p, str) else p for p in r.parts)
    clean = replace(r, parts=parts, system=unmarked(r.system) or system or "")
    return chat.encode([clean], {id(p): p.pixels() for p in clean.pictures})["input_ids"][0].tolist()


def split(side):
    "(prompt tokens, learned tokens) of an encoded row: labels must be masked up to the reply, and copy the ids from there on."
    n = next(i for i, t in enumerate(side["labels"]) if t != -100)
    assert side["labels"][n:] == side["ids"][n:] and set(side["labels"][:n]) == {-100}
    return side["ids"][:n], side["ids"][n:]


@pytest.mark.slow
@pytest.mark.parametrize("records", [RECORDS, PAIRS], ids=["records", "pairs"])
@pytest.mark.parametrize("name", ["InternVL3-8B", "LLaVA-1.5-7B"])
def test_ms_swift_reads_and_encodes(name, records, checkpoint, chat, tmp_path):
    python, student, chat = interpreter("swift"), local(name, checkpoint), chat(name)
    to_ms_swift(records, tmp_path, [student])
    call([python, LOADERS/"swift_rows.py", student.source, student.swift, student.template or student.swift, tmp_path/"out.json"], tmp_path)
    rows = json.loads((tmp_path/"out.json").read_text())
    assert len(rows) == len(records)
    end = "<|im_end|>\n" if name == "InternVL3-8B" else "</s>"
    for row, r in zip(rows, records):
        assert [Image.open(tmp_path/i).size for i in row["images"]] == [p.pixels().size for p in r.request.pictures]
        assert [m["role"] for m in row["messages"]] == ["system"] * bool(r.request.system) + ["user", "assistant"]
        sides = {"chosen": r.chosen, "rejected": r.rejected} if isinstance(r, Preference) else {"row": r.reply}
        assert set(row["encoded"]) == set(sides)
        for side, reply in sides.items():
            prompt, learned = split(row["encoded"][side])
            assert chat.tok.decode(learned) == unmarked(reply) + end, "the loss is on the reply and its stop"
            ours = chat.tok.decode(shown(chat, r))
            if name == "InternVL3-8B": assert prompt == shown(chat, r), "the very tokens of evaluation"
            else: assert chat.tok.decode(prompt) == "<s>" + ours.replace(" USER:", "\nUSER:").replace(" ASSISTANT:", "\nASSISTANT:")


@pytest.mark.slow
@pytest.mark.parametrize("records", [RECORDS, PAIRS], ids=["records", "pairs"])
@pytest.mark.parametrize("name", NEWER)
def test_llama_factory_reads_and_encodes(name, records, checkpoint, chat, tmp_path):
    python, chat = interpreter("llamafactory"), chat(name)
    to_llama_factory(records, tmp_path, [local(name, checkpoint)])
    call([python, LOADERS/"factory_rows.py", f"{name}.yaml", tmp_path/"out.json"], tmp_path)
    rows = json.loads((tmp_path/"out.json").read_text())
    assert len(rows) == len(records)
    default = "You are a helpful assistant." if name == "Qwen2.5-VL-7B" else None      # Qwen's own chat template writes it too
    for row, r in zip(rows, records):
        assert [Image.open(tmp_path/i).size for i in row["images"]] == [p.pixels().size for p in r.request.pictures]
        sides = {"chosen": r.chosen, "rejected": r.rejected} if isinstance(r, Preference) else {"row": r.reply}
        assert set(row["encoded"]) == set(sides)
        for side, reply in sides.items():
            prompt, learned = split(row["encoded"][side])
            ours = shown(chat, r, default)
            if name == "LLaVA-1.5-7B": ours = [chat.tok.bos_token_id, *ours]              # which LLaVA's tokenizer adds by itself
            assert prompt == ours, "the very tokens of evaluation"
            assert chat.tok.decode(learned) == unmarked(reply) + ("</s>" if name == "LLaVA-1.5-7B" else "<|im_end|>\n")


def weights(folder):
    from safetensors.torch import load_file
    return {k: v for f in sorted(Path(folder).glob("*.safetensors")) for k, v in load_file(f).items()}


def only_the_language_model_moved(base, tuned):
    before, after = weights(base), weights(tuned)
    assert set(before) == set(after)
    moved = {k for k in before if (before[k].float() - after[k].float()).abs().max() > 1e-5}
    assert len(moved) == 14 and all("language_model" in k and k.split(".")[-2].endswith("_proj") for k in moved), sorted(moved)


def answers(folder):
    import unsaf
    from unsaf.models.base import collect
    return collect(unsaf.load(str(folder), dtype="float32", device="cpu"), [replace(RECORDS[0].request, max_tokens=4)])[0]


@pytest.mark.slow
def test_ms_swift_trains_and_merges_by_the_exported_command(checkpoint, tmp_path):
    python, student = interpreter("swift"), local("InternVL3-8B", checkpoint)
    commands = to_ms_swift(RECORDS, tmp_path, [student], SMALL).commands[student.name]
    for step in ("train", "merge"):
        tool, sub, *flags = shlex.split(commands[step].replace("\\\n", " "))
        assert tool == "swift"
        call([python, LOADERS/"command.py", f"swift.cli.{sub}", *flags], tmp_path)
    only_the_language_model_moved(student.source, tmp_path/"merged"/student.name)
    assert answers(tmp_path/"merged"/student.name).finish in ("stop", "length")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["LLaVA-1.5-7B"])
def test_llama_factory_trains_and_merges_by_the_exported_command(name, checkpoint, tmp_path):
    python, student = interpreter("llamafactory"), local(name, checkpoint)
    commands = to_llama_factory(RECORDS, tmp_path, [student], SMALL).commands[name]
    for step, extra in (("train", ["use_cpu=true"]), ("merge", [])):
        tool, *words = shlex.split(commands[step])
        assert tool == "llamafactory-cli"
        call([python, LOADERS/"command.py", "llamafactory.cli", *words, *extra], tmp_path)
    only_the_language_model_moved(student.source, tmp_path/"merged"/name)
    assert answers(tmp_path/"merged"/name).finish in ("stop", "length")


@pytest.mark.slow
def test_trl_reads_and_collates(checkpoint, chat, tmp_path, monkeypatch):
    pytest.importorskip("trl")
    from datasets import load_dataset
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling
    name = "LLaVA-1.5-7B"
    to_trl(RECORDS, tmp_path, [local(name, checkpoint)])
    monkeypatch.chdir(tmp_path)
    rows = load_dataset("./rows", split="train", cache_dir=str(tmp_path/"cache"))
    assert [len(r["images"]) for r in rows] == [len(r.request.pictures) for r in RECORDS]
    chat = chat(name)
    collate = DataCollatorForVisionLanguageModeling(chat.processor, completion_only_loss=True)
    for row, r in zip(rows, RECORDS):
        assert [im.tobytes() for im in row["images"]] == [p.pixels().tobytes() for p in r.request.pictures]
        batch = collate([row])
        prompt, learned = split({"ids": batch["input_ids"][0].tolist(), "labels": batch["labels"][0].tolist()})
        assert prompt == shown(chat, r), "the very tokens of evaluation"
        assert chat.tok.decode(learned).strip().startswith(unmarked(r.reply))


@pytest.mark.slow
def test_trl_trains_by_the_exported_command(checkpoint, tmp_path):
    pytest.importorskip("trl")
    student = local("LLaVA-1.5-7B", checkpoint)
    for records, recipe in ((RECORDS, SMALL), (PAIRS, replace(SMALL, objective="dpo"))):
        folder = tmp_path/recipe.objective
        commands = to_trl(records, folder, [student], recipe).commands[student.name]
        _, sub, *words = shlex.split(commands["train"])
        call([sys.executable, "-m", f"trl.scripts.{sub}", *words], folder)
        call([sys.executable, *shlex.split(commands["merge"])[1:]], folder)
        only_the_language_model_moved(student.source, folder/"merged"/student.name)
        assert answers(folder/"merged"/student.name).finish in ("stop", "length")


def test_a_student_of_ones_own(tmp_path):
    mine = Student("mine", "./checkpoint", swift="llava1_5_hf")
    assert "--model ./checkpoint" in to_ms_swift(RECORDS, tmp_path, [mine]).commands["mine"]["train"]
    with pytest.raises(UnsafError, match="does not train mine"): to_llama_factory(RECORDS, tmp_path, [mine])
