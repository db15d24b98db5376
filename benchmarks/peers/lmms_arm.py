"""The questions through lmms-eval: its own POPE task on our pictures, its own `llava_hf` or `huggingface` wrapper.

    python lmms_arm.py FOLDER OUT --model llava_hf --batch 1
"""
import argparse
import importlib.util
import os
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
from common import Clock, one_thread, picture, questions, versions, write  # noqa: E402

TASK = """include: {pope}
task: unsaf_polls
dataset_path: {data}
dataset_kwargs:
  load_from_disk: true
test_split: test
generation_kwargs:
  max_new_tokens: {steps}
  temperature: 0
  top_p: 1.0
  num_beams: 1
  do_sample: false
lmms_eval_specific_kwargs:
  default:
    pre_prompt: ""
    post_prompt: ""
"""


def make_task(folder, asked, steps):
    "The data set as `datasets` saves it, and a task that is the package's own `pope` but for the data and the wording."
    from datasets import Dataset, DatasetDict
    made = Path(folder) / "lmms"
    pope = Path(importlib.util.find_spec("lmms_eval").origin).parent / "tasks" / "pope" / "pope.yaml"
    rows = [dict(question_id=q["id"], question=q["text"], answer=q["label"], image=picture(folder, q)) for q in asked]
    DatasetDict(test=Dataset.from_list(rows)).save_to_disk(made / "data")
    (made / "tasks").mkdir(exist_ok=True)
    (made / "tasks" / "unsaf_polls.yaml").write_text(TASK.format(pope=pope, data=made / "data", steps=steps))
    return made / "tasks"


def wrapped(name, folder, batch):
    "The package's own wrapper around the checkpoint, on the CPU."
    from lmms_eval import models
    options = {"llava_hf": "dtype=float32,device_map=cpu", "huggingface": "device_map=cpu"}[name]
    made = models.get_model(name, force_simple=name == "llava_hf")
    return made.create_from_arg_string(f"pretrained={folder / 'checkpoint'},{options}", {"batch_size": batch, "device": "cpu"})


def timed(lm, clock):
    "`lm` with the time that it takes to answer on the clock."
    inner = lm.generate_until
    def outer(requests):
        with clock("answer"): return inner(requests)
    lm.generate_until = outer
    return lm


def run(a):
    clock = Clock()
    with clock("import"):
        from lmms_eval.evaluator import simple_evaluate
        from lmms_eval.tasks import TaskManager
    asked = questions(a.folder, a.most)
    tasks = make_task(a.folder, asked, a.steps)
    manager = TaskManager("ERROR", include_path=str(tasks), include_defaults=False, model_name=a.model)
    common = dict(tasks=["unsaf_polls"], batch_size=a.batch, device="cpu", task_manager=manager, verbosity="ERROR")
    simple_evaluate(model=wrapped(a.model, a.folder, a.batch), limit=8, **common)   # what is loaded at the first use
    with clock("load"): lm = wrapped(a.model, a.folder, a.batch)                     # an evaluation takes the model apart at its end
    dtype = str(lm.model.dtype)
    with clock("whole"): found = simple_evaluate(model=timed(lm, clock), log_samples=True, **common)
    samples = {s["doc_id"]: s for s in found["samples"]["unsaf_polls"]}
    said = [samples[i]["filtered_resps"][0] for i in range(len(asked))]
    scores = {k: v for k, v in found["results"]["unsaf_polls"].items() if isinstance(v, float)}
    write(a.out, arm=f"lmms-eval {a.model}", batch=a.batch, seconds=clock.seconds, cpu=clock.cpu, threads=a.threads, scores=scores, dtype=dtype,
          replies=[dict(id=q["id"], text=text if isinstance(text, str) else text.text) for q, text in zip(asked, said)],
          versions=versions("lmms_eval", "transformers", "torch", "datasets"))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    p.add_argument("out", type=Path)
    p.add_argument("--model", default="llava_hf", choices=["llava_hf", "huggingface"])
    p.add_argument("--batch", type=int, default=1)
    p.add_argument("--steps", type=int, default=16)
    p.add_argument("--most", type=int)
    a = p.parse_args()
    a.threads = one_thread()
    run(a)


if __name__ == "__main__": main()
