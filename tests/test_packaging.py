"What `pip install` gives: sdist and wheel carry all that the package needs, and run away from the checkout."
import json, os, subprocess, sys, sysconfig, tarfile, venv, zipfile
from importlib.metadata import distribution
from pathlib import Path
import pytest
from packaging.requirements import Requirement

root = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.slow
CLEAN = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}      # the installed copy, not this checkout


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> Path:
    "An sdist, and the wheel that is built from it, out of a clean copy of what git tracks."
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("dist")
    files = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True, timeout=600).stdout.splitlines()
    for name in files:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((root / name).read_bytes())
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(out), str(copy)], check=True, capture_output=True, timeout=600)
    return out


def test_both_carry_the_model_the_page_and_the_licence(dist):
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as z: wheel = z.namelist()
    with tarfile.open(next(dist.glob("*.tar.gz"))) as t: sdist = t.getnames()
    for end in ("unsaf/templates/report.html", "unsaf/templates/style.css", "unsaf/templates/gallery.js",
                "unsaf/tables/coco_objects.txt", "unsaf/tiny_models/tiny-m/model.safetensors",
                "unsaf/tiny_models/tiny-l/card.json", "LICENSE"):
        assert any(n.endswith(end) for n in wheel) and any(n.endswith(end) for n in sdist), end
    assert not [n for n in wheel if n.startswith(("tests", "nbs"))]


def environment(where: Path, *what: str) -> Path:
    "The site-packages of a new environment in `where`/env with `what` in it, and nothing else."
    venv.create(where / "env")
    pip = [sys.executable, "-m", "pip", "--python", where / "env/bin/python", "install", "-q", "--no-deps"]
    subprocess.run([*pip, *what], check=True, capture_output=True, timeout=600)
    return next((where / "env/lib").glob("python*/site-packages"))


@pytest.mark.promise("demo")
def test_an_installed_copy_runs_the_whole_thing(dist, tmp_path):
    "The wheel is built from the sdist, so it is both that run."
    site = environment(tmp_path, str(next(dist.glob("*.whl"))))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))   # the same libraries, but not the same unsaf
    python = tmp_path / "env/bin/python"
    where = subprocess.run([python, "-c", "import unsaf; print(unsaf.__file__)"], cwd=tmp_path, env=CLEAN, capture_output=True, text=True, check=True,
                           timeout=600).stdout
    assert where.startswith(str(tmp_path))
    run = subprocess.run([tmp_path / "env/bin/unsaf", "assess", "--model", "tiny-m", "--limit", "2", "--json", "--store", "run"],
                         cwd=tmp_path, capture_output=True, text=True, env=CLEAN, timeout=600)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)[0]["images"] == 2


def needed(name: str, found: dict) -> dict:
    "The distributions that one needs, and all that these need, without extras."
    found[name] = distribution(name)
    for r in map(Requirement, found[name].requires or []):
        if r.name not in found and (r.marker is None or any(r.marker.evaluate({"extra": e}) for e in ("", *r.extras))): needed(r.name, found)
    return found


def test_without_the_extras_there_is_one_line(dist, tmp_path):
    "The core needs neither torch nor openai; a model that does says what to install. What is needed stands here as links to what is installed."
    site, here = environment(tmp_path, str(next(dist.glob("*.whl")))), Path(sysconfig.get_path("purelib"))
    tops = {file.parts[0] for name, d in needed("unsaf", {}).items() if name != "unsaf" for file in d.files}
    assert "numpy" in tops and not {"torch", "openai"} & tops
    for top in sorted(tops - {".."}):
        if not (site / top).exists(): (site / top).symlink_to(here / top)
    run = subprocess.run([tmp_path / "env/bin/unsaf", "assess", "--model", "tiny-m", "--limit", "2"], cwd=tmp_path, env=CLEAN, capture_output=True, text=True,
                         timeout=600)
    assert run.returncode == 2 and run.stderr.strip() == "unsaf: torch is not installed: pip install 'unsaf[hf]'"
    assert subprocess.run([tmp_path / "env/bin/unsaf", "doctor"], cwd=tmp_path, env=CLEAN, timeout=600).returncode == 0


def test_a_folder_of_its_name_does_not_hide_an_editable_installation(dist, tmp_path):
    "As where a clone called unsaf lies in the folder in which Python is started."
    source = next(dist.glob("*.tar.gz"))
    with tarfile.open(source) as t: t.extractall(tmp_path, filter="data")
    (tmp_path / source.name.removesuffix(".tar.gz")).rename(tmp_path / "unsaf")
    environment(tmp_path, "-e", str(tmp_path / "unsaf"))
    where = subprocess.run([tmp_path / "env/bin/python", "-c", "import unsaf; print(unsaf.__version__, unsaf.__file__)"], cwd=tmp_path, env=CLEAN,
                           capture_output=True, text=True, timeout=600)
    assert str(tmp_path / "unsaf" / "unsaf") in where.stdout, where.stderr
