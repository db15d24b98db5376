"The house keeps its order: imports go one way, `import unsaf` stays light, and no name hides another."
import ast, importlib, json, pkgutil, re, subprocess, sys
from functools import cache
from pathlib import Path
import pytest
import unsaf

root = Path(__file__).resolve().parent.parent
HEAVY = {"torch", "transformers", "datasets", "openai", "ray", "numpy", "pandas", "scipy", "matplotlib", "PIL"}


@cache
def rooms() -> dict[str, str]:
    "module -> the folders, number and name of the notebook that it is exported from"
    out = {}
    for book in sorted((root / "nbs").rglob("[0-9]*.ipynb")):
        name = str(book.relative_to(root/"nbs").with_suffix(""))
        if re.match("8[238]", name): name = f"80_paper/audit/{name}"          # they read the printed tables, and studies read them
        for cell in json.loads(book.read_text())["cells"]:
            for line in "".join(cell["source"]).splitlines():
                if line.startswith("#| default_exp"): out["unsaf." + line.split()[-1]] = name
    return out


# What may import a later room, inside a function, and why: nothing does.
LATER: dict[tuple[str, str], str] = {}

# What stands at the top of the package, beside its folders, and why.
LOOSE = {
    "core": "the nouns", "store": "every reply ever paid for", "runs": "one way to save and load a run",
    "readers": "a door to unsaf.prompts.readers", "scores": "a door to unsaf.assessment.scores",
}


def imports(module: str, lazy: bool = True) -> set[str]:
    "What a module imports: when it is imported itself, and inside its functions if `lazy`."
    tree = ast.parse((root / (module.replace(".", "/") + ".py")).read_text())
    found, package = set(), module.split(".")
    for node in ast.walk(tree) if lazy else tree.body:
        if isinstance(node, ast.Import): found |= {a.name for a in node.names}
        if isinstance(node, ast.ImportFrom):
            base = ".".join(package[:-node.level] + ([node.module] if node.module else [])) if node.level else node.module
            found |= {base} | {f"{base}.{a.name}" for a in node.names}
    return found


@cache
def edges() -> dict[str, set[str]]:
    "The rooms that each room imports, lazy imports included, the exceptions left out."
    numbers = rooms()
    return {m: {n for n in imports(m) & numbers.keys() if n != m and (m, n) not in LATER} for m in numbers}


def test_there_are_rooms():
    assert {"unsaf.core", "unsaf.store", "unsaf.prompts.templates", "unsaf.assessment.run", "unsaf.cli.main"} <= rooms().keys()


def test_a_room_imports_only_earlier_rooms():
    numbers = rooms()
    late = [f"{module} ({numbers[module]}) imports {name} ({numbers[name]})" for module, names in edges().items() for name in names
            if numbers[name] >= numbers[module]]
    assert not late


def test_imports_run_in_no_circle():
    left = edges()
    while free := {m for m, names in left.items() if not names & left.keys()}:
        left = {m: names for m, names in left.items() if m not in free}
    assert not left, f"in a circle, or behind one: {sorted(left)}"


def test_every_exception_is_still_needed():
    numbers = rooms()
    for module, name in LATER:
        assert name in imports(module) and numbers[name] > numbers[module], f"{module} no longer imports {name}"
        assert name not in imports(module, lazy=False), f"{module} imports {name} at its top"


def test_few_modules_stand_loose():
    loose = {p.stem for p in (root / "unsaf").glob("*.py") if not p.stem.startswith("_")}
    assert loose == LOOSE.keys()


def test_a_notebook_has_the_name_and_folder_of_its_module():
    for module, place in rooms().items():
        path = [re.sub(r"^\d+_", "", part) for part in place.removeprefix("00_core/").split("/")]
        if "/" in place: assert module == ".".join(["unsaf", *path]), place


def test_exported_code_needs_no_notebook_tools():
    assert not [m for m in rooms() if {name.split(".")[0] for name in imports(m, lazy=False)} & {"nbdev", "fastcore"}]


def test_import_is_light_and_quick():
    "What is quick is counted, not timed: nothing is loaded that was not loaded before but the package and a little of the standard library."
    code = "import sys; before = set(sys.modules); import unsaf; print(*set(sys.modules) - before)"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300).stdout.split())
    assert "unsaf" in loaded and not {name.split(".")[0] for name in loaded} & HEAVY
    assert len(loaded) < 20, sorted(loaded)


def test_no_public_name_is_also_a_submodule():
    for info in pkgutil.walk_packages(unsaf.__path__, "unsaf."):
        if info.name.endswith("__main__"): continue
        package, _, leaf = info.name.rpartition(".")
        importlib.import_module(info.name)
        if package == "unsaf": assert leaf not in unsaf.__all__, f"{info.name} hides unsaf.{leaf}"
    for name in unsaf.__all__: assert getattr(unsaf, name).__class__.__name__ != "module", name


def test_public_functions_say_what_they_do():
    silent = []
    for module in rooms():
        m = importlib.import_module(module)
        for name in getattr(m, "__all__", []):
            x = getattr(m, name)
            if callable(x) and getattr(x, "__module__", "") == module and not (x.__doc__ or "").strip(): silent.append(f"{module}.{name}")
    assert not silent


def test_a_styled_table_has_a_name_of_its_own():
    "pandas draws one at random otherwise, and each run of the notebook would store another output."
    for book in sorted((root / "nbs").rglob("*.ipynb")):
        for cell in json.loads(book.read_text())["cells"]:
            if cell["cell_type"] != "code": continue
            found = re.findall(r"(?<!plt)\.style\.(\w+)\(", "".join(cell["source"]))
            assert set(found) <= {"set_uuid"}, f"{book.name}: .style.{found[0]}(...) without .set_uuid(NAME) in front"


DOORS = {
    "unsaf": "load images assess bench Store Picture Sample Question Request Reply Outcome Setting UnsafError",
    "unsaf.core": "Picture Sample Question Request Reply Outcome Setting UnsafError ImageError ModelError StoreError",
    "unsaf.readers": "read_answer read_questions read_reply", "unsaf.scores": "score",
    "unsaf.assessment": "Assessment", "unsaf.paper.audit": "audit",
    "unsaf.metrics.awareness": "awareness", "unsaf.metrics.calibration": "brier ece mce ice macro_ce",
    "unsaf.metrics.pressure": "misleading_rate consistency", "unsaf.metrics.accuracy": "vqa_accuracy read_choice",
    "unsaf.metrics.hallucination": "read_yes_no pope Chair",
    "unsaf.metrics.stability": "footrule rank cv cluster_bootstrap paired_permutation",
}


@pytest.mark.parametrize("module", DOORS)
def test_public_names_stay_where_users_import_them_from(module):
    found = importlib.import_module(module)
    assert not [name for name in DOORS[module].split() if not callable(getattr(found, name, None))]


def test_old_names_work_with_a_warning():
    code = """import importlib, unsaf
for old, new in unsaf._Moved.PLACES.items():
    a, b = (importlib.import_module(f"unsaf.{x}") for x in (old, new))
    assert all(getattr(a, n) is getattr(b, n) for n in b.__all__), old
"""
    said = subprocess.run([sys.executable, "-W", "default", "-c", code], capture_output=True, text=True, timeout=300)
    assert said.returncode == 0 and said.stderr.count("is now unsaf.") == len(unsaf._Moved.PLACES), said.stderr
    with pytest.raises(ModuleNotFoundError): importlib.import_module("unsaf.nothing")


@pytest.mark.promise("links")
def test_links_between_notebooks_and_pages_lead_somewhere():
    files = [*root.glob("nbs/**/*.ipynb"), *root.glob("docs/*.md"), root/"README.md"]
    lost = [f"{f.relative_to(root)}: {link}" for f in files for link in re.findall(r"\]\(([^)\s#:]+\.(?:ipynb|md))", f.read_text("utf-8"))
            if not (root/"nbs"/link).exists() and not (f.parent/link).exists()]
    assert not lost
