"""Tiny checkpoints with random weights and true architectures, built in a second and saved as `save_pretrained` saves them."""
from pathlib import Path
from unsaf.models.checkpoint import images_only

TEXT = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=4096)
VISION = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)

# LLaVA-1.5 puts pictures first, writes "ASSISTANT:" with no blank after it and names no stop token
USER_ASSISTANT = (
    "{% for m in messages %}{% if m['role'] != 'system' %}{{ m['role'].upper() + ': ' }}{% endif %}"
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}{{ '<image>\n' }}{% endif %}{% endfor %}"
    "{% for c in m['content'] %}{% if c['type'] == 'text' %}{{ c['text'] + ' ' }}{% endif %}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}")

# Qwen and InternVL: ChatML, pictures where they stand
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}IMAGE{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")

TURNS = (
    "{{ bos_token }}{% for m in messages %}<turn>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<boi>{% else %}{{ c['text'] }}{% endif %}{% endfor %}<eot>\n{% endfor %}"
    "{% if add_generation_prompt %}<turn>assistant\n{% endif %}")


def tokenizer(specials, pad, eos, bos=None, **named):
    "One token a byte, and the special tokens that the architecture asks for."
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    t = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, merges=[]))
    t.pre_tokenizer, t.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    t.add_special_tokens(list(specials))
    extra = dict(bos_token=bos) if bos else {}
    return PreTrainedTokenizerFast(tokenizer_object=t, pad_token=pad, eos_token=eos, extra_special_tokens=named, **extra)


def language(tok, **more):
    return dict(vocab_size=len(tok), bos_token_id=tok.bos_token_id, eos_token_id=tok.eos_token_id, pad_token_id=tok.pad_token_id,
                **TEXT, **more)


def llava():
    import transformers as tf
    tok = tokenizer(["<unk>", "<s>", "</s>", "<pad>", "<image>"], "<pad>", "</s>", "<s>", image_token="<image>")
    pixels = tf.CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    processor = tf.LlavaProcessor(pixels, tok, patch_size=14, vision_feature_select_strategy="default",
                                  num_additional_image_tokens=1, chat_template=USER_ASSISTANT)
    config = tf.LlavaConfig(vision_config=tf.CLIPVisionConfig(image_size=28, patch_size=14, projection_dim=32, **VISION),
                            text_config=tf.LlamaConfig(**language(tok)), image_seq_length=4,
                            image_token_index=tok.convert_tokens_to_ids("<image>"))
    return tf.LlavaForConditionalGeneration(config), processor


def qwen():
    import transformers as tf
    tok = tokenizer(["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
                     "<|video_pad|>"], "<|endoftext|>", "<|im_end|>")
    marks = dict(image_token_id="<|image_pad|>", video_token_id="<|video_pad|>", vision_start_token_id="<|vision_start|>",
                 vision_end_token_id="<|vision_end|>")
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]}
    config = tf.Qwen2_5_VLConfig(
        text_config=language(tok, rope_parameters=rope),
        vision_config=dict(depth=2, hidden_size=32, out_hidden_size=64, num_heads=4, intermediate_size=64,
                           fullatt_block_indexes=[1]),
        **{k: tok.convert_tokens_to_ids(t) for k, t in marks.items()})
    pixels = tf.Qwen2VLImageProcessorPil(patch_size=14, merge_size=2, temporal_patch_size=2,
                                         size={"shortest_edge": 28*28*4, "longest_edge": 28*28*16})
    template = CHATML.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    with images_only() as stub:
        processor = tf.Qwen2_5_VLProcessor(image_processor=pixels, tokenizer=tok, chat_template=template,
                                           video_processor=stub or tf.Qwen2VLVideoProcessor())
    return tf.Qwen2_5_VLForConditionalGeneration(config), processor


def internvl():
    import transformers as tf
    tok = tokenizer(["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<IMG_CONTEXT>", "<img>", "</img>", "<video>"],
                    "<|endoftext|>", "<|im_end|>", start_image_token="<img>", end_image_token="</img>",
                    context_image_token="<IMG_CONTEXT>", video_token="<video>")
    pixels = tf.GotOcr2ImageProcessorPil(size={"height": 56, "width": 56}, crop_to_patches=True, min_patches=1, max_patches=4)
    with images_only() as stub:
        processor = tf.InternVLProcessor(image_processor=pixels, tokenizer=tok, image_seq_length=4,
                                         video_processor=stub or tf.InternVLVideoProcessor(),
                                         chat_template=CHATML.replace("IMAGE", "<IMG_CONTEXT>\n"))
    config = tf.InternVLConfig(vision_config=dict(image_size=56, patch_size=14, **VISION),
                               text_config=dict(model_type="qwen2", **language(tok)), image_seq_length=4,
                               image_token_id=tok.convert_tokens_to_ids("<IMG_CONTEXT>"), tie_word_embeddings=False)
    return tf.InternVLForConditionalGeneration(config), processor


def gemma():
    "A layer with a sliding window: its cache cannot be cut back."
    import transformers as tf
    tok = tokenizer(["<pad>", "<eos>", "<bos>", "<turn>", "<eot>", "<boi>", "<eoi>", "<img>"], "<pad>", "<eos>", "<bos>",
                    image_token="<img>", boi_token="<boi>", eoi_token="<eoi>")
    ids = tok.convert_tokens_to_ids
    processor = tf.Gemma3Processor(image_processor=tf.Gemma3ImageProcessorPil(size={"height": 56, "width": 56}), tokenizer=tok,
                                   image_seq_length=4, chat_template=TURNS)
    config = tf.Gemma3Config(text_config=language(tok, head_dim=16, sliding_window=16, query_pre_attn_scalar=16,
                                                  layer_types=["sliding_attention", "full_attention"]),
                             vision_config=dict(image_size=56, patch_size=14, vision_use_head=False, **VISION),
                             mm_tokens_per_image=4, boi_token_index=ids("<boi>"), eoi_token_index=ids("<eoi>"),
                             image_token_index=ids("<img>"))
    return tf.Gemma3ForConditionalGeneration(config), processor


FAMILIES = dict(llava=llava, qwen=qwen, internvl=internvl, gemma=gemma)


def build(family: str, folder: Path, **generation) -> Path:
    "Save a tiny `family` checkpoint to `folder`; `generation` goes to its generation_config.json."
    import torch
    torch.manual_seed(0)
    model, processor = FAMILIES[family]()
    with torch.no_grad():   # the usual small start makes one token win everywhere
        for p in model.parameters():
            if p.dim() > 1: p.normal_(0, 0.15)
    tok = processor.tokenizer
    model.generation_config.update(eos_token_id=tok.eos_token_id, pad_token_id=tok.pad_token_id, **generation)
    model.save_pretrained(folder), processor.save_pretrained(folder)
    return Path(folder)
