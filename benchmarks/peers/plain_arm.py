"""The questions through transformers alone, one a call: what the work costs with no harness around it.

    python plain_arm.py FOLDER OUT
"""
import argparse
from pathlib import Path
from common import Clock, one_thread, picture, questions, versions, write


def answered(model, processor, folder, question, steps):
    "Text, and the natural log-probability and the raw logit of each token of a greedy reply."
    import torch
    eos, pad = processor.tokenizer.eos_token_id, processor.tokenizer.pad_token_id
    inputs = processor(images=picture(folder, question), text=question["prompt"], return_tensors="pt")
    with torch.inference_mode():
        out = model.generate(**inputs, do_sample=False, max_new_tokens=steps, eos_token_id=eos, pad_token_id=pad,
                             output_logits=True, return_dict_in_generate=True)
    tokens = out.sequences[0, inputs["input_ids"].shape[1]:]
    logits = torch.stack(out.logits)[:, 0].double()
    at = tokens[:, None]
    return dict(id=question["id"], text=processor.tokenizer.decode(tokens, skip_special_tokens=True).strip(), tokens=len(tokens),
                logits=logits.gather(-1, at)[:, 0].tolist(), steps=logits.log_softmax(-1).gather(-1, at)[:, 0].tolist())


def run(a):
    clock = Clock()
    with clock("import"):
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor
    asked = questions(a.folder, a.most)
    with clock("load"):
        processor = AutoProcessor.from_pretrained(a.folder / "checkpoint")
        model = AutoModelForImageTextToText.from_pretrained(a.folder / "checkpoint", dtype=torch.float32).eval()
    for q in asked[:8]: answered(model, processor, a.folder, q, a.steps)
    with clock("answer"): replies = [answered(model, processor, a.folder, q, a.steps) for q in asked]
    for r in replies: r["logprob"] = sum(r["steps"])
    write(a.out, arm="transformers", seconds=clock.seconds, cpu=clock.cpu, threads=a.threads, dtype=str(model.dtype), replies=replies,
          versions=versions("transformers", "torch"))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    p.add_argument("out", type=Path)
    p.add_argument("--steps", type=int, default=16)
    p.add_argument("--most", type=int)
    a = p.parse_args()
    a.threads = one_thread()
    run(a)


if __name__ == "__main__": main()
