"""Stand-in checkpoints: folders that bring their own code, as the old families do, with a few thousand random weights."""
import json
import shutil
from pathlib import Path
import torch

here = Path(__file__).resolve().parent
CODE = {"qwen-vl": "qwen", "qwen-vl-chat": "qwen", "minicpm-v-2": "minicpm", "mplug-owl3": "owl", "internvl2": "internvl"}
LANGUAGE = {"minicpm": "llm.", "owl": "language_model.", "internvl": "language_model.", "qwen": ""}
WIDTH, VOCAB, STEPS, EOS = 24, 260, 64, 256


def make(family: str, folder: Path, seed: int = 3, layers: int = 0) -> Path:
    "A checkpoint of `family` in `folder`; with `layers` (InternVL2, MiniCPM-V-2) a LLaMA writes its tokens."
    from safetensors.torch import save_file
    folder.mkdir(parents=True)
    code = CODE[family]
    for name in ("tiny_lm.py", f"modeling_{code}.py"): shutil.copy(here / name, folder)
    auto = "AutoModelForCausalLM" if code == "qwen" else "AutoModel"
    write(folder / "config.json", {"model_type": "stand_in", "width": WIDTH, "layers": layers,
                                   "torch_dtype": "float32", "bos_token_id": EOS, "architectures": ["StandIn"],
                                   "auto_map": {"AutoConfig": "tiny_lm.TinyConfig", auto: f"modeling_{code}.StandIn"}})
    write(folder / "tokenizer_config.json", {"tokenizer_class": "ByteTokenizer", "auto_map": {"AutoTokenizer": ["tiny_lm.ByteTokenizer", None]}})
    write(folder / "generation_config.json", {"chat_format": "chatml", "do_sample": True, "top_p": 0.9, "temperature": 2.0, "repetition_penalty": 1.3,
                                              "eos_token_id": EOS, "pad_token_id": 0, "max_new_tokens": 512})
    save_file(weights(LANGUAGE[code], seed, layers), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write(path: Path, what: dict) -> None: path.write_text(json.dumps(what, indent=1))


def weights(prefix: str, seed: int, layers: int = 0) -> dict:
    g = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=g)
    bias = torch.full((VOCAB,), -1e4)
    bias[torch.tensor([32, *range(97, 123)])] = 0.0      # a blank and the letters a to z
    bias[EOS] = 1.0
    language = {"embed.weight": normal(VOCAB, WIDTH), "step.weight": normal(STEPS, WIDTH).sign(), "mix.weight": normal(WIDTH, 2 * WIDTH) / 3,
                "mix.bias": normal(WIDTH), "head.weight": normal(VOCAB, WIDTH), "head.bias": bias}
    if layers: language = layered(layers, normal)
    return {prefix + k: v for k, v in language.items()} | {"see.weight": normal(WIDTH, 12) * 2, "see.bias": normal(WIDTH)}


def layered(layers: int, normal) -> dict:
    "Of a LLaMA, by its own names; large enough that its layers do not agree."
    half, ffn = WIDTH // 2, 2 * WIDTH      # two heads of keys and values for four
    block = {"self_attn.q_proj": (WIDTH, WIDTH), "self_attn.k_proj": (half, WIDTH), "self_attn.v_proj": (half, WIDTH), "self_attn.o_proj": (WIDTH, WIDTH),
             "mlp.gate_proj": (ffn, WIDTH), "mlp.up_proj": (ffn, WIDTH), "mlp.down_proj": (WIDTH, ffn)}
    out = {"model.embed_tokens.weight": normal(VOCAB, WIDTH), "model.norm.weight": torch.ones(WIDTH), "lm_head.weight": normal(VOCAB, WIDTH) / 2}
    for i in range(layers):
        out |= {f"model.layers.{i}.{name}.weight": normal(*shape) / 3 for name, shape in block.items()}
        out |= {f"model.layers.{i}.{name}_layernorm.weight": torch.ones(WIDTH) for name in ("input", "post_attention")}
    return out
