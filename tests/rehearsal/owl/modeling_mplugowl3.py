"The whole: `vision_model`, `vision2text_model` and `language_model` by mPLUG-Owl3's names, a CLIP, two layers and a LLaMA by nature."
import torch
from torch import nn
from transformers.models.clip.modeling_clip import CLIPVisionTransformer
from transformers.models.llama.modeling_llama import LlamaPreTrainedModel
from .configuration_mplugowl3 import mPLUGOwl3Config
from .modeling_hyper_qwen2 import HyperQwen2ForCausalLM
from .processing_mplugowl3 import mPLUGOwl3ImageProcessor, mPLUGOwl3Processor


class mPLUGOwl3Model(LlamaPreTrainedModel):
    config_class = mPLUGOwl3Config

    def __init__(self, config):
        super().__init__(config)
        self.language_model = HyperQwen2ForCausalLM(config)
        self.vision_model = CLIPVisionTransformer(config.vision_config)
        wide, width = config.vision_config.hidden_size, config.hidden_size
        self.vision2text_model = nn.Sequential(nn.Linear(wide, width), nn.GELU(), nn.Linear(width, width))
        self.processor, self.terminators = None, ["<|im_end|>", "<|endoftext|>"]

    def get_input_embeddings(self): return self.language_model.get_input_embeddings()

    def get_output_embeddings(self): return self.language_model.lm_head

    def init_processor(self, tokenizer):
        self.processor = mPLUGOwl3Processor(mPLUGOwl3ImageProcessor(self.config.vision_config.image_size), tokenizer)
        return self.processor

    def forward_image(self, pixel_values):
        "(images, places, width) of a tower whose first place stands for the whole image and is left out."
        if pixel_values is None: return None
        seen = self.vision_model(pixel_values.to(self.dtype), output_hidden_states=True).hidden_states[-1]
        return self.vision2text_model(seen[:, 1:])

    def forward(self, pixel_values=None, **given): return self.language_model(image_embeds=self.forward_image(pixel_values), **given)

    @torch.no_grad()
    def generate(self, input_ids, pixel_values=None, media_offset=None, tokenizer=None, decode_text=False, **how):
        ends = [tokenizer.convert_tokens_to_ids(name) for name in self.terminators]
        out = self.language_model.generate(input_ids=input_ids, image_embeds=self.forward_image(pixel_values), media_offset=media_offset,
                                           pad_token_id=0, eos_token_id=ends, **how)[:, input_ids.shape[1]:]
        return [tokenizer.decode([t for t in row if t not in ends]).strip() for row in out.tolist()] if decode_text else out
