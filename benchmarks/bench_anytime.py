"""How often is an interval wrong that is looked at again and again, and how long does a run take until it is narrow? Prints its tables.

    python benchmarks/bench_anytime.py [--runs 2000] [--images 400] [--bootstrapped 500] [--stops 10]

Made-up models answer t of the answerable and f of the unanswerable questions on average; each image has rates of its
own, Beta-distributed around these with the intraclass correlation ICC, the same draw for all its questions of a
class. Lists have five questions; *unequal*: none to five, and short lists are answered a tenth less often, so that J
per image and pooled J differ. *anytime*: share of runs in which the confidence sequence of the mean J per image
(`unsaf.metrics.anytime`) excludes the truth after any image up to the last. *six looks* and *40 looks*: the same of
the percentile interval of the pooled J (`cluster_bootstrap`), looked at six times, evenly, and (in one cell)
every ten images; *one look*: at the end only; over the first of the runs only, since a bootstrap takes a while. The
second table: images until the half-width is reached, looked at every 25 images.
"""
import argparse, itertools, time
import numpy as np
from unsaf.metrics.anytime import anytime_j, image_j, stakes, wealth
from unsaf.metrics.awareness import scorer
from unsaf.metrics.resampling import cluster_bootstrap

RATES = ((.5, .5), (.8, .3), (.95, .1), (.995, .002))
K = 5
youden = scorer("youden_j")


def of_length(rate: float, n: np.ndarray, unequal: bool) -> np.ndarray:
    "The mean rate of lists of `n` questions."
    return rate * (1 - .1 * (K - n) / K) if unequal else np.full(n.shape, rate)


def one_class(rng: np.random.Generator, shape: tuple, rate: float, icc: float, unequal: bool) -> tuple[np.ndarray, np.ndarray]:
    "(answered, abstained) of each image."
    n = rng.integers(0, K + 1, shape) if unequal else np.full(shape, K)
    p = of_length(rate, n, unequal)
    if icc: p = rng.beta(p * (1 - icc) / icc, (1 - p) * (1 - icc) / icc)
    answered = rng.binomial(n, p)
    return answered, n - answered


def draw(rng: np.random.Generator, shape: tuple, t: float, f: float, icc: float, unequal: bool) -> np.ndarray:
    "Counts of TA, FA, TU, FU: shape + (4,)."
    (ta, fu), (fa, tu) = (one_class(rng, shape, rate, icc, unequal) for rate in (t, f))
    return np.stack([ta, fa, tu, fu], -1)


def truth(t: float, f: float, unequal: bool) -> tuple[float, float]:
    "The mean J per image, of images with questions of both classes, and the pooled J."
    n = np.arange(1, K + 1) if unequal else np.array([K])
    rates = [of_length(rate, n, unequal) for rate in (t, f)]
    return rates[0].mean() - rates[1].mean(), np.average(rates[0], weights=n) - np.average(rates[1], weights=n)


def ever_out(j: np.ndarray, true: float) -> bool:
    "Whether the confidence sequence of `j` excludes the `true` mean after any image."
    x = (j[~np.isnan(j)] + 1) / 2
    rich = [wealth(x, (true + 1) / 2, above, stakes(x)).max() for above in (True, False)]
    return max(rich) >= np.log(2 / .05)


def out(counts: np.ndarray, true: float, at: list[int]) -> list[bool]:
    "Whether the percentile interval over the first images excludes the `true` pooled J, at each look."
    spans = (cluster_bootstrap(youden, counts[:n], n=1000)["youden_j"] for n in at)
    return [not s.low <= true <= s.high for s in spans]


def misses(cell: tuple, runs: int, bootstrapped: int, images: int, seed: int, often: bool) -> list[float]:
    "Shares of runs that were ever wrong: anytime, percentile at one look, at six, at forty (None: not asked)."
    rng, (per_image, pooled) = np.random.default_rng(seed), truth(*cell[:2], cell[3])
    six = [images * i // 6 for i in range(1, 7)]
    forty = [*range(10, images + 1, 10)]
    found = np.full((runs, 4), np.nan)
    for i in range(runs):
        counts = draw(rng, (images,), *cell)
        found[i, 0] = ever_out(image_j(counts), per_image)
        if i >= bootstrapped: continue
        at_six = out(counts, pooled, six)
        found[i, 1:3] = at_six[-1], any(at_six)
        if often: found[i, 3] = any(out(counts, pooled, forty))
    return [x[~np.isnan(x)].mean() if (~np.isnan(x)).any() else np.nan for x in found.T]


def stop(counts: np.ndarray, halfwidths: tuple[float, ...]) -> list[float]:
    "Images after which each half-width is reached, looked at every 25 images; inf where it never is."
    at, left = [], list(halfwidths)
    for n in range(25, len(counts) + 1, 25):
        now = anytime_j(counts[:n]).halfwidth
        while left and now <= left[0]:
            at.append(n)
            left.pop(0)
        if not left: break
    return at + [np.inf] * len(left)


def coverage(runs: int, bootstrapped: int, images: int) -> None:
    "Prints the table of how often an interval was ever wrong."
    print(f"{runs:,} runs a cell, {images} images each; percentile intervals in {bootstrapped:,} of them\n")
    print("| t | f | ICC | lists | J per image | pooled J | anytime | one look | six looks | 40 looks |\n|---|---|---|---|---|---|---|---|---|---|")
    for i, ((t, f), icc, unequal) in enumerate(itertools.product(RATES, (0, .2, .6), (False, True))):
        often = (t, icc, unequal) == (.5, .2, False)
        found = misses((t, f, icc, unequal), runs, bootstrapped, images, i, often)
        shares = " | ".join("" if np.isnan(x) else f"{x:.3f}" for x in found)
        mean, pooled = truth(t, f, unequal)
        print(f"| {t} | {f} | {icc} | {'unequal' if unequal else '5'} | {mean:.3f} | {pooled:.3f} | {shares} |", flush=True)


def price(runs: int) -> None:
    "Prints the table of how many images it takes."
    print(f"\nmean images until the half-width, {runs} runs a cell\n\n| t | f | ICC | .1 | .05 | .03 |\n|---|---|---|---|---|---|")
    for i, ((t, f), icc) in enumerate(itertools.product(RATES, (0, .2, .6))):
        rng = np.random.default_rng(i)
        at = np.mean([stop(draw(rng, (6000,), t, f, icc, False), (.1, .05, .03)) for _ in range(runs)], axis=0)
        print(f"| {t} | {f} | {icc} | {' | '.join(f'{n:,.0f}' for n in at)} |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=2000, help="0: the second table alone")
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--bootstrapped", type=int, default=500)
    parser.add_argument("--stops", type=int, default=10)
    a = parser.parse_args()
    began = time.time()
    if a.runs: coverage(a.runs, a.bootstrapped, a.images)
    price(a.stops)
    print(f"\n{time.time() - began:.0f} s")


if __name__ == "__main__": main()
