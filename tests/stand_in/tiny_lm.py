"""The language half of the stand-in checkpoints: a few thousand weights, bytes in, lower-case letters out.

This file and its neighbours are the code that a stand-in checkpoint brings along. An old environment loads them as such; here they are imported.
"""
import re
import torch
from PIL import Image
from torch import nn
from transformers import GenerationMixin, LlamaConfig, LlamaForCausalLM, PretrainedConfig, PreTrainedModel, PreTrainedTokenizer
from transformers.modeling_outputs import CausalLMOutput

EOS, IMG, IMG_END, PATCH, VOCAB, SPAN, STEPS = 256, 257, 258, 259, 260, 256, 64
MARKS = {"<|endoftext|>": EOS, "<img>": IMG, "</img>": IMG_END, "<patch>": PATCH}


class TinyConfig(PretrainedConfig):
    model_type = "stand_in"

    def __init__(self, width=24, layers=0, bf16=False, fp16=False, fp32=False, **kwargs):
        self.width, self.layers, self.bf16, self.fp16, self.fp32 = width, layers, bf16, fp16, fp32
        self.num_hidden_layers, self.hidden_size, self.num_attention_heads = 1, width, 1     # new versions ask for them
        super().__init__(**kwargs)


class ByteTokenizer(PreTrainedTokenizer):
    "Bytes, four marks, and Qwen-VL's list format: a path between <img> and </img>, padded to 256 tokens."
    model_input_names = ["input_ids", "attention_mask"]

    def __init__(self, **kwargs):
        self.names = ["<0x%02x>" % i for i in range(256)] + list(MARKS)
        self.ids = {name: i for i, name in enumerate(self.names)}
        kwargs.setdefault("eos_token", "<|endoftext|>")
        super().__init__(**kwargs)

    @property
    def vocab_size(self): return VOCAB

    def get_vocab(self): return dict(self.ids)

    def _tokenize(self, text, **kwargs):
        out = []
        for piece in re.split("(<img>.*?</img>|<patch>)", text):
            path = re.fullmatch("<img>(.*)</img>", piece)
            if path and "<patch>" not in piece:
                inside = self._bytes(path[1])
                out += ["<img>", *inside, *["<patch>"] * (SPAN - len(inside)), "</img>"]
            else: out += [piece] if piece == "<patch>" else self._bytes(piece)
        return out

    def _bytes(self, text): return ["<0x%02x>" % b for b in text.encode()]

    def _convert_token_to_id(self, token): return self.ids[token]

    def _convert_id_to_token(self, index): return self.names[index]

    def convert_tokens_to_string(self, tokens):
        return bytes(self.ids[t] for t in tokens if self.ids[t] < 256).decode("utf-8", "replace")

    def save_vocabulary(self, *args, **kwargs): return ()

    def from_list_format(self, items):
        pictures = 0
        text = ""
        for item in items:
            pictures += "image" in item
            text += "Picture %d: <img>%s</img>\n" % (pictures, item["image"]) if "image" in item else item["text"]
        return text


def colors(image):
    "Twelve numbers: the mean colour of each quarter."
    small = image.convert("RGB").resize((2, 2), Image.BOX)
    return torch.tensor([c / 255 for x in range(2) for y in range(2) for c in small.getpixel((x, y))])


class TinyLM(PreTrainedModel, GenerationMixin):
    "The next byte from the last one and from a sum over all before, each with the signs of its place."
    config_class = TinyConfig

    def __init__(self, config):
        super().__init__(config)
        self.embed, self.step = nn.Embedding(VOCAB, config.width), nn.Embedding(STEPS, config.width)
        self.mix, self.head = nn.Linear(2 * config.width, config.width), nn.Linear(config.width, VOCAB)
        self.begun = None

    def forward(self, input_ids=None, inputs_embeds=None, attention_mask=None, **kwargs):
        x = self.embed(input_ids) if inputs_embeds is None else inputs_embeds
        n = torch.arange(1, x.shape[1] + 1)
        signs = self.step(n % STEPS)
        seen = (x * signs).cumsum(1) / n.sqrt()[:, None]
        return CausalLMOutput(logits=self.head(torch.tanh(self.mix(torch.cat([x * signs, seen * signs], -1)))))

    def prepare_inputs_for_generation(self, input_ids, inputs_embeds=None, **kwargs):
        if inputs_embeds is None: return {"input_ids": input_ids}
        if self.begun is not inputs_embeds: self.begun, self.before = inputs_embeds, input_ids.shape[1]     # up to 4.37 a token that nobody wrote
        return {"inputs_embeds": torch.cat([inputs_embeds, self.embed(input_ids[:, self.before:])], 1)}


class LayeredLM(LlamaForCausalLM):
    "A network with layers to look into, in the place of the one above."
    def __init__(self, config):
        super().__init__(LlamaConfig(vocab_size=VOCAB, hidden_size=config.width, intermediate_size=2 * config.width, num_hidden_layers=config.layers,
                                     num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=2048, eos_token_id=EOS, pad_token_id=0))

    @property
    def embed(self): return self.model.embed_tokens


def language(config): return LayeredLM(config) if config.layers else TinyLM(config)
