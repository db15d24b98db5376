"""Does the quicker decoding on a CPU (`unsaf.models.cpu`) change what a model replies?

    python benchmarks/cpu_replies.py                          # tiny-m, and random models of LLaVA's and Qwen2.5-VL's architecture
    python benchmarks/cpu_replies.py --model qwen-cpu --questions 100

Greedy replies in batches of 2 to 7 prompts, the sizes that are multiplied from the other side, against the same model as transformers calls it.
In `tiny-m` every layer takes part, which its small layers do not in use. Random models are the harder test: nothing favours one token.
"""
import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path
import torch
import transformers
from bench_throughput import QUESTIONS, endless, photos
from sized import MODELS, save
from unsaf import images as scenes
from unsaf.assessment.run import Plan, answer_request
from unsaf.core import Question, Setting
from unsaf.models import cpu
from unsaf.models.base import collect
from unsaf.models.hf import HF
from unsaf.world import tiny

SIZES = (5, 2, 7, 3, 4, 6)


def requests_of(name: str, n: int) -> list:
    plan = Plan(Setting.OE, template="none" if name in tiny.names() else "llava", answer_tokens=8).check()
    count = -(-n // len(QUESTIONS))
    pictures = [s.picture for s in scenes("scenes", n=count, seed=0)] if name in tiny.names() else photos(count, MODELS[name].side)
    asked = [answer_request(p, Question(q, plan.setting, i < 5, ()), plan) for p in pictures for i, q in enumerate(QUESTIONS)]
    return [replace(r, candidates=()) for r in asked[:n]]


def replies(folder: Path, template: str, asked: list, plain: bool) -> list:
    os.environ[cpu.PLAIN] = str(int(plain))
    hf, out = HF(folder, device="cpu", dtype="float32", template=template), []
    sizes = iter(SIZES * len(asked))
    with endless(hf):
        while len(out) < len(asked): out += collect(hf, asked[len(out):len(out) + next(sizes)])
    return out


def compared(name: str, n: int) -> str:
    bundled, asked = name in tiny.names(), requests_of(name, n)
    cpu.LARGE = 0 if bundled else 2**18
    with tempfile.TemporaryDirectory() as scratch:
        folder = tiny.path(name) if bundled else save(name, Path(scratch), "cpu")
        theirs, ours = (replies(folder, "none" if bundled else "llava", asked, plain) for plain in (True, False))
    equal = sum(a.text == b.text for a, b in zip(ours, theirs))
    apart = [abs(x - y) for a, b in zip(ours, theirs) if a.text == b.text for x, y in zip(a.logprobs, b.logprobs)]
    return (f"| {name} | {len(asked)} | {len({r.text for r in theirs})} | {equal} | {sum(r.output_tokens for r in ours):,} | "
            f"{max(apart):.0e} |")


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", action="append", choices=(*tiny.names(), *MODELS))
    p.add_argument("--questions", type=int, default=300)
    a = p.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    print("| model | questions | different replies | equal | tokens | log-probability, largest difference |\n|---|---:|---:|---:|---:|---:|")
    for name in a.model or ("tiny-m", "llava-cpu", "qwen-cpu"): print(compared(name, a.questions), flush=True)


if __name__ == "__main__": main()
