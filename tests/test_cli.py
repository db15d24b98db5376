"The command line as a user meets it: results, one clear line for what can be mended, and exit codes."
import json, os, socket, subprocess, sys
from pathlib import Path
import pandas as pd
import pytest
from PIL import Image
from faulty_server import Faulty, error, reply
from browser import cards_of
from scripted_pages import make
from unsaf import Store as unsaf_store
from unsaf.assessment.run import assess
from unsaf.benchmarking.run import bench
from unsaf.core import Reply
from unsaf.data.images import images
from unsaf.models.base import Scripted

UNSAF = str(Path(sys.executable).parent / "unsaf")


def unsaf(*args: str) -> subprocess.CompletedProcess:
    "The command as a process of its own: seconds, since it loads its libraries anew."
    clean = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY")}
    return subprocess.run([UNSAF, *map(str, args)], capture_output=True, text=True, timeout=300, env=clean)


def one_line(run: subprocess.CompletedProcess, *words: str, code: int = 2, origin: str = "") -> None:
    "One line that says why it ended; `origin`: before it, the line that says where images would have gone."
    lines = [line for line in run.stderr.splitlines() if line.strip()]
    if origin: assert lines.pop(0).endswith(f"images and questions go to {origin}"), run.stderr
    assert run.returncode == code, run.stderr
    assert len(lines) == 1 and lines[0].startswith("unsaf: "), run.stderr
    for word in words: assert word in lines[0], lines[0]


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for i in range(3): Image.new("RGB", (60, 40), (80 * i, 20, 200)).save(folder / f"p{i}.png")
    return folder


def test_help_has_examples(inside):
    assert "unsaf demo" in unsaf("--help").stdout
    assert "unsaf assess --model" in inside("assess", "--help").stdout


@pytest.mark.promise("demo")
def test_demo_shows_scores_a_figure_and_a_page(tmp_path, inside):
    run = inside("demo", "--limit", "6", "--store", tmp_path / "demo")
    assert run.returncode == 0, run.stderr
    for word in ("unf1", "always_answer", "youden_j", "testbed", "open-ended", "multiple choice"): assert word in run.stdout
    page = (tmp_path / "demo/report.html").read_text()
    assert len(cards_of(page)) == 12 and "testbed" in page and "Noise floor: this model on 6 other images" in page
    assert Image.open(tmp_path / "demo/scores.png").size[0] > 800
    table = pd.read_csv(tmp_path / "demo/table-oe.csv", keep_default_na=False)
    assert set(table.cell) <= {"TA", "FA", "TU", "FU", ""} and len(table) > 20


def test_assess_on_a_folder_with_json(tmp_path, photos, inside):
    run = inside("assess", "--model", "tiny-m", "--images", photos, "--json", "--store", tmp_path / "run", "--k", "2")
    assert run.returncode == 0, run.stderr
    (result,) = json.loads(run.stdout)
    assert result["images"] == 3 and {"counts", "scores", "sentence", "yields"} <= result["scores"].keys()


@pytest.mark.promise("images")
def test_a_corrupt_picture_is_one_counted_failure(tmp_path, photos, inside):
    folder = tmp_path / "photos"
    folder.mkdir()
    for p in photos.iterdir(): (folder / p.name).write_bytes(p.read_bytes())
    (folder / "broken.png").write_bytes((photos / "p0.png").read_bytes()[:50])
    run = inside("assess", "--model", "tiny-m", "--images", folder, "--store", tmp_path / "run", "--k", "1")
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("image left out") == 1 and "broken.png" in run.stdout


@pytest.mark.promise("exits")
def test_bad_names_are_one_line(tmp_path, photos, inside):
    one_line(unsaf("assess", "--model", "tiny-giant"), "tiny-giant", "hf:OWNER/NAME")
    one_line(inside("assess", "--model", "tiny-m", "--images", tmp_path / "nowhere"), "nowhere")
    one_line(inside("assess", "--model", "tiny-m", "--images", photos, "--setting", "essay"), "essay")
    one_line(inside("assess", "--model", "tiny-m", "--images", photos, "--answer-mode", "logit"), "mc")
    one_line(inside("assess", "--model", "tiny-m", "--images", photos, "--concurrency", "4"), "concurrency")
    one_line(inside("assess", "--model", "tiny-m", "--images", photos, "--prices", "cheap"), "cheap")
    one_line(inside("assess", "--model", "replay:nowhere", "--images", photos), "nowhere")
    (tmp_path / "empty").mkdir()
    one_line(inside("assess", "--model", "tiny-m", "--images", tmp_path / "empty"), "empty")
    one_line(inside("assess", "--model", tmp_path / "empty", "--images", photos), "config")


@pytest.mark.promise("exits")
def test_servers_and_keys_are_one_line(photos, inside, monkeypatch):
    one_line(inside("assess", "--model", "api:gpt-4o", "--images", photos), "OPENAI_API_KEY", origin="https://api.openai.com")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    one_line(inside("assess", "--model", f"api:any@http://127.0.0.1:{port}/v1", "--images", photos), f"127.0.0.1:{port}", "reach",
             origin=f"http://127.0.0.1:{port}")
    with Faulty(lambda call: error(401, "Incorrect API key provided: sk-wrong")) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong")
        run = inside("assess", "--model", f"api:any@{server.url}", "--images", photos)
        one_line(run, "key", origin=server.url.removesuffix("/v1"))
        assert "sk-wrong" not in run.stderr


@pytest.mark.promise("exits")
def test_nothing_scored_still_writes_what_came(tmp_path, photos, inside):
    with unsaf_store(tmp_path / "run") as store: assess(Scripted(lambda r: "I would rather not.", name="shy"), images(photos), store=store)
    run = inside("assess", "--model", f"replay:{tmp_path / 'run'}", "--images", photos, "--store", tmp_path / "run")
    one_line(run, "nothing could be scored", code=4)
    assert (tmp_path / "run/lists-oe.csv").exists() and "I would rather not." in (tmp_path / "run/report.html").read_text()


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_store_survives(tmp_path, inside):
    code = ("import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
            "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)); from unsaf.cli.main import app; sys.argv[0] = 'unsaf'; app()")
    args = ["assess", "--model", "tiny-m", "--images", "scenes", "--limit", "12", "--store", str(tmp_path / "run")]
    run = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, timeout=300)
    one_line(run, "run")
    again = inside(*args)
    assert again.returncode == 0, again.stderr


def test_bench_prints_one_table_and_asks_nothing_twice(tmp_path, inside):
    assert "unsaf bench --model" in inside("bench", "--help").stdout
    args = ("bench", "--model", "tiny-m", "--n", "4", "--seed", "3", "--domain", "sketch", "--store", tmp_path / "run")
    run = inside(*args)
    assert run.returncode == 0, run.stderr
    lines = [line.split() for line in run.stdout.splitlines()]
    assert {"accuracy", "calibration", "mr", "cu", "pope", "chair"} <= {line[0] for line in lines if line} and "testbed" in run.stdout
    assert (tmp_path / "run/bench.csv").exists() and (tmp_path / "run/bench-pope.csv").exists()
    again = inside(*args, "--json")
    result = json.loads(again.stdout)
    assert again.returncode == 0 and result["calls"]["asked"] == 0 < result["calls"]["cached"] and not result["missing"]
    assert {"value", "low", "high", "n", "images", "abstained", "unreadable", "refused", "failed"} <= result["table"][0].keys()


def test_bench_of_a_model_with_an_intervention(inside):
    run = inside("bench", "--model", "tiny-m", "--n", "2", "--benchmarks", "accuracy", "--setting", "oe", "--intervention", "cove")
    assert run.returncode == 0 and "tiny-m+cove on scenes" in run.stdout, run.stderr


def test_bench_says_what_it_lacks(tmp_path, inside):
    run = inside("bench", "--model", "tiny-m", "--n", "4", "--benchmarks", "mr", "--setting", "oe")
    one_line(run, "nothing could be scored", "multiple-choice", code=4)
    with unsaf_store(tmp_path / "old") as store: bench(Scripted({"Is there": "yes"}, name="one-word"), "pope,chair", n=4, store=store)
    run = inside("bench", "--model", f"replay:{tmp_path / 'old'}", "--benchmarks", "pope,chair", "--n", "4")
    one_line(run, "4 calls failed", "--store", code=3)
    assert "chair, captions: not measured" in run.stdout and "f1" in run.stdout


def test_bench_with_wrong_names_is_one_line(inside):
    assert "risk is of abstention and calibration" in inside("bench", "--model", "tiny-s", "--benchmarks", "accuracy", "--risk", ".1").stderr
    one_line(inside("bench", "--model", "tiny-giant"), "tiny-giant")
    for wrong, word in ((("--benchmarks", "bleu"), "bleu"), (("--images", "nowhere"), "nowhere"), (("--domain", "oil"), "oil"), (("--n", "0"), "n = 0"),
                        (("--rules", "kind"), "kind"), (("--rephraser", "me"), "me"), (("--setting", "essay"), "essay"),
                        (("--logprobs",), "logprobs"), (("--intervention", "prayer"), "prayer")):
        one_line(inside("bench", "--model", "tiny-m", *wrong), word)


def test_data_lists_every_data_set(tmp_path, inside, monkeypatch):
    (tmp_path / "textvqa").mkdir()
    monkeypatch.setenv("UNSAF_DATA", str(tmp_path))
    run = inside("data")
    assert run.returncode == 0 and {"mmbench", "pope", "easy-vqa", "scenes"} <= {line.split()[0] for line in run.stdout.splitlines()}
    rows = {row["name"]: row for row in json.loads(inside("data", "--json").stdout)}
    assert rows["textvqa"]["here"] == str(tmp_path / "textvqa") and rows["easy-vqa"]["here"] == "package" and rows["mmbench"]["here"] == ""


def test_models_and_doctor(inside, monkeypatch):
    run = inside("models")
    assert run.returncode == 0 and "tiny-m" in run.stdout and "api:NAME@URL" in run.stdout
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-value")
    run = inside("doctor")
    assert run.returncode == 0 and "torch" in run.stdout and "checksum holds" in run.stdout
    assert "sk-secret-value" not in run.stdout + run.stderr


# ---- the end of a run

@pytest.mark.promise("exits")
def test_the_end_of_a_run_says_what_failed_most_and_what_to_do(tmp_path, photos, inside):
    def plan(call):
        if call.number < 4: return error(418, f"the kettle is empty, call {call.number}")
        return error(400, "no tea") if call.number == 4 else None
    for extra in ((), ("--store", tmp_path / "run")):
        with Faulty(plan) as server:
            run = inside("assess", "--model", f"api:any@{server.url}", "--images", photos, "--max-failures", "1", *extra)
        line, = [x for x in run.stderr.splitlines() if "calls failed" in x]
        assert run.returncode == 3 and "5 calls failed, most often (4 times): " in line and "the kettle is empty" in line and "column" not in line + run.stdout
        assert ("run the same command again" in line) == bool(extra) and ("with --store" in line) != bool(extra)
    told = inside("report", tmp_path / "run")
    assert told.returncode == 0 and "5 calls failed, most often (4 times): " in told.stderr and "the kettle is empty" in told.stderr
    assert "the kettle is empty" in (tmp_path / "run/report.html").read_text()


@pytest.mark.promise("sick")
def test_a_run_that_mostly_fails_is_stopped_and_what_came_is_stored(tmp_path, photos, inside):
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(40): Image.new("RGB", (20, 20), (6 * i, 1, 1)).save(folder / f"{i}.png")
    plan = lambda call: error(418, "the kettle is empty") if call.number % 2 else reply("1. Question: What is it?")
    with Faulty(plan) as server:
        run = inside("assess", "--model", f"api:any@{server.url}", "--images", folder, "--store", tmp_path / "run", "--max-failures", "0.3")
    line, = [x for x in run.stderr.splitlines() if "stopped" in x]
    assert run.returncode == 2 and "the kettle is empty" in line and "--max-failures" in line
    with unsaf_store(tmp_path / "run") as store: assert 15 < len(store) < 80
    one_line(inside("assess", "--model", "tiny-m", "--images", photos, "--max-failures", "7"), "max_failures")
    one_line(inside("bench", "--model", "tiny-m", "--max-failures", "-1"), "max_failures")


@pytest.mark.promise("inert")
def test_a_terminal_obeys_nothing_that_came_from_outside(tmp_path, photos, inside):
    wild = "\x1b]0;mine\x07\x1b[2Jgone \u202eback"
    with unsaf_store(tmp_path / "run") as store:
        assess(Scripted(lambda r: Reply("", "refused", wild), name=f"m{wild}"), images(photos), store=store)
    run = inside("assess", "--model", f"replay:{tmp_path / 'run'}", "--images", photos, "--store", tmp_path / "run")
    assert run.returncode == 4 and "refused by the provider, most often (6 times)" in run.stdout and "\\x1b[2Jgone" in run.stdout
    assert not set(run.stdout + run.stderr) & set("\x1b\x07\u202e")


def test_the_three_pages_of_scripted_servers(tmp_path):
    made = make(tmp_path, 6)
    thinking, chinese, refusing = (page.read_text() for _, page in made.values())
    assert all(r.scores.unf1 == 1 for r in made["thinking"][0]) and "were cut in the model&#39;s thought" in thinking and "tokens of reasoning" in thinking
    assert "only reasoning came back" in thinking and {len(cards_of(page)) for page in (thinking, chinese, refusing)} == {12}
    oe, mc = made["chinese"][0]
    assert "图中有几个形状" in chinese and not any("问题" in q for r in (oe, mc) for q in r.table.question) and len(oe.table) == len(mc.table) == 24
    assert oe.scores.audacity == 2 / 3 and oe.scores.soft.unf1 == 1 and oe.table.soft_abstain.sum() == 6      # 无法确定 is an answer in the paper's terms
    assert mc.scores.unf1 == 1 and (mc.table.outcome == "unreadable").sum() == 6                              # and no letter
    assert "were refused by the provider, most often" in refusing and all((r.table.outcome == "refused").any() and r.calls["failed"] == 0
        for r in made["refusing"][0])
