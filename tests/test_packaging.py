"What `pip install` gives: sdist and wheel carry all that the package needs, and run away from the checkout."
import json, os, subprocess, sys, sysconfig, tarfile, venv, zipfile
from pathlib import Path
import pytest

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


@pytest.mark.promise("demo")
@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_an_installed_copy_runs_the_whole_thing(dist, tmp_path, kind):
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env/bin/python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", str(next(dist.glob(kind)))], check=True, capture_output=True, timeout=600)
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True, timeout=600).stdout.strip()
    Path(site, "dependencies.pth").write_text(sysconfig.get_path("purelib"))   # the same libraries, but not the same unsaf
    where = subprocess.run([python, "-c", "import unsaf; print(unsaf.__file__)"], cwd=tmp_path, env=CLEAN, capture_output=True, text=True, check=True,
                           timeout=600).stdout
    assert where.startswith(str(tmp_path))
    run = subprocess.run([tmp_path / "env/bin/unsaf", "assess", "--model", "tiny-m", "--limit", "2", "--json", "--store", "run"],
                         cwd=tmp_path, capture_output=True, text=True, env=CLEAN, timeout=600)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)[0]["images"] == 2


def test_without_the_extras_there_is_one_line(dist, tmp_path):
    "The core needs neither torch nor openai; a model that does says what to install."
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env/bin/python"
    needed = [line for line in (root / "settings.ini").read_text().splitlines() if line.startswith("requirements")][0].split("=", 1)[1].split()
    subprocess.run([python, "-m", "pip", "install", "-q", "-c", str(root / "constraints.txt"), str(next(dist.glob("*.whl"))), *needed],
                   check=True, capture_output=True, timeout=1200)
    run = subprocess.run([tmp_path / "env/bin/unsaf", "assess", "--model", "tiny-m", "--limit", "2"], cwd=tmp_path, env=CLEAN, capture_output=True, text=True,
                         timeout=600)
    assert run.returncode == 2 and run.stderr.strip() == "unsaf: torch is not installed: pip install 'unsaf[hf]'"
    assert subprocess.run([tmp_path / "env/bin/unsaf", "doctor"], cwd=tmp_path, env=CLEAN, timeout=600).returncode == 0


def test_a_folder_of_its_name_does_not_hide_an_editable_installation(dist, tmp_path):
    "As where a clone called unsaf lies in the folder in which Python is started."
    venv.create(tmp_path / "env", with_pip=True)
    python, source = tmp_path / "env/bin/python", next(dist.glob("*.tar.gz"))
    with tarfile.open(source) as t: t.extractall(tmp_path, filter="data")
    (tmp_path / source.name.removesuffix(".tar.gz")).rename(tmp_path / "unsaf")
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", "-e", str(tmp_path / "unsaf")], check=True, capture_output=True, timeout=600)
    where = subprocess.run([python, "-c", "import unsaf; print(unsaf.__version__, unsaf.__file__)"], cwd=tmp_path, env=CLEAN, capture_output=True,
                           text=True, timeout=600)
    assert str(tmp_path / "unsaf" / "unsaf") in where.stdout, where.stderr
