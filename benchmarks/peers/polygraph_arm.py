"""The questions through lm-polygraph: its `VisualWhiteboxModel`, its default calculators, the probability of the greedy reply.

    python polygraph_arm.py FOLDER OUT --batch 1
"""
import argparse
import os
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
from common import Clock, one_thread, picture, questions, versions, write  # noqa: E402


def loaded(folder, steps):
    "The package's adapter around the checkpoint."
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from lm_polygraph.model_adapters.visual_whitebox_model import VisualWhiteboxModel
    from lm_polygraph.utils.generation_parameters import GenerationParameters
    at = str(folder / "checkpoint")
    model = AutoModelForImageTextToText.from_pretrained(at, dtype=torch.float32).eval()
    return VisualWhiteboxModel(model, AutoProcessor.from_pretrained(at), at, "VisualLM", GenerationParameters(max_new_tokens=steps))


def calculators(lean):
    "The package's defaults; `lean`: without attentions and hidden states, which this probability does not need."
    from lm_polygraph.defaults.register_default_stat_calculators import register_default_stat_calculators
    return register_default_stat_calculators("VisualLM", output_attentions=not lean, output_hidden_states=not lean)


def estimate(model, folder, asked, a):
    "Replies by question, through the package's manager; anything that breaks is raised."
    from lm_polygraph.estimators import MaximumSequenceProbability
    from lm_polygraph.utils.builder_enviroment_stat_calculator import BuilderEnvironmentStatCalculator
    from lm_polygraph.utils.dataset import Dataset
    from lm_polygraph.utils.manager import UEManager
    data = Dataset([q["prompt"] for q in asked], [q["label"] for q in asked], batch_size=a.batch, images=[picture(folder, q) for q in asked])
    manager = UEManager(
        data, model, [MaximumSequenceProbability()], BuilderEnvironmentStatCalculator(model), calculators(a.lean), generation_metrics=[],
        ue_metrics=[], processors=[], ignore_exceptions=False, verbose=False, max_new_tokens=a.steps, save_stats=["greedy_log_likelihoods"])
    manager()
    found = manager.stats
    doubt = manager.estimations["sequence", "MaximumSequenceProbability"]
    rows = zip(asked, found["greedy_texts"], doubt, found["greedy_tokens"], found["greedy_log_likelihoods"])
    return {q["id"]: dict(id=q["id"], text=text, logprob=-float(u), tokens=len(tokens), steps=[float(x) for x in steps])
            for q, text, u, tokens, steps in rows}


def equal_lengths(model, asked, batch):
    "The questions as they are for batches of one; else by their length in tokens, since the package stacks prompts without padding."
    if batch == 1: return [asked]
    groups = {}
    for q in asked: groups.setdefault(len(model.tokenizer(q["prompt"])["input_ids"]), []).append(q)
    return list(groups.values())


def run(a):
    clock = Clock()
    with clock("import"):
        import lm_polygraph  # noqa: F401
    asked = questions(a.folder, a.most)
    with clock("load"): model = loaded(a.folder, a.steps)
    estimate(model, a.folder, equal_lengths(model, asked, a.batch)[0][:8], a)
    found = {}
    with clock("answer"):
        for group in equal_lengths(model, asked, a.batch): found |= estimate(model, a.folder, group, a)
    write(a.out, arm="lm-polygraph", batch=a.batch, seconds=clock.seconds, cpu=clock.cpu, threads=a.threads, dtype=str(model.model.dtype),
          replies=[found[q["id"]] for q in asked],
          versions=versions("lm-polygraph", "transformers", "torch"))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    p.add_argument("out", type=Path)
    p.add_argument("--batch", type=int, default=1)
    p.add_argument("--lean", action="store_true", help="without attentions and hidden states, which this probability does not need")
    p.add_argument("--steps", type=int, default=16)
    p.add_argument("--most", type=int)
    a = p.parse_args()
    a.threads = one_thread()
    run(a)


if __name__ == "__main__": main()
