"The first minutes of a user: a model of one's own, what a result shows of itself, `unsaf` alone, options in a file."
import json, os, re, sys, threading, time
from html import unescape
from pathlib import Path
import pytest
import yaml
from PIL import Image
import unsaf
from browser import cards_of
from unsaf.core import UnsafError
from unsaf.models.base import Scripted, as_model
from unsaf.models.cache import Cached, Replay

root = Path(__file__).resolve().parent.parent


def say(pixels, text):
    "Three questions of either class; answers what asks for a colour."
    if "provide" not in text: return "red" if "colour" in text else "unanswerable"
    word = "What colour" if "can be answered directly" in text else "Why"
    return "\n".join(f"{i}. Question: {word} is number {i}?" for i in (1, 2, 3))


class Texts:
    "No name, and texts for replies."
    def generate(self, requests): return [say(None, r.text) for r in requests]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    (tmp_path/"path/to/photos").mkdir(parents=True)
    for i in range(4): Image.new("RGB", (8, 8), (60 * i, 0, 0)).save(tmp_path/f"path/to/photos/{i}.png")
    monkeypatch.chdir(tmp_path)


# ---- a model of one's own

@pytest.mark.promise("own")
def test_texts_are_replies_and_a_class_lends_its_name(tmp_path):
    r = unsaf.assess(Texts(), "scenes", n=2, k=3, store=tmp_path)
    assert r.model == "Texts" and (r.scores.ta, r.scores.fa, r.scores.tu, r.scores.fu) == (6, 0, 6, 0)
    assert r.table.p_reply.isna().all() and r.table.finish.eq("stop").all()
    again = unsaf.assess(Texts(), "scenes", n=2, k=3, store=tmp_path)
    assert again.calls["asked"] == 0 and again.run_id == r.run_id
    assert unsaf.bench(Texts(), "accuracy", n=2, setting="oe", resamples=10).model == "Texts"


class Gives:
    name = "gives"
    def __init__(self, what): self.what = what
    def generate(self, requests): return self.what


@pytest.mark.promise("own")
@pytest.mark.parametrize("model,words", [
    (Texts, "Texts is a class"), (say, "say is no model"), (None, "NoneType is no model"), (Gives("one text"), "gave str for"), (Gives(None), "gave NoneType"),
    (Gives([1, 2]), "reply 0 is int"), (Gives({"a": 1}), "gave dict"), (Gives(["one"]), "1 replies to 4 requests"), ("no-such", "unknown")])
def test_what_is_no_model_is_told_in_a_line(model, words):
    with pytest.raises(unsaf.UnsafError, match=re.escape(words)) as caught: unsaf.assess(model, "scenes", n=2, k=1)
    assert "\n" not in str(caught.value) and caught.value._render_traceback_() == [f"ModelError: {caught.value}"]


def test_the_traceback_of_an_error_in_a_model_of_ones_own_is_of_ones_own_code():
    class Breaks:
        def generate(self, requests): return [self.one(r) for r in requests]
        def one(self, request): return 1 / 0
    for call in (lambda: unsaf.assess(Breaks(), "scenes", n=2, k=1), lambda: unsaf.bench(Breaks(), "accuracy", n=2, setting="oe")):
        with pytest.raises(ZeroDivisionError) as caught: call()
        assert {e.path.name for e in caught.traceback} == {"test_first.py"} and caught.traceback[-1].name == "one"


# ---- in a notebook

def test_a_stopped_run_is_a_line():
    class Stops:
        def generate(self, requests): raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt) as caught: unsaf.assess(Stops(), "scenes", n=2, k=1)
    line, = caught.value._render_traceback_()
    assert line.startswith("KeyboardInterrupt: stopped") and "run it again" in line


def test_a_bar_ends_as_text(monkeypatch):
    import IPython.display, ipykernel, tqdm.auto, tqdm.notebook      # noqa: F401 (as in a notebook)
    from unsaf.runs import progress_bar
    shown = []
    class Handle:
        def update(self, data, raw): shown.append(data)
    monkeypatch.setattr(IPython.display, "display", lambda widget, display_id: (shown.append(widget), Handle())[1])
    monkeypatch.setattr(tqdm.auto, "tqdm", tqdm.notebook.tqdm_notebook)
    with progress_bar(total=2, desc="replies") as bar: bar.update()
    bar.close()
    widget, text = shown
    assert widget is bar.container and text["text/plain"].startswith("replies:  50%|")


def test_two_runs_are_compared_by_the_name_of_the_command():
    from unsaf.assessment.saved import paired
    assert unsaf.compare is paired and "compare" in dir(unsaf)


def test_what_a_nameless_model_has_else_stays_its_own():
    class Counts(Texts):
        counters, template = {"forwards": 3}, "qwen"
    own = Counts()
    model = as_model(own)
    model.budget = 5
    assert own.budget == 5 and model.template == "qwen" and model.counters == {"forwards": 3} and not hasattr(model, "session")


def blocks(path, title):
    text = re.split(rf"(?m)^## {title}.*$", (root/path).read_text())[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", text, re.S)


@pytest.mark.promise("own")
@pytest.mark.slow
def test_the_models_metric_and_server_of_readme_and_docs_work(photos):
    import uvicorn
    readme, docs = blocks("README.md", "Your own code"), blocks("docs/extend.md", "Nothing to add")
    assert len(readme) == len(docs) == 3 and all(len(b.strip().splitlines()) <= 13 for b in (*readme, *docs))
    told = []
    names = dict(unsaf=unsaf, my_function=say, print=lambda x: told.append(str(x)))
    exec(docs[2], names)
    server = uvicorn.Server(uvicorn.Config(names["app"], port=0, log_level="error"))
    threading.Thread(target=server.run, daemon=True).start()
    for code in (*readme[:2], *docs[:2]): exec(code, names)
    assert "TA 12  FA 0  TU 12  FU 0" in told[0] and told[1].startswith("0.500") and told[2].startswith("1.000") and names["result"].model == "mine"
    while not server.started: time.sleep(.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    exec(readme[2].replace("8000", str(port)), names)
    server.should_exit = True
    assert names["result"].scores.youden_j == 1 and names["result"].model == "my-model"


# ---- what shows itself

def test_a_result_is_a_screen_of_text_and_a_page_of_a_notebook(tmp_path):
    r = unsaf.assess(Scripted(lambda q: say(None, q.text).replace("red", "<b>red")), "scenes", n=3, k=3)
    text, page = str(r), r._repr_html_()
    assert repr(r) == text and len(text.splitlines()) <= 20 and text.count(" -> ") == 3 and "TA 9  FA 0  TU 9  FU 0" in text
    assert page.count("data:image/png") == 4 and "&lt;b&gt;red" in page and "<b>red" not in page and "scenes:0" in page
    shown = r.show(limit=2)._repr_html_()
    assert shown.count("<iframe srcdoc=") == 1 and len(cards_of(unescape(shown))) == 2 and "<main" not in shown
    r.stopped, r.planned = "3 dollars are spent", [*r.images, "x"]
    assert "3 dollars are spent: 3 of 4 images" in str(r)


@pytest.mark.slow
def test_nothing_is_an_object_at_an_address(tmp_path):
    from unsaf.assessment.ranks import ranked
    from unsaf.assessment.saved import paired
    from unsaf.models.cove import Cove
    a, b = (unsaf.assess(Scripted(lambda q: say(None, q.text), name), "scenes", n=3, k=3, store=tmp_path) for name in "ab")
    store, pair = unsaf.Store(tmp_path), paired(a, b, n=20)
    tiny = unsaf.load("tiny-s")
    bench = unsaf.bench(Scripted(["A"] * 40), "accuracy", n=2, setting="mc", resamples=10)
    things = [a, a.scores, pair, ranked([a, b], n=20), store, tiny, Scripted([]), Cached(tiny, store), Replay(store, "a"), Cove(tiny), as_model(Texts()), bench,
              unsaf.images("scenes", n=2)]
    for thing in things: assert " at 0x" not in repr(thing) and len(repr(thing)) < 6000, type(thing)
    assert str(pair) == repr(pair) and "<pre>" in pair._repr_html_() and "youden_j" in str(pair)
    store.close()
    assert "closed" in repr(store)


def test_one_image_shows_itself():
    sample = unsaf.images("scenes", n=1)[0]
    assert sample.picture._repr_png_()[:4] == b"\x89PNG" and sample.image_id in sample._repr_html_()
    def broken(): raise unsaf.core.ImageError("torn")
    assert unsaf.Picture("x", broken)._repr_png_() is None and "cannot be read" in unsaf.Sample(unsaf.Picture("x", broken))._repr_html_()


# ---- unsaf alone, init, --config

@pytest.fixture
def cli(monkeypatch):
    from typer.testing import CliRunner
    from unsaf.cli import app
    def run(*args):
        done = CliRunner().invoke(app, [str(a) for a in args], prog_name="unsaf")
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done
    return run


def test_unsaf_alone_says_where_to_begin(cli):
    said = cli()
    assert said.exit_code == 0 and len(said.output.splitlines()) < 12
    assert [w for w in ("demo", "init", "models", "doctor") if f"unsaf {w} " in said.output] == ["demo", "init", "models", "doctor"]


@pytest.mark.promise("config")
def test_init_writes_what_assess_reads(cli, photos):
    said = cli("init", "--images", "path/to/photos", "--n", "3")
    assert said.exit_code == 0 and "unsaf assess --config run.yaml" in said.output
    assert cli("init").exit_code == 2 and cli("init", "--max-cost", 3, "--out", "b.yaml").exit_code == 2 and not Path("b.yaml").exists()
    result, = json.loads(cli("assess", "--config", "run.yaml", "--json", "--no-report", "--limit", 2, "--model", "tiny-s", "--k", 1).stdout)
    assert cli("init", "--images", "path/to/photos", "--out", "all.yaml").exit_code == 0
    assert yaml.safe_load(Path("all.yaml").read_text())["limit"] == len(unsaf.images("path/to/photos"))     # no more than are there
    Path("empty").mkdir()
    assert cli("init", "--images", "empty", "--out", "b.yaml").exit_code == 2
    assert (result["images"], result["model"], result["plan"]["k"]) == (2, "tiny-s", 1) and Path("runs/tiny-m-photos/table-oe.csv").exists()


@pytest.mark.promise("config")
@pytest.mark.parametrize("command,text,words", [
    (["assess"], "model: tiny-s\nlimits: 3", "'limits' is no option of unsaf assess: did you mean 'limit'?"),
    (["bench"], "benchmark: pope", "did you mean 'benchmarks'?"), (["distill", "data"], "teachr: tiny-l", "did you mean 'teacher'?"),
    (["distill", "train"], "bse: x", "did you mean 'base'?"), (["assess"], "- a\n- b", "a line is a name and a value"),
    (["assess"], "model: [a", "is not YAML, line 1"), (["assess"], "limit: yes", "takes a value, not true")])
def test_a_config_that_cannot_be_meant_is_refused(cli, tmp_path, command, text, words):
    (file := tmp_path/"run.yaml").write_text(text)
    said = cli(*command, "--config", file)
    assert said.exit_code == 2 and words in said.stderr and len(said.stderr.strip().splitlines()) == 1


@pytest.mark.promise("config")
def test_every_value_of_a_config_reaches_its_option(tmp_path):
    from typer.main import get_command
    from unsaf.cli import app
    from unsaf.cli.config import read_config
    bench = get_command(app).commands["bench"]
    text = "model: api:x\nbenchmarks: [pope, mr]\nprices: [2.5, 10]\nextra-body: {a: 1}\nmax_cost: 3\nbatch: yes\nstore: ~/runs"
    (file := tmp_path/"run.yaml").write_text(text)
    wanted = dict(store=os.path.expanduser("~/runs"), model="api:x", benchmarks="pope,mr", prices="2.5,10", extra_body='{"a": 1}', max_cost=3, batch=True)
    assert read_config(file, bench) == wanted
    file.write_text("model: 'replay:~/a'\nimages: x~/y~")
    assert read_config(file, bench) == dict(model=f"replay:{os.path.expanduser('~')}/a", images="x~/y~")


@pytest.mark.slow
def test_completion_is_offered():
    import subprocess
    env = os.environ | {"_UNSAF_COMPLETE": "complete_bash", "COMP_WORDS": "unsaf ass", "COMP_CWORD": "1"}
    said = subprocess.run([sys.executable, "-c", "from unsaf.cli import app; app(prog_name='unsaf')"], env=env, capture_output=True, text=True, timeout=120)
    assert said.stdout.split() == ["assess"], said


# ---- reproduce

def test_papermill_and_reproduce_read_one_text_alike():
    from unsaf.cli.paper import read_parameters
    from unsaf.paper.study import open_study
    text = '["tiny-s", "tiny-m"]'
    typed, handed = (open_study("layout", models=m).choices["models"] for m in (read_parameters([f"models={text}"])["models"], text))
    assert typed == handed == ("tiny-s", "tiny-m") and read_parameters(["cross=true", "n=5"]) == dict(cross=True, n=5)
    assert str(open_study("layout", store="runs/x").out) == "runs/x/figures/testbed"


# ---- what snagged

@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    "Two models, both settings of one of them in one folder."
    def letters(request):
        if "is number" in request.text: return "A" if "colour" in request.text else "unanswerable"
        word = "What colour" if "that can be answered by" in request.text else "Why"
        return "\n".join(f"{i}. Question: {word} is number {i}?\nA. red\nB. blue\nC. green\nD. black" for i in (1, 2, 3))
    out = tmp_path_factory.mktemp("runs")
    for name, setting, model in (("a", "oe", lambda q: say(None, q.text)), ("a", "mc", letters), ("b", "oe", lambda q: say(None, q.text))):
        unsaf.assess(Scripted(model, name), "scenes", setting, 3, out/name, n=3).save(out/name)
    return out


def test_a_comparison_has_a_page(cli, runs, tmp_path):
    said = cli("compare", runs/"a", runs/"b", "--setting", "oe", "--page", tmp_path/"page.html")
    page = (tmp_path/"page.html").read_text()
    assert said.exit_code == 0 and f"written: {tmp_path/'page.html'}" in said.stdout and page.count("<svg") == 4 and page.count("data:image/") == 3


def test_an_audit_takes_both_settings_of_a_folder(cli, runs):
    said = cli("audit", runs/"a", "--by-hand", "--n", 2)
    heads = [line for line in said.stdout.splitlines() if line in ("open-ended:", "multiple choice:")]
    assert said.exit_code == 0 and heads == ["open-ended:", "multiple choice:"], said.output
    assert (runs/"a"/"label-oe.csv").exists() and (runs/"a"/"label-mc.csv").exists()
    assert "--setting" in cli("audit", runs/"a", "--json").stderr


def test_a_run_says_first_what_will_happen(cli, runs, tmp_path):
    said = cli("assess", "--model", f"replay:{runs/'b'}", "--limit", 3, "--k", 3, "--store", tmp_path/"x", "--no-report")
    assert said.stdout.splitlines()[0] == f"b, 3 images of scenes:0, oe: up to 24 calls; replies and tables go to {tmp_path/'x'}"
    assert "written:" in said.stdout


def test_a_long_run_says_a_line_where_nobody_watches(monkeypatch, capfd):
    from unsaf import runs as module
    monkeypatch.setattr(module, "PULSE", .02)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    slow = Scripted(lambda q: time.sleep(.03) or say(None, q.text))
    unsaf.assess(slow, "scenes", n=2, k=3)
    assert re.search(r"unsaf: \d of 4 lists of questions, \d+ of \d+ answers\n", capfd.readouterr().err)
    unsaf.assess(slow, "scenes", n=1, k=3, progress=False)
    assert not capfd.readouterr().err


def test_a_bundled_model_takes_one_thread_unless_told_otherwise(monkeypatch):
    import torch
    from unsaf.models.hf import HF
    seen, plain, before = [], HF._attempt, torch.get_num_threads()
    monkeypatch.setattr(HF, "_attempt", lambda self, *a: seen.append(torch.get_num_threads()) or plain(self, *a))
    try:
        for omp, threads in ((None, 1), ("2", 2)):
            monkeypatch.setenv("OMP_NUM_THREADS", omp) if omp else monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
            torch.set_num_threads(2)
            model = unsaf.load("tiny-s")
            next(iter(model.generate([unsaf.Request((unsaf.images("scenes", n=1)[0].picture, "Question: What?"), max_tokens=2)])))
            assert seen.pop() == threads and torch.get_num_threads() == 2
    finally: torch.set_num_threads(before)


def test_doctor_tries_what_it_calls_ok(monkeypatch):
    from unsaf.cli import common
    line, = common.trial()
    assert re.match(r"ok  a reply        tiny-s: '\w+', after ", line)
    monkeypatch.setattr("unsaf.models.loading.load", lambda name: 1 / 0)
    assert next(common.trial()) == "!!  a reply        ZeroDivisionError: division by zero"
    monkeypatch.setattr(common, "find_spec", lambda name: None if name == "safetensors" else True)
    assert [x[:2] for x in common.parts()][0] == "!!"


def test_a_heif_image_names_the_extra():
    from unsaf.data.image_set import open_image
    with pytest.raises(unsaf.core.ImageError, match=re.escape("pip install 'unsaf[heic]'")): open_image(b"\0\0\0\x18ftypheic" + b"\0" * 20)


def test_a_judge_that_ends_in_an_error_costs_nothing_of_the_run(cli, runs, tmp_path, monkeypatch):
    def broken(*_, **__): raise UnsafError("the judge broke")
    monkeypatch.setattr("unsaf.cli.probes.judged", broken)
    said = cli("assess", "--model", f"replay:{runs/'b'}", "--limit", 3, "--k", 3, "--store", tmp_path/"x")
    assert said.exit_code == 2 and "the judge broke" in said.stderr and "UnF1" in said.stdout
    assert (tmp_path/"x"/"scores-oe.json").exists() and (tmp_path/"x"/"report.html").exists()


def test_a_pattern_and_a_server_are_no_trouble_to_init(tmp_path):
    from unsaf.cli.first import settings_of
    found = settings_of("api:qwen@http://127.0.0.1:8000/v1", f"{tmp_path}/*.jpg", 3)
    assert found["store"].startswith("runs/qwen-")
    with pytest.raises(UnsafError, match="more than 0"): settings_of("tiny-s", "scenes", 3, -1.0, "1,2")


def test_a_card_is_never_written_over_another_readme(tmp_path, runs):
    from unsaf.export.hub import data_card
    result = unsaf.assess(Scripted(lambda q: say(None, q.text)), "scenes", n=2, k=2, progress=False)
    (tmp_path/"README.md").write_text("my project\n")
    with pytest.raises(UnsafError, match="no card of this package"): data_card([result], tmp_path)
    assert (tmp_path/"README.md").read_text() == "my project\n" and not (tmp_path/"questions.jsonl").exists()
    (tmp_path/"README.md").unlink()
    assert data_card([result], tmp_path) and data_card([result], tmp_path)


def test_a_list_without_questions_ends_alike_with_a_judge(cli, tmp_path):
    unsaf.assess(Scripted(lambda q: "I would rather not.", "mute"), "scenes", n=2, k=2, store=tmp_path/"mute").save(tmp_path/"mute")
    command = ("assess", "--model", f"replay:{tmp_path/'mute'}", "--limit", 2, "--k", 2)
    plain, judged = cli(*command), cli(*command, "--judge", f"replay:{tmp_path/'mute'}")
    assert plain.exit_code == judged.exit_code == 4 and "nothing could be scored" in judged.stderr, judged.output


@pytest.mark.parametrize("status,words", [(401, "hf auth login"), (403, "may not write there"), (404, "there is no such place"), (None, "reaches the Hub")])
def test_the_hub_refuses_in_one_line(monkeypatch, status, words):
    import huggingface_hub
    from unsaf.export import hub
    from types import SimpleNamespace
    http = huggingface_hub.errors.HfHubHTTPError.__bases__[0]
    error = http("401 Client Error.\n\n(Request ID: x)\nNot found for url")
    if status: error.response = SimpleNamespace(status_code=status)
    def refuse(*_, **__): raise error
    with pytest.raises(UnsafError, match=words) as e: hub._sent(refuse)
    assert "\n" not in str(e.value)
    assert [hub.size_category(n) for n in (999, 1000, 2_000_000, 10**12)] == ["n<1K", "1K<n<10K", "1M<n<10M", "n>1T"]


def test_a_caption_of_latex_is_escaped(runs):
    from unsaf.export.tables import as_latex
    odd = "a{b}$c^2~d\\e 50% x_y"
    result = unsaf.assess(Scripted(lambda q: say(None, q.text), "m"), "scenes", n=2, k=2, progress=False)
    result.note = odd
    assert r"a\{b\}\$c\textasciicircum{}2\textasciitilde{}d\textbackslash{}e 50\% x\_y" in as_latex([result])


def test_a_summary_shows_answers_not_thoughts_and_cuts_scripts_without_spaces():
    long = "这张图片里有什么" * 20
    def answer(q): return "\n".join(f"{i}. Question: {long}{i}?" for i in (1, 2)) if "provide" in q.text else "<think>hm</think>蓝色"
    text = str(unsaf.assess(Scripted(answer), "scenes", n=2, k=2, progress=False))
    assert "这张图片里有什么这张" in text and "-> 蓝色" in text and "<think>" not in text
