"""With the face of mPLUG-Owl3: a processor that the model makes, messages with <|image|>, and `generate` that decodes."""
from collections import UserDict
import torch
from PIL import Image
from torch import nn
from transformers import PreTrainedModel
from .tiny_lm import EOS, TinyConfig, TinyLM, colors


class OwlLM(TinyLM):
    _supports_sdpa = True

    def forward(self, input_ids=None, image_embeds=None, inputs_embeds=None, attention_mask=None, **kwargs):
        return super().forward(inputs_embeds=self.embed(input_ids) + image_embeds[:, None] if inputs_embeds is None else inputs_embeds)

    def prepare_inputs_for_generation(self, input_ids, image_embeds=None, **kwargs):
        return {"input_ids": input_ids, "image_embeds": image_embeds}


class Batch(UserDict):
    def to(self, device):
        self.data = {k: v.to(device) for k, v in self.data.items()}
        return self


class Processor:
    def __init__(self, tokenizer): self.tokenizer = tokenizer

    def __call__(self, messages, images=None, videos=None):
        marks = sum(m["content"].count("<|image|>") for m in messages)
        assert marks == len(images or []) and messages[-1] == {"role": "assistant", "content": ""}
        text = "".join("%s: %s\n" % (m["role"], m["content"]) for m in messages)
        seen = torch.stack([colors(im) for im in images]) if images else torch.zeros(1, 12)
        return Batch(self.tokenizer(text, return_tensors="pt").data, pixel_values=seen)


class StandIn(PreTrainedModel):
    config_class, _supports_sdpa = TinyConfig, True

    def __init__(self, config):
        super().__init__(config)
        self.language_model, self.see = OwlLM(config), nn.Linear(12, config.width)

    def init_processor(self, tokenizer): return Processor(tokenizer)

    def generate(self, input_ids=None, pixel_values=None, attention_mask=None, tokenizer=None, decode_text=False, **kwargs):
        out = self.language_model.generate(input_ids=input_ids, image_embeds=self.see(pixel_values).mean(0, keepdim=True), attention_mask=attention_mask,
                                           pad_token_id=0, eos_token_id=[EOS], **kwargs)[:, input_ids.shape[1]:]
        return [tokenizer.decode(row, skip_special_tokens=True) for row in out] if decode_text else out

    def _batch(self, tokenizer, paths, text):
        said = [{"role": "user", "content": "<|image|>\n" * len(paths) + text}, {"role": "assistant", "content": ""}]
        return Processor(tokenizer)(said, images=[Image.open(p) for p in paths])

    def by_hand(self, tokenizer, paths, text, chat):
        x = self._batch(tokenizer, paths, text)
        self.seen = self.see(x["pixel_values"]).mean(0)
        return self.language_model, self.language_model.embed(x["input_ids"]) + self.seen

    def habit(self, tokenizer, paths, text, length):
        return self.generate(**self._batch(tokenizer, paths, text), tokenizer=tokenizer, decode_text=True, num_beams=3, repetition_penalty=1.2,
                             max_new_tokens=length)[0]
