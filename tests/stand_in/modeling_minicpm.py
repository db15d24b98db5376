"""With the face of MiniCPM-V-2: one picture, and a `chat` whose "no sampling" means three beams and a penalty."""
import torch
from PIL import Image
from torch import nn
from transformers import PreTrainedModel
from .tiny_lm import EOS, PATCH, TinyConfig, language, colors


class StandIn(PreTrainedModel):
    config_class = TinyConfig

    def __init__(self, config):
        super().__init__(config)
        self.llm, self.see = language(config), nn.Linear(12, config.width)

    def embedded(self, tokenizer, image, text):
        ids = tokenizer("<user>" + text + "<AI>", return_tensors="pt")["input_ids"][:, :2048]
        x = self.llm.embed(torch.cat([torch.full((1, 16), PATCH), ids], 1)).clone()
        x[:, :16] = self.see(colors(image))
        return x

    def chat(self, image, msgs, context, tokenizer, vision_hidden_states=None, max_new_tokens=1024, sampling=True, **kwargs):
        options = {"top_p": 0.8, "top_k": 100, "temperature": 0.7, "do_sample": True} if sampling else {"num_beams": 3, "repetition_penalty": 1.2}
        for name in set(options) & set(kwargs): options[name] = kwargs[name]      # any other keyword is dropped, as in the original
        text = "".join(m["content"] for m in msgs)
        out = self.llm.generate(inputs_embeds=self.embedded(tokenizer, image, text), pad_token_id=0, eos_token_id=EOS,
                                max_new_tokens=max_new_tokens, **options)
        answer = tokenizer.decode(out[0], skip_special_tokens=True)
        return answer, list(msgs) + [{"role": "assistant", "content": answer}], options

    def by_hand(self, tokenizer, paths, text, chat):
        return self.llm, self.embedded(tokenizer, Image.open(paths[0]), text)

    def habit(self, tokenizer, paths, text, length):
        said = [{"role": "user", "content": text}]
        return self.chat(image=Image.open(paths[0]), msgs=said, context=None, tokenizer=tokenizer, sampling=False, do_sample=False, max_new_tokens=length)[0]
