"""With the face of Qwen-VL and Qwen-VL-Chat: pictures are paths in the prompt, decoding starts from generation_config.json."""
import torch
from PIL import Image
from torch import nn
from .tiny_lm import EOS, IMG, IMG_END, LayeredLM, TinyLM, colors


class Face:
    def __init__(self, config):
        super().__init__(config)
        self.see = nn.Linear(12, config.width)

    def embedded(self, ids):
        "Embeddings of one prompt; a path gives way to what is seen in the file."
        x = self.embed(ids).clone()
        starts, ends = ((ids[0] == mark).nonzero()[:, 0].tolist() for mark in (IMG, IMG_END))
        for start, end in zip(starts, ends):
            path = bytes(i for i in ids[0, start + 1:end].tolist() if i < 256).decode()
            x[:, start + 1:end] = self.see(colors(Image.open(path)))
        return x

    def forward(self, input_ids=None, inputs_embeds=None, attention_mask=None, **kwargs):
        return super().forward(inputs_embeds=self.embedded(input_ids) if inputs_embeds is None else inputs_embeds, **kwargs)

    def prompt(self, query, system="You are a helpful assistant."):
        return "<|im_start|>system\n%s<|im_end|>\n<|im_start|>user\n%s<|im_end|>\n<|im_start|>assistant\n" % (system, query)

    def chat(self, tokenizer, query, history, system="You are a helpful assistant.", stop_words_ids=None, generation_config=None, **kwargs):
        config = generation_config if generation_config is not None else self.generation_config
        assert config.chat_format == "chatml"
        ids = tokenizer(self.prompt(query, system), return_tensors="pt")["input_ids"].to(self.device)
        out = self.generate(ids, stop_words_ids=(stop_words_ids or []) + [[EOS]], generation_config=config, **kwargs)
        reply = tokenizer.decode(out[0, ids.shape[1]:], skip_special_tokens=True)
        return reply, (history or []) + [(query, reply)]

    def generate(self, inputs=None, generation_config=None, **kwargs):
        kwargs.pop("stop_words_ids", None)
        return super().generate(inputs, generation_config=generation_config, **kwargs)

    def by_hand(self, tokenizer, paths, text, chat):
        "Embeddings of the prompt, for a loop that knows nothing of `generate`."
        query = tokenizer.from_list_format([{"image": p} for p in paths] + [{"text": text}])
        return self, self.embedded(tokenizer(self.prompt(query) if chat else query, return_tensors="pt")["input_ids"])

    def habit(self, tokenizer, paths, text, length):
        "What a caller gets who asks for nothing but a length."
        torch.manual_seed(0)
        query = tokenizer.from_list_format([{"image": p} for p in paths] + [{"text": text}])
        return self.chat(tokenizer, query=query, history=None, max_new_tokens=length)[0]


class StandIn(Face, TinyLM): pass


class Layered(Face, LayeredLM): pass
