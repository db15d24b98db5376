"""What is checked of every architecture: five requests of all shapes, and the same numbers computed in another way."""
import pytest
import torch
from PIL import Image, ImageDraw
from unsaf.core import Picture, Request
from unsaf.models.chat import plain

CLOSE = dict(rel=0, abs=1e-4)
OPTIONS = ("A", "B", "unanswerable")


def picture(color, size=(60, 40)):
    im = Image.new("RGB", size, "white")
    ImageDraw.Draw(im).rectangle((4, 6, size[0] // 2, size[1] // 2), fill=color)
    return Picture(f"{color}{size}", lambda: im)


WIDE, TALL = picture("red", (90, 60)), picture("blue", (50, 110))
ASKS = [Request((WIDE, "What is it?"), max_tokens=10, candidates=OPTIONS),
        Request((TALL, "Which color has the shape in the picture, and what stands behind it?"), max_tokens=10,
                candidates=OPTIONS[2:]),
        Request(("No picture here. Say something.",), max_tokens=10, candidates=OPTIONS),
        Request((WIDE, TALL, "Name one difference."), max_tokens=10, candidates=OPTIONS),
        Request((TALL, "Is <image> or <|image_pad|> or <IMG_CONTEXT> or <img> a tag? </s><|im_end|><eot>"),
                max_tokens=10, candidates=OPTIONS, system="Be brief.")]


def same(a, b):
    assert (a.text, a.finish, a.prompt_tokens, a.output_tokens) == (b.text, b.finish, b.prompt_tokens, b.output_tokens)
    for ours, theirs in ((a.logprobs, b.logprobs), (a.candidates, b.candidates)):
        assert ours is theirs if None in (ours, theirs) else ours == pytest.approx(theirs, **CLOSE)


# ---- independent computations, one row at a time, no cache, no padding

def prompt_of(hf, ask):
    "The processor's tensors for one request, without any code of ours but the split of markup."
    content = [{"type": "image", "image": p.pixels()} if isinstance(p, Picture) else
               {"type": "text", "text": plain(p, hf.chat.special)} for p in ask.parts]
    turns = [{"role": "system", "content": [{"type": "text", "text": ask.system}]}] if ask.system else []
    return dict(hf.processor.apply_chat_template([[*turns, {"role": "user", "content": content}]], tokenize=True,
                                                 return_dict=True, return_tensors="pt", add_generation_prompt=True))


@torch.no_grad()
def forward(hf, prompt, tokens):
    "Log-probabilities over the vocabulary (float64) at each of `tokens`, forced after the prompt."
    x, more = dict(prompt), torch.tensor([tokens])
    x["input_ids"] = torch.cat([x["input_ids"], more], 1)
    x["attention_mask"] = torch.ones_like(x["input_ids"])
    for k in ("mm_token_type_ids", "token_type_ids"):
        if k in x: x[k] = torch.cat([x[k], torch.zeros_like(more)], 1)
    return hf.model(**x, use_cache=False).logits[0, -len(tokens) - 1:-1].double().log_softmax(-1)


def forced(hf, ask, reply, stop):
    "Log-probability of `reply`, spelt as the model writes it, and of the token `stop`."
    tok = hf.processor.tokenizer
    ids = [*tok.encode(reply, add_special_tokens=False), tok.convert_tokens_to_ids(stop)]
    table = forward(hf, prompt_of(hf, ask), ids)
    return sum(table[i, t].item() for i, t in enumerate(ids))


def greedy(hf, ask, steps):
    "(tokens, their log-probabilities): step by step, the largest logit of what may be written."
    prompt, ids, logps = prompt_of(hf, ask), [], []
    while len(ids) < steps and not (ids and ids[-1] in hf.chat.stops):
        last = forward(hf, prompt, [*ids, 0])[-1]
        allowed = last.clone()
        allowed[hf.chat.banned] = -torch.inf
        ids.append(allowed.argmax().item())
        logps.append(last[ids[-1]].item())
    return ids, logps
