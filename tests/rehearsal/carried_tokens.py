"A slow tokenizer around that of a tiny model: what it saves, an old library reads too."
import os, shutil
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizer


class CarriedTokenizer(PreTrainedTokenizer):
    vocab_files_names = {"vocab_file": "tokenizer.json"}
    model_input_names = ["input_ids", "attention_mask"]

    def __init__(self, vocab_file, **more):
        self.file, self.inner = vocab_file, Tokenizer.from_file(vocab_file)
        super().__init__(**more)

    @property
    def vocab_size(self): return self.inner.get_vocab_size()

    def __len__(self): return self.vocab_size

    def get_vocab(self): return self.inner.get_vocab()

    def tokenize(self, text, **more): return self.inner.encode(text, add_special_tokens=False).tokens if text else []

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
