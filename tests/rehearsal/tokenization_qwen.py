"""A tokenizer with the face of Qwen-VL's, around that of a tiny model: an image is a path between <img> and </img>.

The path is a token a byte, and padded to 256 tokens.
"""
import re
from tokenizers import pre_tokenizers
from .carried_tokens import CarriedTokenizer

BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
SPAN, IMAGE = 256, re.compile(r"((?:Picture \d+: )?<img>.*?</img>\n?)")


class QWenTokenizer(CarriedTokenizer):
    def __init__(self, vocab_file, systems=(), **more):
        super().__init__(vocab_file, systems=systems, **more)      # names no end, as Qwen-VL's does not
        self.heads = [f"{system}\n\n" for system in systems]
        self.eod_id, self.im_start_id, self.im_end_id = 0, 2, 4

    def tokenize(self, text, **more):
        "The tokens of a text; an image takes 258."
        out = []
        for piece in IMAGE.split(text):
            path = re.search("<img>(.*)</img>", piece)
            inside = list(BYTES.pre_tokenize_str(path[1])[0][0]) if path else []
            if len(inside) > SPAN: raise ValueError(f"the path of an image is too long: {path[1]}")
            image = ["<img>", *inside, *["<imgpad>"] * (SPAN - len(inside)), "</img>"]
            out += image if path else super().tokenize(piece)
        return out

    def from_list_format(self, items):
        "A text with the images' places; a system message in front, which the base model does not know, is left out."
        if items and items[0].get("text") in self.heads: items = items[1:]
        text, images = "", 0
        for item in items:
            images += "image" in item
            text += f"Picture {images}: <img>{item['image']}</img>\n" if "image" in item else item["text"]
        return text
