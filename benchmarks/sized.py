"""Checkpoints of random weights and true shapes, for measuring speed where no weights can be had.

The 7B shapes: LLaVA-1.5 as `LlavaConfig()` of transformers has it (its defaults are that model); Qwen2.5-VL-7B from the modules that
transformers prints for it (28 layers of width 3584, keys of width 512, hidden width 18944, vocabulary 152064; vision 32 layers of width 1280).
The CPU shapes keep the share of picture tokens in a prompt and shrink everything else.

The tokenizer is a byte-level BPE of 32,000 entries (8,000 for the CPU shapes) learned from the descriptions of the installed Python
packages: English prose and some code, so that a prompt is about as many tokens as with a tokenizer of a real model.
"""
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from unsaf.models.checkpoint import images_only

LLAVA = ("{% for m in messages %}{% if m['role'] == 'system' %}{{ m['content'][0]['text'] + ' ' }}{% else %}{{ m['role'].upper() + ': ' }}"
         "{% for c in m['content'] %}{% if c['type'] == 'image' %}{{ '<image>\n' }}{% endif %}{% endfor %}"
         "{% for c in m['content'] %}{% if c['type'] == 'text' %}{{ c['text'] + ' ' }}{% endif %}{% endfor %}{% endif %}{% endfor %}"
         "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}")
QWEN = ("{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}{% if c['type'] == 'image' %}"
        "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


@dataclass(frozen=True)
class Shape:
    kind: str           # llava or qwen
    side: int           # of a square picture, in pixels
    text: dict
    vision: dict
    entries: int = 32_000   # of the tokenizer; a small model with a large one would spend its time on the last layer


SMALL_TEXT = dict(hidden_size=512, intermediate_size=1376, num_hidden_layers=12, num_attention_heads=8, num_key_value_heads=8, head_dim=64)
LIMIT_TEXT = dict(hidden_size=768, intermediate_size=2048, num_hidden_layers=12, num_attention_heads=12, num_key_value_heads=12, head_dim=64,
                  max_position_embeddings=4096)
MODELS = {
    "llava-limit": Shape("llava", 336, LIMIT_TEXT, dict(hidden_size=384, intermediate_size=1536, num_hidden_layers=6, num_attention_heads=6)),
    "qwen-limit": Shape("qwen", 672, LIMIT_TEXT | dict(num_key_value_heads=2),
                        dict(depth=6, hidden_size=320, num_heads=4, intermediate_size=864, out_hidden_size=768, fullatt_block_indexes=[2, 5])),
    "llava-cpu": Shape("llava", 336, SMALL_TEXT, dict(hidden_size=192, intermediate_size=768, num_hidden_layers=4, num_attention_heads=4), 8_000),
    "qwen-cpu": Shape("qwen", 896, SMALL_TEXT | dict(num_key_value_heads=2),
                      dict(depth=4, hidden_size=160, num_heads=4, intermediate_size=440, out_hidden_size=512, fullatt_block_indexes=[3]), 8_000),
    "llava-7b": Shape("llava", 336, {}, {}),
    "qwen-7b": Shape("qwen", 896, dict(hidden_size=3584, intermediate_size=18944, num_hidden_layers=28, num_attention_heads=28, num_key_value_heads=4),
                     dict(depth=32, hidden_size=1280, num_heads=16, intermediate_size=3420, out_hidden_size=3584))}


def prose(limit: int = 6_000_000) -> list[str]:
    "What installed packages say of themselves."
    texts = sorted({d.metadata.get_payload() or d.metadata.get("Description") or "" for d in distributions()}, key=len)
    kept, size = [], 0
    for text in texts:
        if size + len(text) > limit: break
        kept, size = [*kept, text], size + len(text)
    return kept


def tokenizer(entries: int, specials: list[str], pad: str, eos: str, **named: str):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    bpe.train_from_iterator(prose(), trainers.BpeTrainer(vocab_size=entries - len(specials), show_progress=False,
                                                         initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    bpe.add_special_tokens(specials)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token=pad, eos_token=eos, extra_special_tokens=named)


def llava(shape: Shape):
    import transformers as tf
    tok = tokenizer(shape.entries, ["<unk>", "</s>", "<pad>", "<image>"], "<pad>", "</s>", image_token="<image>")
    pixels = tf.CLIPImageProcessorPil(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336})
    processor = tf.LlavaProcessor(pixels, tok, patch_size=14, vision_feature_select_strategy="default", num_additional_image_tokens=1, chat_template=LLAVA)
    plain = tf.LlavaConfig()
    vision = tf.CLIPVisionConfig(**(plain.vision_config.to_dict() | shape.vision))
    text = tf.LlamaConfig(**(plain.text_config.to_dict() | shape.text | special_ids(tok)))
    return tf.LlavaForConditionalGeneration, tf.LlavaConfig(vision_config=vision, text_config=text, image_token_index=tok.convert_tokens_to_ids("<image>"),
                                                            tie_word_embeddings=False), processor


def qwen(shape: Shape):
    import transformers as tf
    marks = dict(image_token_id="<|image_pad|>", video_token_id="<|video_pad|>", vision_start_token_id="<|vision_start|>", vision_end_token_id="<|vision_end|>")
    tok = tokenizer(shape.entries, ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *marks.values()], "<|endoftext|>", "<|im_end|>")
    half = shape.text["hidden_size"] // shape.text["num_attention_heads"] // 2
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [half - 2 * (3 * half // 8), 3 * half // 8, 3 * half // 8]}
    config = tf.Qwen2_5_VLConfig(text_config=shape.text | special_ids(tok) | dict(rope_parameters=rope, max_position_embeddings=32_768),
                                 vision_config=shape.vision, **{k: tok.convert_tokens_to_ids(t) for k, t in marks.items()})
    pixels = tf.Qwen2VLImageProcessorPil(patch_size=14, merge_size=2, temporal_patch_size=2, size={"shortest_edge": 56 * 56, "longest_edge": 1280 * 28 * 28})
    with images_only() as stub:
        processor = tf.Qwen2_5_VLProcessor(image_processor=pixels, tokenizer=tok, chat_template=QWEN, video_processor=stub or tf.Qwen2VLVideoProcessor())
    return tf.Qwen2_5_VLForConditionalGeneration, config, processor


def special_ids(tok) -> dict:
    return dict(vocab_size=len(tok), bos_token_id=None, eos_token_id=tok.eos_token_id, pad_token_id=tok.pad_token_id)


def save(name: str, folder: Path, device: str) -> Path:
    "Make the checkpoint `name` of `MODELS` with random weights in `folder`."
    import torch
    architecture, config, processor = {"llava": llava, "qwen": qwen}[MODELS[name].kind](MODELS[name])
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16 if device == "cuda" else torch.float32)
    try:
        with torch.device(device): model = architecture(config)
    finally: torch.set_default_dtype(torch.float32)
    with torch.no_grad():
        for p in model.parameters():
            if p.dim() > 1: p.normal_(0, .7 / p.shape[-1]**.5)   # the usual small start makes one token win everywhere
    model.generation_config.update(eos_token_id=processor.tokenizer.eos_token_id, pad_token_id=processor.tokenizer.pad_token_id)
    model.save_pretrained(folder), processor.save_pretrained(folder)
    return folder
