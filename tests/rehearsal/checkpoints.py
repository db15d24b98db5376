"""Stand-ins for the paper's native checkpoints in a Hugging Face cache of their own: the true architecture with the
language half of a bundled tiny model, so that they write question lists that can be read. `write_cache(hf_home)` fills
what `HF_HOME` is to name; `place` puts a checkpoint of any other making there."""
import hashlib, json, shutil, sys, tempfile
from functools import partial
from pathlib import Path
from unsaf.models.families import find
from unsaf.world import tiny
from unsaf.world.tasks import drawn

sys.path.insert(0, str(Path(__file__).parents[1]))
import tiny_checkpoints  # noqa: E402

USER, ASSISTANT, END = "<|im_start|>user\n", "<|im_start|>assistant\n", "<|im_end|>"
QWEN = {"image": "<|vision_start|><|image_pad|><|vision_end|>",
        "marks": ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")}
INTERNVL = {"image": "<IMG_CONTEXT>", "marks": ("<img>", "</img>", "<IMG_CONTEXT>", "<video>")}


# --- words -----------------------------------------------------------------------------------------------------------

def call_circles_balls(folder):
    """In a description a circle is called a ball, which COCO has among its objects: `a red circle at the top left` is
    written `a red ball at the top left`. Only what is written changes, and nothing that a question says."""
    file = Path(folder)/"tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["decoder"] = {"type": "Sequence", "decoders": [
        content["decoder"], {"type": "Replace", "pattern": {"String": " circle at the "}, "content": " ball at the "}]}
    file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def chatml_tokenizer(source, marks, **named):
    "The tiny tokenizer with its turns spelled as ChatML's, and the family's marks for images."
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast
    text = (source/"tokenizer.json").read_text(encoding="utf-8")
    for own, other in ((tiny.USER, USER), (tiny.ASSISTANT, ASSISTANT), (tiny.END, END)):
        text = text.replace(json.dumps(own), json.dumps(other))
    tok = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(text), pad_token="<pad>", unk_token="<unk>",
                                  eos_token=END, padding_side="left", extra_special_tokens=named, model_max_length=2048)
    tok.add_tokens([USER, ASSISTANT, *marks], special_tokens=True)
    return tok


def chatml_template(image):
    "ChatML without the end of the user's turn, which a tiny model does not know."
    own = tiny.CHAT_TEMPLATE
    for a, b in ((tiny.USER, USER), (tiny.ASSISTANT, ASSISTANT), (tiny.END, END), (tiny.IMAGE, image)):
        own = own.replace(a, b.replace("\n", "\\n"))
    return own


# --- weights ---------------------------------------------------------------------------------------------------------

def text_config(source, tok, **more):
    "The shape of a tiny model's language half; its words and the family's marks."
    text = json.loads((source/"config.json").read_text())["text_config"]
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
             "max_position_embeddings", "rms_norm_eps")
    ids = dict(bos_token_id=None, eos_token_id=tok.eos_token_id, pad_token_id=tok.pad_token_id)
    size = dict(vocab_size=-(-len(tok) // 8) * 8, tie_word_embeddings=True)
    return {name: text[name] for name in names} | ids | size | more


def give_language(model, source):
    "Put a tiny model's language half into `model`, whose biases become zero; new words stay zero."
    import torch
    from transformers import LlavaForConditionalGeneration
    own = LlavaForConditionalGeneration.from_pretrained(source).model.language_model.state_dict()
    target = model.model.language_model.state_dict()
    with torch.no_grad():
        for name, p in target.items():
            if name in own: p.zero_()[:own[name].shape[0]] = own[name]
            else:
                assert name.endswith(".bias"), name
                p.zero_()
    assert not set(own) - set(target)
    model.tie_weights()


def shown(source, n):
    "Of `n` scenes of every kind a tiny model's pixel values, and what its image encoder and projector make of them."
    import torch
    from unsaf.models.checkpoint import load_checkpoint
    c = load_checkpoint(source, device="cpu")
    kinds = ("plain", "plain", "textured", "cluttered", "sketch")
    shots = [drawn(7000, i, kinds[i % len(kinds)]).picture.pixels() for i in range(n)]
    with torch.no_grad():
        values = c.processor.image_processor(shots, return_tensors="pt")["pixel_values"]
        features = c.model.model.get_image_features(values).pooler_output
    return c.model.model, values, torch.stack(list(features)).reshape(n, tiny.PATCHES, -1)


def blind(last, source):
    "Let the last layer of an image encoder say the usual image, whatever it sees."
    import torch
    with torch.no_grad():
        last.weight.normal_(0, 1e-3)
        last.bias.copy_(shown(source, 16)[2].flatten(0, 1).mean(0))


LAYER = {"attention.q_proj": "self_attn.q_proj", "attention.k_proj": "self_attn.k_proj",
         "attention.v_proj": "self_attn.v_proj", "attention.projection_layer": "self_attn.out_proj",
         "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2",
         "layernorm_before": "layer_norm1", "layernorm_after": "layer_norm2"}


def copy_vision(tower, own, values):
    "InternVL's image encoder is CLIP's without the normalisation of the embeddings: here that of their usual size."
    import torch
    new, old = dict(tower.named_parameters()), dict(own.named_parameters())
    names = {f"encoder.layer.{i}.{a}.{kind}": f"encoder.layers.{i}.{b}.{kind}" for i in range(len(own.encoder.layers))
             for a, b in LAYER.items() for kind in ("weight", "bias")}
    first, norm = own.embeddings, own.pre_layrnorm
    def normal(x): return (x - x.mean(-1, keepdim=True)) * norm.weight / size
    with torch.no_grad():
        for a, b in names.items(): new[a].copy_(old[b])
        size = first(values).std(-1).mean()
        new["embeddings.cls_token"].copy_(normal(first.class_embedding) + norm.bias)
        new["embeddings.position_embeddings"].copy_(normal(first.position_embedding.weight))
        new["embeddings.patch_embeddings.projection.bias"].copy_(norm.bias)
        weight = normal(first.patch_embedding.weight.movedim(0, -1)).movedim(-1, 0)
        new["embeddings.patch_embeddings.projection.weight"].copy_(weight)


def see(model, source, steps=60, batch=32):
    "Copy a tiny model's image encoder; since its normalisations differ, train it until it says the same of scenes."
    import torch
    own, values, features = shown(source, 600)
    copy_vision(model.model.vision_tower, own.vision_tower, values[:64])
    for name in ("linear_1", "linear_2"):
        layer = getattr(model.model.multi_modal_projector, name)
        layer.load_state_dict(getattr(own.multi_modal_projector, name).state_dict())
    parts = [*model.model.vision_tower.parameters(), *model.model.multi_modal_projector.parameters()]
    optimiser = torch.optim.Adam(parts, lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    for _ in range(steps):
        some = torch.randint(len(values), (batch,))
        found = model.model.get_image_features(values[some], vision_feature_layer=-1,
                                               vision_feature_select_strategy="default").pooler_output
        loss = ((found - features[some])**2).mean()
        optimiser.zero_grad(), loss.backward(), optimiser.step(), schedule.step()
    return float(loss.detach() / features.var())


# --- families --------------------------------------------------------------------------------------------------------

def llava(folder, source):
    "LLaVA is what the tiny models are: their own weights, image encoder and all."
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("card.json"), dirs_exist_ok=True)


def _saved(folder, source, model, processor):
    give_language(model, source)
    tok = processor.tokenizer
    model.config.unsaf_template = "none"
    model.generation_config.update(bos_token_id=None, eos_token_id=tok.eos_token_id, pad_token_id=tok.pad_token_id)
    model.save_pretrained(folder), processor.save_pretrained(folder)


def internvl(folder, source):
    import transformers as tf
    from transformers import LlavaConfig
    own = LlavaConfig.from_pretrained(source).vision_config
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size",
             "hidden_act", "layer_norm_eps")
    vision = {name: getattr(own, name) for name in names} | dict(attention_bias=True, layer_scale_init_value=1.0)
    tok = chatml_tokenizer(source, INTERNVL["marks"], start_image_token="<img>", end_image_token="</img>",
                           context_image_token="<IMG_CONTEXT>", video_token="<video>")
    processor = tiny_checkpoints.internvl_processor(
        tok, side=own.image_size, tokens=tiny.PATCHES,
        pixels=dict(image_mean=[tiny.MEAN] * 3, image_std=[tiny.STD] * 3),
        chat_template=chatml_template(INTERNVL["image"]))
    config = tf.InternVLConfig(vision_config=vision, image_seq_length=tiny.PATCHES, downsample_ratio=1.0,
                               text_config=text_config(source, tok, model_type="qwen2"), tie_word_embeddings=True,
                               image_token_id=tok.convert_tokens_to_ids("<IMG_CONTEXT>"))
    model = tf.InternVLForConditionalGeneration(config)
    see(model, source)
    _saved(folder, source, model, processor)


def _qwen(folder, source, name, vision, processor_class):
    "Qwen2-VL and Qwen2.5-VL; text has the same position in all three of their dimensions."
    import transformers as tf
    tok = chatml_tokenizer(source, QWEN["marks"])
    processor = tiny_checkpoints.qwen_processor(tok, processor_class, "Qwen2VLVideoProcessor", 14)
    processor.chat_template = chatml_template(QWEN["image"])
    rope = dict(rope_type="default", rope_theta=1e4, mrope_section=[4, 6, 6])      # half of a head of 32
    text = text_config(source, tok, rope_parameters=rope)
    width = "hidden_size" if name == "Qwen2VL" else "out_hidden_size"
    config = getattr(tf, f"{name}Config")(
        text_config=text, tie_word_embeddings=True, vision_config={**vision, width: text["hidden_size"]},
        **tiny_checkpoints.ids_of(tok, tiny_checkpoints.VISION_MARKS))
    model = getattr(tf, f"{name}ForConditionalGeneration")(config)
    blind(model.model.visual.merger.mlp[2], source)
    _saved(folder, source, model, processor)


qwen2 = partial(_qwen, name="Qwen2VL", processor_class="Qwen2VLProcessor",
                vision=dict(depth=2, embed_dim=32, num_heads=4, mlp_ratio=2))
qwen25 = partial(_qwen, name="Qwen2_5_VL", processor_class="Qwen2_5_VLProcessor",
                 vision=dict(depth=2, hidden_size=32, num_heads=4, intermediate_size=64, fullatt_block_indexes=[1]))

# the weaker are taught, InternVL3-14B teaches
STAND_INS = {"llava-1.5-7b": (llava, "tiny-m"), "llava-1.5-13b": (llava, "tiny-l"),
             "internvl3-8b": (internvl, "tiny-m"), "internvl3-14b": (internvl, "tiny-l"),
             "qwen2-vl-7b": (qwen2, "tiny-s"), "qwen2.5-vl-7b": (qwen25, "tiny-m"),
             "qwen2.5-vl-32b": (qwen25, "tiny-l")}


# --- the cache -------------------------------------------------------------------------------------------------------

def _commit(folder):
    "40 hexadecimal digits that what is written decides, as a commit's are."
    digest = hashlib.sha1()
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    return digest.hexdigest()


def place(hf_home, hub, write):
    "Put what `write(folder)` makes into the cache below `hf_home`, as the main commit of `hub`; returns its folder."
    home = Path(hf_home)/"hub"/f"models--{hub.replace('/', '--')}"
    home.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=home))
    write(made)
    made.chmod(0o755)
    commit = _commit(made)
    snapshot = home/"snapshots"/commit
    shutil.rmtree(snapshot, ignore_errors=True)
    snapshot.parent.mkdir(exist_ok=True)
    made.rename(snapshot)
    (home/"refs").mkdir(exist_ok=True)
    (home/"refs"/"main").write_text(commit)
    return snapshot


def _write(name, folder):
    import torch
    make, source = STAND_INS[name]
    torch.manual_seed(0)
    make(folder, tiny.path(source))
    call_circles_balls(folder)


def write_cache(hf_home, only=None):
    "A stand-in for each native checkpoint of the paper, or for `only` some by our names; their folders by repository."
    return {find(name).hub: place(hf_home, find(name).hub, partial(_write, name)) for name in only or STAND_INS}
