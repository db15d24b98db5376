"""How fast is the two-stage run on the bundled model, and what does the harness itself cost? Prints its table.

    python benchmarks/bench_pipeline.py [--scenes 100] [--threads 1 2]
"""
import argparse, time
import torch
import unsaf
from unsaf.models.base import Scripted


def talk(request):
    if request.max_tokens > 100: return "\n".join(f"{i}. Question: What is number {i}?" for i in range(1, 6))
    return "a thing"


def seconds(model, images, setting: str) -> float:
    start = time.perf_counter()
    unsaf.assess(model, images, setting, progress=False)
    return time.perf_counter() - start


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--scenes", type=int, default=100)
    p.add_argument("--threads", type=int, nargs="+", default=[1, torch.get_num_threads()])
    p.add_argument("--model", default="tiny-m")
    a = p.parse_args()
    images = unsaf.images("scenes", n=a.scenes, seed=0)
    print(f"{'what':28} {'threads':>7} {'seconds':>8} {'pictures/s':>10} {'calls/s':>8}")
    rows = [("harness alone, scripted, oe", Scripted(talk), "oe", 1)]
    model = unsaf.load(a.model)
    rows += [(f"{a.model}, {setting}", model, setting, n) for setting in ("oe", "mc") for n in dict.fromkeys(a.threads)]
    for what, who, setting, threads in rows:
        torch.set_num_threads(threads)
        t = seconds(who, images, setting)
        print(f"{what:28} {threads:7} {t:8.2f} {len(images) / t:10.2f} {12 * len(images) / t:8.1f}")


if __name__ == "__main__": main()
