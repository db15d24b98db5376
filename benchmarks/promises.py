"""What the tables of promises share: what was tried and held, a model behind a server on loopback, and runs in processes of their own."""
import json, os, random, sqlite3, subprocess, sys, tempfile, time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from faulty_server import Answer, Faulty, reply      # noqa: E402


@dataclass
class Outcome:
    "What was tried for one promise, and what came of it."
    tried: int = 0
    held: int = 0
    broken: list[str] = field(default_factory=list)     # the first of what did not hold, for the reader
    notes: list[str] = field(default_factory=list)      # measured beside it

    def check(self, holds: bool, what: str) -> None:
        self.tried += 1
        self.held += bool(holds)
        if not holds and len(self.broken) < 5: self.broken.append(what)


PROMISES: dict[str, tuple[str, Callable]] = {}


def promise(text: str):
    def add(f):
        PROMISES[f.__name__] = text, f
        return f
    return add


# ------------------------------------------------------------------ the model behind the server

def said(text: str) -> str:
    "Five questions of the class that is asked for, or an answer that depends on the question alone."
    if "[A high-quality" in text:
        word = "secret" if "unanswerable question" in text else "colour"
        return "\n".join(f"{i}. Question: What is the {word} of thing {i}?" for i in range(1, 6))
    return "unanswerable" if "secret" in text else "a thing"


def spoken(call) -> Answer: return reply(said(call.text))


RUN = """
import sys, unsaf
from unsaf.models.served.api import Api
model = Api("m", sys.argv[2], backoff=.001, concurrency=4, max_concurrency=4)
result = unsaf.assess(model, unsaf.images("scenes", n=int(sys.argv[3]), seed=1), store=sys.argv[1], block=4, progress=False)
result.save(sys.argv[1])
"""


def start(folder: Path, server: Faulty, n: int, **env: str) -> subprocess.Popen:
    quiet = {**os.environ, "OMP_NUM_THREADS": "1", "CI": "true", **env}
    return subprocess.Popen([sys.executable, "-c", RUN, str(folder), server.url, str(n)], env=quiet, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen) -> str:
    _, err = process.communicate(timeout=300)
    return "" if process.returncode == 0 else err.strip().splitlines()[-1] if err.strip() else f"exit code {process.returncode}"


def in_store(folder: Path) -> int:
    try:
        with sqlite3.connect(f"file:{folder}/replies.sqlite?mode=ro", uri=True, timeout=10) as db:
            return db.execute("select count(*) from replies").fetchone()[0]
    except sqlite3.OperationalError: return 0


def tables(folder: Path) -> list[bytes]: return [p.read_bytes() for p in sorted(folder.glob("*-oe.csv"))]


def table(names: Sequence[str], quick: bool, seed: int, to: "Path | None" = None) -> bool:
    "Try the promises called `names`, print a line of each; returns whether all held."
    rows = []
    print("| promise | tried | held | measured beside it | s |\n|---|---:|---:|---|---:|")
    for name in names:
        text, f = PROMISES[name]
        out, began = Outcome(), time.monotonic()
        with tempfile.TemporaryDirectory() as tmp: f(out, quick, random.Random(seed), Path(tmp))
        rows.append(dict(promise=text, tried=out.tried, held=out.held, notes=out.notes, broken=out.broken))
        print(f"| {text} | {out.tried:,} | {out.held:,} | {'; '.join(out.notes)} | {time.monotonic() - began:.0f} |", flush=True)
        for line in out.broken: print(f"    did not hold: {line[:300]}", file=sys.stderr, flush=True)
    if to: to.write_text(json.dumps(rows, indent=1, ensure_ascii=False), encoding="utf-8")
    return all(row["held"] == row["tried"] for row in rows)
