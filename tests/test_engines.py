"Students that train themselves: with a tool in an environment of its own, resumed after a kill, found again, and loaded by the name that comes back."
import json, os, shlex, subprocess, sys, time
from dataclasses import replace
from pathlib import Path
import psutil
import pytest
from test_bridge import old_world  # noqa: F401  (a fixture, as is checkpoint)
from test_export import LOADERS, RECORDS, SMALL, checkpoint, interpreter  # noqa: F401
from unsaf.core import UnsafError
from unsaf.distill import engines
from unsaf.distill.curricula import curriculum
from unsaf.distill.data import TeacherData
from unsaf.distill.engines import ENGINES, Engine, card_of, last_checkpoint, student_of, train_by
from unsaf.distill.export import swift_commands, to_ms_swift

TOOL = """import json, os, sys, time
from pathlib import Path
words = sys.argv[1:]
flag = lambda name: words[words.index("--" + name) + 1]
Path("asked.jsonl").open("a").write(json.dumps(words) + chr(10))
run = Path(flag("output_dir"))
if words[0] == "export": run.mkdir(parents=True); (run/"config.json").write_text("{}"); sys.exit()
for n in range(int(Path(flag("resume_from_checkpoint")).name[-1]) if "--resume_from_checkpoint" in words else 0, 3):
    if os.environ.get("TOY_FAILS") == str(n): raise ValueError("no weights are here")
    if os.environ.get("TOY_WAITS") == str(n): time.sleep(100)
    (run/f"checkpoint-{n + 1}").mkdir(parents=True)
    (run/f"checkpoint-{n + 1}"/"trainer_state.json").write_text(json.dumps({"global_step": n + 1}))
    (run/"logging.jsonl").open("a").write(json.dumps({"loss": 1 / (n + 1), "global_step/max_steps": f"{n + 1}/3"}) + chr(10))
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    "A tool that only writes files, in the place of ms-swift; its interpreter is this one."
    (tmp_path/"lib").mkdir()
    (tmp_path/"lib/toy_swift.py").write_text(TOOL)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path/"lib"))
    monkeypatch.setitem(ENGINES, "swift", Engine("ms-swift", "swift", "toy_swift", to_ms_swift))
    said = []
    def train(records=RECORDS, base="InternVL2-8B", recipe=SMALL, **more):
        more = dict(trust_remote_code=True, python=sys.executable, say=said.append) | more
        return train_by("swift", base, records, recipe, tmp_path/"out", **more)
    train.said, train.asked = said, lambda: [json.loads(line) for line in (tmp_path/"out/asked.jsonl").read_text().splitlines()]
    return train


def test_a_student_is_trained_once_and_has_a_name(toy, tmp_path):
    name = toy()
    assert name == f"bridge:internvl2@{tmp_path}/out/merged/InternVL2-8B"
    train, merge = toy.asked()
    assert [train[0], merge[0]] == ["sft", "export"] and "--resume_from_checkpoint" not in train
    assert train[train.index("--model") + 1] == "OpenGVLab/InternVL2-8B"
    card = card_of(tmp_path/"out")
    assert card["records"] == len(RECORDS) and card["engine"] == "swift" and card["freeze"]
    assert toy() == name and len(toy.asked()) == 2
    (tmp_path/"out/card.json").unlink()              # killed in merging: what it left is merged anew
    assert toy(python=os.path.relpath(sys.executable)) == name and [words[0] for words in toy.asked()] == ["sft", "export"] * 2
    for other, part in ((dict(records=RECORDS[1:]), "data"), (dict(recipe=replace(SMALL, seed=4)), "recipe"), (dict(base="Qwen-VL-Chat"), "student")):
        with pytest.raises(UnsafError, match=f"another {part}"): toy(**other)


@pytest.mark.promise("trained")
def test_a_fault_is_one_line_and_the_next_run_goes_on(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_FAILS", "2")
    with pytest.raises(UnsafError, match="train of .* failed: ValueError: no weights are here .*train.log") as e: toy()
    assert "\n" not in str(e.value) and not card_of(tmp_path/"out")
    monkeypatch.delenv("TOY_FAILS")
    toy()
    _, again, _ = toy.asked()
    assert again[-2:] == ["--resume_from_checkpoint", str(tmp_path/"out/runs/InternVL2-8B/checkpoint-2")] and any("goes on from" in line for line in toy.said)


def test_a_tool_ends_with_the_run_that_started_it(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_WAITS", "1")
    class Enough(Exception): pass
    def news():
        if last_checkpoint(tmp_path/"out/runs/InternVL2-8B"): raise Enough
        return ""
    monkeypatch.setattr(engines, "progress", lambda run: news())
    real, began = engines.step, time.monotonic()
    monkeypatch.setattr(engines, "step", lambda *a, **k: real(*a, **k, every=.2))
    with pytest.raises(Enough): toy()
    assert time.monotonic() - began < 60       # it would have slept for 100


LEFT = """import sys; sys.path.insert(0, {tests!r})
from test_export import RECORDS, SMALL
from unsaf.distill import engines
engines.ENGINES["swift"] = engines.Engine("ms-swift", "swift", "toy_swift", engines.to_ms_swift)
engines.train_by("swift", "InternVL2-8B", RECORDS, SMALL, {out!r}, trust_remote_code=True, python=sys.executable)"""


@pytest.mark.slow
def test_a_tool_ends_with_a_run_that_is_killed(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_WAITS", "1")
    run = subprocess.Popen([sys.executable, "-c", LEFT.format(tests=str(Path(__file__).parent), out=str(tmp_path/"out"))], env=os.environ | {
        "PYTHONPATH": os.pathsep.join([str(tmp_path/"lib"), str(Path(engines.__file__).parents[2])])}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 90
    while not last_checkpoint(tmp_path/"out/runs/InternVL2-8B"):
        assert time.monotonic() < until and run.poll() is None
        time.sleep(.1)
    tools = [p for p in psutil.process_iter(["cmdline"]) if "toy_swift" in (p.info["cmdline"] or ())]
    assert tools
    run.kill()
    run.wait(10)
    assert not psutil.wait_procs(tools, timeout=60)[1]        # it would have slept for 100


def test_who_is_meant(tmp_path, inside):
    (tmp_path/"config.json").write_text(json.dumps({"model_type": "llava"}))
    assert student_of(str(tmp_path), "ms-swift")[0].name == "LLaVA-1.5-7B" and student_of(str(tmp_path), "LLaMA-Factory")[0].source == str(tmp_path)
    student, environment = student_of(f"bridge:mplug-owl3@{tmp_path}", "ms-swift")
    assert (student.name, student.source, environment) == ("mPLUG-Owl3-7B", str(tmp_path), "mplug-owl3")
    pinned, _ = student_of(f"bridge:qwen-vl-chat@Qwen/Qwen-VL-Chat@{'a' * 40}", "ms-swift")     # the code that is trusted is the code that runs
    assert all(f"--model_revision {'a' * 40}" in swift_commands(pinned, SMALL)[step] for step in ("train", "merge"))
    idle = inside("distill", "train", "--engine", "swift", "--base", "Qwen-VL-Chat", "--data", tmp_path, "--out", tmp_path/"x", "--device", "cuda")
    assert idle.returncode == 2 and "--device: not for --engine swift" in idle.stderr
    for base, said in (("gpt-4o", "no engine is known"), (f"bridge:minicpm-v-2@{tmp_path}", "no engine is known"), (str(tmp_path/"lib"), "no engine")):
        with pytest.raises(UnsafError, match=said): student_of(base, "ms-swift")
    with pytest.raises(UnsafError, match="does not train InternVL2-8B"): student_of("InternVL2-8B", "LLaMA-Factory")


def test_a_bridged_student_is_a_unit_like_any_other(toy, tmp_path, monkeypatch):
    from unsaf.models import loading
    from unsaf.paper import demand, runspec
    (tmp_path/"base").mkdir()
    (tmp_path/"base/model.safetensors").write_bytes(b"weights")
    s, store, loaded = runspec.Student(f"bridge:internvl2@{tmp_path}/base", "MM-UPD", n=3, epochs=1), tmp_path/"store", []
    unit = runspec.RunSpec("student", s)
    assert "set UNSAF_TRUST_REMOTE_CODE=1" in demand._untrainable(unit) and "no engine is known" in demand._untrainable(
        replace(unit, model=replace(s, base="api:gpt-4o")))
    monkeypatch.setenv("UNSAF_TRUST_REMOTE_CODE", "1")
    assert not demand._untrainable(unit) and not demand._untrainable(replace(unit, model=replace(s, base="api:OpenGVLab/InternVL2-8B@http://h/v1")))
    monkeypatch.setattr(engines, "_prepared", lambda *a: sys.executable)
    made = runspec.run_spec(unit, store)
    monkeypatch.setattr(loading, "load", lambda name, **options: loaded.append((name, options)))
    runspec.model_of(runspec.RunSpec("assess", s, "scenes"), store)
    assert loaded == [(f"bridge:internvl2@{store}/students/{made['trained']}/merged/InternVL2-8B", {})] and made["records"]


@pytest.mark.slow
def test_ms_swift_trains_goes_on_after_a_kill_and_gives_a_model(checkpoint, tmp_path, monkeypatch):  # noqa: F811
    "The real tool: killed after its first checkpoint, it ends with the weights of a run that never was."
    import unsaf
    from safetensors.torch import load_file
    python = interpreter("swift")
    monkeypatch.setenv("PYTHONPATH", str(LOADERS))
    for name, value in {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "WANDB_DISABLED": "true"}.items(): monkeypatch.setenv(name, value)
    monkeypatch.setitem(ENGINES, "swift", replace(ENGINES["swift"], module="command"))
    monkeypatch.setattr(engines, "shlex", Mended)
    base, recipe = str(checkpoint("InternVL3-8B")), replace(SMALL, epochs=3)
    whole = train_by("swift", base, RECORDS, recipe, tmp_path/"whole", python=python, say=print)
    real = engines.step
    def short(what, *args, **more): return real(what, *args, **more, every=.05)
    class Killed(Exception): pass
    def kill(run):
        if last_checkpoint(run): raise Killed
        return ""
    monkeypatch.setattr(engines, "step", short)
    monkeypatch.setattr(engines, "progress", kill)
    with pytest.raises(Killed): train_by("swift", base, RECORDS, recipe, tmp_path/"cut", python=python, say=print)
    monkeypatch.undo()
    monkeypatch.setenv("PYTHONPATH", str(LOADERS))
    monkeypatch.setitem(ENGINES, "swift", replace(ENGINES["swift"], module="command"))
    monkeypatch.setattr(engines, "shlex", Mended)
    said = []
    cut = train_by("swift", base, RECORDS, recipe, tmp_path/"cut", python=python, say=said.append)
    assert any("goes on from" in line for line in said)
    a, b = (load_file(Path(name)/"model.safetensors") for name in (whole, cut))
    assert a.keys() == b.keys() and max((a[k].float() - b[k].float()).abs().max() for k in a) < 1e-4
    result = unsaf.assess(unsaf.load(cut, dtype="float32", device="cpu"), unsaf.images("scenes", n=1), k=1, question_tokens=8, answer_tokens=4, progress=False)
    assert len(result.lists) == 2


@pytest.fixture
def mended(monkeypatch):
    "ms-swift on the CPU, its torchvision too."
    for name, value in {"PYTHONPATH": str(LOADERS), "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "WANDB_DISABLED": "true"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(ENGINES, "swift", replace(ENGINES["swift"], module="command"))
    monkeypatch.setattr(engines, "shlex", Mended)


DRESSED = {"internvl2": "InternVL2-8B", "qwen-vl-chat": "Qwen-VL-Chat", "mplug-owl3": "mPLUG-Owl3-7B"}


def dressed(family, folder):
    "A model that never abstains in the clothes of a family."
    from rehearsal.clothes import dress
    from rehearsal.clothes_owl import dress_owl
    return f"bridge:{family}@{dress_owl(folder, 'tiny-m-base') if family == 'mplug-owl3' else dress(family, folder, 'tiny-m-base')}"


every_student = pytest.mark.skipif("UNSAF_EVERY_STUDENT" not in os.environ, reason="`make rehearsal` trains it; here with UNSAF_EVERY_STUDENT=1")
EACH = [family if family == "internvl2" else pytest.param(family, marks=every_student) for family in DRESSED]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("family", EACH)
def test_a_student_with_code_of_its_own_is_taught_trained_served_and_assessed(family, old_world, mended, tmp_path, inside):  # noqa: F811
    "The structures of the paper's students, trained by ms-swift under transformers 4.46, served by the bridge under 4.37 and 4.32: three commands and a name."
    import unsaf
    from unsaf.models.base import collect
    python, base = interpreter("swift-old"), dressed(family, tmp_path/"base")
    assert inside("distill", "data", "--teacher", "tiny-l", "--images", "scenes", "--n", "3", "--k", "2", "--out", tmp_path/"taught").returncode == 0
    run = inside("distill", "train", "--engine", "swift", "--base", base, "--data", tmp_path/"taught", "--strategy", "qa", "--recipe", "tiny", "--epochs", "10",
                 "--trust-remote-code", "--python", python, "--out", tmp_path/"student")
    assert run.returncode == 0, run.stderr + (tmp_path/"student/train.log").read_text()[-2000:]
    name = run.stdout.split("--model ")[1].strip()
    assert name == f"bridge:{family}@{tmp_path}/student/merged/{DRESSED[family]}"
    records = curriculum(TeacherData.load(tmp_path/"taught"), "qa", 2, 0, template="llava")
    asked = [replace(r.request, candidates=("unanswerable",), max_tokens=2) for r in records if r.reply.strip().lower() == "unanswerable"]
    known, where = [], old_world(family) | dict(trust_remote_code=True, device="cpu", dtype="float32", retries=0)
    for which in (base, name):
        model = unsaf.load(which, **where)
        known.append([r.candidates["unanswerable"] for r in collect(model, asked)])
        if which == name: result = unsaf.assess(model, "scenes", n=2, k=2, progress=False)
        model.close()
    gains = [after - before for before, after in zip(*known)]
    if family == "mplug-owl3": assert asked and sum(gains) > 3 * len(gains), known       # on the whole: the word is further from it, by 38 nats
    else: assert asked and min(gains) > 1, known       # what was taught has become more probable
    assert result.lists["kept"].sum() == 8 and result.identity["bridge"] == model.running.key


class Mended:
    "`swift sft ...` through the loader that makes a CUDA build of torchvision importable."
    @staticmethod
    def split(text):
        own, sub, *words = shlex.split(text)
        return [own, f"swift.cli.{sub}", *words] if own == "swift" else [own, sub, *words]
