"The language model's settings: those of a LLaMA."
from transformers import LlamaConfig


class HyperQwen2Config(LlamaConfig):
    model_type = "hyper_qwen2"
