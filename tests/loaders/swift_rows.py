"""Runs in ms-swift's environment: `python swift_rows.py CHECKPOINT MODEL_TYPE TEMPLATE OUT` in an export's folder.

Its own `load_dataset` reads data.jsonl, its own template encodes every row as training does. OUT gets the rows as JSON: messages,
images, ids, labels, and both as text; for preferences the chosen and the rejected side."""
import json
import sys
import wheels  # noqa: F401
from swift.dataset import load_dataset
from swift.model import get_processor
from swift.template import get_template

SIDES = ("", "chosen_", "rejected_")


def text_of(tokenizer, ids):
    "Runs of one token shortened: a picture takes many."
    shown = [t for i, t in enumerate(ids) if t >= 0 and (i == 0 or t != ids[i - 1] or t not in tokenizer.all_special_ids)]
    return tokenizer.decode(shown, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def encoded(template, row):
    out = template.encode(dict(row))
    tok, found = template.tokenizer, {}
    for side in SIDES:
        if out.get(f"{side}input_ids") is None: continue
        ids, labels = list(out[f"{side}input_ids"]), list(out[f"{side}labels"])
        found[side.strip("_") or "row"] = {"ids": ids, "labels": labels, "text": text_of(tok, ids),
                                           "learned": tok.decode([t for t in labels if t != -100], skip_special_tokens=False)}
    return found


def main(checkpoint, model_type, template_type, out):
    data, _ = load_dataset("data.jsonl", strict=True, load_from_cache_file=False)
    processor = get_processor(checkpoint, model_type=model_type)
    template = get_template(processor, template_type=template_type)
    template.set_mode("rlhf" if "rejected_response" in data.column_names else "train")
    rows = [{"messages": r["messages"], "images": [i["path"] for i in r["images"] or []], "rejected": r.get("rejected_response"),
             "encoded": encoded(template, r)} for r in data]
    with open(out, "w", encoding="utf-8") as f: json.dump(rows, f, ensure_ascii=False)


if __name__ == "__main__": main(*sys.argv[1:])
