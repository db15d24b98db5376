"""Two stages, many pictures: what each device of ours is worth. Prints a table of counters and of times side by side.

    python benchmarks/bench_throughput.py                                     # a LLaVA of true image-token share, small enough for a CPU
    python benchmarks/bench_throughput.py --model qwen-cpu --pictures 4
    python benchmarks/bench_throughput.py --model llava-7b --device cuda --pictures 64       # random weights of true size
    python benchmarks/bench_throughput.py --model tiny-l --pictures 32        # a bundled model

Weights are random (but for the bundled models), so nobody writes readable questions: stage 2 takes fixed ones, and all arms write the same number of
tokens (stop tokens are switched off). The naive arm is the loop that a reader of the paper would write: each prompt through the processor and the
model by itself. The other arms are ours with one device switched off. Arms run in turn in one process, repeated; the ratio is to the naive arm of the
same turn. On a CPU the time is that of the processor (`time.process_time`), which other processes on the machine disturb less; on a GPU it is the clock's.
"""
import argparse, copy, platform, statistics, sys, tempfile, time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
import numpy as np
import torch
import transformers
from PIL import Image
from unsaf.world import tiny
from unsaf.assessment.run import Plan, answer_request, question_request
from unsaf.core import Picture, Question, Setting
from unsaf.models.base import collect
from unsaf.models.sharing import cache_limits, Sharing
from unsaf.models.hf import HF
sys.path.insert(0, str(Path(__file__).parent))
from sized import MODELS, save  # noqa: E402

QUESTIONS = ["What color is the car that is parked in front of the house?", "How many people are standing near the table?",
             "What is the man on the left holding in his right hand?", "Is the window open or closed?", "What material is the floor made of?",
             "What is the name of the woman who lives here?", "What did the boy eat this morning?", "How much did the red bicycle cost?",
             "Which street leads to the station from here?", "What will the dog do after the picture was taken?"]
OPTIONS = ("a red one", "the one on the left", "two of them", "nothing of the kind")


def photos(n: int, side: int) -> list[Picture]:
    "Smooth noise, a picture each: a processor and an encoder take any."
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (n, 8, 8, 3), dtype=np.uint8)
    images = [Image.fromarray(s).resize((side, side), Image.BICUBIC) for s in small]
    return [Picture(f"noise-{i}", lambda im=im: im) for i, im in enumerate(images)]


def stages(pictures, plan: Plan, probabilities: bool):
    "The requests of both stages; stage 2 asks fixed questions."
    first = [question_request(p, a, plan) for p in pictures for a in (True, False)]
    options = OPTIONS if plan.setting == Setting.MC else ()
    second = [answer_request(p, Question(q, plan.setting, i < 5, options), plan) for p in pictures for i, q in enumerate(QUESTIONS)]
    return first, second if probabilities or plan.answer_mode == "logit" else [replace(r, candidates=()) for r in second]


@contextmanager
def endless(hf: HF):
    "No token stops a reply, so that all arms write equally much."
    kept, hf.chat.stops = hf.chat.stops, frozenset({-1})
    try: yield
    finally: hf.chat.stops = kept


def run(hf: HF, first, second, alone: bool) -> tuple[float, dict, list[str]]:
    "(seconds, counters, texts) of both stages."
    hf.sharing.forget()
    hf.counters.clear()
    clock = time.process_time
    if hf.model.device.type == "cuda":
        clock = time.perf_counter
        torch.cuda.synchronize()
    start = clock()
    with endless(hf): texts = [r.text for part in (first, second) for group in ([[r] for r in part] if alone else [part]) for r in collect(hf, group)]
    if hf.model.device.type == "cuda": torch.cuda.synchronize()
    return clock() - start, dict(hf.counters), texts


def arms(folder, device: str, dtype: str, budget: int | None):
    "(name, model, one request at a time) of each arm."
    base = HF(folder, device=device, dtype=dtype, token_budget=budget)
    def model(reuse="auto", **more):
        "The same weights with another setting: five copies would not leave a card the memory that its budgets count on."
        hf = copy.copy(base)
        hf.sharing = Sharing(base.model, base.chat, reuse, cache_limits(base.model))
        hf.counters, hf.identity = hf.sharing.counts, base.identity | {"reuse": hf.sharing.mode}
        vars(hf).update(more)
        return hf
    whole, encoder, none = model(), model("encoder"), model("none")
    stepwise = model()
    stepwise._score = stepwise._score_by_steps
    unthreaded = model(workers=0)
    return [("naive: a prompt at a time", none, True), ("ours", whole, False), ("- beginnings shared", encoder, False),
            ("- encoder reused either", none, False), ("- batches (sharing kept)", whole, True), ("- candidates side by side", stepwise, False),
            ("- pictures ahead, by threads", unthreaded, False)]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", default="llava-cpu", help=f"{', '.join(MODELS)}, or a bundled model")
    p.add_argument("--pictures", type=int, default=4)
    p.add_argument("--device", default="cpu")
    p.add_argument("--dtype", default="auto")
    p.add_argument("--setting", default="oe", choices=("oe", "mc"))
    p.add_argument("--logit", action="store_true", help="mc: decide among the letters, decode nothing")
    p.add_argument("--probabilities", action="store_true", help="with p(unanswerable) for each answer, as a run has it")
    p.add_argument("--list-tokens", type=int, default=96, help="length of each list of questions")
    p.add_argument("--answer-tokens", type=int, default=4)
    p.add_argument("--budget", type=int, default=None, help="tokens of a batch")
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument("--threads", type=int, default=None)
    a = p.parse_args()
    if a.threads: torch.set_num_threads(a.threads)
    transformers.utils.logging.set_verbosity_error()      # that no token stops a reply is what we want
    with tempfile.TemporaryDirectory() as scratch:
        folder = tiny.path(a.model) if a.model in tiny.names() else save(a.model, Path(scratch), "cuda" if a.device.startswith("cuda") else "cpu")
        side = 48 if a.model in tiny.names() else MODELS[a.model].side
        plan = Plan(Setting(a.setting), answer_mode="logit" if a.logit else "generate", template="none" if a.model in tiny.names() else "llava",
                    question_tokens=a.list_tokens, answer_tokens=a.answer_tokens).check()
        first, second = stages(photos(a.pictures, side), plan, a.probabilities)
        entries = arms(folder, a.device, a.dtype, a.budget)
        if not (a.probabilities or a.logit): entries = [e for e in entries if "candidates" not in e[0]]
        if entries[1][1].workers == 0: entries = [e for e in entries if "threads" not in e[0]]
        table(a, entries, first, second)


def table(a, entries, first, second):
    times, counts, texts = {}, {}, {}
    for turn in range(a.repeat):
        for name, hf, alone in entries[::1 if turn % 2 == 0 else -1]:
            seconds, counts[name], texts[name] = run(hf, first, second, alone)
            times.setdefault(name, []).append(seconds)
    hf, naive = entries[1][1], entries[0][0]
    where = torch.cuda.get_device_name() if a.device.startswith("cuda") else f"{platform.machine()}, {torch.get_num_threads()} threads"
    n = len(first) // 2
    print(f"{a.model}: {sum(x.numel() for x in hf.model.parameters()) / 1e6:,.0f} M parameters, {hf.model.dtype}, {where}; {n} pictures, {a.setting}"
          f"{', logit' if a.logit else ''}{', with p(unanswerable)' if a.probabilities else ''}; lists of {a.list_tokens} tokens, answers of {a.answer_tokens}")
    print(f"prompts: {counts[naive]['prompt_tokens'] / n:,.0f} tokens a picture in 12 calls; torch {torch.__version__}; median of {a.repeat}")
    heads = ("images/s", "x naive", "looks", "encodes", "prefill", "x fewer", "padding", "forwards", "replies equal")
    print(f"\n{'arm':30}" + "".join(f"{h:>11}" if h != heads[-1] else f"{h:>16}" for h in heads))
    for name, _, _ in entries:
        c, t = counts[name], statistics.median(times[name])
        ratio = statistics.median(x / y for x, y in zip(times[naive], times[name]))
        pad = c.get("padding_tokens", 0) / (c["prefill_tokens"] + c.get("padding_tokens", 0))
        equal = sum(x == y for x, y in zip(texts[naive], texts[name]))
        print(f"{name:30}{n / t:11.2f}{ratio:11.2f}{c['images_preprocessed'] / n:11.1f}{c['vision_encodes'] / n:11.1f}{c['prefill_tokens'] / n:11,.0f}"
              f"{counts[naive]['prefill_tokens'] / c['prefill_tokens']:11.2f}{pad:11.1%}{c['forwards'] / n:11.1f}{equal:>10} / {len(texts[naive])}", flush=True)


if __name__ == "__main__": main()
