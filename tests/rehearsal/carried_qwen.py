"""The structure of Qwen-VL, by its own names, around a tiny model's weights; a prompt holds the paths of its images.

`chat` and the tokens are Qwen-VL-Chat's. Qwen-VL goes on where a prompt ends: there the tiny model's marks are put
around it.
"""
import torch
from tokenizers import decoders
from torch import nn
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast
from PIL import Image
from .carried import ALSO_IGNORED, ASSISTANT, IGNORED, IMAGE, PAD, SEEN, SIDE, USER, look, projector, tower

IMG, IMG_END, PATCH = IGNORED, ALSO_IGNORED, IMAGE       # <img> and </img>, between them a path and <imgpad>
BYTES = decoders.ByteLevel()
SYSTEM = "You are a helpful assistant."


class QWenConfig(PretrainedConfig):
    model_type = "qwen"
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(self, tiny=None, bf16=False, fp16=False, fp32=False, **more):
        self.tiny, self.bf16, self.fp16, self.fp32 = tiny, bf16, fp16, fp32
        text = (tiny or {}).get("text", {})
        self.hidden_size, self.num_hidden_layers = text.get("hidden_size", 1), text.get("num_hidden_layers", 1)
        self.num_attention_heads, self.vocab_size = text.get("num_attention_heads", 1), text.get("vocab_size", 1)
        super().__init__(**more)


class RMSNorm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x): return x * (x.pow(2).mean(-1, keepdim=True) + self.eps).rsqrt() * self.weight


def rotated(x, start):
    "With each position's angles, from `start` on; x: (batch, heads, positions, width)."
    half, at = x.shape[-1] // 2, torch.arange(start, start + x.shape[2], device=x.device)
    angles = at[:, None] * 10000. ** (-torch.arange(half, device=x.device) / half)
    cos, sin = (f(angles).to(x.dtype).repeat(1, 2) for f in (torch.cos, torch.sin))
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


class QWenAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.c_attn, self.c_proj = heads, nn.Linear(width, 3 * width), nn.Linear(width, width, bias=False)

    def forward(self, x, past):
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.c_attn(x).chunk(3, -1))
        before = past[0].shape[2] if past else 0
        q, k = rotated(q, before), rotated(k, before)
        if past: k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        scores = q @ k.transpose(2, 3) * q.shape[-1] ** -.5
        later = torch.ones_like(scores[0, 0], dtype=torch.bool).triu(before + 1)
        weights = scores.masked_fill(later, torch.finfo(scores.dtype).min).softmax(-1)
        return self.c_proj((weights @ v).transpose(1, 2).flatten(2)), (k, v)


class QWenMLP(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.w1, self.w2 = nn.Linear(width, hidden, bias=False), nn.Linear(width, hidden, bias=False)
        self.c_proj = nn.Linear(hidden, width, bias=False)

    def forward(self, x): return self.c_proj(self.w1(x) * nn.functional.silu(self.w2(x)))


class QWenBlock(nn.Module):
    def __init__(self, text):
        super().__init__()
        width, eps = text["hidden_size"], text["rms_norm_eps"]
        self.ln_1, self.attn = RMSNorm(width, eps), QWenAttention(width, text["num_attention_heads"])
        self.ln_2, self.mlp = RMSNorm(width, eps), QWenMLP(width, text["intermediate_size"])

    def forward(self, hidden_states, past=None):
        seen, present = self.attn(self.ln_1(hidden_states), past)
        hidden_states = hidden_states + seen
        return hidden_states + self.mlp(self.ln_2(hidden_states)), present


class Visual(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.tower, self.proj = tower(config), projector(config)

    def forward(self, pixels): return look(self.tower, self.proj, pixels)

    def encode(self, paths):
        "Features of the images in files."
        images = [Image.open(p).convert("RGB").resize((SIDE, SIDE), 3) for p in paths]
        pixels = [torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8) for image in images]
        return self(torch.stack(pixels).view(-1, SIDE, SIDE, 3).permute(0, 3, 1, 2) / 255)


class QWenModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        text = config.tiny["text"]
        self.wte, self.drop = nn.Embedding(text["vocab_size"], text["hidden_size"]), nn.Dropout(0.)
        self.h = nn.ModuleList(QWenBlock(text) for _ in range(text["num_hidden_layers"]))
        self.ln_f, self.visual = RMSNorm(text["hidden_size"], text["rms_norm_eps"]), Visual(config)
        self.marks, self.gradient_checkpointing = config.tiny["marks"], False

    def images(self, ids):
        "(first, behind the last) of the places of each image in one prompt, and its path as the prompt holds it."
        starts, ends = ((ids == mark).nonzero()[:, 0].tolist() for mark in (IMG, IMG_END))
        spans = [(start + 1, end) for start, end in zip(starts, ends)]
        return spans, [BYTES.decode([self.marks[i] for i in ids[a:b].tolist() if i != PATCH]) for a, b in spans]

    def read(self, ids, whole):
        "What a tiny model reads of one prompt: (embeddings, their places in it)."
        spans, paths = self.images(ids)
        keep, x = whole & (ids != IMG) & (ids != IMG_END), self.wte(ids).clone()
        if (ids == USER).any(): keep &= (ids == USER).cumsum(0) > 0
        if spans:
            features = self.visual.encode(paths).to(x.dtype)
            for (a, b), feature in zip(spans, features):
                keep[a + SEEN:b] = False
                x[a:a + SEEN] = feature
        return x[keep], keep

    def forward(self, input_ids, past=None, attention_mask=None):
        if past is not None: return self.through(self.wte(input_ids), past)
        whole = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        texts, places = zip(*(self.read(ids, mask.bool()) for ids, mask in zip(input_ids, whole)))
        if not (input_ids == USER).any(): return self.through(self.framed(texts[0])[None])
        x, presents = self.through(nn.utils.rnn.pad_sequence(texts, batch_first=True))
        out = x.new_zeros(*input_ids.shape, x.shape[-1])
        for row, keep, text in zip(range(len(x)), places, texts): out[row, keep] = x[row, :len(text)]
        return out, presents

    def framed(self, text):
        user, assistant = self.wte.weight[[USER]], self.wte.weight[[ASSISTANT]]
        return torch.cat([user, text, assistant])

    def through(self, x, past=None):
        x, presents = self.drop(x), []
        for i, block in enumerate(self.h):
            if self.gradient_checkpointing and self.training:
                x, present = torch.utils.checkpoint.checkpoint(block, x, None, use_reentrant=False)
            else: x, present = block(x, past[i] if past else None)
            presents.append(present)
        return self.ln_f(x), tuple(presents)


class QWenLMHeadModel(PreTrainedModel, GenerationMixin):
    config_class, base_model_prefix = QWenConfig, "transformer"
    supports_gradient_checkpointing, _no_split_modules = True, ["QWenBlock"]

    def __init__(self, config):
        super().__init__(config)
        assert config.bf16 + config.fp16 + config.fp32 <= 1, "only one of bf16, fp16 and fp32 can be true"
        self.transformer = QWenModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()
        if config.bf16: self.bfloat16()
        if config.fp16: self.half()

    def _init_weights(self, module): pass

    def _set_gradient_checkpointing(self, module=None, value=True, **more):
        self.transformer.gradient_checkpointing = more.get("enable", value)

    def get_input_embeddings(self): return self.transformer.wte

    def set_input_embeddings(self, table): self.transformer.wte = table

    def get_output_embeddings(self): return self.lm_head

    def prepare_inputs_for_generation(self, input_ids, past_key_values=None, attention_mask=None, **more):
        if past_key_values: input_ids = input_ids[:, -1:]
        return {"input_ids": input_ids, "past_key_values": past_key_values, "attention_mask": attention_mask}

    def forward(self, input_ids=None, past_key_values=None, attention_mask=None, labels=None, **more):
        x, presents = self.transformer(input_ids, past_key_values or None, attention_mask)
        logits = self.lm_head(x)
        loss = None
        if labels is not None: loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=presents)

    def chat(self, tokenizer, query, history, system=SYSTEM, stop_words_ids=None, generation_config=None, **more):
        config = generation_config if generation_config is not None else self.generation_config
        assert config.chat_format == "chatml" and not history
        prompt = (f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{query}<|im_end|>\n"
                  "<|im_start|>assistant\n")
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"].to(self.device)
        out = self.generate(ids, generation_config=config, pad_token_id=PAD, **more)
        reply = tokenizer.decode(out[0, ids.shape[1]:], skip_special_tokens=True)
        return reply, [*(history or []), (query, reply)]
