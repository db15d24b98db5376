"Units and notebooks in miniature, for the runner's tests; workers import this module, so it is light."
import json, os, signal, time
from dataclasses import dataclass
from pathlib import Path
from unsaf.core import UnsafError, write_file


@dataclass(frozen=True)
class Toy:
    key: str
    value: int = 1
    needs: tuple = ()
    gpus: int = 0
    how: str = "well"          # well, fails, breaks, dies, slowly, for long
    kind = "toy"
    names = ()                 # nothing has to be at hand
    data = ""

    @property
    def title(self): return f"toy {self.key}"


def folder(unit, store): return Path(store)/"units"/unit.key


def kept(unit, store): return (folder(unit, store)/"result.json").is_file()


def started(store, kind="started"): return sorted(p.name for p in (Path(store)/kind).glob("*"))


def run(unit, store, say=print):
    "The unit's value and those of all that it needs, summed up."
    if not all(kept(n, store) for n in unit.needs): raise RuntimeError("called before what it needs")
    say("printed in the worker")
    at = os.environ.get("TOY_NODE", "") or f"{os.getpid()}-{time.monotonic_ns()}"
    write_file(Path(store)/"started"/f"{unit.key}-{at}", json.dumps(dict(pid=os.getpid(), gpus=os.environ.get("CUDA_VISIBLE_DEVICES"),
                                                                        threads=os.environ.get("OMP_NUM_THREADS"), node=node())))
    if unit.how == "slowly": time.sleep(2)
    if unit.how == "for long": time.sleep(120)
    if unit.how == "fails": raise UnsafError(f"no weights for {unit.key}")
    if unit.how == "breaks": raise ZeroDivisionError("a fault of ours")
    if unit.how == "dies": os.kill(os.getpid(), signal.SIGKILL)
    total = unit.value + sum(json.loads((folder(n, store)/"result.json").read_text())["sum"] for n in unit.needs)
    write_file(folder(unit, store)/"result.json", json.dumps(dict(sum=total)))


def node():
    "The Ray node that this runs on; empty elsewhere."
    import sys
    ray = sys.modules.get("ray")       # asked before a cluster is there, it would start one of its own in this process
    return ray.get_runtime_context().get_node_id() if ray and ray.is_initialized() else ""


def book(path, *cells, parameters="out = '.'\nstore = '.'\nfactor = 1"):
    "Write a notebook whose first cell is tagged parameters."
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook
    made = new_notebook(cells=[new_code_cell(parameters, metadata=dict(tags=["parameters"])), *map(new_code_cell, cells)],
                        metadata=dict(kernelspec=dict(name="python3", display_name="python3", language="python")))
    nbformat.write(made, path)
    return path


SUM = """import json
from pathlib import Path
total = factor * sum(json.loads(f.read_text())["sum"] for f in sorted(Path(store, "units").glob("*/result.json")) if f.parent.name in {keys})
Path(out).mkdir(parents=True, exist_ok=True)
Path(out, "{name}.csv").write_text(f"sum\\n{{total}}\\n")"""


def adding(where, name, keys): return book(Path(where)/f"{name}.ipynb", SUM.format(name=name, keys=sorted(keys)))
