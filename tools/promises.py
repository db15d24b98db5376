"""The page docs/promises.md: what the documentation promises, and the tests that hold it.

    python tools/promises.py             # writes the page
    python tools/promises.py --check     # fails where the page is out of step with the tests, or a test names a promise that there is not

A test says which promise it holds by `@pytest.mark.promise("killed")`, with the name of a line below. Nothing is imported: tests are read as text. What
`benchmarks/faults.py` tries at length, each under the name of its function, is on the page, too.
"""
import ast, sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "promises.md"

# section -> name -> (the promise, where it is made: pages of docs/, without their ending, or README)
PROMISES: dict[str, dict[str, tuple[str, str]]] = {
    "Nothing is paid for twice": {
        "killed": ("A killed run, started again by the same command, asks only what is missing, and ends with the tables of a whole one", "keeping"),
        "twice": ("A second run of the same asks nothing, and says the same", "keeping"),
        "shared": ("Several runs on one store ask each request once; what a killed one was at, the others take over", "keeping"),
        "interrupt": ("The first Ctrl-C or SIGTERM lets nothing more go out, awaits what is under way and stores it; the second ends at once", "costs"),
        "copied": ("A store is copied by `merge` while runs are at it; a copy of the file says what it may lack", "keeping"),
        "old": ("Stores and runs of earlier versions are read", "keeping"),
        "batches": ("A batch is written down before it is paid for: after a kill the same command collects it; a run of single calls shares its replies",
                    "batches"),
        "trained": ("A training or distillation that was killed goes on, and ends as if it never had been", "distil"),
        "units": ("`unsaf reproduce` runs no unit twice; workers end with a parent that is killed", "paper"),
    },
    "Money": {
        "dry": ("`--dry-run` says beforehand what the run then takes", "costs"),
        "bounds": ("`--max-cost`, `--max-calls` and `--max-minutes` end a run, what was finished is scored, and the same command goes on", "costs"),
        "sick": ("A server that is sick or refuses everything is left alone after a few calls, and a run that mostly fails is stopped", "measures"),
    },
    "Secrets and networks": {
        "keys": ("No key, token or password stands in a file, a store, a page or a line", "api"),
        "elsewhere": ("An address that is mistyped or that redirects gets no image and no key elsewhere", "api"),
        "local": ("A bundled model and a folder of images need no network: nothing is connected to", "faq"),
        "offline": ("Without a network a data set is read from the cache, and a pinned commit is never asked for", "offline"),
        "unasked": ("`unsaf export --push` sends nothing without `--yes`", "export"),
        "trust": ("Code of a checkpoint is neither installed nor run before it is trusted, and never in this process", "old-checkpoints"),
        "inert": ("Markup and control characters in replies are inert: on the page, in the terminal, in a spreadsheet", "keeping"),
        "page": ("The page of a run and the page to label with are one file each, which loads nothing", "verdicts"),
    },
    "Nothing is dropped or made up": {
        "outcomes": ("Every reply has one outcome; what is unreadable, refused or failed is counted, shown, and bounded in what it could change", "measures"),
        "readers": ("No text makes a reader raise or loop, and nothing is guessed", "measures"),
        "dressed": ("Thoughts, markdown and other scripts are undone before a reply is read", "measures"),
        "readable": ("A score of what could be read is not passed off as one of all", "measures"),
        "images": ("A broken image is an outcome of its own, with its name and the reason", "images"),
        "files": ("Texts come back from tables as they were written", "keeping"),
        "failing": ("What a server does wrong is a typed outcome of its request, or one line", "api"),
        "refused": ("A metric refuses input that has no meaning for it; an empty set is an error, never 0", "CONTRIBUTING"),
        "exits": ("Bad input is one line and an exit code that is not 0; the codes are those of the table", "costs"),
        "config": ("A name in a config that the command does not have is refused with the nearest one; the command line wins", "own-model"),
    },
    "The numbers": {
        "hand": ("Audacity, timidity, UnF1, J, d' and their relations are those known by hand and of other implementations", "measures"),
        "sentence": ("The sentence above a score claims no more than both intervals", "verdicts"),
        "intervals": ("Intervals of UnF1, J and d' hold the truth nearly as often as they say, also with few images and in the corners", "measures"),
        "anytime": ("Who looks again and again at an anytime-valid interval is wrong in at most 1 of 20 runs", "how-many"),
        "labels": ("Prediction-powered scores hold the truth whatever is wrong with the labels, and a plan for labels comes out as wide as it says", "labels"),
        "blind": ("Whoever judges labels sees neither what a question was written as nor the reply", "labels"),
        "words": ("The reference that reads only the words is learned on other images, and is above what does not look", "measures"),
        "floors": ("A distance of rankings stands beside its noise floor, and excess is 0 where data sets rank alike", "measures"),
        "accuracy": ("Accuracies (VQA, MMBench, MME, MMMU) are those of the official scorers", "metrics"),
        "pope": ("POPE and CHAIR are those of the official code", "metrics"),
        "calibration": ("Calibration is that of torchmetrics, netcal and scikit-learn, edges included", "metrics"),
        "abstention": ("Risk and coverage, AURC and AUGRC are those of plain counting", "metrics"),
        "estimators": ("Scores of lm-polygraph are those of the package", "uncertainty"),
        "judge": ("A judge of abstention is blind to image and label, and changes no score", "measures"),
        "prompts": ("Prompts are those that the paper printed", "gaps"),
        "replayed": ("A stored run gives today the table and the scores that it gave when it was made", "measures"),
        "seeds": ("A seed gives the same images, scenes and questions in every process", "images"),
    },
    "The same answers on every way": {
        "sharing": ("What is computed once for several prompts changes no token in float32", "own-model"),
        "batching": ("Order, batch size and block size change no reply in float32", "own-model"),
        "scored": ("Probabilities from a server are those of a local model", "api"),
        "engine": ("An engine starts and ends with its run, also when the run is killed; if it dies it is started once more", "engines"),
        "bridge": ("An old checkpoint behind the bridge replies and scores as it would here", "old-checkpoints"),
        "replicas": ("Any number of replicas gives the table of one machine; a replica or node that dies costs its block", "cluster"),
        "inspect": ("The task in inspect_ai gives, on the same replies, the numbers of `unsaf assess`", "export"),
    },
    "What a page of the documentation says": {
        "demo": ("`make demo` and an installed copy run the whole self-assessment without a download", "README"),
        "own": ("Any object with `generate` is a model; the code in README and docs works", "README"),
        "howtos": ("The pieces in the how-to are all that a family, a data set, a metric or a study takes", "extend"),
        "blocks": ("Every block of code in README and docs runs, or says in its source why it does not run here", "README"),
        "lessons": ("Lessons run from top to bottom", "README"),
        "gaps": ("Defaults in the list of gaps are those of the code; counts and rules in the paper's page are those of the ledger", "gaps"),
        "links": ("Links between pages and notebooks lead somewhere", "README"),
        "distilled": ("An image of the evaluation is refused for teaching", "distil"),
        "rehearsed": ("The paper's profile runs to its last cell on stand-ins of all that it names", "rehearsal"),
        "retrained": ("Bundled weights that were changed are refused, and their recipe makes such a model", "paper"),
    },
    "Said, and not tested": {
        "real": ("Providers themselves (OpenAI, Azure, Moonshot, Zhipu): tests ask servers on loopback that do what their documentation says", "api"),
        "gpu": ("The paper's checkpoints on a GPU, in 16 bit and over several GPUs", "own-model"),
        "sglang": ("`sglang:` against a real SGLang: its arguments are from its sources", "engines"),
        "machines": ("Several real machines, Slurm, Kubernetes, engines on nodes", "cluster"),
        "hub": ("That the Hub takes what `--push --yes` sends", "export"),
    },
}


def keys_of(function: ast.AST) -> tuple[list[str], bool]:
    "The promises that a function or class is marked with, and whether it is slow."
    found, slow = [], False
    for mark in function.decorator_list:
        text = ast.unparse(mark)
        slow |= text == "pytest.mark.slow"
        if text.startswith("pytest.mark.promise("): found += [a.value for a in mark.args]
    return found, slow


@cache
def tests() -> list[tuple[str, str, str, bool]]:
    "(promise, file, test, slow) of every marked test."
    found = []
    for path in sorted((ROOT / "tests").glob("test_*.py")):
        text = path.read_text("utf-8")
        if "mark.promise(" not in text: continue
        tree = ast.parse(text)
        all_slow = any(isinstance(n, ast.Assign) and ast.unparse(n) == "pytestmark = pytest.mark.slow" for n in tree.body)
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef): continue
            keys, slow = keys_of(node)
            found += [(key, path.stem, node.name, slow or all_slow) for key in keys]
    return found


def faults() -> list[tuple[str, str, str]]:
    "(name, promise, file) of everything that benchmarks/faults.py tries."
    found = []
    for path in sorted((ROOT / "benchmarks").glob("faults*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            marks = [m for m in getattr(node, "decorator_list", ()) if ast.unparse(m).startswith("promise(")]
            found += [(node.name, m.args[0].value, path.name) for m in marks]
    return found


def named(held: list[tuple[str, str, str, bool]]) -> str:
    "Tests of a promise, by file."
    by_file: dict[str, list[str]] = {}
    for _, file, name, slow in held: by_file.setdefault(file, []).append(name.removeprefix("test_").replace("_", " ") + " (slow)" * slow)
    return "; ".join(f"`{file}`: {', '.join(names)}" for file, names in by_file.items())


def where(page: str) -> str:
    if (ROOT / "docs" / f"{page}.md").exists(): return f"[{page}]({page}.md)"
    return f"[{page}](../{page}.md)"


def problems() -> list[str]:
    "Names that do not fit: a test of no promise, a promise without a test, a page that there is not."
    known = {key: line for lines in PROMISES.values() for key, line in lines.items()}
    held, untested = {key for key, *_ in tests()}, PROMISES["Said, and not tested"]
    lost = [f"{file}: {name} holds {key!r}, which is no promise of tools/promises.py" for key, file, name, _ in tests() if key not in known]
    lost += [f"no test holds {key!r}: {known[key][0]}" for key in known if key not in held and key not in untested]
    lost += [f"{key!r} is called untested, and a test holds it" for key in untested if key in held]
    return lost + [f"{key!r} is made on {page}.md, which there is not" for key, (_, page) in known.items()
                   if not any((ROOT / folder / f"{page}.md").exists() for folder in ("docs", "."))]


def page() -> str:
    found = tests()
    counted = [key for title, lines in PROMISES.items() for key in lines if title != "Said, and not tested"]
    lines = ["<!-- written by tools/promises.py: edit that, or the marks of the tests -->", "# What is promised, and what holds it", "",
             f"{len(counted)} promises of these pages, and {len({(f, n) for _, f, n, _ in found})} tests in `tests/` that hold them. A test is *slow* where "
             "it belongs to `make test-slow`; all others run with `make test`. The table is made from the tests themselves, and `make check` and a test fail "
             "where it is out of step.", ""]
    for title, rows in PROMISES.items():
        untested = title == "Said, and not tested"
        lines += [f"## {title}", "", "| promise | said in |" if untested else "| promise | said in | held by |", "|---|---|" + "---|" * (not untested)]
        for key, (text, place) in rows.items():
            lines.append(f"| {text} | {where(place)} |" + (f" {named([x for x in found if x[0] == key])} |" if not untested else ""))
        lines.append("")
    lines += ["## Tried at length", "",
              "`python benchmarks/faults.py` tries these for about an hour, `--quick` for minutes, as a slow test does (`test_bench_scripts`: promises hold).",
              "What came of it is in [RESULTS.md](../benchmarks/RESULTS.md#promises-tried).", "", "| promise | `--only` |", "|---|---|",
              *(f"| {text} | `{name}` |" for name, text, _ in faults()), ""]
    return "\n".join(lines)


def main() -> int:
    lost = problems()
    if "--check" in sys.argv and PAGE.read_text("utf-8") != page(): lost.append("docs/promises.md is out of step: python tools/promises.py writes it")
    if "--check" not in sys.argv: PAGE.write_text(page(), "utf-8")
    print(*lost, sep="\n", end="\n" * bool(lost))
    return bool(lost)


if __name__ == "__main__": sys.exit(main())
