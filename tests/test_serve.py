"""`Api` against a real engine: `transformers serve` with a bundled checkpoint says what the model says in this process.

UNSAF_TEST_CKPT names another checkpoint folder.
"""
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import pytest
from PIL import Image, ImageDraw
from unsaf.core import Picture, Request
from unsaf.models.served.api import Api, from_spec

for needed in ("torch", "transformers", "openai", "fastapi", "uvicorn"): pytest.importorskip(needed)
pytestmark = pytest.mark.slow            # a second process that loads a model
QUESTIONS = ["Question: What color is the circle?", "Question: How many objects are there?", "Describe the image."]
LENGTH = 16


def checkpoint() -> str:
    if os.environ.get("UNSAF_TEST_CKPT"): return os.environ["UNSAF_TEST_CKPT"]
    import unsaf.world.tiny
    if "tiny-m" not in unsaf.world.tiny.names():
        pytest.skip("tiny-m is not in this checkout: train it, or set UNSAF_TEST_CKPT to a checkpoint folder")
    return str(unsaf.world.tiny.path("tiny-m"))


def drawn(color, box):
    im = Image.new("RGB", (64, 48), "white")
    ImageDraw.Draw(im).ellipse(box, fill=color)
    return im


def requests():
    pictures = [Picture(c, lambda c=c, b=b: drawn(c, b)) for c, b in [("red", (4, 4, 30, 30)), ("blue", (30, 10, 60, 40))]]
    return [Request((p, q) if i % 2 else (q, p), max_tokens=LENGTH)
            for i, (p, q) in enumerate((p, q) for p in pictures for q in QUESTIONS)]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    "Address and name of a served checkpoint. The cache folder must exist, or the server cannot list its models."
    ckpt, cache = checkpoint(), tmp_path_factory.mktemp("hub")
    with socket.create_server(("127.0.0.1", 0)) as s: port = s.getsockname()[1]
    log = (cache / "log").open("w+")
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", ckpt, "--host", "127.0.0.1", "--port", str(port),
               "--device", "cpu", "--dtype", "float32"]
    env = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_for(server, f"http://127.0.0.1:{port}/health", log)
        yield f"http://127.0.0.1:{port}/v1", ckpt
    finally:
        server.terminate()
        try: server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(10)


def wait_for(server, url, log, seconds=180):
    until = time.monotonic() + seconds
    while time.monotonic() < until and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2): return
        except urllib.error.HTTPError: return      # it listens
        except OSError: time.sleep(.2)
    log.seek(0)
    pytest.fail(f"the server did not start within {seconds} s:\n{log.read()[-3000:]}")


def in_process(ckpt):
    "Greedy texts and token counts from the checkpoint, each request by itself, without any code of this package."
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor
    torch.set_num_threads(1)
    processor = AutoProcessor.from_pretrained(ckpt)
    model = AutoModelForImageTextToText.from_pretrained(ckpt, dtype=torch.float32).eval()
    for r in requests():
        blocks = [{"type": "text", "text": p} if isinstance(p, str) else {"type": "image", "image": p.pixels()} for p in r.parts]
        x = processor.apply_chat_template([{"role": "user", "content": blocks}], tokenize=True, return_dict=True,
                                          return_tensors="pt", add_generation_prompt=True)
        with torch.no_grad(): out = model.generate(**x, do_sample=False, max_new_tokens=LENGTH)
        new = out[0, x["input_ids"].shape[1]:]
        yield processor.decode(new, skip_special_tokens=True), x["input_ids"].shape[1], len(new)


@pytest.mark.promise("scored")
def test_a_served_model_says_what_it_says_here(served):
    url, ckpt = served
    model = from_spec(f"api:{ckpt}@{url}", key_env="")
    replies = sorted(model.generate(requests()), key=lambda r: r.index)
    expected = list(in_process(ckpt))
    assert [(r.text, r.prompt_tokens, r.output_tokens) for r in replies] == expected
    assert [r.finish for r in replies] == ["length" if n >= LENGTH else "stop" for _, _, n in expected]
    assert len({r.text for r in replies}) > 1 and not model.stats.faults and model.identity["model"] == ckpt


def test_what_the_engine_does_not_know(served):
    "It has no log-probabilities and ignores the wish; a field that it does not know is a failed reply."
    url, ckpt = served
    [r] = Api(ckpt, url, key_env="", logprobs=True).generate(requests()[:1])
    assert r.finish in ("stop", "length") and r.logprobs is None
    [r] = Api(ckpt, url, key_env="", extra_body={"do_sample": False}).generate(requests()[:1])
    assert r.finish == "failed" and "do_sample" in r.error and "422" in r.error


def test_the_whole_assessment_of_a_served_model(served, tmp_path):
    "The command line on a served model gives the questions and answers of the same model in this process."
    import pandas as pd
    import unsaf
    url, ckpt = served
    command = [os.path.join(os.path.dirname(sys.executable), "unsaf"), "assess", "--model", f"api:{ckpt}@{url}", "--images", "scenes",
               "--limit", "2", "--k", "2", "--template", "none", "--store", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    there = pd.read_csv(tmp_path / "table-oe.csv", keep_default_na=False)
    here = unsaf.assess(unsaf.load(ckpt, dtype="float32", device="cpu"), unsaf.images("scenes", n=2), k=2, template="none").table
    assert there[["question", "reply", "cell"]].values.tolist() == here[["question", "reply", "cell"]].values.tolist()
    assert set(there.p_abstain) == {""} and (there.prompt_tokens.astype(int) == here.prompt_tokens).all()
