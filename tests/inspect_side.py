"""What runs inside an environment that has inspect_ai: `python tests/inspect_side.py eval FOLDER SETTING`, or `read LOG`. Prints JSON.

`said` is the model of both sides: what it says depends on the words and on the image's bytes alone."""
import hashlib
import json
import sys
from unsaf.assessment.probes import StyleCheat


def said(text: str, uri: str) -> str:
    written = StyleCheat()._say(text)
    if "\n" in written: return written
    chance = int(hashlib.sha256((text + uri).encode()).hexdigest(), 16)
    if chance % 13 == 0: return "I would rather not." if chance % 2 else ""
    return {0: "unanswerable", 1: "B" if "A/B/C/D" in text else "It is blue."}.get(chance % 5, written)


def mock():
    from inspect_ai.model import ModelOutput, ModelUsage, get_model
    def output(messages, tools, tool_choice, config):
        parts = messages[-1].content
        text = "".join(p.text for p in parts if p.type == "text")
        (uri,) = [p.image for p in parts if p.type == "image"]
        assert [m.role for m in messages] in (["user"], ["system", "user"]), "not a fresh conversation"
        made = ModelOutput.from_content("mockllm/model", said(text, uri))
        made.usage = ModelUsage(input_tokens=7, output_tokens=3, total_tokens=10)     # else it fetches a tokenizer from the network
        return made
    return get_model("mockllm/model", custom_outputs=output)


def read(path):
    from inspect_ai.log import read_eval_log
    log = read_eval_log(path, resolve_attachments=True)
    (score,) = log.results.scores
    (sample, *_) = log.samples
    calls = [e for e in sample.events if e.event == "model"]
    return dict(status=log.status, task=log.eval.task, model=log.eval.model, metrics={k: m.value for k, m in score.metrics.items()},
                rows=[r for s in log.samples for r in s.scores["outcomes"].metadata["rows"]], value=sample.scores["outcomes"].value,
                calls=[[len(c.input), c.output.completion] for c in calls], ids=[s.id for s in log.samples],
                images=sum("data:image" in json.dumps(c.model_dump(mode="json")["input"]) for c in calls))


def run(folder, setting):
    from inspect_ai import eval
    from unsaf.export.inspect_task import self_assessment
    (log,) = eval(self_assessment("scenes", setting, k=3, n=8, seed=5), model=mock(), log_dir=folder, display="none")
    assert log.status == "success", log.error
    return log.location


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    print(json.dumps(read(run(*rest) if what == "eval" else rest[0])))
