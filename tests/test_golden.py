"""What stays as it is when the code is rearranged: verdicts, prompts, keys, help, figures, runs of today, scores.

`python tests/test_golden.py --write` writes tests/golden anew, or only what is named behind it; the run of today, `run`, only if it is named."""
import csv, hashlib, io, json, math, os, shutil, sqlite3, sys, tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path
import pandas as pd
import pytest
import unsaf
from PIL import Image
from browser import cards_of
from typer.main import get_command
from typer.testing import CliRunner
from unsaf import prompts
from unsaf import bench
from unsaf.cli import app
from unsaf.core import Picture, Reply, Request, Sample
from unsaf.models.cove import intervene
from unsaf.store import ask_of, key_of

GOLDEN, ROOT = Path(__file__).parent / "golden", Path(__file__).parents[1]
HEAD = 200     # characters of a text that are shown beside its hash


def sha(text):
    return hashlib.sha256(text if isinstance(text, bytes) else text.encode()).hexdigest()[:16]


def head(text):
    return json.dumps(text[:HEAD], ensure_ascii=False)[1:-1]


def lines(rows):
    "Rows as CSV, a line each."
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def command(*args):
    "What `unsaf` prints, run in this process."
    with pytest.MonkeyPatch.context() as m:
        for name, value in dict(COLUMNS="80", NO_COLOR="1", TERM="dumb", CI="true").items(): m.setenv(name, value)
        run = CliRunner().invoke(app, [str(a) for a in args], prog_name="unsaf", catch_exceptions=False)
    assert run.exit_code == 0, run.output
    return run.stdout


# ---- requests: what is asked, and under which key its reply is kept

MC = "\n".join(f"{i}. Question: {q}\nA. red\nB. green\nC. blue\nD. white" for i, q in ((1, "Which color is it?"), (2, "Which color is behind it?")))
OE = "1. Question: What is it?\n2. Question: What stands behind it?"


class Recorder:
    "Keeps what it is asked, and writes lists of questions that can be read."
    name, template, identity = "recorder", "none", {"name": "recorder", "version": 1}
    def __init__(self): self.asked = []
    def render(self, request): return f"<s>{request.system}|{request.text}"
    def generate(self, requests):
        for i, r in enumerate(requests):
            self.asked.append(r)
            yield Reply((MC if "multiple-choice" in r.text.lower() else OE) if r.max_tokens > 64 else "A", index=i)


def plain(color, size=(40, 30)):
    return Picture(f"{color}.png", lambda: Image.new("RGB", size, color))


def ways():
    "(name, options of assess): each choice that changes what is sent, once."
    for setting in ("oe", "mc"):
        more = [{}, dict(layout="paper"), dict(k=2), dict(question_tokens=256, answer_tokens=32), dict(temperature=.7, seed=3)]
        more += [dict(suffix=s) for s in ("audacity", "timidity")] + [dict(paraphrase=p) for p in range(1, prompts.PARAPHRASES + 1)]
        more += [dict(template=t, layout=layout) for t in prompts.SYSTEM if t != "none" for layout in prompts.LAYOUTS]
        more += [dict(answer_mode="logit")] if setting == "mc" else []
        for options in more: yield " ".join([setting, *(f"{k}={v}" for k, v in options.items())]), dict(setting=setting, **options)


def samples():
    "What each benchmark can ask about."
    said = [("What color is it?", (), ("red",)), ("Which color is it?", ("red", "blue", "green"), ("A",)), ("Is there a dog in the image?", (), ("no",))]
    return [Sample(plain(c), "golden", q, o, a) for c in ("red", "blue") for q, o, a in said]


def recorded(store=None):
    "(what was run, what the model was asked) for each way of asking and each benchmark; replies are kept in `store`."
    shown = [plain("red")]
    for name, options in ways():
        model = Recorder()
        unsaf.assess(model, shown, store=store, progress=False, **options)
        yield f"assess {name}", model.asked
    for name in ("accuracy,calibration", "mr", "cu", "pope"):
        model = Recorder()
        bench(model, name, samples(), store=store, progress=False, resamples=2, k=2)
        yield f"bench {name}", model.asked
    model = Recorder()
    unsaf.assess(intervene(model, "cove"), shown, store=store, progress=False)
    yield "assess cove", model.asked


def text_of(request):
    return "".join(p if isinstance(p, str) else "<image>" for p in request["parts"])


def requests():
    "A line a request that is kept: the ways of asking, the benchmarks, and a wrapper with what it asks on the way."
    rows, seen = [], 0
    with tempfile.TemporaryDirectory() as folder, unsaf.Store(folder) as store, closing(sqlite3.connect(Path(folder) / "replies.sqlite")) as db:
        for name, asked in recorded(store):
            found = db.execute("select ask, key, request from replies order by rowid limit -1 offset ?", (seen,)).fetchall()
            seen += len(found)
            each = [(ask[:16], key[:16], json.loads(request)) for ask, key, request in found]
            if "cove" in name: each += [("", "", dict(vars(r), parts=list(r.parts))) for r in asked]
            rows += [(name, ask, key, sha(json.dumps([r["system"], text_of(r)])), head(text_of(r))) for ask, key, r in each]
    return lines(rows)


BASE = Request((plain("red"), "What color is it?"), template="t")
ODD = {
    "as it is": {}, "max_tokens": dict(max_tokens=10), "temperature": dict(temperature=.7), "seed": dict(seed=5), "sampled": dict(temperature=1.0, seed=7),
    "system": dict(system="Be brief."), "candidates": dict(candidates=("A", "B", "unanswerable")), "decide": dict(candidates=("A", "B"), decide=True),
    "template": dict(template="other"), "no picture": dict(parts=("Say something.",)), "two pictures": dict(parts=(plain("red"), plain("blue"), "Compare.")),
    "picture last": dict(parts=("What color is it?", plain("red"))), "same pixels": dict(parts=(Picture("x", plain("red").read), "What color is it?")),
    "other size": dict(parts=(plain("red", (30, 40)), "What color is it?")), "cut text": dict(parts=(plain("red"), "What color", " is it?")),
    "letters": dict(parts=(plain("red"), "Größe? 猫 \N{CAT FACE} \x00 \"q\"\n")), "half a letter": dict(parts=("a\ud83d b",)),
    "markup": dict(parts=(plain("red"), "Is <image> or <|image_pad|> a tag? </s><|im_end|>")),
    "several": dict(max_tokens=1, temperature=.1, seed=2**31, system="s")}


def keys():
    "A line a request: its fingerprint, and its key for two identities and two renderings."
    rows = []
    for name, changes in ODD.items():
        ask = ask_of(replace(BASE, **changes))
        rows.append((name, ask, *(key_of(i, r, ask)[:16] for i in ({"name": "m"}, {"name": "m", "sizes": [1, 2.5], "none": None}) for r in ("", "<s>Größe"))))
    return lines(rows)


# ---- help and figures

def helps():
    "The help of every command."
    def walk(path, group):
        yield path
        for name, sub in getattr(group, "commands", {}).items(): yield from walk((*path, name), sub)
    return "".join(f"$ unsaf {' '.join(path)}\n{command(*path, '--help').rstrip()}\n\n" for path in walk((), get_command(app)))


def figures():
    "A hash for each committed table of the figures, and for the ledger."
    folder = ROOT / "figures" / "testbed"
    files = sorted([*folder.glob("*.csv"), folder / "ledger.md"])
    return lines((f.relative_to(folder).as_posix(), hashlib.sha256(f.read_bytes()).hexdigest()) for f in files)


# ---- the audit, and the chats of every family (slow)

def audit():
    "A line a verdict of the audit of the published numbers."
    from unsaf.paper.audit import audit
    rows = audit().to_dict("records")
    return lines([r["check"], r["of"], r["where"], r["published"], r["recomputed"], *(_short(r[x]) for x in ("low", "high")), r["verdict"],
                  sha(r["claim"] + "|" + r["comment"])] for r in rows)


def _short(x):
    return "" if x is None or math.isnan(x) else f"{x:.6g}"


def chats(old=""):
    "What every family's own template makes of every request, those of a family that cannot be built here as they were."
    import tiny_checkpoints
    asked = {}
    for name, some in recorded():
        for r in some: asked.setdefault((r.system, tuple(p if isinstance(p, str) else "<image>" for p in r.parts)), (name, r))
    shown = [(f"{n} {name}", r) for n, (name, r) in enumerate(asked.values()) if name in ("assess oe", "assess mc layout=paper", "bench mr")]
    shown += [(name, replace(BASE, **ODD[name])) for name in ("no picture", "two pictures", "picture last", "markup", "system")]
    rows = []
    for family in tiny_checkpoints.FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            try: model = unsaf.load(str(tiny_checkpoints.build(family, Path(folder) / family)), device="cpu")
            except ImportError:
                rows += [row for row in csv.reader(io.StringIO(old)) if row[0] == family]
                continue
            texts = [(name, model.render(r)) for name, r in shown]
            texts.append(("all requests", "\0".join(model.render(r) for _, r in asked.values())))
        rows += [(family, model.template, name, sha(text), head(text)) for name, text in texts]
    return lines(rows)


TEXTS = {"requests.csv": requests, "keys.csv": keys, "help.txt": helps, "figures.csv": figures}
SLOW = {"audit.csv": audit, "chats.csv": chats}


def check(name, made):
    "Each line as it was; the first few others are shown."
    old = (GOLDEN / name).read_text(encoding="utf-8").splitlines()
    new = made.splitlines()
    gone, come = [x for x in old if x not in set(new)], [x for x in new if x not in set(old)]
    assert not (gone or come), "\n".join([f"{name}: {len(gone)} lines gone, {len(come)} new", *(f"- {x}" for x in gone[:4]), *(f"+ {x}" for x in come[:4])])
    assert old == new, f"{name}: the same lines in another order"


@pytest.mark.parametrize("name", TEXTS)
def test_as_it_was(name): check(name, TEXTS[name]())


def test_verdicts_of_the_audit(): check("audit.csv", audit())


@pytest.mark.slow
def test_chats_of_every_family():
    pytest.importorskip("transformers")
    check("chats.csv", chats((GOLDEN / "chats.csv").read_text(encoding="utf-8")))


def test_enough_is_frozen():
    rows = {name: list(csv.reader(io.StringIO((GOLDEN / name).read_text(encoding="utf-8")))) for name in ("requests.csv", "keys.csv", "audit.csv", "chats.csv")}
    assert len(rows["audit.csv"]) == 426 and len(rows["keys.csv"]) == len(ODD)
    assert len({r[2] for r in rows["requests.csv"] if r[2]}) > 150 and len({r[0] for r in rows["chats.csv"]}) >= 14
    assert rows["keys.csv"][0][1:] == next(r for r in rows["keys.csv"] if r[0] == "same pixels")[1:], "a picture's name is no part of a key"


def test_lines_of_the_ledger():
    names = ["of", "kind", "claim", "published", "measured", "low", "high", "tolerance", "verdict", "why", "profile"]
    entries = pd.read_csv(ROOT / "figures/testbed/ledger.csv")
    assert len(entries) > 280 and list(entries) == names and set(entries["kind"]) == {"cell", "claim", "audit"}
    assert set(entries["verdict"]) <= {"reproduced", "not reproduced", "not run", "not reproducible", "built in", "undecided", "one run"}


@pytest.mark.parametrize("folder", [ROOT / "figures/testbed", GOLDEN / "paper"], ids=lambda f: f.name)
def test_tables_of_the_paper_agree_with_each_other(folder):
    from unsaf.world import tiny
    def table(name): return pd.read_csv(folder / f"{name}.csv", keep_default_na=False, na_values=["", "nan"])
    def values(name, *keys, **only): return table(name).query(" and ".join(f"{k} == {v!r}" for k, v in only.items())).set_index([*keys])["value"]
    wide = table("table06").fillna({"suffix": ""}).pivot(index=["model", "setting", "suffix"], columns="metric", values="value")
    rates = [*(wide["TA"] + wide["FU"]), *(wide["FA"] + wide["TU"]), *table("fig07").groupby(["student", "arm", "answerable"])["value"].sum()]
    assert len(wide) and rates == pytest.approx([1] * len(rates))
    cells, letters = table("table05").set_index(["model", "dataset", "setting", "metric", "variant"])["value"].sort_index(), dict(audacity="A", timidity="T")
    for r in table("fig04").itertuples():
        cell = cells[r.pair, r.dataset, r.setting, letters.get(r.metric, r.metric)]
        assert r.difference == pytest.approx(cell["instruction-tuned"] - cell["pretrained"])
    for one, other, keys, only, also in (("table11", "table04", ("model", "setting", "metric"), dict(prompt="original", stage="both"), dict(dataset="plain")),
                                         ("table02", "table13", ("student", "dataset", "metric"), dict(strategy="Baseline"), dict(strategy="Baseline"))):
        some, all_of = values(one, *keys, **only), values(other, *keys, **also).sort_index()
        assert len(some) and all({*all_of.loc[[key]]} == {value} for key, value in some.items()), one      # the baseline stands under each teacher
    for r in table("fig06").itertuples(): assert r.parameters == pytest.approx(tiny.card(r.model)["parameters"] / 1e9)
    far, drawn = table("fig02").dropna(subset="distance"), table("fig03")
    assert far["distance"].between(0, far["max"]).all() and set(far[far["metric"] == "MR"]["setting"]) == {"MC"}
    lost = drawn[(drawn["by"] == "images") & (drawn["n"] > drawn["population"])]
    assert len(lost) and lost["mean"].isna().all() and lost["why"].str.startswith("above the population").all()      # a gap with its reason


# ---- a run of today, read by every version to come

MODEL, N, K, BENCH_N = "tiny-s", 6, 2, 3


def write_run(folder=GOLDEN / "run"):
    "A run folder with both settings and the benchmarks."
    shutil.rmtree(folder, ignore_errors=True)
    command("assess", "--model", MODEL, "--images", "scenes", "--limit", N, "--setting", "both", "--k", K, "--store", folder, "--no-report")
    command("bench", "--model", MODEL, "--n", BENCH_N, "--k", K, "--store", folder)
    with closing(sqlite3.connect(folder / "replies.sqlite")) as db:
        for line in ("pragma journal_mode=delete", "vacuum"): db.execute(line)


@pytest.fixture
def run(tmp_path):
    return Path(shutil.copytree(GOLDEN / "run", tmp_path / "run"))


def same(a, b):
    "Two scores, intervals or tables of them, numbers to rounding."
    if isinstance(a, dict) and isinstance(b, dict): return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list): return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float): return math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-4)
    return a == b


@pytest.mark.promise("replayed")
@pytest.mark.parametrize("setting", ["oe", "mc"])
def test_a_replay_gives_the_same_table_and_scores(run, setting):
    found = unsaf.assess(unsaf.load(f"replay:{run}"), "scenes", setting, K, n=N, seed=0, progress=False, template=card(run, setting)["plan"]["template"])
    pd.testing.assert_frame_equal(found.table, pd.read_parquet(run / f"table-{setting}.parquet"), check_dtype=False)
    pd.testing.assert_frame_equal(found.lists, pd.read_parquet(run / f"lists-{setting}.parquet"), check_dtype=False)
    assert found.calls["asked"] == found.calls["failed"] == 0 < found.calls["cached"]
    now, then = found.as_dict(), card(run, setting)
    assert (now["model"], now["identity"], now["plan"], now["run"]) == (then["model"], then["identity"], then["plan"], then["run"])
    assert same(now["scores"], then["scores"])
    files = [(run / f).read_bytes() for f in (f"table-{setting}.csv", f"lists-{setting}.csv")]
    found.save(run)
    assert files == [(run / f).read_bytes() for f in (f"table-{setting}.csv", f"lists-{setting}.csv")]


def card(run, setting):
    return json.loads((run / f"scores-{setting}.json").read_text(encoding="utf-8"))


@pytest.mark.promise("replayed")
def test_the_benchmarks_of_then_are_replayed(run):
    then = json.loads((run / "bench.json").read_text(encoding="utf-8"))
    now = json.loads(command("bench", "--model", f"replay:{run}", "--n", BENCH_N, "--k", K, "--json"))
    assert now["calls"]["asked"] == now["calls"]["failed"] == 0 < now["calls"]["cached"]
    for name in ("run", "model", "identity", "plan", "table", "how", "missing", "reading"): assert same(now[name], then[name]), name


def test_a_page_of_the_run_of_then(run):
    said = command("report", run)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "its raw replies, read anew" in said and len(cards_of(page)) == 2 * N
    assert all(q in page for q in pd.read_parquet(run / "table-oe.parquet")["question"].head(3))


# ---- numbers of a bundled model

def score_lines(store=None):
    "Scores of a small run of a bundled model and of the benchmarks on it, and the calls that they took."
    model, asked = unsaf.load(MODEL, dtype="float32", device="cpu"), 0
    out = {}
    for setting in ("oe", "mc"):
        found = unsaf.assess(model, "scenes", setting, K, store, n=N, seed=0, progress=False)
        out |= scored(f"assess {setting}", found.as_dict()["scores"])
        asked += found.calls["asked"]
    found = bench(model, source="scenes", n=BENCH_N, k=K, store=store, progress=False)
    out |= {f"bench {r['benchmark']}, {r['part']}, {r['metric']}": rounded([r["value"], r["low"], r["high"]]) for r in found.as_dict()["table"]}
    out |= own_keys(model)
    return out, asked + found.calls["asked"], model


def scored(name, scores):
    "Scores of an assessment: value and interval of each, and the rest as it is."
    each = {f"{name} {s['score']}": rounded([s["value"], s["low"], s["high"]]) for s in scores["scores"]}
    return each | {f"{name} {what}": rounded(value) for what, value in scores.items() if what != "scores"}


def own_keys(model):
    "Keys of a real model and of wrappers around it, whatever versions of libraries are installed."
    out = {}
    for name in ("none", "cove", "dola"):
        m = intervene(model, name)
        out[f"key {name}"] = [m.render(BASE), key_of({**m.identity, "torch": "", "transformers": ""}, m.render(BASE), ask_of(BASE))]
    return out


def rounded(x):
    if isinstance(x, dict): return {k: rounded(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)): return [rounded(v) for v in x]
    return round(x, 6) if isinstance(x, float) else x


@pytest.mark.slow
def test_scores_of_a_bundled_model(run):
    pytest.importorskip("transformers")
    now, asked, model = score_lines(run)
    then = json.loads((GOLDEN / "scores.json").read_text(encoding="utf-8"))
    assert list(now) == list(then) and not (other := {name: (now[name], then[name]) for name in then if not same(now[name], then[name])}), other
    if model.identity == card(run, "oe")["identity"]: assert asked == 0, "replies of then were paid for again"


@pytest.mark.slow
def test_scores_of_a_bundled_model_asked_anew():
    pytest.importorskip("transformers")
    now, asked, _ = score_lines()
    assert asked > 100 and same(now, json.loads((GOLDEN / "scores.json").read_text(encoding="utf-8")))


def score_text(found):
    return "{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in found.items()) + "\n}\n"


def write(names):
    GOLDEN.mkdir(exist_ok=True)
    made = {**TEXTS, **SLOW, "scores.json": lambda: score_text(score_lines()[0])}
    for name in names or made:
        file = GOLDEN / name
        if name == "run": write_run()
        else: file.write_text(made[name](*([file.read_text("utf-8")] if name == "chats.csv" and file.exists() else [])), encoding="utf-8")
        print("written:", file.relative_to(ROOT), file=sys.stderr)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    if sys.argv[1:2] != ["--write"]: sys.exit(__doc__)
    write(sys.argv[2:])
