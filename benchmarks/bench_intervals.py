"""How often do the intervals of awareness scores contain the truth? Simulated runs over a grid of rates, images and likeness.

    python benchmarks/bench_intervals.py               # 1,000 runs a cell: minutes
    python benchmarks/bench_intervals.py --runs 100
    python benchmarks/bench_intervals.py --differences --runs 400      # of two models on the same images
"""
import argparse, itertools
import numpy as np
from scipy.stats import beta
from unsaf.metrics.awareness import scorer
from unsaf.metrics.resampling import cluster_bootstrap, paired_permutation
from unsaf.metrics.smoothed import coverage, smoothed_bootstrap, smoothed_difference

NAMES = ("unf1", "youden_j", "audacity", "timidity", "mcc", "d_prime")
RATES = ((.5, .5), (.8, .3), (.9, .1), (.6, .02), (.97, .03), (.995, .002), (.99, .97), (.05, .01))
KINDS = {"percentile": lambda counts, names: cluster_bootstrap(scorer(*names), counts, n=500),
         "smoothed": lambda counts, names: smoothed_bootstrap(names, counts, n=500)}
BOTH = (((.995, .002), (.995, .002)), ((.995, .002), (.97, .03)), ((.99, .97), (.99, .97)), ((.9, .1), (.8, .3)), ((.5, .5), (.5, .5)),
        ((.9, .1), (.05, .01)), ((.995, .002), (.6, .02)))
APART = {"percentile": lambda a, b: paired_permutation(a, b, scorer(*NAMES[:4]), n=500),
         "smoothed": lambda a, b: smoothed_difference(NAMES[:4], a, b, n=500)}


def two_runs(rng: np.random.Generator, images: int, rates: tuple, icc: float, shared: bool, k: int = 5) -> list[np.ndarray]:
    "Counts of two models on the same images, which are as hard for both where `shared`."
    ranks = [rng.random((2, images))] * 2 if shared else rng.random((2, 2, images))
    def answered(rate: float, rank: np.ndarray) -> np.ndarray:
        spread = 1 / icc - 1 if icc else 0
        return rng.binomial(k, beta.ppf(rank, rate * spread, (1 - rate) * spread) if spread else rate, images)
    pairs = [(answered(t, r[0]), answered(f, r[1])) for (t, f), r in zip(rates, ranks)]
    return [np.stack([ta, fa, k - fa, k - ta], axis=1) for ta, fa in pairs]


def of_differences(images: int, rates: tuple, icc: float, shared: bool, runs: int) -> np.ndarray:      # (kinds, scores, 2)
    "Coverage and mean width of both kinds of intervals."
    truth = {name: x[0] - x[1] for name, x in scorer(*NAMES[:4])(np.array([[t, f, 1 - f, 1 - t] for t, f in rates])).items()}
    rng, found = np.random.default_rng(0), []
    for _ in range(runs):
        a, b = two_runs(rng, images, rates, icc, shared)
        ends = [[of(a, b)[name].interval for name in NAMES[:4]] for of in APART.values()]
        found.append([[(i.low - 1e-9 <= truth[name] <= i.high + 1e-9, i.high - i.low) for name, i in zip(NAMES, some)] for some in ends])
    return np.array(found, float).mean(0)


def differences(images: list[int], runs: int) -> None:
    least = np.ones((2, 4))
    print("Coverage of 95 % intervals of paired differences, percentile > smoothed (width, smoothed / percentile)\n")
    print("| images | t, f | and | ICC | difficulty | " + " | ".join(NAMES[:4]) + " |\n|" + "---:|" * 9)
    for n, (a, b), icc, shared in itertools.product(images, BOTH, (0, .2, .6), (False, True)):
        if shared and not icc: continue
        old, new = found = of_differences(n, (a, b), icc, shared, runs)
        least = np.minimum(least, found[:, :, 0])
        print(f"| {n} | {a[0]}, {a[1]} | {b[0]}, {b[1]} | {icc} | {'shared' if shared else 'own'} | " + " | ".join(texts(old, new)) + " |", flush=True)
    for kind, x in zip(APART, least): print("| least | | | | | " + " | ".join(f"{v:.3f}" for v in x) + f" | {kind}")


def texts(old: np.ndarray, new: np.ndarray) -> list[str]:
    "A cell a score: coverages, and how many times as wide."
    wider = [b / a if a > 1e-3 and np.isfinite(b) else np.nan for a, b in zip(old[:, 1], new[:, 1])]
    return [f"{a:.2f} > {b:.2f}" + (f" ({w:.2f})" if np.isfinite(w) else "") for a, b, w in zip(old[:, 0], new[:, 0], wider)]


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--runs", type=int, default=1000, help="simulated runs a cell")
    parse.add_argument("--images", type=int, nargs="+", default=[10, 30, 100])
    parse.add_argument("--differences", action="store_true", help="of two models on the same images")
    asked, least = parse.parse_args(), {kind: np.ones(len(NAMES)) for kind in KINDS}
    if asked.differences: return differences(asked.images, asked.runs)
    print("Coverage of 95 % intervals, percentile > smoothed (width, smoothed / percentile); five questions a class and image\n")
    print("| images | t | f | ICC | " + " | ".join(NAMES) + " |\n|" + "---:|" * (4 + len(NAMES)))
    for images, (t, f), icc in itertools.product(asked.images, RATES, (0, .2, .6)):
        found = {kind: coverage(of, NAMES, images, t, f, icc, asked.runs) for kind, of in KINDS.items()}
        old, new = found.values()
        for kind, x in found.items(): least[kind] = np.minimum(least[kind], x[:, 0])
        print(f"| {images} | {t} | {f} | {icc} | " + " | ".join(texts(old, new)) + " |", flush=True)
    for kind, x in least.items(): print("| least | | | | " + " | ".join(f"{v:.3f}" for v in x) + f" | {kind}")


if __name__ == "__main__": main()
