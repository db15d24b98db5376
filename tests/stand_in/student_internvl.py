"The structure of InternVL2 in its own format, small: tiles of 448 pixels with 256 tokens each, in front of a LLaMA."
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PretrainedConfig, PreTrainedModel

TILE, PATCH = 448, 28      # 16 x 16 = 256 tokens


class Config(PretrainedConfig):
    model_type = "internvl_chat"

    def __init__(self, width=32, layers=2, vocabulary=264, **more):
        self.width, self.layers, self.vocabulary = width, layers, vocabulary
        super().__init__(**more)

    @property
    def hidden_size(self): return self.width


class InternVLChatModel(PreTrainedModel):
    config_class = Config
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True
    _no_split_modules = []

    def __init__(self, config):
        super().__init__(config)
        language = LlamaConfig(vocab_size=config.vocabulary, hidden_size=config.width, intermediate_size=2 * config.width,
                               num_hidden_layers=config.layers, num_attention_heads=2, max_position_embeddings=4096)
        self.vision_model, self.mlp1 = nn.Conv2d(3, config.width, PATCH, PATCH), nn.Linear(config.width, config.width)
        self.language_model, self.system_message = LlamaForCausalLM(language), "I am a stand-in."
        self.post_init()

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding, nn.Conv2d)): module.weight.data.normal_(0, .2)

    def extract_feature(self, pixel_values): return self.mlp1(self.vision_model(pixel_values).flatten(2).transpose(1, 2))

    def forward(self, **given): return self.language_model(**given)

    def chat(self, tokenizer, pixel_values, question, generation_config, num_patches_list=None, **more):
        for n in num_patches_list or []:
            question = question.replace("<image>", "<img>" + "<IMG_CONTEXT>" * 256 * n + "</img>", 1)
        prompt = (f"<|im_start|>system\n{self.system_message}<|im_end|><|im_start|>user\n{question}<|im_end|>"
                  "<|im_start|>assistant\n")
        x = tokenizer(prompt, return_tensors="pt").to(self.device)
        seen = self.language_model.get_input_embeddings()(x["input_ids"]).clone()
        if pixel_values is not None:
            marks = x["input_ids"] == tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
            seen[marks] = self.extract_feature(pixel_values).flatten(0, 1).to(seen.dtype)
        generation_config["eos_token_id"] = end = tokenizer.convert_tokens_to_ids("<|im_end|>")
        out = self.language_model.generate(inputs_embeds=seen, attention_mask=x["attention_mask"], pad_token_id=end,
                                           **generation_config)
        return tokenizer.decode(out[0], skip_special_tokens=True).strip()
