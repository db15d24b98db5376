"""Runs in LLaMA-Factory's environment: `python factory_rows.py SETTINGS.yaml OUT` in an export's folder.

Its own argument parser reads the exported settings, its own `get_dataset` reads and encodes the data as training does. OUT gets the
rows as JSON: images, ids, labels, and both as text; for preferences the chosen and the rejected side."""
import json
import sys
import wheels  # noqa: F401
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer

SIDES = ("", "chosen_", "rejected_")


def text_of(tokenizer, ids):
    "Runs of one special token shortened: a picture takes many."
    shown = [t for i, t in enumerate(ids) if i == 0 or t != ids[i - 1] or t not in tokenizer.all_special_ids]
    return tokenizer.decode(shown, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def main(settings, out):
    sys.argv = ["train", settings, "bf16=false", "use_cpu=true"]         # the only two that a CPU asks for
    model_args, data_args, training_args, finetuning_args, _ = get_train_args()
    module = load_tokenizer(model_args)
    tok = module["tokenizer"]
    template = get_template_and_fix_tokenizer(tok, data_args)
    stage = "rm" if finetuning_args.stage == "dpo" else finetuning_args.stage      # as train/dpo/workflow.py asks for it
    data = get_dataset(template, model_args, data_args, training_args, stage=stage, **module)["train_dataset"]
    rows = []
    for r in data:
        row = {"images": r["images"], "encoded": {}}
        for side in SIDES:
            if f"{side}input_ids" not in r: continue
            ids, labels = r[f"{side}input_ids"], r[f"{side}labels"]
            row["encoded"][side.strip("_") or "row"] = {"ids": ids, "labels": labels, "text": text_of(tok, ids),
                                                        "learned": tok.decode([t for t in labels if t != -100])}
        rows.append(row)
    with open(out, "w", encoding="utf-8") as f: json.dump(rows, f, ensure_ascii=False)


if __name__ == "__main__": main(*sys.argv[1:])
