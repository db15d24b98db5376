"""What the package promises when things go wrong, tried: kills, faults of a server, odd texts and files, broken images, a full disk, secrets.

    python benchmarks/faults.py [--quick] [--only kills,texts] [--seed 0]

Prints one table: each promise, what was tried, and what survived. Exit code 1 where something did not survive. All servers are on loopback, every
loop is bounded. The full run takes about an hour on two cores; `--quick` takes about two and tries less of the same.
"""
import argparse, os, random, string, subprocess, sys, time
from html.parser import HTMLParser
from pathlib import Path
from typing import Callable
import faults_files, faults_stores      # noqa: F401, the promises of these rooms
import unsaf
from faulty_server import FAULTS, RAW
from promises import PROMISES, Answer, Faulty, Outcome, promise, said, spoken, table
from unsaf.core import Request, UnsafError
from unsaf.models.served.api import Api
from unsaf.models.base import Scripted, collect
from unsaf.models.cache import Cached
from unsaf.store import Store


@promise("Whatever a server answers is a typed outcome of its request or one line that ends the run; the other replies are kept")
def server_faults(out: Outcome, quick: bool, rng: random.Random, tmp: Path) -> None:
    requests = [Request((f"say {i}",), max_tokens=5) for i in range(12)]
    for fault in (*FAULTS, *RAW):
        for at in (0, 6) if quick else (0, 3, 6, 9, 11):
            plan = lambda call, fault=fault, at=at: fault if call.text == f"say {at}" else None
            with Faulty(plan) as server, Store(None) as store:
                model = Cached(Api("m", server.url, backoff=.001, retries=1, timeout=.5, concurrency=2, max_concurrency=2, max_wait=.2), store)
                try:
                    ends = {r.index: r for r in model.generate(requests)}
                    out.check(len(ends) == 12 and all(r.finish in ("stop", "length", "refused", "failed") for r in ends.values())
                              and all(ends[i].text == f"say {i}" for i in range(12) if i != at), f"{fault} at {at}: {ends.get(at)}")
                except UnsafError as e: out.check("\n" not in str(e), f"{fault} at {at}: {e}")


@promise("A server that is sick or refuses everything is left alone after a few calls")
def sick_servers(out: Outcome, quick: bool, rng: random.Random, tmp: Path) -> None:
    requests = [Request((f"say {i}",), max_tokens=5) for i in range(120)]
    for name, plan in {"500 to everything": lambda call: "500", "hangs after 50 calls": lambda call: "hang" if call.number >= 50 else None,
                       "400 to everything": lambda call: "400", "resets everything": lambda call: "reset"}.items():
        with Faulty(plan) as server, Store(None) as store:
            began = time.monotonic()
            try: list(Cached(Api("m", server.url, backoff=.001, timeout=.5), store).generate(requests))
            except UnsafError as e: said = str(e)
            else: said = "no line"
            out.check(len(server.calls) < 240 and "\n" not in said, f"{name}: {len(server.calls)} calls for 120 requests, {said}")
            out.notes.append(f"{name}: {len(server.calls)} calls, {time.monotonic() - began:.1f} s")


@promise("An address that is mistyped gets no image and no key elsewhere")
def addresses(out: Outcome, quick: bool, rng: random.Random, tmp: Path) -> None:
    with Faulty() as elsewhere:
        os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"] = elsewhere.url, "sk-planted-4711"
        port = 9
        for spec in (f"m@localhost:{port}/v1", f"m@HTTP://127.0.0.1:{port}/v1", f"m@htp://127.0.0.1:{port}/v1", "m@localhost/v1",
                     f"m@//127.0.0.1:{port}/v1", f"m@[::1]:{port}/v1", f"m@127.0.0.1:{port}", "m@vllm.internal/v1", f"m@http:/127.0.0.1:{port}/v1"):
            try: model = unsaf.load(f"api:{spec}", timeout=.5, retries=0)
            except UnsafError as e: out.check("\n" not in str(e), str(e))
            else: out.check(elsewhere.url not in model.url, f"api:{spec} goes to {model.url}")
        out.check(not elsewhere.calls, f"the default endpoint got {len(elsewhere.calls)} calls")
        del os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"]


PIECES = ["A", "B", "(C)", "D.", "unanswerable", "<think>", "</think>", "<answer>", "</answer>", "\\boxed{", "}", "{", "[", '"answer":', "答案是", "。", "、",
          "Answer:", "not", "N/A", "\n", "\r", "\t", " ", "**", "|", "1.", "Question:", "①", "Ｂ", "\u200b", "\ud800", "\x00", "it is", "?", "？", "؟", "<li>",
          "```json\n", "```", "é", "👍🏽", "\u202e", "red", "A. red\n", "yes", "no", "कुत्ता", "هل", "か。", "=", "-", "None", "\u2028", "\\item ", ":", ","]


@promise("No text makes a reader raise or loop, and an abstention outside a thought is never read as an answer")
def texts(out: Outcome, quick: bool, rng: random.Random, tmp: Path) -> None:
    from unsaf.metrics.accuracy import OPEN_RULES, read_choice
    from unsaf.metrics.text.letters import lettered
    from unsaf.metrics.pope import RULES, read_yes_no
    from unsaf.metrics.chair import drop_incomplete
    from unsaf.metrics.text.normalise import split_reasoning
    from unsaf.prompts.readers import read_answer, read_questions
    options, slowest = ("red", "green", "blue", "black"), (0.0, "")
    readers = {"answer, mc": lambda t: read_answer(t, "mc", options), "answer, oe": lambda t: read_answer(t, "oe"),
               "choice": lambda t: read_choice(t, lettered(options)), "questions, mc": lambda t: read_questions(t, "mc", True, 5),
               "questions, oe": lambda t: read_questions(t, "oe", False, 5), "caption": drop_incomplete,
               **{f"yes or no, {r}": lambda t, r=r: read_yes_no(t, r) for r in RULES},
               **{f"rule {name}": lambda t, rule=rule: rule(t, ["red"]) for name, rule in OPEN_RULES.items()}}
    def tried(text: str) -> None:
        nonlocal slowest
        for name, read in readers.items():
            began = time.perf_counter()
            try: found = read(text)
            except Exception as e: out.check(False, f"{name} on {text[:60]!r}: {type(e).__name__}: {e}")     # the finding itself
            else:
                wrong = name.startswith("answer") and "unanswerable" in split_reasoning(text).content and found.outcome.value == "answered"
                out.check(not wrong, f"{name} on {text[:60]!r}")
            slowest = max(slowest, (time.perf_counter() - began, f"{name} on {text[:20]!r}, {len(text):,} characters"))
    for _ in range(200 if quick else 10_000): tried("".join(rng.choice(PIECES) for _ in range(rng.randint(0, 40))))
    for piece in PIECES: tried(piece * ((2_000 if quick else 1_000_000) // len(piece)))
    for piece in PIECES: tried("B" + piece * (400 if quick else 60_000))
    out.check(slowest[0] < 5, f"{slowest[0]:.1f} s: {slowest[1]}")
    out.notes.append(f"slowest {slowest[0]:.2f} s ({slowest[1]})")


@promise("The key stands in no file and no line")
def secrets(out: Outcome, quick: bool, rng: random.Random, tmp: Path) -> None:
    key = "sk-planted-" + "".join(rng.choice(string.ascii_letters) for _ in range(24))
    def plan(call, fault) -> "Answer | str":
        if fault == "401": return Answer(401, {"error": {"message": f"wrong key {key}"}})
        return fault if fault and call.number > 5 else spoken(call)
    for fault in ("401", None) if quick else ("401", None, *FAULTS):
        with Faulty(lambda call, fault=fault: plan(call, fault)) as server:
            folder = tmp / str(fault).replace(" ", "-")
            args = ["assess", "--model", f"api:m@{server.url}", "--limit", "3", "--store", str(folder), "--retries", "1", "--timeout", "2"]
            run = subprocess.run([sys.executable, "-c", "from unsaf.cli.main import app; app()", *args], capture_output=True, text=True,
                                 env={**os.environ, "OPENAI_API_KEY": key, "CI": "true"}, timeout=300)
            held = [p.name for p in folder.rglob("*") if p.is_file() and key.encode() in p.read_bytes()] if folder.exists() else []
            out.check(key not in run.stdout + run.stderr and not held, f"{fault}: {held or 'printed'}")
            out.check("Traceback" not in run.stderr, f"{fault}: {run.stderr.strip().splitlines()[-1] if run.stderr.strip() else ''}")


MARKUP = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "\"><svg onload=alert(1)>",
    "</script><script>alert(1)</script>", "<iframe src=javascript:alert(1)>", "javascript:alert(1)",
    "<a href='javascript:alert(1)'>x</a>", "<style>*{display:none}</style>", "<!--", "-->", "]]>", "&lt;script&gt;",
    "<b onmouseover=alert(1)>", "'; alert(1); '", "{{7*7}}", "{% raw %}", "<base href=//x>",
    "<meta http-equiv=refresh content=0>", "<object data=x>", "<form action=//x>"]


class Elements(HTMLParser):
    "The elements and handlers of a page."
    def __init__(self):
        super().__init__()
        self.found: list[str] = []
    def handle_starttag(self, tag, attrs):
        self.found += [tag, *(f"{tag}.{k}" for k, _ in attrs if k.startswith("on"))]


@promise("Markup in replies is inert in the page")
def markup(out: Outcome, quick: bool, rng: random.Random, tmp: Path) -> None:
    def page(say: Callable[[str], str], name: str) -> list[str]:
        model = Scripted(lambda r: say(said(r.text)), name=name)
        unsaf.assess(model, "scenes", n=1, progress=False).report(tmp / f"{name}.html")
        elements = Elements()
        elements.feed((tmp / f"{name}.html").read_text(encoding="utf-8"))
        return elements.found
    odd = {"iframe", "object", "form", "base", "svg"}
    plain = page(lambda text: text, "plain")
    for i, piece in enumerate(" ".join(MARKUP[k::4]) for k in range(4)) if quick else enumerate(MARKUP):
        found = page(lambda text, piece=piece: text.replace("thing", f"thing {piece}"), f"m{i}")
        more = [e for e in set(found) if (e in odd or "." in e or e == "script") and found.count(e) > plain.count(e)]
        out.check(not more, f"{piece}: {more}")


@promise("Order, batch size and block size do not change a reply")
def order(out: Outcome, quick: bool, rng: random.Random, tmp: Path) -> None:
    from unsaf.assessment.run import Plan, question_request
    from unsaf.core import Setting
    samples = unsaf.images("scenes", n=2 if quick else 16, seed=3)
    requests = [question_request(s.picture, a, Plan(Setting.OE)) for s in samples for a in (True, False)]
    told = [r.text for r in collect(unsaf.load("tiny-s", dtype="float32", device="cpu"), requests)]
    for budget in (500, 5000) if quick else (300, 500, 1000, 2000, 5000, 20_000):
        model = unsaf.load("tiny-s", dtype="float32", device="cpu", token_budget=budget)
        turn = rng.sample(range(len(requests)), len(requests))
        again = [r.text for r in collect(model, [requests[i] for i in turn])]
        for i, text in zip(turn, again): out.check(text == told[i], f"budget {budget}, request {i}")


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true", help="less of the same, in about two minutes")
    p.add_argument("--only", default="", help=f"some of {','.join(PROMISES)}")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--json", type=Path, help="write the table here too")
    a = p.parse_args()
    names = [n for n in a.only.split(",") if n] or list(PROMISES)
    if odd := [n for n in names if n not in PROMISES]: p.error(f"--only {odd[0]}: there are {', '.join(PROMISES)}")
    sys.exit(not table(names, a.quick, a.seed, a.json))


if __name__ == "__main__": main()
