"""How often do the intervals of awareness scores contain the truth? Simulated runs over a grid of rates, images and likeness.

    python benchmarks/bench_intervals.py               # 1,000 runs a cell: minutes
    python benchmarks/bench_intervals.py --runs 100
"""
import argparse, itertools
import numpy as np
from unsaf.metrics.awareness import scorer
from unsaf.metrics.resampling import cluster_bootstrap
from unsaf.metrics.smoothed import coverage, smoothed_bootstrap

NAMES = ("unf1", "youden_j", "audacity", "timidity", "mcc", "d_prime")
RATES = ((.5, .5), (.8, .3), (.9, .1), (.6, .02), (.97, .03), (.995, .002), (.99, .97), (.05, .01))
KINDS = {"percentile": lambda counts, names: cluster_bootstrap(scorer(*names), counts, n=500),
         "smoothed": lambda counts, names: smoothed_bootstrap(names, counts, n=500)}


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--runs", type=int, default=1000, help="simulated runs a cell")
    parse.add_argument("--images", type=int, nargs="+", default=[10, 30, 100])
    asked, least = parse.parse_args(), {kind: np.ones(len(NAMES)) for kind in KINDS}
    print("Coverage of 95 % intervals, percentile > smoothed (width, smoothed / percentile); five questions a class and image\n")
    print("| images | t | f | ICC | " + " | ".join(NAMES) + " |\n|" + "---:|" * (4 + len(NAMES)))
    for images, (t, f), icc in itertools.product(asked.images, RATES, (0, .2, .6)):
        found = {kind: coverage(of, NAMES, images, t, f, icc, asked.runs) for kind, of in KINDS.items()}
        old, new = found.values()
        for kind, x in found.items(): least[kind] = np.minimum(least[kind], x[:, 0])
        wider = [b / a if a > 1e-3 and np.isfinite(b) else np.nan for a, b in zip(old[:, 1], new[:, 1])]
        texts = [f"{a:.2f} > {b:.2f}" + (f" ({w:.2f})" if np.isfinite(w) else "") for a, b, w in zip(old[:, 0], new[:, 0], wider)]
        print(f"| {images} | {t} | {f} | {icc} | " + " | ".join(texts) + " |", flush=True)
    for kind, x in least.items(): print("| least | | | | " + " | ".join(f"{v:.3f}" for v in x) + f" | {kind}")


if __name__ == "__main__": main()
