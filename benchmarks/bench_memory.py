"""Does memory stay flat while a run goes over more and more pictures? Prints its table.

    python benchmarks/bench_memory.py [--quick]

A whole `unsaf.assess` with a store on disk, each row in a process of its own: a scripted model on drawn scenes, the same on made-up photographs of
448 x 448 pixels (0.6 MB each, decoded), and the bundled tiny-s. "base" is the resident memory when everything is imported and loaded, "peak" its
highest value in the run, "result" what the two tables hold; "kB/picture" is what the peak grew by from one row to the next for each further picture,
and "beside the tables" how much of that is not in the tables.
"""
import argparse, os, resource, subprocess, sys, tempfile, time
from pathlib import Path
import numpy as np
from PIL import Image
import unsaf
from unsaf.core import Picture, Reply, Sample
from unsaf.prompts.templates import GEN_OE_ANSWERABLE


class Quiet:
    "A scripted model that remembers nothing: five questions of each kind, and answers."
    name, template = "quiet", "llava"
    def generate(self, requests):
        easy = GEN_OE_ANSWERABLE[:60]
        for i, r in enumerate(requests):
            word = "What is" if easy in r.text else "Who owns"
            yield Reply("\n".join(f"{n}. Question: {word} thing number {n}?" for n in range(1, 6)) if "Output Format:\nQuestion" in r.text
                        else "unanswerable" if "Who owns" in r.text else "a thing", index=i)


def photographs(n: int, size: int = 448) -> list[Sample]:
    "`n` different pictures that are made anew whenever they are read, as a file would be."
    def read(i):
        rng = np.random.default_rng(i)
        return Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).resize((size, size), Image.Resampling.BICUBIC)
    return [Sample(Picture(f"p{i}", lambda i=i: read(i))) for i in range(n)]


def resident() -> float:
    "MiB of this process now."
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def one(what: str, n: int) -> None:
    "One row, in this process."
    model = unsaf.load("tiny-s") if what == "tiny-s" else Quiet()
    images = photographs(n) if what == "photographs" else unsaf.images("scenes", n=n, seed=0)
    unsaf.assess(model, images[:2], "oe", progress=False)      # imports what is imported late
    with tempfile.TemporaryDirectory() as folder:
        base, start = resident(), time.perf_counter()
        result = unsaf.assess(model, images, "oe", store=folder, progress=False)
        took, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        disk = sum(f.stat().st_size for f in Path(folder).iterdir()) / 2**20
    tables = sum(frame.memory_usage(deep=True).sum() for frame in (result.table, result.lists)) / 2**20
    assert len(result.images) == n
    print(base, peak, resident(), tables, disk, took)


def rows(what: str, sizes: tuple[int, ...]) -> None:
    before = None
    for n in sizes:
        out = subprocess.run([sys.executable, __file__, "--one", what, str(n)], capture_output=True, text=True, check=True).stdout
        base, peak, after, tables, disk, took = map(float, out.split())
        more = ""
        if before:
            per = (peak - before[1]) / (n - before[0]) * 1024
            more = f"{per:12.1f}{per - (tables - before[2]) / (n - before[0]) * 1024:19.1f}"
        print(f"{what:16}{n:>9,}{base:>8.0f}{peak:>8.0f}{after:>8.0f}{tables:>8.1f}{disk:>8.1f}{took:>9.1f}{more}", flush=True)
        before = n, peak, tables


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true", help="a minute: up to 1,000 pictures")
    p.add_argument("--smoke", action="store_true", help="seconds; the numbers mean nothing")
    p.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.one: return one(a.one[0], int(a.one[1]))
    print(f"MiB; Python {sys.version.split()[0]}, load {os.getloadavg()[0]:.1f}")
    print(f"{'run':16}{'pictures':>9}{'base':>8}{'peak':>8}{'after':>8}{'result':>8}{'store':>8}{'seconds':>9}{'kB/picture':>12}{'beside the tables':>19}")
    if a.smoke: return rows("scenes", (4, 8))
    rows("scenes", (100, 1000) if a.quick else (100, 1000, 10_000))
    rows("photographs", (100, 300) if a.quick else (100, 1000, 3000))
    rows("tiny-s", (20, 40) if a.quick else (100, 1000))


if __name__ == "__main__": main()
