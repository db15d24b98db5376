"The settings of the whole: those of the language model, and of the vision tower in a dictionary of its own."
from transformers import CLIPVisionConfig
from .configuration_hyper_qwen2 import HyperQwen2Config


class mPLUGOwl3Config(HyperQwen2Config):
    model_type = "mplugowl3"

    def __init__(self, vision_config=None, **more):
        self.vision_config = vision_config if isinstance(vision_config, CLIPVisionConfig) else CLIPVisionConfig(**(vision_config or {}))
        super().__init__(**more)
