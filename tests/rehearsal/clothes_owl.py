"""A bundled tiny model in the clothes of mPLUG-Owl3.

A folder with code of its own: the old transformers' CLIP and LLaMA by mPLUG-Owl3's names, its processor, its ChatML. The weights are
the bundled model's, and its own marks for a turn carry the family's names, so that it is asked as it was taught and its replies can be read."""
import json, shutil
from pathlib import Path
from unsaf.world import tiny as bundled

CODE = Path(__file__).with_name("owl")
MARKS = {"<pad>": "<|endoftext|>", "<|user|>": "<|im_start|>user\n", "<|assistant|>": "<|im_end|>\n<|im_start|>assistant\n", "<|end|>": "<|im_end|>",
         "<image>": "<|image|>"}
PLACES = {"vision_tower.": "vision_model.", "multi_modal_projector.linear_1": "vision2text_model.0", "multi_modal_projector.linear_2": "vision2text_model.2"}


def dress_owl(folder, tiny: str = "tiny-m") -> Path:
    "A checkpoint of mPLUG-Owl3's structure in `folder` with the weights of the bundled model `tiny`."
    from safetensors.torch import load_file, save_file
    folder, source = Path(folder), bundled.path(tiny)
    shutil.copytree(CODE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    words, line_break = tokenizer(json.loads((source / "tokenizer.json").read_text("utf-8")))
    files = {"config.json": config(json.loads((source / "config.json").read_text("utf-8")), line_break), "tokenizer.json": words,
             "generation_config.json": dict(eos_token_id=[4, 0], pad_token_id=0),
             "tokenizer_config.json": dict(tokenizer_class="PreTrainedTokenizerFast", eos_token="<|im_end|>", pad_token="<|endoftext|>",
                                           unk_token="<unk>", model_max_length=2048, clean_up_tokenization_spaces=False)}
    for name, what in files.items(): (folder / name).write_text(json.dumps(what, ensure_ascii=False, indent=1), "utf-8")
    weights = {renamed(k, PLACES): v.float() for k, v in load_file(source / "model.safetensors").items()}
    weights["language_model.lm_head.weight"] = weights["language_model.model.embed_tokens.weight"].clone()      # untied, as the 7B is
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def renamed(text: str, names: dict[str, str]) -> str:
    for old, new in names.items():
        if text.startswith(old): return new + text.removeprefix(old)
    return text


def tokenizer(words: dict) -> tuple[dict, int]:
    "tokenizer.json as an old tokenizers reads it, its marks under the family's names; and the id of a line break."
    model = words["model"]
    for token in words["added_tokens"]: token["content"] = MARKS.get(token["content"], token["content"])
    model["vocab"] = {MARKS.get(text, text): i for text, i in model["vocab"].items()}
    model["merges"] = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    model.pop("ignore_merges", None)
    return words, model["vocab"]["Ċ"]      # as a byte-level vocabulary writes it


def config(own: dict, line_break: int) -> dict:
    "config.json: the language model's settings, and the vision tower's within."
    kept = {k: v for k, v in own["text_config"].items() if k not in ("model_type", "rope_parameters", "dtype", "tie_word_embeddings")}
    whole = "modeling_mplugowl3.mPLUGOwl3Model"
    return kept | dict(model_type="mplugowl3", architectures=["mPLUGOwl3Model"], torch_dtype="float32", rope_theta=10000.0,
                       tie_word_embeddings=False, line_break=line_break, vision_config=own["vision_config"],
                       auto_map={"AutoConfig": "configuration_mplugowl3.mPLUGOwl3Config", "AutoModel": whole, "AutoModelForCausalLM": whole})
