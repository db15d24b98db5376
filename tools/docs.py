"""The documentation site: notebooks, pages of `docs/` and a reference of every public name, as HTML in `_docs/html`.

    python tools/docs.py             # builds it; a warning is an error
    python tools/docs.py --open      # and shows it in the browser

Notebooks appear as they are stored, with their outputs; nothing is executed. Search and formulas work without a network and without a server.
"""
import argparse, importlib, inspect, json, posixpath, re, shutil, subprocess, sys, warnings, webbrowser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "_docs"
SOURCE, HTML = OUT / "source", OUT / "html"
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/RESULTS.md")
NOT_SHOWN = re.compile(r"^#\| *(hide|default_exp)\b.*$", re.M)
DIRECTIVE = re.compile(r"^#\| *\S.*\n?", re.M)
LINK = re.compile(r"(!?)\[([^\]\n]+)\]\(([^)\s]+)\)")
CONF = '''
project, author, copyright = "unsaf", "The unsaf authors", "2026 onwards, the unsaf authors"
extensions = ["myst_nb"]
html_theme, html_title, html_static_path, html_css_files = "furo", "unsaf", ["_static"], ["site.css"]
nb_execution_mode, nb_merge_streams, root_doc = "off", True, "index"
myst_enable_extensions, myst_heading_anchors = ["dollarmath"], 4
html_show_sphinx, html_copy_source, language = False, False, "en"
suppress_warnings = ["misc.highlighting_failure"]      # transcripts of a shell are no language
html_math_renderer = "mathml"                          # every browser draws it, without a network


def setup(app):
    from docutils.nodes import SkipNode
    from latex2mathml.converter import convert
    def written(display):
        def visit(page, node):
            page.body.append(f'<span class="math">{convert(node.astext(), display=display)}</span>')
            raise SkipNode
        return visit
    app.add_html_math_renderer("mathml", (written("inline"), None), (written("block"), None))
'''
# a wide table of a notebook scrolls by itself on a telephone; an option such as `--limit` is not broken at its hyphens
CSS = """.cell_output .output { overflow-x: auto; }
code.literal { hyphens: none; word-break: normal; }
.math:has(math[display=block]) { display: block; overflow-x: auto; overflow-y: hidden; padding: .3em 0; }
"""


def shown(target: str, page: str, here: set[str]) -> "str | None":
    "`target`, a link of `page`, where it leads to a page or file of the site; else None."
    if re.match(r"(https?:|mailto:|#|data:)", target): return target
    path, _, anchor = target.partition("#")
    full = posixpath.normpath(posixpath.join(posixpath.dirname(page), path))
    if full not in here and f"{full}/README.md" not in here: return None
    return target


def linked(text: str, page: str, here: set[str]) -> str:
    "`text` with links that lead out of the site as plain text; code blocks are left as they are."
    def one(found: re.Match) -> str:
        mark, words, target = found.groups()
        return found[0] if shown(target, page, here) else words if mark else f"{words} (`{posixpath.basename(target)}`)"
    parts = re.split(r"(^```.*?^```|^    [^\n]*$)", text, flags=re.M | re.S)
    return "".join(part if i % 2 else LINK.sub(one, part) for i, part in enumerate(parts))


def levelled(text: str, depth: int) -> tuple[str, int]:
    "`text` with each heading at most one step under the one before it (at first `depth`), as Sphinx wants it, and the depth of the last."
    lines, fenced = text.split("\n"), False
    for i, line in enumerate(lines):
        fenced ^= line.startswith("```")
        if fenced or not (found := re.match(r"#+(?= )", line)): continue
        depth = min(len(found[0]), depth + 1)
        lines[i] = "#" * depth + line[found.end():]
    return "\n".join(lines), depth


def notebook(path: Path, page: str, here: set[str]) -> dict:
    "A notebook without what is only for the machine."
    nb, depth = json.loads(path.read_text("utf-8")), 0
    cells = []
    for cell in nb["cells"]:
        text = "".join(cell["source"])
        if NOT_SHOWN.search(text): continue
        if cell["cell_type"] == "markdown":
            text, depth = levelled(linked(text, page, here), depth)
        else: text = DIRECTIVE.sub("", text).strip("\n")
        if not text.strip(): continue
        cells.append({**cell, "source": text.splitlines(keepends=True)} | ({"outputs": plain(cell)} if "outputs" in cell else {}))
    meta = {"kernelspec": {"name": "python3", "display_name": "python3", "language": "python"}, "language_info": {"name": "python"}}
    return {**nb, "metadata": meta, "cells": cells}


def plain(cell: dict) -> list[dict]:
    "The outputs of a cell that a page can show."
    out = []
    for o in cell["outputs"]:
        data = {k: v for k, v in o.get("data", {}).items() if "widget" not in k}
        if "data" in o and not data: continue
        out.append({**o, "data": data} if "data" in o else o)
    return out


def title_of(cells: list[dict]) -> str:
    first = next("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    return re.search(r"^# (.+)$", first, re.M)[1]


def prose(doc: "str | None") -> str:
    "A docstring as Markdown: what it writes as <script> is shown, and is none."
    return "".join(part if i % 2 else part.replace("<", "&lt;") for i, part in enumerate(re.split(r"(`+[^`]*`+)", doc or "")))


def reference(name: str) -> str:
    "A page of the public names of a module, from their docstrings and the comments at their parameters."
    from nbdev.showdoc import BasicMarkdownRenderer, show_doc
    module = importlib.import_module(name)
    lines = [f"# `{name}`", "", prose(module.__doc__).strip(), ""]
    for public in getattr(module, "__all__", []):
        thing = getattr(module, public, None)
        if inspect.isclass(thing) or inspect.isroutine(thing):
            if not getattr(thing, "__module__", "").startswith("unsaf"): continue
            lines += [f"## `{public}`", "", signature(show_doc, BasicMarkdownRenderer, thing), ""]
            if inspect.isclass(thing): lines += [*methods(thing), ""]
        else: lines += [f"## `{public}`", "", constant(thing), ""]
    return "\n".join(lines)


def constant(value: object) -> str:
    "The value where it is short, else its type."
    text = repr(value)
    return f"```python\n{text}\n```" if len(text) < 300 and " at 0x" not in text else f"A constant, of type `{type(value).__name__}`."


def signature(show_doc, renderer, thing) -> str:
    "Call and docstring as Markdown."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try: call = re.search(r"```python.*?```", show_doc(thing, renderer=renderer)._repr_markdown_(), re.S)
        except (TypeError, ValueError, OSError, AttributeError, SyntaxError): call = None      # sources that it cannot read
    return (call[0] if call else f"```python\n{thing.__name__}{bare(thing)}\n```") + "\n\n" + prose(inspect.getdoc(thing))


def bare(thing) -> str:
    try: return str(inspect.signature(thing))
    except (TypeError, ValueError): return ""


def methods(cls: type) -> list[str]:
    "A line for each public method and property of its own that says what it is."
    out = []
    for name, value in vars(cls).items():
        inner = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if name.startswith("_") or not inspect.isfunction(inner) or not inspect.getdoc(inner): continue
        brackets = "" if isinstance(value, property) else "()"
        out.append(f"* `.{name}{brackets}`: " + prose(" ".join(inspect.getdoc(inner).split())))
    return out


def toctree(caption: str, pages: list[str], depth: int = 1) -> str:
    return f"```{{toctree}}\n:caption: {caption}\n:maxdepth: {depth}\n\n" + "\n".join(pages) + "\n```\n"


def modules() -> list[str]:
    "Every exported module, in the order of the notebooks."
    found = []
    for path in notebooks():
        found += ["unsaf." + name for name in re.findall(r"#\| *default_exp ([\w.]+)", path.read_text("utf-8"))]
    return found


def notebooks() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "nbs"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return [ROOT / x for x in sorted(listed) if x.endswith(".ipynb")]


def write(page: str, text: str) -> None:
    path = SOURCE / page
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


ROOMS = {"00_core": "Nouns, store and runs", "10_metrics": "Metrics", "20_prompts": "Prompts and their readers", "30_world": "The drawn world and its models",
         "40_data": "Data", "50_models": "Models", "60_assessment": "The self-assessment", "62_cluster": "Past one machine", "65_benchmarking": "Benchmarks",
         "67_export": "For other tools",
         "70_distill": "Distillation", "80_paper": "The paper", "90_cli": "Command line"}


def sources() -> None:
    "All pages under `_docs/source`."
    shutil.rmtree(SOURCE, ignore_errors=True)
    books = {str(p.relative_to(ROOT)): p for p in notebooks() if p.name != "index.ipynb"}
    texts = {str(p.relative_to(ROOT)): p for p in [*(ROOT / "docs").glob("*.md"), *(ROOT / x for x in PAGES)]}
    pictures = {str(p.relative_to(ROOT)): p for p in (ROOT / "figures" / "testbed").glob("*.png")}
    here = {*books, *texts, *pictures}
    for page, path in texts.items(): write(page, linked(path.read_text("utf-8"), page, here))
    for page, path in books.items(): write(page, json.dumps(notebook(path, page, here), ensure_ascii=False))
    for page, path in pictures.items():
        (SOURCE / page).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, SOURCE / page)
    names = modules()
    for name in names: write(f"reference/{name}.md", reference(name))
    for room, title in ROOMS.items():
        own = [b for b in books if b.startswith(f"nbs/{room}/")]
        write(f"rooms/{room}.md", f"# {title}\n\n" + toctree("", [f"/{b.removesuffix('.ipynb')}" for b in own]).replace(":caption: \n", ""))
    write("reference/index.md", "# Reference\n\nEvery public name, by module.\n\n" + toctree("", names).replace(":caption: \n", ""))
    rest = [b for b in books if not any(b.startswith(f"nbs/{r}/") for r in ROOMS)]
    write("index.md", front(rest))
    write("conf.py", CONF)
    write("_static/site.css", CSS)


HOW_TO = ("running", "own-model", "images", "api", "costs", "batches", "engines", "old-checkpoints", "keeping", "offline", "cluster", "how-many", "labels",
          "compare", "verdicts", "measures", "metrics", "uncertainty", "distil", "export", "extend")


def how_to() -> str:
    "The table of docs/running.md: what somebody wants to do, and the page that says how."
    rows = [line for line in (ROOT / "docs" / "running.md").read_text("utf-8").splitlines() if line.startswith("|")]
    return "\n".join(re.sub(r"\]\((?=[\w-]+\.md)", "](docs/", line) for line in rows)


def front(rest: list[str]) -> str:
    "The first page."
    lessons = [f"/{b.removesuffix('.ipynb')}" for b in sorted(rest, key=lambda b: "/tutorials/" not in b)]
    return "\n".join([
        "# unsaf", "", "*Does a multimodal model know what it does not know?*", "",
        "Begin with the [README](README.md): what is measured, and a first score in one command.", "", how_to(), "",
        toctree("Start", ["README <README>", "docs/faq"]), toctree("Lessons", lessons),
        toctree("How to", [f"docs/{x}" for x in HOW_TO]),
        toctree("The paper", [f"docs/{x}" for x in ("paper", "gaps", "rehearsal", "routes")]),
        toctree("How it works, room by room", [f"rooms/{r}" for r in ROOMS]),
        toctree("Looked up", ["reference/index", "docs/promises", "benchmarks/RESULTS", "CHANGELOG", "CONTRIBUTING"])])


def build(jobs: int = 2) -> int:
    sources()
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-j", str(jobs), "-b", "html", "-d", str(OUT / "doctrees"), str(SOURCE), str(HTML)]
    return subprocess.run(command, check=False).returncode


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--open", action="store_true")
    a = p.parse_args()
    code = build()
    if not code: print(f"{HTML / 'index.html'}")
    if a.open and not code: webbrowser.open((HTML / "index.html").as_uri())
    return code


if __name__ == "__main__": sys.exit(main())
