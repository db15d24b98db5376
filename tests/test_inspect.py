"""inspect_ai, in an environment of its own, runs the self-assessment with our numbers and reads the logs that we write. No test installs it.

`python -m venv ~/.cache/unsaf/tools/inspect && ~/.cache/unsaf/tools/inspect/bin/pip install '.[inspect]'` does; UNSAF_INSPECT names another place."""
import json, os, subprocess, sys
from pathlib import Path
import pytest
import unsaf
from PIL import Image
from inspect_side import said
from unsaf.core import Reply, UnsafError
from unsaf.export.inspect_log import write_log
from unsaf.models import environments
from unsaf.models.served.messages import data_uri

ROOT = Path(__file__).resolve().parents[1]
HOME = Path(os.environ.get("UNSAF_INSPECT") or environments.cache("tools") / "inspect")


@pytest.fixture(scope="module")
def python():
    if not (HOME / "bin" / "inspect").exists():
        pytest.skip(f"inspect_ai is not installed in {HOME}: python -m venv {HOME} && {HOME}/bin/pip install '.[inspect]'")
    return HOME / "bin" / "python"


def ran(python, *args, **more):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "INSPECT_LOG_FORMAT": "eval"} | more
    done = subprocess.run([str(a) for a in (python, *args)], capture_output=True, text=True, env=env, timeout=540, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


# inspect's mock model counts tokens by an encoding that it would fetch
NO_NETWORK = "import tiktoken\ntiktoken.get_encoding = lambda name: type('Words', (), dict(encode=lambda self, text, **more: text.split()))()\n"


class Same:
    "The model of tests/inspect_side.py on this side."
    name, template = "same", "llava"
    def generate(self, requests):
        for i, r in enumerate(requests): yield Reply(said(r.text, data_uri(r.pictures[0])), index=i)


def ours(setting): return unsaf.assess(Same(), "scenes", setting, k=3, n=8, seed=5, progress=False)


def test_without_the_package_there_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "inspect_ai", None)
    with pytest.raises(UnsafError, match=r"inspect_ai is not installed: pip install 'unsaf\[inspect\]'"): write_log(ours("oe"), tmp_path / "x.eval")
    from unsaf.export.inspect_task import self_assessment
    with pytest.raises(UnsafError, match="not installed"): self_assessment()


@pytest.mark.promise("inspect")
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("setting", ["oe", "mc"])
def test_the_task_gives_our_numbers_on_the_same_replies(python, tmp_path, setting):
    found, result = json.loads(ran(python, "tests/inspect_side.py", "eval", tmp_path, setting).splitlines()[-1]), ours(setting)
    rows = {(r["image_id"], r["answerable"], r["number"]): (r["question"], r["options"], r["reply"], r["cell"], r["outcome"]) for r in found["rows"]}
    assert rows == {(r.image_id, r.answerable, r.number): (r.question, r.options, r.reply, r.cell if r.cell in ("TA", "FA", "TU", "FU") else None, r.outcome)
                    for r in result.table.itertuples()}
    assert len({r[3] for r in rows.values()}) == 5, "every cell, and none, occurs"
    for name, i in result.scores.intervals.items():
        assert [found["metrics"][name + end] for end in ("", "_low", "_high")] == pytest.approx([i.value, i.low, i.high], abs=1e-12), name
    assert {c: found["metrics"][c] for c in ("TA", "FA", "TU", "FU")} == result.scores.as_dict()["counts"]
    assert len(found["calls"]) == 2 + 6 and found["images"] == 8


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("end", ["eval", "json"])
def test_a_run_is_read_back_as_a_log(python, tmp_path, end):
    result = unsaf.assess(Same(), "scenes", "mc", k=3, n=8, seed=5, store=tmp_path / "run", progress=False)
    result.save(tmp_path / "run")
    ran(python, "-m", "unsaf", "export", tmp_path / "run", "--to", "inspect", "--out", tmp_path / f"run.{end}")
    found = json.loads(ran(python, "tests/inspect_side.py", "read", tmp_path / f"run.{end}").splitlines()[-1])
    assert found["status"] == "success" and found["task"] == "unsaf/self_assessment" and found["ids"] == result.images and found["images"] == 8
    assert list(found["metrics"])[:5] == ["unf1", "always_answer", "audacity", "timidity", "youden_j"], "what the viewer shows first"
    for name, i in result.scores.intervals.items():
        assert [found["metrics"][name + x] for x in ("", "_low", "_high")] == pytest.approx([i.value, i.low, i.high], abs=1e-12), name
    first = result.table[result.table.image_id == result.images[0]]
    assert [text for _, text in found["calls"][2:]] == first.reply.tolist() and sum(found["value"].values()) == len(first)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_its_name_is_enough_where_both_are_installed(python, tmp_path):
    "The entry point: an installed copy, and inspect's own command. An image that cannot be read has no score, and stops nothing."
    site = tmp_path / "site-packages"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", site, ROOT], check=True, timeout=540)
    (site / "sitecustomize.py").write_text(NO_NETWORK)
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(2): Image.new("RGB", (40, 30), (90 * i, 20, 200)).save(photos / f"p{i}.png")
    (photos / "torn.png").write_bytes((photos / "p0.png").read_bytes()[:60])
    options = [word for name in (f"images={photos}", "k=1", "setting=mc") for word in ("-T", name)]
    ran(python, python.parent / "inspect", "eval", "unsaf/self_assessment", "--model", "mockllm/model", *options,
        "--log-dir", tmp_path / "logs", "--display", "none", PYTHONPATH=str(site))
    (log,) = (tmp_path / "logs").glob("*.eval")
    found = json.loads(ran(python, "tests/inspect_side.py", "read", log).splitlines()[-1])
    assert found["task"] == "unsaf/self_assessment" and found["metrics"] == {"TA": 0, "FA": 0, "TU": 0, "FU": 0, "images": 2}
    assert found["ids"] == ["p0.png", "p1.png", "torn.png"]
