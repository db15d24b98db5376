"""What the old checkpoints of the rehearsal carry: the eyes and the language of a bundled tiny model.

This file is copied into each of them, and runs under transformers 4.32 to 4.46. A prompt as the family lays it out
holds more than the tiny model knows: a system message, marks, 256 tokens an image. What it does not know has an
embedding of zeros, or stands in front of the user's mark; it is masked, or left out of the prompt, and so the tiny
model reads its own.
"""
import torch
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

PAD, IGNORED, USER, ASSISTANT, END, IMAGE, ALSO_IGNORED = 0, 1, 2, 3, 4, 5, 999
SEEN, SIDE = 9, 48                      # tokens of an image, and its pixels
MEAN, STD = .94, .3


def tower(config):
    "The vision tower of a tiny model, from its own configuration."
    return CLIPVisionModel(CLIPVisionConfig(**config.tiny["vision"]))


def projector(config):
    seen, width = config.tiny["vision"]["hidden_size"], config.tiny["text"]["hidden_size"]
    return nn.Sequential(nn.Linear(seen, width), nn.GELU(), nn.Linear(width, width))


def look(tower, projector, pixels):
    "Features (images, 9, width) of square images (images, 3, side, side) with values from 0 to 1."
    small = nn.functional.interpolate(pixels.float(), (SIDE, SIDE), mode="bicubic", antialias=True).clamp(0, 1)
    weight = projector[0].weight
    states = tower(((small - MEAN) / STD).to(weight.device, weight.dtype), output_hidden_states=True).hidden_states[-1]
    return projector(states[:, 1:])


def filled(features, length):
    "Features with zeros behind them, so that an image has `length` of them."
    return nn.functional.pad(features, (0, 0, 0, length - SEEN))


def readable(ids, runs):
    """Which of the prompt's tokens a tiny model reads: those behind the user's mark but the ignored; of each image
    its first nine. `runs`: the numbers of tokens of the images, in order."""
    keep, ids = [], ids.tolist()
    first, left = ids.index(USER), 0
    runs = iter(runs)
    for i, token in enumerate(ids):
        if token == IMAGE and not left: left = run = next(runs)
        keep.append(i >= first and token not in (IGNORED, ALSO_IGNORED) and (token != IMAGE or run - left < SEEN))
        left -= token == IMAGE
    return torch.tensor(keep)


class Language(LlamaForCausalLM):
    "A tiny model's language, which overlooks embeddings of zeros and all in front of the user's mark."
    def overlooked(self, embeds):
        user = (embeds == self.get_input_embeddings().weight[USER]).all(-1)
        return (embeds == 0).all(-1) | (user.any(1, keepdim=True) & (user.cumsum(1) == 0))

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None,
                inputs_embeds=None, **more):
        if past_key_values is None:
            embeds = self.get_input_embeddings()(input_ids) if inputs_embeds is None else inputs_embeds
            gone = self.overlooked(embeds)
            if gone.any():
                whole = torch.ones_like(gone) if attention_mask is None else attention_mask.bool()
                attention_mask = (whole & ~gone).long()
                position_ids = (attention_mask.cumsum(1) - 1).clamp(min=0)
                input_ids, inputs_embeds = None, embeds
        return super().forward(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids,
                               past_key_values=past_key_values, inputs_embeds=inputs_embeds, **more)


def language(config): return Language(LlamaConfig(**config.tiny["text"]))
