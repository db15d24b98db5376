"""Do intervals of J by the truth cover when some labels are bought, and how wide are they? Simulated runs whose truth is known.

Label error is random, or reply-correlated: then a wrong label and the reply to it agree in `agree` of the cases. Questions are labelled at random from all
("classical", "ppi", "ppi++", "post-stratified"; "divided" is J / (1 - a - b)), or by the allocation of `unsaf.assessment.label_plan` ("stratified").

    python benchmarks/bench_labels.py               # 500 runs a line: over an hour
    python benchmarks/bench_labels.py --runs 100
"""
import argparse, itertools
import numpy as np
from unsaf.assessment.label_audit import _some_looked_at
from unsaf.assessment.label_plan import _Width, labels_for_width
from unsaf.metrics.prediction_powered import by_written, powered

LABELS = (25, 50, 100, 200, 400)
# answer rates by the truth, error of either class, share of wrong labels with which the reply agrees beyond chance
WORLDS = {"middle": (.8, .3, .1, .1), "corner": (.98, .02, .05, .05), "many wrong": (.9, .2, .3, .1), "all right": (.95, .05, 0, 0)}
AGREE = {"random": 0.0, "correlated": .8}
ICC, K = .2, 5
KINDS = ("divided", "classical", "ppi", "ppi++", "post-stratified", "stratified")


def true_j(t, f, a, b, agree):
    "J by the truth of infinitely many images; classes are written equally often."
    yes, no = (1 - a) + b, (1 - b) + a
    return ((1 - a) * t + b * (1 - agree) * t) / yes - ((1 - b) * f + a * ((1 - agree) * f + agree)) / no


def run(rng, images, t, f, a, b, agree):
    "Class as written, truth and reply of each question of a run (images, 2 K); rates differ from image to image."
    def each(rate):
        return rng.beta(*(np.array([rate, 1 - rate]) * (1 / ICC - 1)), (images, 1)) if 0 < rate < 1 else np.full((images, 1), float(rate))
    written = np.tile(np.repeat([1, 0], K), (images, 1))
    wrong = rng.random(written.shape) < np.where(written == 1, each(a), each(b))
    truth = np.where(wrong, 1 - written, written)
    reply = rng.random(written.shape) < np.where(truth == 1, each(t), each(f))
    return written, truth, np.where(wrong & (rng.random(written.shape) < agree), written, reply).astype(int)


def counted(written, truth, reply, looked):
    "Counts (images, class, reply, `COUNTED`)."
    out, image = np.zeros((len(written), 2, 2, 4)), np.repeat(np.arange(len(written)), written.shape[1])
    at = (image, written.ravel(), reply.ravel())
    np.add.at(out, (*at, 0), 1)
    np.add.at(out, (*at, 1 + truth.ravel()), looked.ravel())
    return out


def at_random(rng, written, n): return (rng.permutation(written.size) < n).reshape(written.shape)


def by_strata(rng, written, reply, labels):
    kind, looked = (2 * written + reply).ravel(), np.zeros(written.size, bool)
    for stratum, many in enumerate(labels): looked[rng.permutation(np.flatnonzero(kind == stratum))[:many]] = True
    return looked.reshape(written.shape)


def divided(counts, n):
    "The interval of J / (1 - a - b) that an audit makes; None where a class has no label."
    seen = np.moveaxis(counts[..., 1:3], -1, 2).reshape(len(counts), 8)
    if not (seen[:, :4].any() and seen[:, 4:].any()): return None
    return _some_looked_at(by_written(counts[..., 0]), seen, n, 0)["corrected"]


def once(rng, images, world, n, resamples=400):
    "One run's intervals by kind."
    written, truth, reply = run(rng, images, *world)
    counts = counted(written, truth, reply, at_random(rng, written, n))
    found = {"divided": divided(counts, resamples)}
    for kind in KINDS[1:5]: found[kind] = powered(["youden_j"], counts, kind.replace("post-", ""), resamples)["youden_j"]
    bare = counted(written, truth, reply, np.zeros_like(written))
    labels = _Width(bare, .1).labels(n)
    found["stratified"] = powered(["youden_j"], counted(written, truth, reply, by_strata(rng, written, reply, labels)), n=resamples)["youden_j"]
    return found


def line(images, world, n, runs, seed=0, resamples=400):
    "(kinds, 3): coverage, mean width, root mean squared error; nan where no run had an interval."
    rng, truth, rows = np.random.default_rng(seed), true_j(*world), []
    for _ in range(runs):
        found = once(rng, images, world, n, resamples)
        rows.append([(np.nan,) * 3 if (i := found[kind]) is None or not np.isfinite(i.value) else
                     (i.low <= truth <= i.high, i.high - i.low, (i.value - truth) ** 2) for kind in KINDS])
    mean = np.nanmean(np.array(rows, float), axis=0)
    return np.column_stack([mean[:, :2], np.sqrt(mean[:, 2])])


def planned(images, world, width, runs, seed=0):
    "Mean labels that a plan asks for, the width that it expects and the width that came."
    rng, rows = np.random.default_rng(seed), []
    for _ in range(runs):
        written, truth, reply = run(rng, images, *world)
        plan = labels_for_width(counted(written, truth, reply, np.zeros_like(written)), width)
        if plan.n is None: continue
        i = powered(["youden_j"], counted(written, truth, reply, by_strata(rng, written, reply, plan.labels)), n=400)["youden_j"]
        rows.append((plan.n, plan.width, i.high - i.low, i.low <= true_j(*world) <= i.high))
    return np.mean(rows, axis=0) if rows else None


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--runs", type=int, default=500)
    parse.add_argument("--images", type=int, nargs="+", default=[30, 100])
    parse.add_argument("--labels", type=int, nargs="+", default=LABELS)
    asked = parse.parse_args()
    print("Coverage (width, root mean squared error)\n\n| world | errors | images | J | labels | " + " | ".join(KINDS) + " |")
    print("|---|---|---:|---:|---:|" + "---:|" * len(KINDS))
    for (name, world), (errors, agree), images, n in itertools.product(WORLDS.items(), AGREE.items(), asked.images, asked.labels):
        if n > images * 2 * K or name == "all right" and agree: continue
        found = line(images, (*world, agree), n, asked.runs)
        print(f"| {name} | {errors} | {images} | {true_j(*world, agree):.2f} | {n} | "
              + " | ".join(f"{c:.2f} ({w:.2f}, {e:.3f})" for c, w, e in found) + " |", flush=True)
    print("\nPlanned for a width\n\n| world | errors | images | wanted | labels | expected | came | coverage |\n|---|---|---:|---:|---:|---:|---:|---:|")
    for (name, world), (errors, agree), images, width in itertools.product(WORLDS.items(), AGREE.items(), asked.images, (.2, .4)):
        if name == "all right" and agree: continue
        found = planned(images, (*world, agree), width, max(20, asked.runs // 4))
        told = "no number is enough | | |" if found is None else f"{found[0]:.0f} | {found[1]:.3f} | {found[2]:.3f} | {found[3]:.2f}"
        print(f"| {name} | {errors} | {images} | {width} | {told} |", flush=True)


if __name__ == "__main__": main()
