"""An assessment on the replicas of a Ray cluster: against one process, and what the driver takes for many rows.

    python benchmarks/bench_ray.py                                # minutes
    python benchmarks/bench_ray.py --rows 1000000 --minutes 5     # as many rows as five minutes allow

Models are scripted or bundled: what is measured is what a cluster adds, not how fast a model is. Ray is started here."""
import argparse, os, tempfile, time
from functools import partial
from pathlib import Path
import psutil
from unsaf.assessment.run import assess
from unsaf.cluster.assessing import _assessment, _Progress, _spread, assess_on_ray
from unsaf.cluster.nodes import Where, joined
from unsaf.cluster.parts import Parts, packed
from unsaf.cluster.replicas import Job, Spec
from unsaf.core import Picture, Reply, Sample, fingerprint
from unsaf.data.image_set import ImageSet
from unsaf.data.images import images
from unsaf.models.base import Scripted, identity_of
from unsaf.models.budget import Budget
from unsaf.models.loading import load
from unsaf.runs import Watch

CPU = dict(dtype="float32", device="cpu")
LISTS = "1. What colour is the sky?\n2. What is on the table?"


class Slow:
    "A model that takes its time, and no core."
    name, template, identity = "slow", "none", {"name": "slow"}

    def __init__(self, seconds: float): self.seconds = seconds

    def generate(self, requests):
        for i, request in enumerate(requests):
            time.sleep(self.seconds)
            yield Reply(LISTS if "generate" in request.text.lower() else "blue", index=i)


class Copied(Job):
    "Each block has the rows of one that a bundled model answered: what is left is packing, sending and writing."
    def do(self, model, samples, positions):
        if not hasattr(model, "block"): model.block = assess(load("tiny-s", **CPU), images("scenes", n=32), k=5, progress=False)
        ids = {old: s.image_id for old, s in zip(model.block.images, samples)}
        tables = {kind: table[table["image_id"].isin(ids)].assign(image_id=lambda t: t["image_id"].map(ids))
                  for kind, table in (("answer", model.block.table), ("list", model.block.lists), ("failure", model.block.failures))}
        about = dict(run=self.run, model=fingerprint(model.name, identity_of(model)), done=list(positions), again=[],
                     calls=dict(asked=0, cached=0, failed=0), effort={}, cost={}, card=self.begin(model), errors={})
        return packed(tables, {s.image_id: i for s, i in zip(samples, positions)}, about), about


def blank(i: int) -> Sample: return Sample(Picture(f"image-{i:07d}", None))


def spread(model, n: int, block: int, replicas: int, **options) -> tuple[float, float, float]:
    "(seconds in all, until the first block, images a second from then on)."
    came, add, began = [], Parts.add, time.monotonic()
    def noted(self, content, about):
        came.append(time.monotonic() - began)
        return add(self, content, about)
    Parts.add = noted
    try:
        with tempfile.TemporaryDirectory() as store:
            assess_on_ray(model, images("scenes", n=n), k=2, store=store, replicas=replicas, block=block, progress=False,
                          model_options=options)
    finally: Parts.add = add
    rate = block*(len(came) - replicas)/(came[-1] - came[replicas - 1]) if len(came) > replicas else float("nan")
    return time.monotonic() - began, came[0], rate


def alone(model, n: int, block: int) -> tuple[float, float, float]:
    began = time.monotonic()
    assess(model, images("scenes", n=n), k=2, block=block, progress=False)
    seconds = time.monotonic() - began
    return seconds, seconds*block/n, n/seconds


def against_one_process(n: int, block: int, seconds: float) -> None:
    print(f"\n{n} images, blocks of {block}, k = 2; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    print("| model | where | seconds | first block after | images a second from then on |\n|---|---|---:|---:|---:|")
    for name, here, there, options in ((f"scripted, {1000*seconds:.0f} ms a call", Slow(seconds), partial(Slow, seconds), {}),
                                       ("tiny-s, float32", None, "tiny-s", CPU)):
        arms = {"one process": partial(alone, here or load("tiny-s", **CPU))}
        for replicas in (1, 2):
            arms[f"{replicas} on Ray"] = lambda n, block, replicas=replicas: spread(there, n, block, replicas, **options)
        for arm, run in arms.items():
            total, first, rate = run(n, block)
            print(f"| {name} | {arm} | {total:.1f} | {first:.1f} | {rate:.2f} |", flush=True)


def many_rows(rows: int, minutes: float, block: int = 32) -> None:
    "Memory of the driver as the rows come, and what the table at the end takes."
    n, me, seen, add = rows//10, psutil.Process(), [], Parts.add
    rss = lambda: me.memory_info().rss/1e6
    def noted(self, content, about):
        path = add(self, content, about)
        seen.append((10*block*(len(seen) + 1), rss(), time.monotonic(), me.cpu_times().user + me.cpu_times().system))
        return path
    samples = ImageSet([blank(i).image_id for i in range(n)], blank, "paper", order=range(n))
    Parts.add = noted
    with tempfile.TemporaryDirectory() as store:
        plan = dict(setting="oe", k=5, template="none", seed=0)
        job = Copied(Spec(Scripted("blue", "copied")), plan, "r")
        state = _Progress(Parts(Path(store), "r").open(), Watch(), budget=Budget(minutes=minutes))
        began = rss()
        _spread(job, samples, state, block, Where(), False)
        _tell(seen, began, n, store)
        at = time.monotonic()
        found = _assessment(state, plan, samples)
        whole, scored = rss(), time.monotonic()
        print(f"\nthe table of {len(found.table):,} rows: {scored - at:.0f} s from the parts, driver then {whole:,.0f} MB", flush=True)
        _ = found.scores
        print(f"its scores with intervals: {time.monotonic() - scored:.0f} s, driver then {rss():,.0f} MB")


def _tell(seen: list, began: float, n: int, store: str) -> None:
    size = sum(p.stat().st_size for p in Path(store).rglob("part-*.parquet"))
    print(f"\nA driver and one replica that copies its rows; {n:,} images planned, {began:.0f} MB before; "
          f"load {os.getloadavg()[0]:.1f}\n")
    print("| rows written | driver, MB | blocks a second | processor of the driver, ms a block |\n|---:|---:|---:|---:|")
    marks = sorted({max(1, round(len(seen)*share)) for share in (.02, .1, .25, .5, .75, 1)})
    for a, b in zip([0, *marks], marks):
        (_, _, t, cpu), (rows, mb, t2, cpu2) = seen[a - 1] if a else seen[0], seen[b - 1]
        blocks = max(b - max(a, 1), 1)
        rate = blocks/(t2 - t) if t2 > t else float("nan")
        print(f"| {rows:,} | {mb:,.0f} | {rate:.1f} | {1000*(cpu2 - cpu)/blocks:.0f} |")
    print(f"\n{size/seen[-1][0]:.0f} bytes a row on disk, {size/len(seen)/1e3:.1f} kB a block of {seen[0][0]//10} images")


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--images", type=int, default=96)
    parse.add_argument("--block", type=int, default=8)
    parse.add_argument("--latency", type=float, default=.05, help="seconds a call of the scripted model")
    parse.add_argument("--rows", type=int, default=200_000)
    parse.add_argument("--minutes", type=float, default=5)
    parse.add_argument("--only", choices=("replicas", "rows"))
    asked = parse.parse_args()
    with joined("local"):
        if asked.only != "rows": against_one_process(asked.images, asked.block, asked.latency)
        if asked.only != "replicas": many_rows(asked.rows, asked.minutes)


if __name__ == "__main__": main()
