"What the documentation says: its promises have tests, and its blocks of code run."
import importlib.util, io, re, shlex, socket
from pathlib import Path
import pytest
import unsaf

root = Path(__file__).resolve().parent.parent


def tool(name):
    spec = importlib.util.spec_from_file_location(name, root/"tools"/f"{name}.py")
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    return module


def test_every_promise_has_its_tests_and_the_page_says_which():
    promises = tool("promises")
    assert not promises.problems()
    assert promises.PAGE.read_text("utf-8") == promises.page(), "python tools/promises.py writes it"
    assert len(promises.faults()) >= 18


@pytest.mark.promise("local", "page")
def test_a_bundled_model_and_a_folder_need_no_network_and_neither_does_the_page(tmp_path, monkeypatch):
    from PIL import Image
    for i in range(2): Image.new("RGB", (32, 32), (100 * i, 0, 0)).save(tmp_path/f"{i}.png")
    def refuse(self, address): raise AssertionError(f"a connection to {address}")
    for name in ("connect", "connect_ex"): monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **_: refuse(None, a))
    result = unsaf.assess("tiny-s", tmp_path, k=1, store=tmp_path/"run", progress=False)
    page = Path(result.report(tmp_path/"report.html")).read_text("utf-8")
    assert len(result.images) == 2 and not re.search(r"<(script|link|img|iframe)[^>]*(src|href)=[\"']?(https?:)?//", page) and "@import" not in page


# ---- blocks of code

BLOCK = re.compile(r"(?:^<!-- (not run|run elsewhere): ([^\n]+?) -->\n+)?^```(sh|bash|python|yaml)\n(.*?)^```", re.M | re.S)
PAGES = ["README.md", *sorted(f"docs/{p.name}" for p in (root/"docs").glob("*.md"))]
PHOTOS = ("path/to/photos", "photos")
# what is too large, or belongs to others, and what stands in for it here; the rest of a line is as it is printed
STAND_INS = {"--limit 100": "--limit 4", "--limit 200": "--limit 4", "limit: 100": "limit: 4", "--limit 10": "--limit 6", "--n 10": "--n 3",
             "tiny-m": "tiny-s", "tiny-l": "tiny-m",
             "hf:llava-hf/llava-1.5-7b-hf": "tiny-s", "path/to/checkpoint": str(root/"unsaf/tiny_models/tiny-s"), "=...": "=sk-of-nobody"}


def blocks(page): return [m.groups() for m in BLOCK.finditer((root/page).read_text("utf-8"))]


def test_every_block_of_code_is_run_or_says_why_not():
    marks = [(page, how, why) for page in PAGES for how, why, *_ in blocks(page)]
    elsewhere = [(page, why) for page, how, why in marks if how == "run elsewhere"]
    assert [x for x in elsewhere if not (root/x[1]).is_file()] == []
    run, not_run = (sum(how == x for _, how, _ in marks) for x in (None, "not run"))
    assert run >= 14 and not_run <= 11, "a block that is not run here needs a reason, and there are as few as can be"


def commands(code):
    "The commands of a block, without comments."
    for line in code.splitlines():
        yield from filter(None, (shlex.split(part, comments=True) for part in re.split(r"; (?![^#]*')", line.split("  #")[0])))


@pytest.fixture
def place(tmp_path, monkeypatch):
    "An empty folder with photographs, and a provider on loopback."
    from PIL import Image
    from faulty_server import Faulty, reply
    for folder in PHOTOS:
        (tmp_path/folder).mkdir(parents=True, exist_ok=True)
        for i in range(4): Image.new("RGB", (48, 48), (60 * i, 0, 0)).save(tmp_path/folder/f"{i}.png")
    (tmp_path/"judged.csv").write_text("image,question,answerable,answers\n" + "".join(
        f"photos/{i}.png,What colour is it?,1,red\nphotos/{i}.png,What is the secret of it?,0,\n" for i in range(4)))
    def say(call):
        if "provide" not in call.text: return reply("unanswerable" if "secret" in call.text else "red")
        word = "secret" if "unanswerable question" in call.text else "colour"
        return reply("\n".join(f"{i}. Question: What is the {word} of thing {i}?" for i in range(1, 6)))
    monkeypatch.chdir(tmp_path)
    with Faulty(say) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        yield server


@pytest.mark.slow
@pytest.mark.promise("blocks")
@pytest.mark.parametrize("page", [p for p in PAGES if any(how is None for how, *_ in blocks(p))])
def test_blocks_of_code_run(page, place, inside, monkeypatch):
    def run(words):
        if words[0] == "export": return [monkeypatch.setenv(*w.split("=", 1)) for w in words[1:]]
        assert words[0] == "unsaf", f"{page}: {' '.join(words)} is no command of this package: mark its block"
        monkeypatch.setattr("sys.stdin", io.StringIO("\n" * 9))
        done = inside(*words[1:])
        assert done.returncode == 0, f"{page}: {' '.join(words)}\n{done.stderr}"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-nobody")
    names = {}
    for how, _, language, code in blocks(page):
        if how: continue
        for old, new in {**STAND_INS, "http://127.0.0.1:8000/v1": place.url}.items(): code = code.replace(old, new)
        if language == "python": exec(code, names)
        elif language == "yaml":
            Path("run.yaml").write_text(code)
            run(["unsaf", "assess", "--config", "run.yaml"])
        else:
            for words in commands(code): run(words)


def test_a_docstring_that_names_a_tag_is_text():
    assert tool("docs").prose("JSON in a <script>: `<image>` stays") == "JSON in a &lt;script>: `<image>` stays"
    assert tool("docs").prose(None) == ""
