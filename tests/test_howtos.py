"What docs/extend.md says is all that it takes: its pieces go where it says, into a copy of the project, and the new thing works there."
import io, json, os, re, shutil, subprocess, sys
from pathlib import Path
import pytest

root = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.slow
PIECE = re.compile(r"```python\n# (nbs/\S+\.ipynb), (under|before): ([^\n]*)\n(.*?)```", re.S)


def pieces(title):
    "(notebook, where, the line there, lines to insert) of a section."
    return PIECE.findall(re.split(rf"(?m)^## {title}.*$", (root/"docs"/"extend.md").read_text())[1].split("\n## ")[0])


def insert(book, where, line, new):
    nb, done = json.loads(book.read_text()), False
    for cell in nb["cells"]:
        lines = "".join(cell["source"]).split("\n")
        if done or not lines[0].startswith("#| export") or line not in lines: continue
        at, done = lines.index(line) + (where == "under"), True
        cell["source"] = "\n".join([*lines[:at], *new.rstrip("\n").split("\n"), *([""] if new.endswith("\n\n") else []), *lines[at:]]).splitlines(keepends=True)
    assert done, f"{book.name} has no line {line!r}"
    book.write_text(json.dumps(nb))


TITLES = {"A model": 1, "A data set": 2, "A metric": 2}      # and how many notebooks each takes


def called(code, where, **env):
    ran = subprocess.run([sys.executable, "-c", code], cwd=where, capture_output=True, text=True, timeout=300,
                         env=os.environ | env | {"PYTHONPATH": str(where), "OMP_NUM_THREADS": "1"})
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    "A copy of the package in which all sections were followed."
    where = tmp_path_factory.mktemp("followed")
    for name in ("settings.ini", "pyproject.toml"): shutil.copy(root/name, where/name)
    shutil.copytree(root/"unsaf", where/"unsaf", ignore=shutil.ignore_patterns("__pycache__"))
    books = {title: sorted({name for name, *_ in pieces(title)}) for title in TITLES}
    assert {title: len(names) for title, names in books.items()} == TITLES
    for name in {name for names in books.values() for name in names}:
        (where/name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root/name, where/name)
    for title in TITLES:
        for name, at, line, new in pieces(title): insert(where/name, at, line, new)
    every = sorted({name for names in books.values() for name in names})
    called("from nbdev.export import nb_export\n" + "\n".join(f"nb_export({str(where/b)!r}, lib_path={str(where/'unsaf')!r})" for b in every), where)
    return where


@pytest.mark.promise("howtos")
def test_a_family_is_one_row(followed):
    said = called("from unsaf.models.ways import card_lines\nprint(*card_lines('mine-1b'), sep='\\n')", followed)
    assert "hf:me/Mine-1B-hf" in said and "a trap that cost me an hour" in said


@pytest.mark.promise("howtos")
def test_a_data_set_is_a_function_and_a_line(followed, tmp_path):
    import datasets
    from PIL import Image
    shot = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(shot, "png")
    (tmp_path/"data"/"mine").mkdir(parents=True)
    rows = datasets.Dataset.from_dict(dict(question=["What colour is it?"], answer=["red"], image=[{"bytes": shot.getvalue(), "path": None}]))
    rows.cast_column("image", datasets.Image()).to_parquet(tmp_path/"data"/"mine"/"test-00000-of-00001.parquet")
    code = "import unsaf\nfrom unsaf.data.benchmarks import benchmark\ns = benchmark('mine')[0]\nprint(s.question, s.answers, len(unsaf.images('mine')))"
    said = called(code, followed, UNSAF_DATA=str(tmp_path/"data"), HF_HUB_OFFLINE="1")
    assert said.split("\n")[0] == "What colour is it? ('red',) 1"


@pytest.mark.promise("howtos")
def test_a_metric_is_a_function_and_its_name(followed):
    code = """from unsaf.metrics.awareness import awareness, scorer
from unsaf import bench
one = awareness(3, 1, 4, 2)
print(one.as_dict()["abstention_rate"], scorer("abstention_rate")([3, 1, 4, 2]))
print(bench("tiny-s", "calibration", n=6, setting="mc", progress=False, resamples=50).table.set_index("metric").loc["overconfidence", "better"])"""
    said = called(code, followed)
    assert said.startswith("0.6 ") and said.split()[-1] == "low"
