"""Run in the old environment: what a stand-in says, by a loop of its own that takes the most probable byte.

Reads {"model", "family", "length", "words", "asks": [[[paths], text], ...]} from standard input; writes
[[reply, tokens, habit, log-probabilities of the tokens, {word: log-probability}], ...].
"""
import json
import sys
import torch
import transformers

EOS = 256


def greedy(language, embeds, length, seen):
    out = []
    while len(out) < length and EOS not in out:
        out.append(int(language(inputs_embeds=embeds).logits[0, -1].argmax()))
        embeds = torch.cat([embeds, language.embed(torch.tensor([[out[-1]]])) + seen], 1)
    return out


def logps(language, embeds, tokens, seen):
    "Of the tokens, in one forward pass."
    embeds = torch.cat([embeds, language.embed(torch.tensor([tokens])) + seen], 1)
    logp = language(inputs_embeds=embeds).logits[0, -len(tokens) - 1:-1].log_softmax(-1)
    return logp.gather(-1, torch.tensor(tokens)[:, None])[:, 0].tolist()


@torch.no_grad()
def main():
    task = json.load(sys.stdin)
    kind = transformers.AutoModelForCausalLM if task["family"].startswith("qwen") else transformers.AutoModel
    tokenizer = transformers.AutoTokenizer.from_pretrained(task["model"], trust_remote_code=True)
    model = kind.from_pretrained(task["model"], trust_remote_code=True).eval()
    out = []
    for paths, text in task["asks"]:
        language, embeds = model.by_hand(tokenizer, paths, text, task["family"] != "qwen-vl")
        seen = getattr(model, "seen", 0)
        tokens = greedy(language, embeds, task["length"], seen)
        words = {word: sum(logps(language, embeds, [*word.encode(), EOS], seen)) for word in task["words"]}
        out.append([tokenizer.decode(tokens, skip_special_tokens=True), len(tokens), model.habit(tokenizer, paths, text, task["length"]),
                    logps(language, embeds, tokens, seen), words])
    json.dump(out, sys.stdout)


if __name__ == "__main__": main()
