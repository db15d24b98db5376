"""Estimators of lm-polygraph on replies that are in the store: by hand without the package, and against it where it is.

The package brings some sixty others and lives in an environment of its own: its interpreter is UNSAF_LM_POLYGRAPH, or lies in
~/.cache/unsaf/peers/lm-polygraph/bin. Without it the slow test is skipped."""
import json
import os
import subprocess
import sys
import types
from pathlib import Path
import pytest
import unsaf
from test_uncertainty import mind
from unsaf.assessment.estimators import estimator_of, stats_of
from unsaf.assessment.uncertainty import uncertainty
from unsaf.core import Reply, UnsafError
from unsaf.models.base import Scripted

SURE, SAMPLES = Reply("red", logprobs=(-.1, -.3)), [Reply("red", logprobs=(-.2,)), Reply("Red.", logprobs=(-.4,)), Reply("blue", logprobs=(-2.,))]


class Perplexity:
    level, stats_dependencies = "sequence", ["greedy_log_likelihoods"]
    def __call__(self, stats): return [-sum(logs) / len(logs) for logs in stats["greedy_log_likelihoods"]]


class Samples:
    level, stats_dependencies = "sequence", ["sample_texts"]
    def __init__(self, plus=0): self.plus = plus
    def __call__(self, stats): return [len(set(texts)) + self.plus for texts in stats["sample_texts"]]


class Hidden:
    level, stats_dependencies = "sequence", ["train_embeddings"]


@pytest.fixture
def package(monkeypatch):
    "A stand-in for lm-polygraph, with three estimators."
    names = dict(Perplexity=Perplexity, Samples=Samples, Hidden=Hidden)
    fake = types.SimpleNamespace(estimators=types.SimpleNamespace(**names))
    monkeypatch.setitem(sys.modules, "lm_polygraph", fake)


def test_an_estimator_by_its_name_and_arguments(package):
    stats = stats_of("red", SURE, ["red", "Red.", "blue"], SAMPLES, [0, 0, 1])
    assert estimator_of("lm-polygraph:Perplexity")(stats) == pytest.approx(.2) and estimator_of("lm-polygraph:Samples(plus=2)")(stats) == 5
    assert estimator_of("lm-polygraph:Perplexity")(stats_of("red", Reply("red"), [], [], [])) is None
    some = stats_of("red", SURE, ["red", "blue"], [SAMPLES[0], Reply("blue")], [0, 1])
    assert "sample_texts" in some and not {"sample_log_probs", "sample_log_likelihoods"} & set(some)
    for name, why in (("lm-polygraph:Hidden", "takes train_embeddings"), ("lm-polygraph:None_", "no estimator None_"), ("Perplexity", "unknown"),
                      ("lm-polygraph:Samples(3)", "write lm-polygraph:NAME"), ("lm-polygraph:Samples(minus=3)", "minus"),
                      ("uqlm:SemanticEntropy", "transformers<5.0.0")):
        with pytest.raises(UnsafError, match=why): estimator_of(name)


def test_without_the_package_there_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_polygraph", None)
    with pytest.raises(UnsafError, match=r"pip install 'unsaf\[lm-polygraph\]'"): estimator_of("lm-polygraph:Perplexity")


def test_an_estimator_stands_beside_the_others(package):
    "Shapes are guessed anew each time and abstained on: three different samples there, one where the color is known."
    model = mind()
    result = unsaf.assess(model, unsaf.images("scenes", n=3, seed=2), k=2)
    found = uncertainty(result, model, samples=3, estimators=["lm-polygraph:Samples", "lm-polygraph:Perplexity"])
    rows = found.table.set_index("question")["lm-polygraph:Samples"].groupby(level=0).mean()
    assert rows["What color is it?"] == 1 and rows["What shape is it?"] == 3 and found.missing["lm-polygraph:Perplexity"] == 12
    by = found.found.set_index(["finds", "score"]).auroc
    assert by["abstained", "lm-polygraph:Samples"] == 1 and "lm-polygraph:Samples" in "\n".join(found.lines())
    assert uncertainty(result, Scripted(lambda r: "x", "by-hand"), samples=2).found.score.str.contains(":").sum() == 0


REAL = """
import json, math, sys
from unsaf.assessment.estimators import estimator_of, stats_of
from unsaf.core import Reply
replies = [Reply("red", logprobs=(-.2,)), Reply("Red.", logprobs=(-.4,)), Reply("blue", logprobs=(-2.,))]
stats = stats_of("red", Reply("red", logprobs=(-.1, -.3)), [r.text for r in replies], replies, [0, 0, 1])
names = sys.argv[1:]
print(json.dumps([estimator_of(f"lm-polygraph:{name}")(stats) for name in names]))
"""


@pytest.mark.promise("estimators")
@pytest.mark.slow
def test_the_package_itself_agrees_with_counting_by_hand():
    home = Path(os.environ.get("UNSAF_PEERS") or Path.home() / ".cache/unsaf/peers")
    python = Path(os.environ.get("UNSAF_LM_POLYGRAPH") or home / "lm-polygraph/bin/python")
    if not python.exists(): pytest.skip(f"lm-polygraph is not installed: no {python} (UNSAF_LM_POLYGRAPH names its interpreter)")
    names = ["Perplexity", "MaximumSequenceProbability", "MonteCarloSequenceEntropy", "SemanticEntropy", "LabelProb",
             'EigValLaplacian(similarity_score="Jaccard_score")', "LexicalSimilarity"]
    env = os.environ | {"PYTHONPATH": str(Path(unsaf.__file__).parents[1])}
    run = subprocess.run([str(python), "-c", REAL, *names], capture_output=True, text=True, timeout=570, env=env)
    assert run.returncode == 0, run.stderr[-2000:]
    found = dict(zip(names, json.loads(run.stdout.splitlines()[-1])))
    assert found["Perplexity"] == pytest.approx(.2) and found["MaximumSequenceProbability"] == pytest.approx(.4)
    assert found["MonteCarloSequenceEntropy"] == pytest.approx((.2 + .4 + 2) / 3)
    import math
    both = math.log(math.exp(-.2) + math.exp(-.4))
    assert found["SemanticEntropy"] == pytest.approx(-(2 * both - 2) / 3) and found["LabelProb"] == pytest.approx(1 - 2 / 3)
    assert all(isinstance(x, float) and math.isfinite(x) for x in found.values())


def test_an_estimator_that_breaks_is_named(package, monkeypatch):
    def broken(self, stats): return None + 1
    monkeypatch.setattr(Samples, "__call__", broken)
    with pytest.raises(UnsafError, match="'lm-polygraph:Samples' ended with TypeError: unsupported"):
        estimator_of("lm-polygraph:Samples")(stats_of("red", SURE, ["red", "Red.", "blue"], SAMPLES, [0, 0, 1]))
