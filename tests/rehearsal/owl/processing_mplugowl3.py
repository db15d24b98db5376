"""ChatML messages and images as tensors.

Of the true processors it keeps what those who save them run into: an image processor with a function among its attributes.
An image becomes as many `<|image|>` as the tower has places, by way of the tiles into which the family cuts large images."""
import numpy as np
import torch
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature
from transformers.processing_utils import ProcessorMixin

IMAGE, MEAN, STD = "<|image|>", .94, .3


class mPLUGOwl3ImageProcessor(BaseImageProcessor):
    model_input_names = ["pixel_values"]

    def __init__(self, image_size, patch_size=16, **more):
        super().__init__(**more)
        self.image_size, self.places = image_size, image_size // patch_size
        self.cut_prompt_template = lambda img_token, h, w: img_token * (h * w)

    def preprocess(self, images, cut_enable=True, **more):
        side = self.image_size, self.image_size
        seen = [(np.asarray(im.convert("RGB").resize(side, 3), "float32") / 255 - MEAN) / STD for im in images]
        cut = [(self.places, self.places), (1, 1)] * len(images)        # of the tiles, and of the whole image
        return BatchFeature({"pixel_values": torch.tensor(np.stack(seen)).permute(0, 3, 1, 2), "cut_shape": cut})


class mPLUGOwl3Processor(ProcessorMixin):
    attributes = ["image_processor", "tokenizer"]
    image_processor_class, tokenizer_class = "AutoImageProcessor", "AutoTokenizer"

    def __init__(self, image_processor=None, tokenizer=None): super().__init__(image_processor, tokenizer)

    def __call__(self, messages, images=None, videos=None, **more):
        assert sum(m["content"].count(IMAGE) for m in messages) == len(images or []) and messages[-1] == {"role": "assistant", "content": ""}
        seen = self.image_processor(images) if images else {"cut_shape": []}
        cuts = iter(seen.pop("cut_shape")[::2])
        if messages[0]["role"] != "system": messages = [{"role": "system", "content": ""}, *messages]
        turns = ["<|im_start|>%s\n%s<|im_end|>\n" % (m["role"], m["content"]) for m in messages[:-1]]
        head, *parts = ("".join(turns) + "<|im_start|>assistant\n").split(IMAGE)
        places = [self.image_processor.cut_prompt_template(IMAGE, *next(cuts)) for _ in parts]
        text = head + "".join(place + part for place, part in zip(places, parts))
        ids = torch.tensor([self.tokenizer(text, add_special_tokens=False)["input_ids"]])
        marks = (ids[0] == self.tokenizer.convert_tokens_to_ids(IMAGE)).long()
        offset = torch.stack([torch.zeros_like(ids[0]), marks.cumsum(0) - marks], -1)[None]
        return BatchFeature(dict(seen, input_ids=ids, media_offset=offset))
