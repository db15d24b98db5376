"A checkpoint with the structure of InternVL2, whose files an old and a new transformers read alike."
import json, shutil
from pathlib import Path
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

SPECIAL = ["<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>"]


def make(folder, width=32, layers=2, seed=0):
    folder = Path(folder)
    folder.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("student_internvl.py"), folder)
    code = "student_internvl"
    config = dict(model_type="internvl_chat", architectures=["InternVLChatModel"], width=width, layers=layers, vocabulary=264, torch_dtype="float32",
                  auto_map={"AutoConfig": f"{code}.Config", "AutoModel": f"{code}.InternVLChatModel", "AutoModelForCausalLM": f"{code}.InternVLChatModel"})
    bpe = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, merges=[]))
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    bpe.add_special_tokens(SPECIAL)
    bpe.save(str(folder / "tokenizer.json"))
    files = {"config.json": config,
             "tokenizer_config.json": dict(tokenizer_class="PreTrainedTokenizerFast", bos_token="<s>", eos_token="</s>", pad_token="<pad>",
                                           additional_special_tokens=SPECIAL[3:], model_max_length=8192, clean_up_tokenization_spaces=False),
             "generation_config.json": dict(eos_token_id=260, pad_token_id=258)}
    for name, what in files.items(): (folder / name).write_text(json.dumps(what, indent=1))
    save_file(weights(width, layers, seed), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def weights(w, layers, seed):
    g = torch.Generator().manual_seed(seed)
    def drawn(*shape): return torch.randn(*shape, generator=g) * .2
    found = {"vision_model.weight": drawn(w, 3, 28, 28), "vision_model.bias": torch.zeros(w), "mlp1.weight": drawn(w, w), "mlp1.bias": torch.zeros(w),
             "language_model.model.embed_tokens.weight": drawn(264, w), "language_model.model.norm.weight": torch.ones(w),
             "language_model.lm_head.weight": drawn(264, w)}
    for i in range(layers):
        at = f"language_model.model.layers.{i}."
        found |= {f"{at}self_attn.{n}_proj.weight": drawn(w, w) for n in "qkvo"}
        found |= {f"{at}mlp.{n}_proj.weight": drawn(2 * w, w) for n in ("gate", "up")} | {f"{at}mlp.down_proj.weight": drawn(w, 2 * w)}
        found |= {f"{at}{n}_layernorm.weight": torch.ones(w) for n in ("input", "post_attention")}
    return found
