"""Which route each model of the paper takes and what it can do there, tried out on its stand-in: the table of docs/routes.md.

    python -m rehearsal.routes ADDRESSES.json STORE TABLE.md [NAME ...]      # inside the environment of the rehearsal"""
import json, re, sys
from pathlib import Path
import unsaf
from unsaf.core import Request, UnsafError
from unsaf.models.base import collect
from unsaf.models.cove import intervene
from unsaf.models.holding import close
from unsaf.paper.beforehand import route
from unsaf.paper.demand import place
from unsaf.paper.study import PAPER

ABLE = ("assess", "candidates", "logit", "DoLa", "CoVe", "train", "serve")
TESTS = {"here": "test_hf.py, test_dola.py, test_training.py", "bridge": "test_bridge.py, test_bridge_weights.py, test_clothes.py, test_engines.py",
         "endpoint": "test_scores.py, test_peers.py", "provider": "test_servers.py, test_api.py"}
HEAD = ("# Routes", "", "What each model of the paper can do on its route. Written by [the rehearsal](rehearsal.md), which tried each on a stand-in of the",
        "model's structure; `train` and `serve` are of students, which the paper has of three models.", "")
SMALL = dict(n=1, k=1, progress=False)


def way(name):
    "here, bridge, endpoint or provider."
    return "bridge" if name.startswith("bridge:") else place(name)


def attempt(call):
    "yes, or no and why."
    try: found = call()
    except UnsafError as e: return "no: " + re.sub(r"http://127\.0\.0\.1:\d+/v1", "its server", " ".join(str(e).split()))
    return "yes" if found else "no"


def asked(model, name):
    image = unsaf.images("scenes", n=1)[0]
    [reply] = collect(intervene(model, name), [Request((image.picture, "Is there a circle in the image? Please answer yes or no."), max_tokens=8)])
    return not reply.failure


def abilities(model):
    "What a loaded model can do."
    plain = unsaf.assess(model, "scenes", **SMALL)
    out = {"assess": "yes" if len(plain.lists) else "no",
           "candidates": attempt(lambda: plain.table["p_abstain"].notna().any()),
           "logit": attempt(lambda: unsaf.assess(model, "scenes", "mc", answer_mode="logit", **SMALL).table["reply"].notna().any())}
    return out | {title: attempt(lambda: asked(model, title.lower())) for title in ("DoLa", "CoVe")}


def trained(store):
    "What became of the students of each base in the rehearsal: {base: (trained, asked)}."
    out = {}
    for file in Path(store).glob("units/*/result.json"):
        facts = json.loads(file.read_text())
        unit, empty = facts["unit"], facts.get("why") or isinstance(facts.get("missing"), str)
        if isinstance(unit["model"], str) or empty: continue         # nothing was there to learn from, so nothing was trained or asked
        made, served = out.get(unit["model"]["base"], (False, False))
        out[unit["model"]["base"]] = made or unit["kind"] == "student", served or unit["kind"] != "student"
    return out


def row(name, address, students):
    made, served = students.get(address, (False, False))
    model = unsaf.load(address)
    try: able = abilities(model)
    finally: close(model)
    able |= {"train": "yes" if made else "not in the plan", "serve": "yes" if served else "not in the plan"}
    return [name, route(PAPER.models[name]), *(able[what] for what in ABLE), TESTS[way(PAPER.models[name])]]


def table(addresses, store, names):
    notes, lines = [], []
    for name in names:
        cells = row(name, addresses.get(name, PAPER.models[name]), trained(store))
        for i, text in enumerate(cells):
            if not text.startswith("no: "): continue
            if text[4:] not in notes: notes.append(text[4:])
            cells[i] = f"no ({notes.index(text[4:]) + 1})"
        lines.append(f"| {' | '.join(cells)} |")
    head = ["model", "how it is asked", *ABLE, "proven by, in tests/"]
    return "\n".join([*HEAD, f"| {' | '.join(head)} |", "|" + "---|" * len(head), *lines, "", *(f"({i}) {why}" for i, why in enumerate(notes, 1))]) + "\n"


if __name__ == "__main__":
    where, store, out, *names = sys.argv[1:]
    Path(out).write_text(table(json.loads(Path(where).read_text()), store, names or list(PAPER.models)), encoding="utf-8")
