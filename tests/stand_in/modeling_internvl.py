"""With the face of InternVL2 in its own format: `chat` takes normalised tiles and a dictionary of options."""
import torch
from PIL import Image
from torch import nn
from transformers import PreTrainedModel
from .tiny_lm import EOS, PATCH, TinyConfig, language


class StandIn(PreTrainedModel):
    config_class = TinyConfig

    def __init__(self, config):
        super().__init__(config)
        self.language_model, self.see, self.system_message = language(config), nn.Linear(12, config.width), "I am a stand-in."

    def embedded(self, tokenizer, pixel_values, text, counts):
        for n in counts: text = text.replace("<image>", "<patch>" * n, 1)
        ids = tokenizer(self.system_message + text, return_tensors="pt")["input_ids"]
        x = self.language_model.embed(ids).clone()
        if pixel_values is not None:
            assert pixel_values.shape[1:] == (3, 448, 448) and len(pixel_values) == sum(counts)
            quarters = nn.functional.adaptive_avg_pool2d(pixel_values, 2).flatten(1)
            x[ids == PATCH] = self.see(quarters)
        return x

    def chat(self, tokenizer, pixel_values, question, generation_config, history=None, return_history=False, num_patches_list=None):
        x = self.embedded(tokenizer, pixel_values, question, num_patches_list or ([len(pixel_values)] if pixel_values is not None else []))
        generation_config["eos_token_id"] = EOS
        return tokenizer.decode(self.language_model.generate(inputs_embeds=x, pad_token_id=0, **generation_config)[0], skip_special_tokens=True)

    def _pixels(self, path):
        "Tiles for the two sizes in the tests: a square is one tile; two to one is two, and the whole in small."
        image = Image.open(path).convert("RGB")
        wide = image.width == 2 * image.height
        cut = [image.resize((896, 448), 3).crop((x, 0, x + 448, 448)) for x in (0, 448)] + [image] if wide else [image]
        raw = [torch.frombuffer(bytearray(t.resize((448, 448), 3).tobytes()), dtype=torch.uint8).view(448, 448, 3).permute(2, 0, 1) / 255 for t in cut]
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        return (torch.stack(raw) - mean[:, None, None]) / std[:, None, None]

    def _question(self, paths, text):
        marks = ["Image-%d: <image>\n" % i for i in range(1, len(paths) + 1)] if len(paths) > 1 else ["<image>\n"] * len(paths)
        return "".join(marks) + text

    def by_hand(self, tokenizer, paths, text, chat):
        tiles = [self._pixels(p) for p in paths]
        x = self.embedded(tokenizer, torch.cat(tiles) if tiles else None, self._question(paths, text), [len(t) for t in tiles])
        return self.language_model, x

    def habit(self, tokenizer, paths, text, length):
        tiles = [self._pixels(p) for p in paths]
        return self.chat(tokenizer, torch.cat(tiles) if tiles else None, self._question(paths, text),
                         dict(max_new_tokens=length, num_beams=3, repetition_penalty=1.2), num_patches_list=[len(t) for t in tiles])
