"""The questions through the installed `unsaf`: all at once, or one a call; and, with --scenes, its whole POPE benchmark.

    python ours_arm.py FOLDER OUT --how batch
"""
import argparse
from pathlib import Path
from common import Clock, one_thread, picture, questions, versions, write


def requests(folder, asked, steps, lead):
    "One request a question; questions about one picture share it."
    from unsaf.core import Picture, Request
    pictures = {q["image"]: Picture(q["image"], lambda q=q: picture(folder, q)) for q in asked}
    return [Request((pictures[q["image"]], lead + q["text"]), max_tokens=steps) for q in asked]


def answered(model, wanted, how):
    from unsaf.models.base import collect
    if how == "batch": return collect(model, wanted)
    return [collect(model, [r])[0] for r in wanted]


def run(a):
    clock, asked = Clock(), questions(a.folder, a.most)
    with clock("import"):
        threads = one_thread()
        import transformers  # noqa: F401
        import unsaf
        from unsaf.benchmarking.run import bench
    with clock("load"): model = unsaf.load(str(a.folder / "checkpoint"), dtype="float32", device="cpu", template="none")
    wanted = requests(a.folder, asked, a.steps, a.lead)
    answered(model, wanted[:8], a.how)
    with clock("answer"): replies = answered(model, wanted, a.how)
    scores = {}
    if a.scenes:
        with clock("whole"): found = bench(model, "pope", "scenes", a.domain, a.scenes, answer_tokens=a.steps, progress=False)
        scores = {f"{r.part} {r.metric}": r.value for r in found.table.itertuples() if r.metric == "accuracy"} | {"asked": found.calls["asked"]}
    write(a.out, arm="unsaf", seconds=clock.seconds, cpu=clock.cpu, threads=threads, dtype=str(model.model.dtype), scores=scores,
          replies=[dict(id=q["id"], text=r.text, finish=r.finish, logprob=sum(r.logprobs or ()), tokens=r.output_tokens, steps=r.logprobs)
                   for q, r in zip(asked, replies)],
          versions=versions("unsaf", "transformers", "torch"))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    p.add_argument("out", type=Path)
    p.add_argument("--how", default="batch", choices=["batch", "single"])
    p.add_argument("--lead", default="", help="text between the picture and the question")
    p.add_argument("--scenes", type=int, help="also run the POPE benchmark with so many questions a part")
    p.add_argument("--domain", default="plain")
    p.add_argument("--steps", type=int, default=16)
    p.add_argument("--most", type=int)
    a = p.parse_args()
    run(a)


if __name__ == "__main__": main()
