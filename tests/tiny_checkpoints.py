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


VISION_MARKS = dict(image_token_id="<|image_pad|>", video_token_id="<|video_pad|>", vision_start_token_id="<|vision_start|>",
                    vision_end_token_id="<|vision_end|>")


def qwen_tokenizer():
    return tokenizer(["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
                      "<|video_pad|>"], "<|endoftext|>", "<|im_end|>")


def qwen_processor(tok, kind, video, patch):
    "The processor class `kind` of transformers, over patches of `patch` pixels, four to a token."
    import transformers as tf
    side = 2 * patch
    pixels = tf.Qwen2VLImageProcessorPil(patch_size=patch, merge_size=2, temporal_patch_size=2,
                                         size={"shortest_edge": side*side*4, "longest_edge": side*side*16})
    with images_only() as stub:
        return getattr(tf, kind)(image_processor=pixels, tokenizer=tok, video_processor=stub or getattr(tf, video)(),
                                 chat_template=CHATML.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"))


def rope(theta, **more): return {"rope_type": "default", "rope_theta": theta, "mrope_section": [2, 3, 3], **more}


def ids_of(tok, marks): return {k: tok.convert_tokens_to_ids(t) for k, t in marks.items()}


def qwen():
    import transformers as tf
    tok = qwen_tokenizer()
    config = tf.Qwen2_5_VLConfig(
        text_config=language(tok, rope_parameters=rope(1e6)),
        vision_config=dict(depth=2, hidden_size=32, out_hidden_size=64, num_heads=4, intermediate_size=64,
                           fullatt_block_indexes=[1]),
        **ids_of(tok, VISION_MARKS))
    return tf.Qwen2_5_VLForConditionalGeneration(config), qwen_processor(tok, "Qwen2_5_VLProcessor", "Qwen2VLVideoProcessor", 14)


def qwen2_vl():
    import transformers as tf
    tok = qwen_tokenizer()
    config = tf.Qwen2VLConfig(text_config=language(tok, rope_parameters=rope(1e6)), **ids_of(tok, VISION_MARKS),
                              vision_config=dict(depth=2, embed_dim=32, hidden_size=64, num_heads=4, mlp_ratio=2))
    return tf.Qwen2VLForConditionalGeneration(config), qwen_processor(tok, "Qwen2VLProcessor", "Qwen2VLVideoProcessor", 14)


def qwen3_vl():
    "Picture features enter the first layers of the language model too."
    import transformers as tf
    tok = qwen_tokenizer()
    config = tf.Qwen3VLConfig(
        text_config=language(tok, head_dim=16, rope_parameters=rope(5e6, mrope_interleaved=True)), **ids_of(tok, VISION_MARKS),
        vision_config=dict(depth=3, hidden_size=32, out_hidden_size=64, num_heads=4, intermediate_size=64,
                           num_position_embeddings=64, deepstack_visual_indexes=[0, 1]))
    return tf.Qwen3VLForConditionalGeneration(config), qwen_processor(tok, "Qwen3VLProcessor", "Qwen3VLVideoProcessor", 16)


def hybrid(tok):
    "Qwen3.5's language model: a layer of linear attention, whose state cannot be cut back, and one of full attention."
    return language(tok, head_dim=32, linear_key_head_dim=16, linear_value_head_dim=16, linear_num_key_heads=2,
                    linear_num_value_heads=4, layer_types=["linear_attention", "full_attention"],
                    rope_parameters=rope(1e7, partial_rotary_factor=0.5, mrope_interleaved=True))


def qwen3_5():
    import transformers as tf
    tok = qwen_tokenizer()
    config = tf.Qwen3_5Config(text_config=hybrid(tok), **ids_of(tok, VISION_MARKS),
                              vision_config=dict(depth=2, hidden_size=32, out_hidden_size=64, num_heads=4, intermediate_size=64,
                                                 num_position_embeddings=64))
    return tf.Qwen3_5ForConditionalGeneration(config), qwen_processor(tok, "Qwen3VLProcessor", "Qwen3VLVideoProcessor", 16)


def internvl_processor(tok, side=56, tokens=4, pixels=None, **more):
    import transformers as tf
    images = tf.GotOcr2ImageProcessorPil(size={"height": side, "width": side}, crop_to_patches=True, min_patches=1, max_patches=4,
                                         **(pixels or {}))
    more = {"chat_template": CHATML.replace("IMAGE", "<IMG_CONTEXT>\n"), **more}
    with images_only() as stub:
        return tf.InternVLProcessor(image_processor=images, tokenizer=tok, image_seq_length=tokens,
                                    video_processor=stub or tf.InternVLVideoProcessor(), **more)


def internvl():
    import transformers as tf
    tok = tokenizer(["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<IMG_CONTEXT>", "<img>", "</img>", "<video>"],
                    "<|endoftext|>", "<|im_end|>", start_image_token="<img>", end_image_token="</img>",
                    context_image_token="<IMG_CONTEXT>", video_token="<video>")
    processor = internvl_processor(tok)
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


TILES = [[28, 28], [28, 56], [56, 28], [56, 56]]   # sizes (height, width) in pixels that a picture may be cut into


def llava_next():
    "LLaVA-1.6: a picture as a whole and in tiles, padding cut off again behind the encoder."
    import transformers as tf
    tok = tokenizer(["<unk>", "<s>", "</s>", "<pad>", "<image>"], "<pad>", "</s>", "<s>", image_token="<image>")
    pixels = tf.LlavaNextImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28},
                                           image_grid_pinpoints=TILES)
    processor = tf.LlavaNextProcessor(pixels, tok, patch_size=14, vision_feature_select_strategy="default",
                                      num_additional_image_tokens=1, chat_template=USER_ASSISTANT)
    config = tf.LlavaNextConfig(vision_config=dict(model_type="clip_vision_model", image_size=28, patch_size=14,
                                                   projection_dim=32, **VISION),
                                text_config=dict(model_type="llama", **language(tok)), image_grid_pinpoints=TILES,
                                image_seq_length=4, image_token_index=tok.convert_tokens_to_ids("<image>"))
    return tf.LlavaNextForConditionalGeneration(config), processor


def llava_onevision():
    import transformers as tf
    tok = tokenizer(["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>"], "<|endoftext|>", "<|im_end|>",
                    image_token="<image>", video_token="<video>")
    pixels = tf.LlavaOnevisionImageProcessorPil(size={"height": 28, "width": 28}, image_grid_pinpoints=TILES)
    with images_only() as stub:
        processor = tf.LlavaOnevisionProcessor(image_processor=pixels, tokenizer=tok, num_image_tokens=4,
                                               video_processor=stub or tf.LlavaOnevisionVideoProcessor(),
                                               vision_feature_select_strategy="full", vision_aspect_ratio="anyres_max_9",
                                               chat_template=CHATML.replace("IMAGE", "<image>\n"))
    marks = dict(image_token_index="<image>", video_token_index="<video>")
    config = tf.LlavaOnevisionConfig(
        vision_config=dict(model_type="siglip_vision_model", image_size=28, patch_size=14, vision_use_head=False, **VISION),
        text_config=dict(model_type="qwen2", **language(tok)), image_grid_pinpoints=TILES, vision_feature_layer=-1,
        **ids_of(tok, marks))
    return tf.LlavaOnevisionForConditionalGeneration(config), processor


# Idefics3 and SmolVLM start a prompt once, write no stop after the user's turn but a token of their own
UTTERANCES = (
    "<|im_start|>{% for m in messages %}{{ m['role'] | capitalize }}:{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>{% else %}{{ ' ' + c['text'] }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}")


def utterances():
    places = [f"<row_{i}_col_{j}>" for i in range(1, 7) for j in range(1, 7)]
    return tokenizer(["<|endoftext|>", "<|im_start|>", "<end_of_utterance>", "<image>", "<fake_token_around_image>",
                      "<global-img>", *places], "<|endoftext|>", "<end_of_utterance>", "<|im_start|>", image_token="<image>",
                     fake_image_token="<fake_token_around_image>", global_image_token="<global-img>")


def idefics(tok):
    "What Idefics3 and SmolVLM have in common."
    return dict(text_config=dict(model_type="llama", **language(tok)), vision_config=dict(image_size=28, patch_size=14, **VISION),
                image_token_id=tok.convert_tokens_to_ids("<image>"), scale_factor=2, pad_token_id=tok.pad_token_id)


def idefics3():
    import transformers as tf
    tok = utterances()
    pixels = tf.Idefics3ImageProcessorPil(size={"longest_edge": 56}, max_image_size={"longest_edge": 28})
    processor = tf.Idefics3Processor(image_processor=pixels, tokenizer=tok, image_seq_len=1, chat_template=UTTERANCES)
    return tf.Idefics3ForConditionalGeneration(tf.Idefics3Config(**idefics(tok))), processor


def smolvlm():
    import transformers as tf
    tok = utterances()
    pixels = tf.SmolVLMImageProcessorPil(size={"longest_edge": 56}, max_image_size={"longest_edge": 28})
    with images_only() as stub:
        processor = tf.SmolVLMProcessor(image_processor=pixels, tokenizer=tok, image_seq_len=1, chat_template=UTTERANCES,
                                        video_processor=stub or tf.SmolVLMVideoProcessor())
    return tf.SmolVLMForConditionalGeneration(tf.SmolVLMConfig(**idefics(tok))), processor


# GLM-4.1V names the assistant's turn and lets the next role end a reply
GLM = (
    "[gMASK]<sop>{% for m in messages %}<|{{ m['role'] }}|>\n{% for c in m['content'] %}{% if c['type'] == 'image' %}"
    "<|begin_of_image|><|image|><|end_of_image|>{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}")


def glm4v():
    import transformers as tf
    tok = tokenizer(["<|endoftext|>", "[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|image|>", "<|video|>",
                     "<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>"],
                    "<|endoftext|>", "<|endoftext|>")
    pixels = tf.Glm4vImageProcessorPil(patch_size=14, merge_size=2, temporal_patch_size=2,
                                       size={"shortest_edge": 28*28*4*2, "longest_edge": 28*28*16*2})
    with images_only() as stub:
        processor = tf.Glm4vProcessor(image_processor=pixels, tokenizer=tok, video_processor=stub or tf.Glm4vVideoProcessor(),
                                      chat_template=GLM)
    marks = dict(image_token_id="<|image|>", video_token_id="<|video|>", image_start_token_id="<|begin_of_image|>",
                 image_end_token_id="<|end_of_image|>", video_start_token_id="<|begin_of_video|>",
                 video_end_token_id="<|end_of_video|>")
    config = tf.Glm4vConfig(
        text_config=language(tok, rope_parameters=rope(1e4)), **ids_of(tok, marks),
        vision_config=dict(depth=2, hidden_size=32, out_hidden_size=64, num_heads=4, intermediate_size=64, image_size=56,
                           patch_size=14))
    return tf.Glm4vForConditionalGeneration(config), processor


def minicpm_tokenizer():
    marks = dict(image_token="<|image_pad|>", video_token="<|video_pad|>", image_start_token="<image>", image_end_token="</image>",
                 slice_start_token="<slice>", slice_end_token="</slice>", image_id_start_token="<image_id>",
                 image_id_end_token="</image_id>")
    return tokenizer(["<|endoftext|>", "<|im_start|>", "<|im_end|>", *marks.values()], "<|endoftext|>", "<|im_end|>", **marks)


def minicpm(version, tok, **marks):
    "MiniCPM-V 4.6 or 4.7: slices of a picture, and Qwen3.5 as the language model."
    import transformers as tf
    pixels = tf.MiniCPMV4_6ImageProcessorPil(scale_resolution=64, patch_size=8, max_slice_nums=4)
    with images_only() as stub:
        processor = getattr(tf, f"MiniCPMV{version}Processor")(
            image_processor=pixels, tokenizer=tok, video_processor=stub or tf.MiniCPMV4_6VideoProcessor(),
            chat_template=CHATML.replace("IMAGE", "<|image_pad|>\n"))
    config = getattr(tf, f"MiniCPMV{version}Config")(
        text_config=dict(model_type="qwen3_5_text", **hybrid(tok)), insert_layer_id=0, image_size=64,
        vision_config=dict(image_size=64, patch_size=8, **VISION),
        **ids_of(tok, dict(image_token_id="<|image_pad|>", video_token_id="<|video_pad|>", **marks)))
    return getattr(tf, f"MiniCPMV{version}ForConditionalGeneration")(config), processor


def minicpmv4_6(): return minicpm("4_6", minicpm_tokenizer())


def minicpmv4_7():
    return minicpm("4_7", minicpm_tokenizer(), image_start_id="<image>", image_end_id="</image>", slice_start_id="<slice>",
                   slice_end_id="</slice>", newline_id="Ċ")   # a byte-level vocabulary writes the line break so


def gemma4():
    "Sliding windows and per-layer embeddings; its processor cannot be imported without torchvision."
    import transformers as tf
    marks = dict(image_token="<|image|>", boi_token="<|image>", eoi_token="<image|>", audio_token="<|audio|>", boa_token="<|audio>",
                 eoa_token="<audio|>")
    tok = tokenizer(["<pad>", "<eos>", "<bos>", "<turn>", "<eot>", *marks.values(), "<|video|>"], "<pad>", "<eos>", "<bos>", **marks)
    processor = tf.Gemma4Processor(
        feature_extractor=tf.Gemma4AudioFeatureExtractor(), tokenizer=tok, video_processor=tf.Gemma4VideoProcessor(),
        image_processor=tf.Gemma4ImageProcessor(patch_size=4, max_soft_tokens=70, pooling_kernel_size=3),
        chat_template=TURNS.replace("<boi>", "<|image|>"))
    config = tf.Gemma4Config(
        text_config=language(tok, head_dim=16, sliding_window=16, layer_types=["sliding_attention", "full_attention"],
                             vocab_size_per_layer_input=len(tok), hidden_size_per_layer_input=8, global_head_dim=16),
        vision_config=dict(patch_size=4, pooling_kernel_size=3, num_key_value_heads=4, head_dim=8, position_embedding_size=128,
                           **VISION),
        audio_config=None, video_token_id=tok.convert_tokens_to_ids("<|video|>"),
        **ids_of(tok, {f"{k}_id": t for k, t in marks.items()}))
    return tf.Gemma4ForConditionalGeneration(config), processor


# Mistral marks the user's turn by [INST]; a reply follows at once
INST = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'assistant' %}{% for c in m['content'] %}{{ c['text'] }}{% endfor %}</s>"
    "{% elif m['role'] == 'system' %}[SYSTEM_PROMPT]{% for c in m['content'] %}{{ c['text'] }}{% endfor %}[/SYSTEM_PROMPT]"
    "{% else %}[INST]{% for c in m['content'] %}{% if c['type'] == 'image' %}[IMG]{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
    "[/INST]{% endif %}{% endfor %}")


def mistral3():
    "Rows of a picture end with tokens of their own; its processor, Pixtral's, cannot be imported without torchvision."
    import transformers as tf
    tok = tokenizer(["<unk>", "<s>", "</s>", "<pad>", "[IMG]", "[IMG_BREAK]", "[IMG_END]", "[INST]", "[/INST]", "[SYSTEM_PROMPT]",
                     "[/SYSTEM_PROMPT]"], "<pad>", "</s>", "<s>", image_token="[IMG]")
    pixels = tf.PixtralImageProcessor(size={"longest_edge": 112}, patch_size={"height": 14, "width": 14})
    processor = tf.PixtralProcessor(image_processor=pixels, tokenizer=tok, patch_size=14, spatial_merge_size=2, chat_template=INST)
    config = tf.Mistral3Config(vision_config=dict(model_type="pixtral", image_size=112, patch_size=14, head_dim=8, **VISION),
                               text_config=dict(model_type="mistral", head_dim=16, sliding_window=None, **language(tok)),
                               image_token_index=tok.convert_tokens_to_ids("[IMG]"), spatial_merge_size=2)
    return tf.Mistral3ForConditionalGeneration(config), processor


FAMILIES = dict(llava=llava, qwen=qwen, internvl=internvl, gemma=gemma, qwen2_vl=qwen2_vl, qwen3_vl=qwen3_vl, qwen3_5=qwen3_5,
                llava_next=llava_next, llava_onevision=llava_onevision, idefics3=idefics3, smolvlm=smolvlm, glm4v=glm4v,
                minicpmv4_6=minicpmv4_6, minicpmv4_7=minicpmv4_7, gemma4=gemma4, mistral3=mistral3)


STOPS = dict(glm4v=("<|endoftext|>", "<|user|>"))   # where a generation_config names more than the tokenizer's


def build(family: str, folder: Path, **generation) -> Path:
    "Save a tiny `family` checkpoint to `folder`; `generation` goes to its generation_config.json."
    import torch
    torch.manual_seed(0)
    model, processor = FAMILIES[family]()
    with torch.no_grad():   # the usual small start makes one token win everywhere
        for p in model.parameters():
            if p.dim() > 1: p.normal_(0, 0.15)
    tok = processor.tokenizer
    stops = [tok.convert_tokens_to_ids(t) for t in STOPS.get(family, ())] or tok.eos_token_id
    model.generation_config.update(eos_token_id=stops, pad_token_id=tok.pad_token_id, **generation)
    model.save_pretrained(folder), processor.save_pretrained(folder)
    return Path(folder)
