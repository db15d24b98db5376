"""How long does scoring take, and how much memory, for 10^3 to 10^6 questions? Prints its tables.

    python benchmarks/bench_scoring.py [--quick]

First a whole table as `assess` returns it, by `unsaf.scores.score`: counts, 10,000 bootstrap resamples of the pictures for ten scores, 1,000 for
AUROC, bounds and yields. Then the resampling alone, with "naive" for comparison: draw picture numbers, add up their rows. Each row is a process of its
own; "MiB" is what its peak of resident memory grew by while it worked, beyond what the table or the counts take themselves.
"""
import argparse, os, resource, subprocess, sys, time
import numpy as np
import pandas as pd
from unsaf.metrics.awareness import scorer
from unsaf.metrics.resampling import cluster_bootstrap, paired_permutation
from unsaf.assessment.scores import score

FIVE = scorer("unf1", "unf1_class", "youden_j", "mcc", "d_prime")


def counts(n: int, k: int = 5, read: float = 1.0, seed: int = 0) -> np.ndarray:
    "Made-up counts of TA, FA, TU, FU of `n` pictures with up to `k` questions a kind, each kept with probability `read`."
    rng = np.random.default_rng(seed)
    p, q = rng.binomial(k, read, n), rng.binomial(k, read, n)
    ta, fa = rng.binomial(p, rng.beta(4, 1, n)), rng.binomial(q, rng.beta(2, 3, n))
    return np.stack([ta, fa, q - fa, p - ta], axis=1)


def table(questions: int, probabilities: bool, setting: str = "oe") -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    "A made-up table of replies, its lists and its pictures, with the columns that scoring reads; 10 questions a picture."
    rng, n = np.random.default_rng(0), questions // 10
    images = [f"folder/picture-{i:07d}.png" for i in range(n)]
    answerable, hard = np.tile([True] * 5 + [False] * 5, n), np.repeat(rng.normal(size=n), 10)
    p = 1 / (1 + np.exp(-(rng.normal(size=10 * n) + hard - 1.5 * answerable)))
    outcome = np.where(rng.random(10 * n) < .02, "unreadable", np.where(p > .5, "abstained", "answered"))
    cell = np.select([(outcome == "answered") & answerable, outcome == "answered", (outcome == "abstained") & answerable, outcome == "abstained"],
                     ["TA", "FA", "FU", "TU"], default="")
    replies = pd.DataFrame(dict(image_id=np.repeat(np.array(images, object), 10), setting=setting, answerable=answerable, outcome=outcome.astype(object),
                                finish="stop", cell=pd.Series(cell.astype(object)).where(cell != "", None), soft_abstain=rng.random(10 * n) < .01,
                                p_abstain=p if probabilities else None, p_abstain_choice=None))
    lists = pd.DataFrame(dict(image_id=np.repeat(np.array(images, object), 2), answerable=np.tile([True, False], n), finish="stop", asked=5, kept=5,
                              pieces=['{"chatter": 1}' if i % 7 == 0 else "{}" for i in range(2 * n)]))
    return replies, lists, images


def naive(x: np.ndarray, n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return FIVE(np.array([x[rng.integers(0, len(x), len(x))].sum(0) for _ in range(n)]))["youden_j"]


def resampling(what: str, pictures: int, n: int):
    "What is timed, and how many different rows there are."
    x = counts(pictures, k=1_000 if "equal" in what else 5, read=.8 if "unread" in what else 1.0)
    other = counts(pictures, seed=1)
    do = {"percentile": lambda: cluster_bootstrap(FIVE, x, n=n), "percentile, a fifth unread": lambda: cluster_bootstrap(FIVE, x, n=n),
          "percentile, hardly two equal": lambda: cluster_bootstrap(FIVE, x, n=n), "bca": lambda: cluster_bootstrap(FIVE, x, n=n, method="bca"),
          "paired permutation": lambda: paired_permutation(x, other, FIVE, n=n), "naive": lambda: naive(x, n)}[what]
    return do, len(np.unique(x, axis=0))


def peak() -> float: return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one(what: str, size: int, n: int) -> None:
    "One row, in this process."
    if what in ("oe", "oe, with p(abstain)"):
        replies, lists, images = table(size, "with" in what)
        held, do = replies.memory_usage(deep=True).sum() / 2**20, lambda: score(replies, lists, images, n=n)
    else: do, held = resampling(what, size, n)
    before, cpu, start = peak(), time.process_time(), time.perf_counter()
    do()
    print(time.perf_counter() - start, time.process_time() - cpu, peak() - before, held)


def row(what: str, size: int, n: int) -> None:
    out = subprocess.run([sys.executable, __file__, "--one", what, str(size), str(n)], capture_output=True, text=True, check=True).stdout
    wall, cpu, grown, held = map(float, out.split())
    print(f"{what:32}{size:>11,}{n:>11,}{held:>12,.0f}{wall:>9.2f}{cpu:>9.2f}{grown:>9.0f}", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true", help="a minute: up to 10^5 questions")
    p.add_argument("--smoke", action="store_true", help="seconds; the numbers mean nothing")
    p.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.one: return one(a.one[0], int(a.one[1]), int(a.one[2]))
    n = 100 if a.smoke else 10_000
    print(f"load {os.getloadavg()[0]:.1f}; numpy {np.__version__}, pandas {pd.__version__}")
    print(f"{'score(table), setting':32}{'questions':>11}{'resamples':>11}{'table MiB':>12}{'s':>9}{'CPU s':>9}{'MiB':>9}")
    for what in ("oe", "oe, with p(abstain)"):
        for size in (100,) if a.smoke else (10**3, 10**4, 10**5) if a.quick else (10**3, 10**4, 10**5, 10**6): row(what, size, n)
    print(f"\n{'resampling, five scores':32}{'pictures':>11}{'resamples':>11}{'different':>12}{'s':>9}{'CPU s':>9}{'MiB':>9}")
    for size in (10,) if a.smoke else (10**3, 10**4, 10**5): row("percentile", size, n)
    if not a.smoke:
        for what in ("bca", "percentile, a fifth unread", "paired permutation"): row(what, 10**5, n)
        row("percentile, hardly two equal", 10**3 if a.quick else 10**4, n)
    row("naive", 10 if a.smoke else 10**5, 2 if a.smoke else 100)


if __name__ == "__main__": main()
