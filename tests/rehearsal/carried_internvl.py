"The structure and the `chat` of InternVL2 in its own format, around the weights of a tiny model."
import torch
from transformers import PretrainedConfig, PreTrainedModel
from .carried import END, IMAGE, PAD, SEEN, filled, language, look, projector, readable, tower

TILE = 256      # tokens of a tile


class Config(PretrainedConfig):
    model_type = "internvl_chat"

    def __init__(self, tiny=None, **more):
        self.tiny = tiny
        super().__init__(**more)

    @property
    def hidden_size(self): return self.tiny["text"]["hidden_size"]


class InternVLChatModel(PreTrainedModel):
    config_class = Config
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True
    _no_split_modules = []

    def __init__(self, config):
        super().__init__(config)
        self.vision_model, self.mlp1, self.language_model = tower(config), projector(config), language(config)
        self.system_message = "You are a helpful assistant."
        self.post_init()

    def _init_weights(self, module): pass

    def extract_feature(self, pixel_values):
        mean, std = (torch.tensor(x)[:, None, None].to(pixel_values) for x in ((.485, .456, .406), (.229, .224, .225)))
        return filled(look(self.vision_model, self.mlp1, pixel_values * std + mean), TILE)

    def forward(self, **given): return self.language_model(**given)

    def chat(self, tokenizer, pixel_values, question, generation_config, num_patches_list=None, **more):
        counts = num_patches_list or []
        for n in counts: question = question.replace("<image>", "<img>" + "<IMG_CONTEXT>" * TILE * n + "</img>", 1)
        prompt = (f"<|im_start|>system\n{self.system_message}<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n"
                  "<|im_start|>assistant\n")
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"][0]
        ids = ids[readable(ids, [TILE * n for n in counts])][None].to(self.device)
        x = self.language_model.get_input_embeddings()(ids).clone()
        if pixel_values is not None:
            whole = torch.tensor(counts).cumsum(0) - 1       # behind the tiles of an image stands the whole in small
            x[ids == IMAGE] = self.extract_feature(pixel_values[whole])[:, :SEEN].flatten(0, 1).to(x.dtype)
        generation_config["eos_token_id"] = END
        out = self.language_model.generate(inputs_embeds=x, attention_mask=torch.ones_like(ids), pad_token_id=PAD,
                                           **generation_config)
        return tokenizer.decode(out[0], skip_special_tokens=True).strip()
