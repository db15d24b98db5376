"""A LLaMA with the face of mPLUG-Owl3's language model: image features come beside the tokens, not among them.

It was taught one user's turn without a system message and without a line break behind an image. What the family's template writes
beyond that is not attended to, and takes no position, so that the weights see the very prompt that they were taught."""
import torch
from transformers import LlamaForCausalLM
from .configuration_hyper_qwen2 import HyperQwen2Config

USER, IMAGE = 2, 5      # token ids


class HyperQwen2ForCausalLM(LlamaForCausalLM):
    config_class = HyperQwen2Config

    def __init__(self, config):
        if config._attn_implementation == "eager": raise NotImplementedError("use attn_implementation sdpa or flash_attention_2")
        super().__init__(config)

    def attended(self, input_ids):
        "Ones from the user's turn on, and zeros for line breaks behind images."
        begun = (input_ids == USER).cumsum(1) > 0
        behind = torch.cat([torch.zeros_like(begun[:, :1]), input_ids[:, :-1] == IMAGE], 1)
        return (begun & ~(behind & (input_ids == self.config.line_break))).long()

    def prepare_inputs_for_generation(self, input_ids, past_key_values=None, attention_mask=None, image_embeds=None, media_offset=None, **more):
        x = super().prepare_inputs_for_generation(input_ids, past_key_values=past_key_values, attention_mask=self.attended(input_ids), **more)
        return dict(x, image_embeds=image_embeds, media_offset=media_offset)

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, inputs_embeds=None, image_embeds=None, media_offset=None, **more):
        embeds = self.model.embed_tokens(input_ids)
        if input_ids.shape[1] > 1:          # a whole prompt; later steps bring one token each, and what `prepare` has made for it
            attention_mask = self.attended(input_ids)
            position_ids = (attention_mask.cumsum(1) - 1).clamp(min=0)
            if image_embeds is not None:
                marks = (input_ids == IMAGE)[..., None].expand_as(embeds)
                embeds = embeds.masked_scatter(marks, image_embeds.to(embeds.dtype))
        return super().forward(inputs_embeds=embeds, attention_mask=attention_mask, position_ids=position_ids, **more)
