"Checkpoints of old families, with code of their own, that carry the weights of a bundled tiny model: readable ones."
import json, shutil
from functools import partial
from pathlib import Path
import torch
from safetensors.torch import load_file, save_file
from unsaf.prompts.templates import system_message
from unsaf.world import tiny

HERE = Path(__file__).resolve().parent
USER, ASSISTANT, END = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>"
QWEN = ("<|endoftext|>", "<img>", USER, ASSISTANT, END, "<imgpad>", "</img>")
# how the tiny models' own marks are called: padding, ignored, user, assistant, end, image; and one more that is ignored
MARKS = {"internvl2": ("<pad>", "<img>", USER, ASSISTANT, END, "<IMG_CONTEXT>", "</img>\n"),
         "minicpm-v-2": ("<pad>", "<image>", "<用户>", "<AI>", "</s>", "<unk>", "</image>\n"),
         "qwen-vl": QWEN, "qwen-vl-chat": QWEN}
TINY = ("vision_tower.", "multi_modal_projector.linear_1.", "multi_modal_projector.linear_2.", "language_model.")
NAMES = {"internvl2": ("vision_model.vision_model.", "mlp1.0.", "mlp1.2.", "language_model."),
         "minicpm-v-2": ("vpm.vision_model.", "resampler.0.", "resampler.2.", "llm."),
         **dict.fromkeys(("qwen-vl", "qwen-vl-chat"), (
             "transformer.visual.tower.vision_model.", "transformer.visual.proj.0.", "transformer.visual.proj.2.", ""))}
QWEN_NAMES = {"model.embed_tokens": "transformer.wte", "model.norm": "transformer.ln_f",
              "model.layers": "transformer.h", "self_attn.o_proj": "attn.c_proj",
              "mlp.up_proj": "mlp.w1", "mlp.gate_proj": "mlp.w2",
              "mlp.down_proj": "mlp.c_proj", "input_layernorm": "ln_1", "post_attention_layernorm": "ln_2"}


def dress(family: str, folder: str | Path, tiny_model: str = "tiny-m") -> Path:
    "A checkpoint of `family` in `folder`, with the weights of a bundled model."
    folder, source = Path(folder), tiny.path(tiny_model)
    folder.mkdir(parents=True)
    for name, what in (CLOTHES[family](source) | {"tokenizer.json": tokenizer(source, MARKS[family])}).items():
        (folder/name).write_text(json.dumps(what, indent=1, ensure_ascii=False))
    for file in ("carried.py", "carried_tokens.py", *CODE[family]): shutil.copy(HERE/file, folder)
    save_file(weights(source, NAMES[family]), folder/"model.safetensors", metadata={"format": "pt"})
    return folder


def tokenizer(source: Path, marks: tuple[str, ...]) -> dict:
    "A tiny model's tokenizer, its marks called as the family does, its merges as an old library reads them."
    found = json.loads((source/"tokenizer.json").read_text("utf-8"))
    model, old = found["model"], {t["content"]: t["id"] for t in found["added_tokens"] if t["id"] < 6}
    for token in found["added_tokens"][:6]: token["content"] = marks[token["id"]]
    found["added_tokens"].append(dict(found["added_tokens"][0], id=999, content=marks[6]))
    model["vocab"] = {marks[old[t]] if t in old else t: n for t, n in model["vocab"].items()}
    model["merges"] = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    return found


def weights(source: Path, names: tuple[str, ...]) -> dict:
    "A tiny model's weights under the family's names; the head of its own, the ignored tokens zeros."
    found, out = load_file(source/"model.safetensors"), {}
    for key, value in found.items():
        before, after = next((a, b) for a, b in zip(TINY, names) if key.startswith(a))
        out[after + key.removeprefix(before)] = value.float()
    words = f"{names[3]}model.embed_tokens.weight"
    out[f"{names[3]}lm_head.weight"] = out[words].clone()
    out[words][[1, 999]] = 0
    return qwen_weights(out) if not names[3] else out


def qwen_weights(found: dict) -> dict:
    "A LLaMA's weights by the names of a Qwen: queries, keys and values in one matrix, with a bias of zeros."
    out = {}
    for key, value in found.items():
        for before, after in QWEN_NAMES.items(): key = key.replace(before, after)
        out[key] = value
    for i in range(sum(key.endswith("attn.c_proj.weight") for key in out)):
        at = f"transformer.h.{i}."
        joined = torch.cat([out.pop(f"{at}self_attn.{n}_proj.weight") for n in "qkv"])
        out |= {f"{at}attn.c_attn.weight": joined, f"{at}attn.c_attn.bias": torch.zeros(len(joined))}
    return out


def shapes(source: Path) -> dict:
    "The two towers of a tiny model, as an old transformers takes them."
    known = json.loads((source/"config.json").read_text("utf-8"))
    text = {k: v for k, v in known["text_config"].items() if k not in ("rope_parameters", "head_dim", "model_type")}
    return {"vision": {k: v for k, v in known["vision_config"].items() if k != "model_type"},
            "text": text | {"tie_word_embeddings": False, "rope_theta": 10000.0, "pad_token_id": 0, "bos_token_id": 0}}


SYSTEMS = [system_message(template) for template in ("llava", "qwen")]
WORDS = dict(tokenizer_class="CarriedTokenizer", model_max_length=8192, clean_up_tokenization_spaces=False,
             auto_map={"AutoTokenizer": ["carried_tokens.CarriedTokenizer", None]})


def internvl2(source: Path) -> dict:
    code = "carried_internvl"
    kinds, model = ("AutoModel", "AutoModelForCausalLM"), f"{code}.InternVLChatModel"
    maps = {"AutoConfig": f"{code}.Config"} | dict.fromkeys(kinds, model)
    return {"config.json": dict(model_type="internvl_chat", architectures=["InternVLChatModel"], torch_dtype="float32",
                                tiny=shapes(source), auto_map=maps),
            "tokenizer_config.json": dict(WORDS, eos_token=END, pad_token="<pad>",
                                          additional_special_tokens=list(MARKS["internvl2"])),
            "generation_config.json": dict(eos_token_id=4, pad_token_id=0)}


def minicpm(source: Path) -> dict:
    code, (pad, *marks) = "carried_minicpm", MARKS["minicpm-v-2"]
    maps = {"AutoConfig": f"{code}.MiniCPMVConfig", "AutoModel": f"{code}.MiniCPMV"}
    return {"config.json": dict(model_type="minicpmv", architectures=["MiniCPMV"], torch_dtype="float32", auto_map=maps,
                                tiny=shapes(source) | {"systems": SYSTEMS}),
            "tokenizer_config.json": dict(WORDS, pad_token=pad, eos_token=marks[3], additional_special_tokens=marks),
            "generation_config.json": dict(eos_token_id=4, pad_token_id=0)}


def qwen(source: Path, chat: bool) -> dict:
    code, words = "carried_qwen", tokenizer(source, QWEN)
    marks = {t["id"]: t["content"] for t in words["added_tokens"]} | {n: t for t, n in words["model"]["vocab"].items()}
    config = dict(model_type="qwen", architectures=["QWenLMHeadModel"], torch_dtype="float32", fp32=True,
                  tie_word_embeddings=False, tiny=shapes(source) | {"marks": [marks[i] for i in range(1000)]},
                  auto_map={"AutoConfig": f"{code}.QWenConfig", "AutoModelForCausalLM": f"{code}.QWenLMHeadModel"})
    own = dict(WORDS, tokenizer_class="QWenTokenizer", systems=[] if chat else SYSTEMS,
               auto_map={"AutoTokenizer": ["tokenization_qwen.QWenTokenizer", None]})
    habit = dict(eos_token_id=4, pad_token_id=0, do_sample=True, top_p=.3, max_new_tokens=512,
                 chat_format="chatml" if chat else "raw")
    return {"config.json": config, "tokenizer_config.json": own, "generation_config.json": habit}


CODE = {"internvl2": ("carried_internvl.py",), "minicpm-v-2": ("carried_minicpm.py",),
        **dict.fromkeys(("qwen-vl", "qwen-vl-chat"), ("carried_qwen.py", "tokenization_qwen.py"))}
CLOTHES = {"internvl2": internvl2, "minicpm-v-2": minicpm, "qwen-vl": partial(qwen, chat=False),
           "qwen-vl-chat": partial(qwen, chat=True)}
