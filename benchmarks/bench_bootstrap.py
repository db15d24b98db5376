"""How long intervals and tests over images take. Prints a table; run as `python benchmarks/bench_bootstrap.py`.

"naive" is the same bootstrap without collapsing equal images: draw image numbers, add up their rows."""
import platform
import time
import numpy as np
from unsaf.metrics.awareness import scorer
from unsaf.metrics.stability import cluster_bootstrap, paired_permutation

NAMES = ("unf1", "unf1_class", "youden_j", "mcc", "d_prime")


def images(n: int, k: int = 5, read: float = 1.0, seed: int = 0) -> np.ndarray:
    "Made-up counts of `n` images with up to `k` questions a kind, each kept with probability `read`."
    rng = np.random.default_rng(seed)
    p, q = rng.binomial(k, read, n), rng.binomial(k, read, n)
    ta, fa = rng.binomial(p, rng.beta(4, 1, n)), rng.binomial(q, rng.beta(2, 3, n))
    return np.stack([ta, fa, q - fa, p - ta], axis=1)


def naive(counts: np.ndarray, n: int) -> np.ndarray:
    rng, score = np.random.default_rng(0), scorer("youden_j")
    picked = (counts[rng.integers(0, len(counts), len(counts))].sum(0) for _ in range(n))
    return score(np.array(list(picked)))["youden_j"]


def row(what: str, counts: np.ndarray, n: int, run) -> None:
    start = time.perf_counter()
    run()
    seconds = time.perf_counter() - start
    different = len(np.unique(counts, axis=0))
    print(f"{what:<34}{len(counts):>9,}{counts.sum():>12,}{different:>10,}{n:>11,}{seconds:>10.2f}", flush=True)


def main() -> None:
    print(f"Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}; five scores a resample")
    print(f"{'what':<34}{'images':>9}{'questions':>12}{'different':>10}{'resamples':>11}{'seconds':>10}")
    score, n = scorer(*NAMES), 10_000
    for size in (1_000, 10_000, 100_000):
        c = images(size)
        row("percentile, all replies read", c, n, lambda: cluster_bootstrap(score, c, n=n))
    row("bca, all replies read", c, n, lambda: cluster_bootstrap(score, c, n=n, method="bca"))
    lossy = images(100_000, read=.8)
    row("percentile, a fifth unread", lossy, n, lambda: cluster_bootstrap(score, lossy, n=n))
    wide = images(10_000, k=1_000)
    row("percentile, hardly two images equal", wide, n, lambda: cluster_bootstrap(score, wide, n=n))
    other = images(100_000, seed=1)
    row("paired permutation and interval", c, n, lambda: paired_permutation(c, other, score, n=n))
    row("naive, one score, 100 resamples", c, 100, lambda: naive(c, 100))


if __name__ == "__main__": main()
