"""Does the interval of a rank distance's excess over its noise floor contain the truth, and how often is "differs" said in vain?

    python benchmarks/bench_floors.py                      # 200 runs a cell
    python benchmarks/bench_floors.py --runs 60 --images 100
"""
import argparse
import numpy as np
from unsaf.metrics.awareness import scorer
from unsaf.metrics.floors import floor_coverage, simulated_models
from unsaf.metrics.stability import footrule, rank

UP, NEAR = [.64, .67, .70, .73, .76], [.68, .69, .70, .71, .72]
SAME = {"tied": ([.7] * 5,) * 2, ".01 apart": (NEAR, NEAR), ".03 apart": (UP, UP), ".01 apart, one harder": (NEAR, [x - .15 for x in NEAR])}
OTHER = {"turned round, .01 apart": (NEAR, NEAR[::-1]), "turned round, .03 apart": (UP, UP[::-1]),
         "one swap, .05 apart": ([.60, .65, .75, .80, .85], [.65, .60, .75, .80, .85]),
         "one swap, .03 apart": ([.60, .63, .75, .80, .85], [.63, .60, .75, .80, .85]),
         "same order, .05 and .01 apart": ([.60, .65, .70, .75, .80], NEAR), "told apart on A, tied on B": ([.60, .65, .70, .75, .80], [.7] * 5)}


def of_old(a: list, b: list, images: int, runs: int) -> float:
    "Coverage of the percentile interval of the redrawn distance for the true distance of the rankings."
    rng, of = np.random.default_rng(0), lambda c: scorer("unf1")(c)["unf1"]
    truth, hits = footrule(rank(a), rank(b)), 0
    for run in range(runs):
        drawn = []
        for side, unf1 in enumerate((a, b)):
            x = simulated_models(rng, unf1, images)
            times = np.random.default_rng([run, side]).multinomial(images, [1 / images] * images, size=200)
            drawn.append(rank(of(np.einsum("di,mic->dmc", times, x).reshape(-1, 4)).reshape(200, -1)))
        low, high = np.quantile(footrule(*drawn), [.025, .975])
        hits += low <= truth <= high
    return hits / runs


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--runs", type=int, default=200, help="simulated runs a cell")
    parse.add_argument("--images", type=int, nargs="+", default=[30, 100, 400])
    asked = parse.parse_args()
    columns = ("images", "world", "true excess", "distance", "between", "floor", "excess", "interval, mean", "covers", "differs",
               "a pair changes places", "the distance's own interval covers")
    print("| " + " | ".join(columns) + " |\n|---:|---|" + "---:|" * (len(columns) - 2))
    for images in asked.images:
        for name, (a, b) in (SAME | OTHER).items():
            r = floor_coverage(a, b, images, asked.runs)
            texts = [images, name, *(f"{r[x]:.2f}" for x in ("truth", "distance", "between", "floor")), f"{r['excess']:+.2f}",
                     f"{r['low']:.2f} to {r['high']:.2f}", *(f"{r[x]:.3f}" for x in ("covers", "differs", "swaps")),
                     f"{of_old(a, b, images, asked.runs):.2f}"]
            print("| " + " | ".join(map(str, texts)) + " |", flush=True)


if __name__ == "__main__": main()
