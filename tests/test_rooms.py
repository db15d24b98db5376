"The house keeps its order: imports go one way, `import unsaf` stays light, and no name hides another."
import ast, importlib, json, pkgutil, subprocess, sys
from pathlib import Path
import pytest
import unsaf

root = Path(__file__).resolve().parent.parent
HEAVY = {"torch", "transformers", "datasets", "openai", "ray"}


def rooms() -> dict[str, str]:
    "module -> the number and name of the notebook that it is exported from"
    out = {}
    for book in sorted((root / "nbs").glob("[0-9]*.ipynb")):
        for cell in json.loads(book.read_text())["cells"]:
            for line in "".join(cell["source"]).splitlines():
                if line.startswith("#| default_exp"): out["unsaf." + line.split()[-1]] = book.stem
    return out


def top_level_imports(module: str) -> set[str]:
    "What a module imports when it is imported itself (not inside functions)."
    tree = ast.parse((root / (module.replace(".", "/") + ".py")).read_text())
    found, package = set(), module.split(".")
    for node in tree.body:
        if isinstance(node, ast.Import): found |= {a.name for a in node.names}
        if isinstance(node, ast.ImportFrom):
            base = ".".join(package[:-node.level] + ([node.module] if node.module else [])) if node.level else node.module
            found |= {base} | {f"{base}.{a.name}" for a in node.names}
    return found


def test_there_are_rooms():
    assert {"unsaf.core", "unsaf.store", "unsaf.prompts", "unsaf.assessment", "unsaf.cli"} <= rooms().keys()


@pytest.mark.parametrize("module", sorted(rooms()))
def test_a_room_imports_only_earlier_rooms(module):
    numbers = rooms()
    for name in top_level_imports(module) & numbers.keys():
        assert numbers[name] < numbers[module], f"{module} ({numbers[module]}) imports {name} ({numbers[name]})"


@pytest.mark.parametrize("module", sorted(rooms()))
def test_exported_code_needs_no_notebook_tools(module):
    assert not {m.split(".")[0] for m in top_level_imports(module)} & {"nbdev", "fastcore"}


def test_import_is_light_and_quick():
    code = "import sys, time; t = time.perf_counter(); import unsaf; print(time.perf_counter() - t, *sys.modules)"
    seconds, loaded = [], set()
    for _ in range(3):
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        seconds.append(float(out[0]))
        loaded |= set(out[1:])
    assert min(seconds) < 0.7
    assert not loaded & HEAVY


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
