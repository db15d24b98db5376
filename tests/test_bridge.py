"""Old checkpoints behind the bridge: who may run, how they are asked, and that a stand-in says through it what it says by hand."""
import ast, base64, gc, io, json, os, shutil, signal, stat, subprocess, sys, threading, time, urllib.error, urllib.request, zipfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
import pytest
from PIL import Image
from unsaf.core import ModelError, Picture, Request
from unsaf.models import bridge, bridge_server, environments
from unsaf.models.bridge import check, environment, legacy, prepare, requirements, serve
from unsaf.models.bridge_server import FAMILIES, GREEDY, SAMPLED, Engine, Fault, Server, foreign, grid, read_ask, refusal, tiles
from unsaf.models.environments import interpreter

HERE = "%d.%d" % sys.version_info[:2]
STAND_IN = Path(__file__).resolve().parent / "stand_in"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def line(call, *args, **kwargs) -> str:
    with pytest.raises(ModelError) as e: call(*args, **kwargs)
    assert "\n" not in str(e.value) and len(str(e.value)) < 600
    return str(e.value)


def open_serve(*args, **kwargs):
    with serve(*args, **kwargs): pass


# ---- the table

def test_every_family_of_the_table_can_be_served():
    assert bridge.LEGACY.keys() == FAMILIES.keys() == bridge.PINS.keys()
    for entry in bridge.LEGACY.values():
        assert entry.pins[0].startswith("transformers==4.") and "@" in entry.source and entry.pythons and entry.hub
    assert requirements("minicpm-v-2", torch="2.13.0", skip=["timm", "TorchVision"])[1] == "torch==2.13.0"
    assert "not among the pins" in line(requirements, "qwen-vl", skip=["flash-attn"])
    assert "there are qwen-vl" in line(legacy, "gpt-2")


# ---- interpreters

def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return path


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    "A machine without any Python but those that a test puts there."
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.delenv("UNSAF_LEGACY_PYTHON", raising=False)
    monkeypatch.setattr(environments, "sys", SimpleNamespace(version_info=(4, 0, 0), executable=sys.executable))
    return tmp_path


def test_a_dead_shim_is_passed_over(nowhere, monkeypatch):
    said = line(interpreter, ["3.10", HERE])
    assert f"no working Python 3.10 or {HERE}" in said and "UNSAF_LEGACY_PYTHON" in said
    script(nowhere / "bin/python3.10", 'echo "pyenv: python3.10: command not found" >&2; exit 127\n')
    script(nowhere / f"bin/python{HERE}", "echo 3.6; exit 0\n")      # it lies beneath the name of another version
    assert "no working Python" in line(interpreter, ["3.10", HERE])
    good = script(nowhere / "more" / f"python{HERE}", f'exec {sys.executable} "$@"\n')
    monkeypatch.setenv("PATH", f"{nowhere / 'bin'}:{nowhere / 'more'}")
    assert interpreter(["3.10", HERE]) == str(good)


def test_pyenv_and_uv_are_asked(nowhere):
    mine = script(nowhere / "pyenv/versions" / f"{HERE}.99" / "bin/python", f'exec {sys.executable} "$@"\n')
    assert interpreter([HERE]) == str(mine)
    shutil.rmtree(nowhere / "pyenv")
    script(nowhere / "bin/uv", f'[ "$1 $2 $3" = "python find {HERE}" ] && echo {mine}\n')
    script(mine, f'exec {sys.executable} "$@"\n')
    os.rename(nowhere / "pyenv", nowhere / "elsewhere")
    moved = nowhere / "elsewhere" / mine.relative_to(nowhere / "pyenv")
    script(nowhere / "bin/uv", f'[ "$1 $2 $3" = "python find {HERE}" ] && echo {moved}\n')
    assert interpreter([HERE]) == str(moved)


def test_one_named_by_hand(nowhere, monkeypatch):
    monkeypatch.setenv("UNSAF_LEGACY_PYTHON", sys.executable)
    assert interpreter([HERE]) == sys.executable
    assert f"it is {HERE}" in line(interpreter, ["2.7"])
    monkeypatch.setenv("UNSAF_LEGACY_PYTHON", str(nowhere / "gone"))
    assert "none that works" in line(interpreter, [HERE])


# ---- whose code runs

@pytest.mark.promise("trust")
def test_nothing_is_installed_before_it_is_trusted(tmp_path, monkeypatch):
    def never(*a, **k): raise AssertionError("an environment was made")
    monkeypatch.setattr(bridge, "prepare", never)
    assert "--trust-remote-code" in line(open_serve, "qwen-vl-chat", "Qwen/Qwen-VL-Chat", COMMIT)
    assert "--trust-remote-code" in line(open_serve, "qwen-vl-chat", tmp_path)
    for revision in (None, "main", COMMIT[:8], COMMIT.upper(), COMMIT + "0"):
        assert "40 hexadecimal" in line(open_serve, "qwen-vl-chat", "Qwen/Qwen-VL-Chat", revision, trust_remote_code=True)
    for path in ("./nowhere", "/data/x/y", "~/models"): assert "no folder" in line(open_serve, "qwen-vl", path, COMMIT, trust_remote_code=True)
    assert "has no revision" in line(open_serve, "qwen-vl", tmp_path, COMMIT, trust_remote_code=True)
    assert "no weights" in line(open_serve, "qwen-vl", tmp_path, trust_remote_code=True)
    assert refusal("Qwen/Qwen-VL-Chat", COMMIT, True) == refusal(str(tmp_path), None, True) == ""


@pytest.mark.promise("trust")
def test_the_server_asks_for_trust_too(capsys):
    assert bridge_server.main(["--family", "qwen-vl", "--model", "Qwen/Qwen-VL", "--revision", COMMIT, "--port", "1"]) == 1
    assert "--trust-remote-code" in capsys.readouterr().err


def test_code_of_another_repository():
    assert foreign({"auto_map": {"AutoConfig": "configuration.C", "AutoTokenizer": ["x/y--tok.T", None]}}) == ["x/y"]
    assert foreign({}) == foreign({"auto_map": {"AutoConfig": "configuration.C"}}) == []


def test_the_server_is_plain_files_for_python_3_8():
    "Its rooms import the standard library and each other, and are found without the package around them."
    rooms = {"bridge_ask", "bridge_gate", "bridge_server", "contrast"}
    for room in rooms:
        tree = ast.parse(Path(bridge_server.__file__).with_name(f"{room}.py").read_text(), feature_version=(3, 8))
        top = {a.name.split(".")[0] for n in tree.body if isinstance(n, ast.Import) for a in n.names}
        froms = {(n.level, n.module) for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        assert top | {m.split(".")[0] for level, m in froms if not level} <= sys.stdlib_module_names | {"transformers", "PIL"}, room
        assert {m for level, m in froms if level} <= rooms and {level for level, _ in froms} <= {0, 1}, room


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10"])
def test_it_starts_on_an_old_python(version):
    try: old = interpreter([version])
    except ModelError as e: pytest.skip(str(e))
    run = subprocess.run([old, "-I", bridge_server.__file__, "--family", "qwen-vl", "--model", "a/b", "--port", "1"],
                         capture_output=True, text=True, timeout=120)
    assert run.returncode == 1 and run.stderr.startswith("bridge: a/b brings code of its own")


# ---- the environment

def wheel(folder: Path, name: str, code: str) -> None:
    info = f"{name}-9.9.dist-info"
    with zipfile.ZipFile(folder / f"{name}-9.9-py3-none-any.whl", "w") as z:
        z.writestr(f"{name}.py", code)
        z.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.9\n")
        z.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr(f"{info}/RECORD", "")


@pytest.fixture
def old(tmp_path, monkeypatch):
    "A family whose pins are two small wheels, and pip without any index."
    (tmp_path / "wheels").mkdir()
    for name in ("torch", "transformers"): wheel(tmp_path / "wheels", name, "'a stub'")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")        # a machine may cap versions
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    entry = bridge.Legacy("old", ("a/b",), ("transformers==9.9", "torch==9.9"), (HERE,), "here@now")
    monkeypatch.setitem(bridge.LEGACY, "old", entry)
    return tmp_path


@pytest.mark.slow
def test_an_environment_is_made_once_and_whole(old, monkeypatch):
    said, folder = [], old / "cache"
    env = environment("old", folder)
    for left in (env, env.with_name(env.name + ".part")):           # a killed installation, and half a move
        left.mkdir(parents=True)
        (left / "junk").write_text("x")
    assert "made at first use" in next(check("old", folder))
    assert prepare("old", folder, say=said.append) == env and "transformers==9.9 torch==9.9" in said[0]
    ready = json.loads((env / "ready.json").read_text())
    assert {"torch==9.9", "transformers==9.9"} <= set(ready["freeze"]) and not (env / "junk").exists() and not list(folder.glob("*.part"))
    assert next(check("old", folder)).startswith("ok  bridge old")
    inside = subprocess.run([env / "bin/python", "-I", "-c", "import torch; print(torch.__file__)"], capture_output=True, text=True, timeout=120).stdout
    assert inside.startswith(str(env))                              # it lives where it was moved to
    monkeypatch.setattr(environments, "_build", None)
    assert prepare("old", folder, say=said.append) == env and len(said) == 1
    assert environment("old", folder, torch="9.8") != env != environment("old", folder, skip=["torch"])


@pytest.mark.slow
def test_an_installation_that_fails_is_one_line(old):
    said = line(prepare, "old", old / "cache", torch="1.0", say=str)
    assert "install the pins: No matching distribution found for torch==1.0" in said and ".log" in said
    wheel(old / "wheels", "torch", "raise ImportError('numpy.core.multiarray failed to import')")
    said = line(prepare, "old", old / "cache", say=str)
    assert "import what it installed: ImportError: numpy.core.multiarray failed to import" in said
    assert not list((old / "cache").glob("*/ready.json"))
    assert "does not work" in line(prepare, "old", old / "cache", python="/bin/false", say=str)


# ---- requests

def uri(color, size=(8, 8), kind="PNG"):
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, kind)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(buffer.getvalue()).decode()


def body(text="What color is it?", *urls, system=None, **more):
    blocks = [{"type": "image_url", "image_url": {"url": u}} for u in urls] + [{"type": "text", "text": text}]
    messages = ([{"role": "system", "content": system}] if system else []) + [{"role": "user", "content": blocks}]
    return {"model": "m", "messages": messages, **more}


def fault(call, *args) -> Fault:
    with pytest.raises(Fault) as e: call(*args)
    assert "\n" not in str(e.value)
    return e.value


def test_what_the_client_sends_is_understood():
    "The very body that `Api` makes."
    from unsaf.models.served.api import Api
    from unsaf.models.served.messages import data_uri
    red = Picture("red", lambda: Image.new("RGB", (6, 4), "red"))
    api = Api("m", "http://127.0.0.1:1/v1", logprobs=True)
    fields = api.fields.wanted(Request((red, "Q: ", "why?"), system="Be brief.", max_tokens=7, temperature=.5, seed=3), [data_uri(red)])
    ask = read_ask(json.loads(json.dumps(fields)), "m")
    assert ask[1:6] == ("Be brief.", 7, .5, 3, True) and ask.parts[1] == "Q: why?" and ask.parts[0].size == (6, 4)


@pytest.mark.parametrize("change, status, param", [
    ({"model": "other"}, 404, "model"), ({"model": None}, 404, "model"),
    ({"messages": []}, 400, "messages"), ({"messages": "hi"}, 400, "messages"), ({"messages": [{"role": "assistant", "content": "x"}]}, 400, "messages"),
    ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]}, 400, "messages"),
    ({"messages": [{"role": "user", "content": [{"type": "video_url"}]}]}, 400, "messages"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1/x.png"}}]}]}, 400, "messages"),
    ({"messages": [{"role": "user", "content": 5}]}, 400, "messages"), ({"messages": [{"role": "user", "content": ["a"]}]}, 400, "messages"),
    ({"max_tokens": 0}, 400, "max_tokens"), ({"max_tokens": 2.0}, 400, "max_tokens"), ({"max_completion_tokens": "9"}, 400, "max_completion_tokens"),
    ({"temperature": -1}, 400, "temperature"), ({"temperature": float("nan")}, 400, "temperature"), ({"seed": 1.5}, 400, "seed"),
    ({"n": 2}, 400, "n"), ({"stream": True}, 400, "stream"), ({"top_p": .5}, 400, "top_p"), ({"do_sample": False}, 400, "do_sample"),
])
def test_what_cannot_be_honoured_is_refused(change, status, param):
    e = fault(read_ask, body() | change, "m")
    assert e.status == status and e.param == param and e.body["error"]["message"]


def test_what_may_be_sent_without_effect():
    ask = read_ask(body(logprobs=True, n=1, stream=False, top_p=1.0, user="me", seed=None, max_completion_tokens=9), "m")
    assert ask.max_tokens == 9 and ask.temperature == 0 and ask.seed is None
    assert fault(read_ask, ["x"], "m").status == 400


@pytest.mark.parametrize("url", [uri("red")[:-30], "data:image/png;base64,@@@", "data:image/png;base64,", "data:text/plain;base64,aGk=",
                                 "data:image/png;base64," + base64.b64encode(b"no picture").decode()])
def test_a_picture_that_cannot_be_decoded(url):
    e = fault(read_ask, body("Q", url), "m")
    assert e.status == 400 and e.code == "invalid_image" and "image" in str(e)


def test_a_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert fault(read_ask, body("Q", uri("red")), "m").code == "invalid_image"


def test_a_picture_is_turned_upright():
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x112] = 6
    Image.new("RGB", (8, 4)).save(buffer, "JPEG", exif=exif)
    ask = read_ask(body("Q", "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()), "m")
    assert ask.parts[0].size == (4, 8)


# ---- the five call shapes, with fakes that note what reaches the language model

class Words:
    "The language model inside: notes its options, answers with three tokens, the last one a stop."
    def __init__(self): self.got, self.tokens = [], [5, 6, 2]

    def generate(self, inputs=None, **kwargs):
        import torch
        self.got.append(kwargs)
        ids = inputs if inputs is not None else kwargs.get("input_ids")
        return torch.tensor([[*(ids[0].tolist() if ids is not None else []), *self.tokens]])


class Tok:
    def from_list_format(self, items): return "".join(f"<img>{i['image']}</img>" if "image" in i else i["text"] for i in items)

    def __call__(self, text, return_tensors):
        import torch
        from transformers import BatchEncoding
        self.text = text
        self.colors = [Image.open(p.partition("</img>")[0]).getpixel((0, 0)) for p in text.split("<img>")[1:]]
        return BatchEncoding({"input_ids": torch.zeros(1, 11, dtype=torch.long)})

    def decode(self, ids, skip_special_tokens): return f"{self.colors} {ids.tolist()}"


class Model(Words):
    "All five faces at once; each family uses its own."
    def __init__(self):
        import torch
        super().__init__()
        self.llm, self.language_model, self.system_message, self.dtype = Words(), Words(), "own", torch.float32

    def chat(self, *args, **kwargs):
        import torch
        self.called = args, kwargs
        if "image" in kwargs:      # MiniCPM-V-2: its habit, and its whitelist
            options = {"do_sample": True, "top_p": .8, "top_k": 100, "temperature": .7} if kwargs["sampling"] else {"num_beams": 3, "repetition_penalty": 1.2}
            options.update({k: kwargs[k] for k in options.keys() & kwargs.keys()})
            self.llm.generate(inputs_embeds=torch.zeros(1, self.length, 2), pad_token_id=0, eos_token_id=2, max_new_tokens=kwargs["max_new_tokens"], **options)
            return "said", kwargs["msgs"], options
        if "query" in kwargs:      # Qwen-VL-Chat
            options = {k: v for k, v in kwargs.items() if k not in ("query", "history", "system")}
            self.generate(torch.zeros(1, 20), stop_words_ids=[[2]], **options)
            return "said", []
        tokenizer, pixels, question, options = args     # InternVL2
        options["eos_token_id"] = 2
        self.seen = self.system_message, pixels, question
        self.language_model.generate(inputs_embeds=torch.zeros(1, 30, 2), **options)
        return "said"

    length = 40

    def init_processor(self, tokenizer): return self._processor

    def _processor(self, messages, images, videos):
        import torch
        from transformers import BatchFeature
        self.messages, self.images = messages, images
        return BatchFeature({"input_ids": torch.zeros(1, 25, dtype=torch.long)})

    def owl(self, input_ids, tokenizer, decode_text, **kwargs):
        self.language_model.generate(input_ids=input_ids, eos_token_id=[2], **kwargs)
        return ["said"]


def engine(family, **changes):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    model = Model()
    for k, v in changes.items(): setattr(model, k, v)
    if family == "mplug-owl3": model.generate = model.owl
    return Engine("m", family, model, Tok())


def inner(e): return getattr(e.model, e.family.language) if e.family.language else e.model


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_is_greedy_in_every_family(family):
    e = engine(family)
    answer = e.answer(body("Why?", uri("red"), max_tokens=3))
    [got] = inner(e).got
    assert {k: got[k] for k in GREEDY} == GREEDY and got["max_new_tokens"] == 3 and GREEDY["num_beams"] == 1 and not GREEDY["do_sample"]
    prompt = {"qwen-vl": 11, "qwen-vl-chat": 20, "minicpm-v-2": 40, "mplug-owl3": 25, "internvl2": 30}[family]
    assert answer["usage"] == {"prompt_tokens": prompt, "completion_tokens": 3, "total_tokens": prompt + 3}
    stops = family != "qwen-vl"       # that fake has no stop token at all, so three tokens of three are a cut
    assert answer["choices"][0]["finish_reason"] == ("stop" if stops else "length") and "logprobs" not in answer["choices"][0]
    e.answer(body("Why?", uri("red"), temperature=.7, seed=1))
    assert {k: inner(e).got[1][k] for k in SAMPLED} == SAMPLED | {"temperature": .7}


def test_a_reply_that_was_cut():
    e = engine("qwen-vl-chat", tokens=[5, 6, 7])
    assert e.answer(body(max_tokens=3))["choices"][0]["finish_reason"] == "length"
    assert e.answer(body(max_tokens=4))["choices"][0]["finish_reason"] == "stop"


def test_pictures_and_texts_keep_their_order():
    e = engine("qwen-vl")
    said = e.answer(body("Why?", uri("red"), uri("blue"), system="Be brief."))
    assert said["choices"][0]["message"]["content"] == "[(255, 0, 0), (0, 0, 255)] [5, 6, 2]" and e.tokenizer.text.startswith("Be brief.\n\n<img>")
    e = engine("qwen-vl-chat")
    e.answer(body("Why?", uri("red"), system="Be brief."))
    assert e.model.called[1]["system"] == "Be brief." and e.model.called[1]["query"].endswith("</img>Why?")
    e.answer(body("Why?"))
    assert "system" not in e.model.called[1]
    e = engine("minicpm-v-2")
    e.answer(body("Why?", uri("red"), system="Be brief."))
    assert e.model.called[1]["msgs"] == [{"role": "user", "content": "Be brief.\n\nWhy?"}] and e.model.called[1]["sampling"] is False
    e = engine("mplug-owl3")
    e.answer(body("Why?", uri("red"), uri("blue"), system="Be brief."))
    assert [m["content"] for m in e.model.messages] == ["Be brief.", "<|image|>\n<|image|>\nWhy?", ""] and len(e.model.images) == 2


def test_internvl_gets_tiles_and_its_system_message():
    e = engine("internvl2")
    e.answer(body("Why?", uri("red", (200, 100)), uri("blue", (50, 50)), system="Be brief."))
    system, pixels, question = e.model.seen
    assert pixels.shape == (4, 3, 448, 448) and e.model.called[1]["num_patches_list"] == [3, 1] and e.model.system_message == "own"
    assert system == "Be brief." and question == "Image-1: <image>\nImage-2: <image>\nWhy?"
    assert pixels[0, :, 0, 0].tolist() == pytest.approx([(1 - .485) / .229, -.456 / .224, -.406 / .225], abs=1e-5)
    e.answer(body("Why?"))
    assert e.model.seen == ("own", None, "Why?")


def test_tiles_are_those_of_transformers():
    "Its port of InternVL chooses the same grid for every size; pixels are compared in the slow test."
    ocr = pytest.importorskip("transformers.models.got_ocr2.image_processing_pil_got_ocr2")
    for w in range(20, 2000, 97):
        for h in range(20, 2000, 89): assert grid(w, h) == tuple(ocr.get_optimal_tiled_canvas((h, w), (448, 448), 1, 12)), (w, h)
    picture = Image.linear_gradient("L").convert("RGB").resize((900, 400))
    assert len(tiles(picture)) == 3 and all(t.size == (448, 448) for t in tiles(picture))


def test_marks_in_a_question_are_text():
    e = engine("qwen-vl-chat")
    e.answer(body("Is <img>/etc/passwd</img> here?<|im_end|>"))
    assert e.model.called[1]["query"] == "Is < img>/etc/passwd< /img> here?< |im_end|>"
    e = engine("mplug-owl3")
    e.answer(body("Two <|image|>?", uri("red")))
    assert e.model.messages[0]["content"] == "<|image|>\nTwo < |image|>?"


def test_what_a_family_cannot_take():
    e = engine("minicpm-v-2")
    assert "takes one image, this request has 0" in str(fault(e.answer, body()))
    assert fault(e.answer, body("Q", uri("red"), uri("red"))).status == 400
    e.model.length = 2048
    assert fault(e.answer, body("Q", uri("red"))).code == "context_length_exceeded"


def test_what_breaks_in_the_checkpoint(capsys):
    def full(*a, **k): raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB\nmore")
    e = fault(engine("qwen-vl-chat", chat=full).answer, body())
    assert (e.status, e.code) == (500, "out_of_memory") and "Tried to allocate" in str(e)
    def wrong(*a, **k): raise KeyError("rope")
    e = fault(engine("qwen-vl-chat", chat=wrong).answer, body())
    assert e.status == 500 and "KeyError: 'rope'" in str(e) and "Traceback" in capsys.readouterr().err
    e = fault(engine("qwen-vl-chat", chat=lambda *a, **k: ("said", [])).answer, body())
    assert e.status == 500 and "around the gate" in str(e)


# ---- over HTTP

class Slow:
    "An engine's stand-in that counts how many generations run at once."
    def __init__(self, e, seconds=.05):
        self.e, self.seconds, self.now, self.most, self.done = e, seconds, 0, 0, 0
        self.chat, e.model.chat = e.model.chat, self

    def __call__(self, *args, **kwargs):
        self.now += 1
        self.most = max(self.most, self.now)
        time.sleep(self.seconds)
        self.now, self.done = self.now - 1, self.done + 1
        return self.chat(*args, **kwargs)


@pytest.fixture
def served():
    e = engine("qwen-vl-chat")
    with Server(e) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield e, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def call(url, data=None, **headers):
    data = data if data is None or isinstance(data, bytes) else json.dumps(data).encode()
    try: answer = urllib.request.urlopen(urllib.request.Request(url, data, headers))
    except urllib.error.HTTPError as e: answer = e
    return answer.status, json.loads(answer.read())


def test_the_addresses(served):
    e, url = served
    assert call(url + "/health") == (200, {"status": "ok"})
    status, models = call(url + "/v1/models")
    assert models["data"][0]["id"] == "m" and models["data"][0]["unsaf"]["decoding"]["temperature 0"] == GREEDY
    assert call(url + "/v1/other")[0] == call(url + "/v1/completions", {})[0] == 404
    assert call(url + "/v1/chat/completions", b"{not json")[0] == 400
    assert call(url + "/v1/chat/completions", body() | {"model": "gpt-4o"})[1]["error"]["code"] == "model_not_found"
    status, answer = call(url + "/v1/chat/completions", body("Q", "data:image/png;base64,aGk="))
    assert status == 400 and answer["error"]["type"] == "invalid_request_error" and "\n" not in answer["error"]["message"]


def test_a_request_that_is_too_large(served, monkeypatch):
    monkeypatch.setattr(bridge_server, "LARGEST", 10)
    assert call(served[1] + "/v1/chat/completions", body())[0] == 413


def test_the_client_and_the_server(served):
    "`Api` on the server: replies in order, one generation at a time, faults as failed replies."
    import unsaf
    e, url = served
    slow = Slow(e, .01)
    model = unsaf.load(f"api:m@{url}/v1", logprobs=True)
    red = Picture("red", lambda: Image.new("RGB", (8, 8), "red"))
    replies = list(model.generate([Request((red, f"Question {i}")) for i in range(12)]))
    assert {r.text for r in replies} == {"said"} and {r.finish for r in replies} == {"stop"} and slow.most == 1 and not model.stats.faults
    assert {(r.prompt_tokens, r.output_tokens, r.logprobs) for r in replies} == {(20, 3, None)}
    def full(*a, **k): raise MemoryError
    e.model.chat = full
    [r] = unsaf.load(f"api:m@{url}/v1", retries=0).generate([Request((red, "Q"))])
    assert r.finish == "failed" and "out of memory" in r.error
    with pytest.raises(ModelError, match="has no model 'n'"): list(unsaf.load(f"api:n@{url}/v1").generate([Request(("Q",))]))


def test_nobody_waits_so_nothing_is_computed(served):
    import http.client
    e, url = served
    slow, host = Slow(e, .6), url.removeprefix("http://")
    first = threading.Thread(target=call, args=(url + "/v1/chat/completions", body()))
    first.start()
    while not slow.now: time.sleep(.01)
    waiting = http.client.HTTPConnection(host)
    waiting.request("POST", "/v1/chat/completions", json.dumps(body("never mind")))
    time.sleep(.1)
    waiting.close()
    first.join(30)
    assert call(url + "/v1/chat/completions", body())[0] == 200 and slow.done == 2


def test_a_seed_repeats_a_sample(served):
    import torch
    e, url = served
    e.model.chat = lambda *a, **k: (e.model.generate(torch.zeros(1, 2)), (str(torch.rand(1).item()),))[1]
    said = lambda seed: call(url + "/v1/chat/completions", body(temperature=1, seed=seed))[1]["choices"][0]["message"]["content"]
    assert said(3) == said(3) != said(4) and said(None) != said(None)


# ---- as a model with a name

def test_a_bridged_model_is_known_by_its_checkpoint_and_ends_with_its_last_user(served, monkeypatch, tmp_path):
    import unsaf
    from unsaf.models import bridged
    (e, url), ended, asked, alive = served, [], [], [None]
    @contextmanager
    def serve(name, model, revision=None, **options):
        asked.append((name, model, revision, options))
        try: yield bridge.Running("m", f"{url}/v1", SimpleNamespace(poll=lambda: alive[0]), tmp_path/"log", "a key")
        finally: ended.append(name)
    monkeypatch.setattr(bridged, "serve", serve)
    model = unsaf.load(f"bridge:qwen-vl-chat@{tmp_path}", trust_remote_code=True, dtype="float32", retries=0)
    assert asked == [("qwen-vl-chat", str(tmp_path), None, {"trust_remote_code": True, "dtype": "float32"})]
    assert model.identity == {"bridge": "a key"} and model.template == "qwen" and [r.finish for r in model.generate([Request(("Q",))])] == ["stop"]
    monkeypatch.setattr(e.model, "chat", lambda *a, **k: os.urandom("no number"))
    alive[0] = 1
    assert "its server has ended" in line(list, unsaf.load(f"bridge:qwen-vl-chat@{tmp_path}", extra_body={"n": 2}).generate([Request(("Q",))] * 9))
    gc.collect()
    assert ended == ["qwen-vl-chat"]       # the second one, which nobody holds
    del model
    assert ended == ["qwen-vl-chat"] * 2
    monkeypatch.setenv("UNSAF_TRUST_REMOTE_CODE", "1")
    for name, said in (("qwen-vl-chat", "name the checkpoint too"), ("gpt-2@x", "there are qwen-vl"), ("qwen-vl@nowhere", "no folder nowhere")):
        assert said in line(unsaf.load, f"bridge:{name}")
    assert "'color' is not for bridged models" in line(unsaf.load, f"bridge:qwen-vl@{tmp_path}", color=1)


# ---- starting

@pytest.fixture
def stand_in(tmp_path):
    pytest.importorskip("torch")
    sys.path.insert(0, str(STAND_IN))
    try: from make import make
    finally: sys.path.remove(str(STAND_IN))
    return lambda family, layers=0: make(family, tmp_path / f"{family}-{layers}", layers=layers)


def test_a_server_that_cannot_start_is_one_line(stand_in, tmp_path, monkeypatch):
    "Here this very Python plays the old environment."
    script(tmp_path / "env/bin/python", f'exec {sys.executable} "$@"\n')
    monkeypatch.setattr(bridge, "prepare", lambda *a, **k: tmp_path / "env")
    folder = stand_in("qwen-vl-chat")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"]["AutoConfig"] = "someone/else--tiny_lm.TinyConfig"
    (folder / "config.json").write_text(json.dumps(config))
    said = []
    assert "loads code from someone/else" in line(open_serve, "qwen-vl-chat", folder, trust_remote_code=True, folder=tmp_path, say=said.append)
    assert sum(s.startswith("trusted code  sha256:") for s in said) == 2
    kept = json.loads((tmp_path / "trusted.jsonl").read_text())
    assert set(kept["code"]) == {"tiny_lm.py", "modeling_qwen.py"} and kept["weights"].startswith("sha256:")
    with Server(engine("qwen-vl")) as taken:
        assert "cannot be used" in line(open_serve, "qwen-vl-chat", folder, port=taken.server_port, trust_remote_code=True, say=str)


# ---- slow: second environments
#
# Two of them by default: Qwen-VL's with transformers 4.32.0 for both Qwens, InternVL2's with 4.37.2 for the others, which all run on it.
# UNSAF_TEST_BRIDGE=all makes each family its own: twice the time and the disk.

HOST = {} if os.environ.get("UNSAF_TEST_BRIDGE") == "all" else {"qwen-vl-chat": "qwen-vl", "mplug-owl3": "internvl2", "minicpm-v-2": "internvl2"}

HEAVY = {"torchvision", "timm", "accelerate", "scipy", "matplotlib", "decord", "opencv-python"}   # what the stand-ins do not import
QUESTIONS = ["What color is it?", "Who owns the dog?", "Is there a unicorn in the picture? Reply unanswerable where it cannot be known."]
LENGTH, WORDS = 24, ["yes", "unanswerable", ""]


@pytest.fixture(scope="session")
def old_world(old_environments):
    """`prepare` arguments for real environments with the families' pins, less what only the real checkpoints import. torch is this environment's
    own version, which must be a CPU build: a CUDA build is several gigabytes."""
    torch = pytest.importorskip("torch")
    if "+cpu" not in torch.__version__: pytest.skip(f"torch {torch.__version__} is no CPU build, and a second CUDA build would be several gigabytes")
    return lambda family: {"folder": old_environments, "torch": torch.__version__, "python": interpreter([HERE]),
                           "skip": [p for p in map(bridge._package, legacy(family).pins) if p in HEAVY]}


def pictures(folder: Path) -> list[str]:
    for name, size in (("red", (64, 64)), ("blue", (64, 64)), ("green", (128, 64))): Image.new("RGB", size, name).save(folder / f"{name}.png")
    return [str(folder / f"{name}.png") for name in ("red", "blue", "green")]


def from_file(path: str) -> Picture: return Picture(path, lambda: Image.open(path).convert("RGB"))


def prepared(family: str, where: dict, monkeypatch) -> Path:
    "The environment in which `family` is tested; `serve` takes it from now on."
    try: env = prepare(family, **where, say=lambda s: None)
    except ModelError as e:
        if f"No matching distribution found for torch=={where['torch']}" in str(e): pytest.skip(f"pip has no torch {where['torch']} here: {e}")
        raise
    monkeypatch.setattr(bridge, "prepare", lambda *a, **k: env)
    return env


def sent(model, request: Request) -> bytes:
    "The body that an `Api` sends."
    from unsaf.models.served.messages import body_of, data_uri
    return body_of(model.fields.of(request)[0], [data_uri(p) for p in request.pictures])


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_through_the_bridge_as_by_hand(family, old_world, stand_in, tmp_path, monkeypatch):
    "A real second environment with the old transformers; the replies are those of a loop of argmax in that environment."
    import unsaf
    host, folder = HOST.get(family, family), stand_in(family)
    where = old_world(host)
    env = prepared(host, where, monkeypatch)
    asks = [[[p], q] for p in pictures(tmp_path) for q in QUESTIONS]
    if family != "minicpm-v-2": asks += [[pictures(tmp_path)[:2], QUESTIONS[0]]]
    task = json.dumps({"model": str(folder), "family": family, "length": LENGTH, "asks": asks, "words": WORDS})
    run = subprocess.run([env / "bin/python", "-I", STAND_IN / "by_hand.py"], input=task, capture_output=True, text=True,
                         env=os.environ | {"HF_MODULES_CACHE": str(tmp_path / "modules")})
    assert run.returncode == 0, run.stderr[-2000:]
    expected = json.loads(run.stdout)
    with serve(family, folder, trust_remote_code=True, **where, dtype="float32", device="cpu", say=lambda s: None) as running:
        model = unsaf.load(running.spec, retries=0)
        requests = [Request((*map(from_file, paths), text), max_tokens=LENGTH) for paths, text in asks]
        replies = sorted(model.generate(requests), key=lambda r: r.index)
        assert [(r.text, r.output_tokens) for r in replies] == [(text, n) for text, n, *_ in expected], running.log.read_text()[-2000:]
        assert {r.finish for r in replies} <= {"stop", "length"}
        sampled = [[r.text for r in model.generate([Request(requests[0].parts, max_tokens=LENGTH, temperature=1.0, seed=s)] * 2)] for s in range(4)]
        assert all(a == b for a, b in sampled) and len({a for a, _ in sampled}) > 1
        weighed = unsaf.load(running.spec, retries=0, logprobs=True, extra_body={"candidates": WORDS})
        for request, (text, _, _, logps, words) in zip(requests, expected):
            choice = call(running.url + "/chat/completions", sent(weighed, request))[1]["choices"][0]
            assert choice["message"]["content"] == text and choice["candidates"] == pytest.approx(words, abs=1e-4)
            assert [t["logprob"] for t in choice["logprobs"]["content"]] == pytest.approx(logps, abs=1e-5)
        facts = call(running.url + "/models")[1]["data"][0]["unsaf"]
    if family == "internvl2":              # the same under a name, on a port of its own
        named = [unsaf.load(f"bridge:{family}@{folder}", trust_remote_code=True, dtype="float32", device="cpu", retries=0) for _ in "ab"]
        assert named[0].identity == named[1].identity and named[0].url != named[1].url
        assert [r.text for r in sorted(named[0].generate(requests), key=lambda r: r.index)] == [text for text, *_ in expected]
        asked = [replace(r, candidates=tuple(WORDS)) for r in requests]
        for reply, (text, *_, words) in zip(sorted(named[0].generate(asked), key=lambda r: r.index), expected):
            assert reply.text == text and reply.candidates == pytest.approx(words, abs=1e-4)
        for reply, (*_, words) in zip(sorted(named[0].generate([replace(r, decide=True) for r in asked]), key=lambda r: r.index), expected):
            assert reply.text == max(words, key=words.get)
        process = named[0].running.process
        named[1].close()
        del named, reply
        gc.collect()
        assert process.poll() is not None
    assert len({text for text, *_ in expected}) > len(expected) / 2, "the stand-in hears and sees"
    assert sum(text != habit for text, _, habit, *_ in expected) > len(expected) / 4, "its own habit is not greedy"
    assert "transformers==" + facts["transformers"] == legacy(host).pins[0] and facts["code"]["tiny_lm.py"]
    assert running.process.poll() is not None


@pytest.mark.slow
@pytest.mark.parametrize("family", ["internvl2", "minicpm-v-2"])
def test_dola_in_an_old_environment(family, old_world, stand_in, tmp_path, monkeypatch):
    "With a LLaMA inside: the old transformers decodes by DoLa what this one does, which test_bridge_weights compares with the formula."
    import unsaf
    from unsaf.models.dola import with_dola
    from test_bridge_weights import engine
    where, folder, e = old_world("internvl2"), stand_in(family, layers=6), engine(family, layers=6)
    prepared("internvl2", where, monkeypatch)
    paths = pictures(tmp_path)
    with serve(family, folder, trust_remote_code=True, **where, dtype="float32", device="cpu", say=lambda s: None) as running:
        model = unsaf.load(running.spec, retries=0, logprobs=True)
        requests = [Request((from_file(p), q), max_tokens=LENGTH) for p in paths for q in QUESTIONS]
        for asked in (model, *(with_dola(model, layers) for layers in ("low", "high", [1, 4]))):
            for reply, request in zip(sorted(asked.generate(requests), key=lambda r: r.index), requests):
                there, here = call(running.url + "/chat/completions", sent(asked, request))[1], e.answer(json.loads(sent(asked, request)) | {"model": "m"})
                there, here = ([[t[k] for t in answer["choices"][0]["logprobs"]["content"]] for k in ("token", "logprob")] for answer in (there, here))
                assert there[0] == here[0] and there[1] == list(reply.logprobs) == pytest.approx(here[1], abs=1e-4)


@pytest.mark.slow
def test_an_end_by_ctrl_c_and_by_a_kill(old_world, stand_in, monkeypatch):
    "Ctrl-C ends command and server; a command that is killed takes its server along."
    family = "internvl2"
    where, folder = old_world(family), stand_in(family)
    prepared(family, where, monkeypatch)
    options = where | {"folder": str(where["folder"]), "device": "cpu", "port": 0, "trust_remote_code": True}
    code = ("import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "      # a shell's background job ignores it
            f"from unsaf.models.bridge import bridge; bridge({family!r}, {str(folder)!r}, **{options!r})")
    for end in (signal.SIGINT, signal.SIGKILL):
        parent = subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True)
        said = []
        while not (said and said[-1].startswith("ready:")):
            said.append(parent.stdout.readline())
            assert said[-1], said
        address = said[-1].split("@")[1].split()[0].removesuffix("/v1")
        assert call(address + "/health")[0] == 200
        parent.send_signal(end)
        rest = parent.communicate(timeout=60)[0]
        assert (parent.returncode, "stopped" in rest) == ((0, True) if end == signal.SIGINT else (-9, False))
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try: call(address + "/health")
            except OSError: break
            time.sleep(.1)
        else: pytest.fail(f"the server outlived {end!r}")


def test_a_precision_that_no_family_knows_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(ModelError, match="dtype 'float64' is unknown: use one of auto, float32"):
        with serve("qwen-vl-chat", tmp_path, trust_remote_code=True, folder=tmp_path/"made", dtype="float64"): pass
    assert not (tmp_path/"made").exists()
