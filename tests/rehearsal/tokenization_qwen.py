"""A tokenizer with the face of Qwen-VL's, around that of a tiny model: an image is a path between <img> and </img>.

The path is in hexadecimal digits, each a token of its own in the tiny models' vocabulary, and padded to 256 tokens.
"""
import os, re, shutil
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizer

SPAN, IMAGE = 256, re.compile(r"((?:Picture \d+: )?<img>.*?</img>\n?)")


class QWenTokenizer(PreTrainedTokenizer):
    vocab_files_names = {"vocab_file": "tokenizer.json"}
    model_input_names = ["input_ids", "attention_mask"]

    def __init__(self, vocab_file, systems=(), **more):
        self.file, self.inner = vocab_file, Tokenizer.from_file(vocab_file)
        more.setdefault("eos_token", "<|im_end|>")
        more.setdefault("pad_token", "<|endoftext|>")
        super().__init__(systems=systems, **more)
        self.heads = [f"{system}\n\n" for system in systems]
        self.eod_id, self.im_start_id, self.im_end_id = 0, 2, 4

    @property
    def vocab_size(self): return self.inner.get_vocab_size()

    def __len__(self): return self.vocab_size

    def get_vocab(self): return self.inner.get_vocab()

    def tokenize(self, text, **more):
        "The tokens of a text; an image takes 258."
        out = []
        for piece in IMAGE.split(text):
            path = re.search("<img>(.*)</img>", piece)
            inside = list(path[1].encode().hex()) if path else []
            if len(inside) > SPAN: raise ValueError(f"the path of an image is too long: {path[1]}")
            if path: out += ["<img>", *inside, *["<imgpad>"] * (SPAN - len(inside)), "</img>"]
            elif piece: out += self.inner.encode(piece, add_special_tokens=False).tokens
        return out

    def _tokenize(self, text, **more): return self.tokenize(text)

    def _convert_token_to_id(self, token): return self.inner.token_to_id(token)

    def _convert_id_to_token(self, index): return self.inner.id_to_token(int(index)) or ""

    def convert_tokens_to_string(self, tokens): return self.inner.decode([self.inner.token_to_id(t) for t in tokens])

    def _decode(self, token_ids, skip_special_tokens=False, **more):
        ids = [int(i) for i in (token_ids if isinstance(token_ids, (list, tuple)) else [token_ids])]
        return self.inner.decode(ids, skip_special_tokens=skip_special_tokens)

    def save_vocabulary(self, folder, filename_prefix=None):
        to = os.path.join(folder, (filename_prefix + "-" if filename_prefix else "") + "tokenizer.json")
        if os.path.abspath(to) != os.path.abspath(self.file): shutil.copy(self.file, to)
        return (to,)

    def from_list_format(self, items):
        "A text with the images' places; a system message in front, for which the base model has no place, is left out."
        if items and items[0].get("text") in self.heads: items = items[1:]
        text, images = "", 0
        for item in items:
            images += "image" in item
            text += f"Picture {images}: <img>{item['image']}</img>\n" if "image" in item else item["text"]
        return text
