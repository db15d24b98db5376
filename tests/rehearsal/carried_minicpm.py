"The structure and the `chat` of MiniCPM-V-2, around the weights of a tiny model: one image, in front of the text."
import torch
import numpy
from transformers import PretrainedConfig, PreTrainedModel
from .carried import END, IMAGE, PAD, SEEN, filled, language, look, projector, readable, tower

QUERIES = 64      # tokens of an image


class MiniCPMVConfig(PretrainedConfig):
    model_type = "minicpmv"

    def __init__(self, tiny=None, **more):
        self.tiny = tiny
        super().__init__(**more)


class MiniCPMV(PreTrainedModel):
    config_class = MiniCPMVConfig

    def __init__(self, config):
        super().__init__(config)
        self.vpm, self.resampler, self.llm = tower(config), projector(config), language(config)
        self.post_init()

    def _init_weights(self, module): pass

    def see(self, image):
        pixels = torch.from_numpy(numpy.array(image.convert("RGB"))).permute(2, 0, 1)[None] / 255
        return filled(look(self.vpm, self.resampler, pixels), QUERIES)

    def unaddressed(self, text):
        "A text without the system message that stands in front of it, for which this family has no place."
        heads = [f"{system}\n\n" for system in self.config.tiny["systems"] if text.startswith(system)]
        return text[len(max(heads, key=len)):] if heads else text

    def chat(self, image, msgs, context, tokenizer, vision_hidden_states=None, max_new_tokens=1024, sampling=True,
             **more):
        options = dict(num_beams=3, repetition_penalty=1.2)
        if sampling: options = dict(top_p=.8, top_k=100, temperature=.7, do_sample=True)
        options.update({name: more[name] for name in options if name in more})     # others are dropped, as there
        text = self.unaddressed("".join(m["content"] for m in msgs))
        prompt = "<用户><image>" + "<unk>" * QUERIES + "</image>\n" + text + "<AI>"
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"][0][:2048]
        ids = ids[readable(ids, [QUERIES])][None].to(self.device)
        x = self.llm.get_input_embeddings()(ids).clone()
        x[ids == IMAGE] = self.see(image)[0, :SEEN].to(x.dtype)
        out = self.llm.generate(inputs_embeds=x, attention_mask=torch.ones_like(ids), pad_token_id=PAD,
                                eos_token_id=END, max_new_tokens=max_new_tokens, **options)
        answer = tokenizer.decode(out[0], skip_special_tokens=True).strip()
        return answer, [*msgs, {"role": "assistant", "content": answer}], options
