"The page of a run in a real browser: its gallery, keys and links, a narrow screen, a dark one, and paper. And what it weighs."
import re
import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
import pytest
import yaml
from PIL import Image
import unsaf
from browser import BROWSER, Browser, cards_of, data_of
from unsaf.assessment import report
from unsaf.assessment.compared import compared_page
from unsaf.assessment.figures import scores_figure
from unsaf.assessment.gallery import Images, gallery
from unsaf.assessment.names import command_of, model_name, unnamed
from unsaf.assessment.pages import embedded
from unsaf.assessment.report import CITED, page
from unsaf.assessment.saved import paired
from unsaf.assessment.shown import Frame
from unsaf.core import Outcome, Picture, Reply, Sample, UnsafError
from unsaf.models.base import Scripted

LONG = "a_very_long_file_name_of_a_photo_that_somebody_took_on_a_holiday_and_never_renamed_" * 2


def writing(request) -> bool: return request.max_tokens > 100


def talker(request):
    "Every cell and outcome on each image, markup in both, and one reply in Arabic."
    if writing(request):
        easy = "can be answered directly" in request.text
        options = "\nA. red\nB. blue\nC. <b>\nD. </script>" if "A." in request.text else ""
        return "\n".join(f"{i}. Question: {'What' if easy else 'Why'} is number {i} <!-- </script>?{options}" for i in range(1, 6))
    easy, n = "What" in request.text, int(re.search(r"is number (\d)", request.text)[1])
    if n == 5: return Reply("", "refused", "the filter said no")
    if n == 4: return "unanswerable" if easy else "B, هذا هو الجواب</script>"
    if n == 3: return "I cannot tell" if easy else ""
    return ("B" if options_in(request) else "a thing") if easy else "unanswerable"


def options_in(request) -> bool: return "A. " in request.text


def photos(n: int) -> list[Sample]:
    named = lambda i: LONG if i == 1 else f"photo {i}/ü?.jpg"
    return [Sample(Picture(named(i), lambda i=i: Image.radial_gradient("L").resize((600, 300 + i)).convert("RGB"))) for i in range(n)]


@pytest.fixture(scope="module")
def results():
    found = [unsaf.assess(Scripted(talker, name="talker"), photos(12), setting, progress=False) for setting in ("oe", "mc")]
    for r in found: r.table["p_abstain"] = r.table["p_abstain_choice"] = [i / len(r.table) for i in range(len(r.table))]
    return found


@pytest.fixture(scope="module")
def made(results, tmp_path_factory) -> Path:
    return page(results, tmp_path_factory.mktemp("page") / "report.html", folder="my run")


# ---- what is in the file

def test_every_question_is_in_it_and_each_image_once(results, made):
    text, table = made.read_text(), results[0].table
    data = data_of(text)
    assert [len(run["cards"]) for run in data["runs"]] == [12, 12] and len(data["images"]) == 12 == text.count("data:image/")
    assert sum(len(side["questions"]) for card in cards_of(text) for side in card["sides"]) == sum(len(r.table) for r in results)
    asked = [q for card in data["runs"][0]["cards"] for side in card["sides"] for q in side["questions"]]
    assert {q["outcome"] for q in asked} == set(table.outcome)
    assert sum("soft abstention" in q.get("notes", []) for q in asked) == table.soft_abstain.sum() > 0
    assert data["images"][0]["size"] == [256, 128] and data["images"][0]["of"] == [600, 300]
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]', text) and "http" not in text.replace("http://www.w3.org", "")
    first = data_of(report.page_text(results, limit=3))
    assert [len(run["cards"]) for run in first["runs"]] == [3, 3] and first["runs"][0]["images"] == 12


def test_images_that_are_alike_stand_there_once_and_none_where_none_are_wanted(results):
    same = [Sample(Picture(name, lambda: Image.new("RGB", (9, 9)))) for name in "abc"]
    found = gallery([unsaf.assess(Scripted(talker, name="t"), same, k=1, progress=False)])
    assert len(found["images"]) == 1 and [card["image"] for card in found["runs"][0]["cards"]] == [0] * 3
    assert "data:image" not in report.page_text(results[:1], thumbnails=0)
    for wrong in (-1, True, "small"):
        with pytest.raises(UnsafError, match="thumbnails"): Images(wrong)
    with pytest.raises(UnsafError, match="limit"): gallery(results, limit=-1)


def test_a_heavy_page_says_what_makes_it_lighter(results, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("unsaf.assessment.gallery.HEAVY", 1000)
    page(results[:1], tmp_path / "heavy.html")
    line, = capsys.readouterr().err.splitlines()
    assert line.startswith("unsaf: ") and "heavy.html has 0 MB" in line and "--thumbnails 96" in line
    compared_page(paired(results[0], replace(results[0], model="other"), n=50), tmp_path / "two.html", thumbnails=0)
    line, = capsys.readouterr().err.splitlines()
    assert "unsaf compare with --thumbnails 96" in line and "data:image" not in (tmp_path / "two.html").read_text()


def test_the_command_writes_small_images_or_none(results, tmp_path, inside):
    run = unsaf.assess(Scripted(talker, name="t"), "scenes", n=2, k=2, store=tmp_path / "run", progress=False)
    run.save(tmp_path / "run")
    for size, most in (("16", 16), ("0", 0)):
        assert inside("report", tmp_path / "run", "--thumbnails", size).returncode == 0
        assert max((x for image in data_of((tmp_path / "run/report.html").read_text())["images"] for x in image["size"]), default=0) == most
    assert inside("report", tmp_path / "run", "--thumbnails", "-3").returncode == 2
    assert "unsaf report run" in (tmp_path / "run/report.html").read_text()


def test_it_says_how_to_rerun_and_cite_it(results, made):
    text, entry = made.read_text().replace("&#39;", "'"), yaml.safe_load((Path(__file__).parent.parent / "CITATION.cff").read_text())
    assert "unsaf report 'my run'" in text
    paper = entry["preferred-citation"]
    for part in (entry["title"], entry["authors"][0]["name"], paper["title"], paper["authors"][0]["name"], paper["notes"].rstrip(".")): assert part in CITED
    sketches = unsaf.images("scenes", n=2, domain="sketch", seed=7)
    drawn = unsaf.assess(Scripted(talker, name="m"), sketches, "mc", k=2, seed=7, layout="paper", progress=False)
    assert command_of(drawn, "x") == ("unsaf assess --model MODEL --images scenes:sketch --limit 2 --setting mc --k 2 --seed 7 "
                                      "--template none --layout paper --store x")
    assert "For MODEL put in the model as it was named, with its options: the run keeps that it is called talker." in text


def given(result) -> dict[str, str]:
    words = shlex.split(command_of(result))
    return {name: value for name, value in zip(words, words[1:]) if name.startswith("--")}


def test_images_are_named_so_that_they_are_found_again_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i in range(4): Image.new("RGB", (8, 8), (60 * i, 0, 0)).save(tmp_path / f"im {i}.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "one.jpg")
    (tmp_path / "own.csv").write_text("image,question\nim 1.png,What?\nim 3.png,Why?\n")
    folder, drawn = unsaf.images(tmp_path), unsaf.images("scenes", n=3, seed=5)
    others = next(found for seed in range(1, 9) if (found := folder.choose(2, seed)).image_ids != folder.choose(2, 0).image_ids)
    named = {"folder": tmp_path, "part": folder.choose(2, 0), "file": "one.jpg", "pattern": f"{tmp_path}/im*.png", "table": "own.csv", "scenes": drawn}
    unknown = {"list": [*tmp_path.glob("*.png")], "relative": "im*.png", "slice": folder[3:], "later": drawn[1:], "other seed": others}
    for which, source in (named | unknown).items():
        run = unsaf.assess(Scripted(talker, name="t"), source, k=1, progress=False)
        words = given(run)
        if which in unknown: assert words["--images"] == "IMAGES", which
        else:
            monkeypatch.chdir(tmp_path.parent if which in ("folder", "part") else tmp_path)      # beside what is named
            again = unsaf.images(words["--images"], n=int(words["--limit"]), seed=int(words["--seed"]))
            monkeypatch.chdir(tmp_path)
            assert (again.source, again.image_ids) == (run.source, run.images), which
        assert any("IMAGES" in line for line in unnamed(run)) == (which in unknown)


def test_models_are_named_so_that_they_are_found_again_or_not_at_all():
    from unsaf.models.checkpoint import weights_fingerprint
    from unsaf.models.loading import checkpoint_of
    from unsaf.models.served.api import from_spec
    from unsaf.world import tiny
    named = lambda name, identity: model_name(SimpleNamespace(model=name, identity=identity))
    local = lambda weights, **more: dict(weights=weights, kind="transformers", **more)
    own, commit = weights_fingerprint(tiny.path("tiny-s")), "ab" * 20
    assert named("tiny-s", local(own)) == ("tiny-s", {}) and checkpoint_of("tiny-s")
    there = dict(dtype="bfloat16", device="cuda")
    assert named("tiny-s", local(own, **there)) == ("tiny-s", there) and named("ckpt", local("sha256:0", **there)) == ("", {})
    assert named("owner/name", local(f"hub:{commit}")) == (f"hf:owner/name@{commit}", {})
    assert checkpoint_of(f"hf:owner/name@{commit}") == ("owner/name", commit)
    assert named("mix:tiny-s+tiny-m@0.5", local("sha256:0"))[0] == "mix:tiny-s+tiny-m@0.5"
    served = dict(engine="vllm 0.11.0", weights=f"hub:{commit}", arguments=["--max-num-seqs", "64"], omit=["seed"])
    assert named("owner/name", served) == (f"vllm:owner/name@{commit}", dict(engine_args="--max-num-seqs 64", omit="seed"))
    for name, identity in (("tiny-m", local(own)), ("ckpt", local("sha256:0")), ("mix:sub/a+tiny-m@0.5", local("sha256:0")), ("o/n", dict(name="o/n")),
                           ("o/n", dict(bridge="key")), ("o/n", served | dict(detail="high")), ("o/n", served | dict(weights="sha256:0")),
                           *(("tiny-s", local(own, **{k: {"a": 1}})) for k in ("adapter", "processor_kwargs", "dola", "cove"))):
        assert named(name, identity) == ("", {}), (name, identity)
    for spec, known in (("api:my-model@http://localhost:8000/v1", True), ("api:o/a@https://api.openai.com/v1", True), ("api:m@http://gpu7:1/v1", False)):
        model = from_spec(spec, omit=("seed", "top_p"), extra_body={"a": "b c"})
        said = dict(omit="seed,top_p", extra_body='{"a": "b c"}')
        assert named(model.name, model.identity) == ((spec, said) if known else ("", {}))


def test_a_page_of_nothing_is_refused_in_a_line(tmp_path):
    with pytest.raises(UnsafError, match="at least one assessment"): page([], tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()


def test_a_name_cannot_disturb_the_page():
    odd = "m\0\x1b[31m\u202e<b>"
    run = unsaf.assess(Scripted(talker, name=odd), photos(1), k=1, progress=False)
    again = unsaf.assess(Scripted(talker, name="n"), photos(1), k=1, progress=False)
    text = report.page_text([run, again])
    assert not re.search(r"[\0\x1b]", text) and "<bdi>m\u2400\u241b[31m\ufffd&lt;b&gt;</bdi>" in text and "(m\u2400" in data_of(text)["runs"][0]["title"]
    assert "\0" not in scores_figure([run]).axes[0].get_title("left")


# ---- in a browser

in_browser = lambda test: pytest.mark.slow(pytest.mark.skipif(not BROWSER, reason="no chromium here")(test))
SHOWN = "[...document.querySelectorAll('.q')].map(q => q.querySelector('.tag').textContent)"
SAID = "document.getElementById('said').textContent"
CONTRAST = """(() => {
  const linear = x => x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4;
  const light = c => c.match(/[\\d.]+/g).slice(0, 3).map(x => linear(x / 255)).reduce((sum, x, i) => sum + x * [.2126, .7152, .0722][i], 0);
  const ground = n => n ? (c => /^rgba.*, 0\\)/.test(c) ? ground(n.parentElement) : c)(getComputedStyle(n).backgroundColor) : 'rgb(255,255,255)';
  const ratio = n => { const [a, b] = [light(getComputedStyle(n).color), light(ground(n))].sort((x, y) => y - x); return (a + .05) / (b + .05); };
  const texts = 'h1, p, td, th, .tag, .small, .text, pre, a, button, summary, .note, .sentence';
  return Math.min(...[...document.querySelectorAll(texts)].filter(n => n.offsetParent).map(ratio)); })()"""


@in_browser
def test_filters_counts_search_order_and_settings(results, made):
    table = results[0].table
    with Browser(made) as tab:
        assert tab.js("[...document.querySelectorAll('#cells button')].map(b => b.textContent)") == [
            f"all {len(table)}", *(f"{c} {(table.cell == c).sum()}" for c in ("TA", "TU", "FA", "FU")), f"neither {table.cell.isna().sum()}"]
        assert tab.js("document.querySelectorAll('.card').length") <= 10 and tab.js(SAID) == "120 questions on 12 images."
        tab.click("#cells button[data-cell=FA]")
        assert set(tab.js(SHOWN)) == {"FA"} and tab.js(SAID).startswith(f"{(table.cell == 'FA').sum()} of 120 questions")
        tab.click("#cells button[data-cell='']")
        for id, choice, n in (("outcome", str(Outcome.REFUSED), (table.outcome == "refused").sum()), ("note", "soft abstention", table.soft_abstain.sum())):
            tab.js(f"(s => {{ s.value = '{choice}'; s.onchange() }})(document.getElementById('{id}'))")
            assert tab.js(SAID).startswith(f"{n} of 120 questions") and f"({n})" in tab.js(f"document.querySelector('#{id} option:checked').textContent")
            tab.key("Escape")
        tab.key("/", *"ü number 2", "Escape")      # Esc: all are back
        assert tab.js(SAID) == "120 questions on 12 images."
        tab.key("/", *'WHY "NUMBER 2')
        assert tab.js(SAID) == "12 of 120 questions on 12 images." and tab.js("document.activeElement.id") == "words"
        tab.key(*"zzz")
        assert tab.js(SAID).startswith("None match") and tab.js("document.querySelectorAll('.card').length") == 0
        tab.key("Escape")
        tab.js("(s => { s.value = 'down'; s.onchange() })(document.getElementById('sort'))")
        p = tab.js("[...document.querySelectorAll('.card')].map(c => +c.textContent.match(/p\\(abstain\\) ([.0-9]+)/)[1])")
        assert p[0] == .99 and p == sorted(p, reverse=True) and tab.js("document.querySelectorAll('.card:first-child .q').length") >= 1
        tab.click("#runs button:nth-child(2)")
        assert tab.js("document.querySelectorAll('.card ol li').length") > 0 and tab.js("state.cell + state.words + state.sort") == "run"
        assert not tab.problems and not tab.asked


@in_browser
def test_keys_links_and_an_image_shown_large(made):
    with Browser(made, fragment="#mc/" + "photo%207%2F%C3%BC%3F.jpg") as tab:
        now = "document.activeElement.querySelector('a.small')?.textContent"
        assert tab.js(now) == "photo 7/ü?.jpg" and tab.js("document.querySelector('#runs .on').textContent") == "multiple choice"
        tab.key("j")
        assert tab.js(now) == "photo 8/ü?.jpg"
        tab.key("k", "ArrowLeft", "ArrowRight", "k")
        assert tab.js(now) == "photo 6/ü?.jpg"
        assert tab.js("document.activeElement.getBoundingClientRect().top >= document.getElementById('hands').getBoundingClientRect().bottom")
        tab.key("Escape", *"k" * 20)
        assert tab.js(now) == "photo 0/ü?.jpg"
        tab.click(".card .look")
        assert tab.js("document.getElementById('large').open")
        assert "256 × 128 pixels; the image has 600 × 300" in tab.js("document.getElementById('caption').textContent")
        tab.key("Escape")
        assert not tab.js("document.getElementById('large').open")
        for link in tab.js("[...document.querySelectorAll('nav a')].map(a => a.getAttribute('href'))"):
            tab.click(f"nav a[href='{link}']")
            assert abs(tab.js(f"document.querySelector('{'#questions' if 'questions' in link else link}').getBoundingClientRect().top")) < 900, link
        assert tab.js("document.querySelector('#runs .on').textContent") == "multiple choice"        # of the last link to questions
        right = "getComputedStyle([...document.querySelectorAll('.reply .text')].find(t => t.textContent.includes('هذا'))).unicodeBidi"
        assert tab.js(right) == "plaintext" and not tab.problems and not tab.asked


@in_browser
def test_links_within_the_frame_of_a_notebook(results, tmp_path):
    (tmp_path / "notebook.html").write_text("<h1>a notebook</h1>" + Frame(results, limit=4)._repr_html_())
    with Browser(tmp_path / "notebook.html") as tab:
        tab.until("frames[0].document.querySelector('#cells button')")
        for link, there in (("#again", "again"), ("#questions-mc", "questions")):
            tab.js(f"frames[0].document.querySelector('nav a[href=\"{link}\"]').click()")
            tab.until(f"Math.abs(frames[0].document.getElementById('{there}').getBoundingClientRect().top) < 300")
        assert tab.js("frames[0].document.querySelector('#runs .on').textContent") == "multiple choice" and not tab.problems


@in_browser
@pytest.mark.parametrize("dark", [False, True])
def test_a_narrow_screen_and_a_dark_one(made, dark):
    with Browser(made, width=390, height=800, dark=dark) as tab:
        assert tab.js("document.documentElement.scrollWidth") <= 390
        tab.js("document.getElementById('questions').scrollIntoView()")
        tab.until("document.querySelector('.card')")
        assert tab.js("Math.max(...[...document.querySelectorAll('.card')].map(c => c.getBoundingClientRect().right))") <= 390
        assert tab.js(CONTRAST) > 4.5      # WCAG AA
        assert (tab.js("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)") != dark
        assert tab.js("document.querySelector('.plots svg').getBoundingClientRect().width") > 330 and not tab.problems


@in_browser
def test_five_thousand_questions_stay_few_nodes_and_paper_has_the_first(results, tmp_path):
    text = report.page_text(results[:1], thumbnails=0)
    many = data_of(text)
    many["runs"][0] |= dict(cards=[many["runs"][0]["cards"][0] | dict(id=f"image {i}") for i in range(500)], images=500)
    (tmp_path / "many.html").write_text(re.sub(r'(?<=id="data">).*?(?=</script>)', lambda m: str(embedded(many)), text, flags=re.S))
    with Browser(tmp_path / "many.html") as tab:
        assert tab.js(SAID) == "5,000 questions on 500 images."
        most = 0
        for at in (0, .2, .5, .7, 1):
            tab.js(f"scrollTo(0, (top => top + {at} * (document.documentElement.scrollHeight - top - 900))(document.getElementById('cards').offsetTop))")
            tab.until("[...document.querySelectorAll('.card')].some(c => c.getBoundingClientRect().bottom > 0 && c.getBoundingClientRect().top < innerHeight)")
            most = max(most, tab.js("document.getElementsByTagName('*').length"))
        assert most < 6000      # of some 40,000, were all of them drawn
        tab.send("Page.printToPDF")
        assert tab.js("document.querySelectorAll('.card').length") < 100 and not tab.problems      # drawn for paper, and gone again
        tab.js("dispatchEvent(new Event('beforeprint'))")
        assert tab.js("document.querySelectorAll('.chunk:not([hidden]) .card').length") == 100
        assert "first 100 of 500" in tab.js("document.getElementById('printed').textContent")
