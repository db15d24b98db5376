"`unsaf board` and `unsaf compare --page`: what stands together, what is said, and the two pages in a browser."
import json, re, shutil, subprocess, warnings
from dataclasses import replace
import pytest
from typer.testing import CliRunner
from unsaf.assessment.board import leaderboard
from unsaf.assessment.compared import compared_data, compared_page
from unsaf.assessment.saved import as_saved, paired, saved_runs
from unsaf.cli import app
from unsaf.core import UnsafError
from browser import BROWSER, Browser
from test_golden import GOLDEN
from test_ranking import like


@pytest.fixture(scope="module")
def one(): return next(as_saved(r) for r in saved_runs(GOLDEN/"run") if r.card["plan"]["setting"] == "oe")


def cut(r, images):
    on = lambda t: t[t["image_id"].isin(images)].copy()
    return replace(r, images=list(images), table=on(r.table), lists=on(r.lists))


def moved(r):
    "As if of other images."
    on = lambda t: t.assign(image_id="other-" + t["image_id"])
    return replace(r, images=[f"other-{name}" for name in r.images], table=on(r.table), lists=on(r.lists))


def test_what_differs_is_said_or_stands_apart(one, tmp_path):
    short = cut(like(one, "<b>short", .9), one.images[:4])
    bold = replace(like(one, "a", .7, seed=3), plan=replace(one.plan, suffix="audacity"))
    silent = replace(like(one, "silent", .5), table=one.table.assign(cell=None, outcome="unreadable"))
    board = leaderboard([like(one, "a", .6), bold, short, silent, moved(like(one, "z", .6, "elsewhere"))], "unf1", n=300)
    same, other = board.groups
    said = "\n".join(same.notes)
    assert same.images == 4 and "all are scored on the 4 images that they share" in said and "suffix audacity, none" in said
    assert [r["why"] for r in same.rows][-1] == "nothing could be scored" and same.rows[-1]["rank"] is None and len(other.rows) == 1
    assert sum(r["first"] for r in same.rows[:-1]) == pytest.approx(1) and {r["differs"] for r in same.rows} == {"suffix none", "suffix audacity"}
    text = board.page(tmp_path/"b.html").read_text()
    assert "<b>short" not in text and "&lt;b&gt;short" in text and "2 tables" in text and "nothing could be scored: of" in text
    assert not re.findall(r'(?:src|href)="(?!data:)[^"]', text) and "http" not in text
    json.dumps(board.as_dict())


def test_samples_without_a_common_image_are_not_ranked(one):
    board = leaderboard([like(one, "a", .5), moved(like(one, "b", .9))], n=100)
    assert [len(g.rows) for g in board.groups] == [1, 1] and all("has no rank" in g.notes[-1] for g in board.groups)
    with pytest.raises(UnsafError, match="two of the runs are run .* give one of them"): leaderboard([one, one])
    with pytest.raises(UnsafError, match="measure"): leaderboard([one], "always_answer")
    worst = leaderboard([like(one, "a", .5), like(one, "b", 1)], "fa_rate", n=100).groups[0]
    assert [r["model"] for r in worst.rows] == ["b", "a"]      # less is better


def test_runs_stand_together_by_their_images(one, tmp_path):
    here, there, some = like(one, "here", .9, "folder:/a"), like(one, "there", .6, "folder:/b"), cut(like(one, "some", .8, "folder:/a"), one.images[:4])
    board = leaderboard([here, moved(like(one, "else", .5, "folder:/a")), there, some], n=200)
    assert [sorted(r["model"] for r in g.rows) for g in board.groups] == [["here", "some", "there"], ["else"]]
    said = "\n".join(board.groups[0].notes)
    assert board.groups[0].title.startswith("4 images of folder:a and folder:b,") and "matched by name" in said and "here 2 of its 6" in said
    text = board.page(tmp_path/"b.html").read_text()
    assert "2 tables: runs are ranked against each other only where" in text and "runs on other images" not in text


def test_an_interval_without_an_end_is_said_and_drawn(one, tmp_path):
    board = leaderboard([like(one, "all", 1), like(one, "half", .5)], "d_prime", n=200)
    best = board.groups[0].rows[0]["scores"]["d_prime"]
    assert best["high"] is None and best["span"] == f"at least {best['low']:.3f}" and best["span"] in "\n".join(board.lines())
    text = board.page(tmp_path/"b.html").read_text()
    assert text.count(best["span"]) == 2 and text.count("M988 6L1000") == 1      # in the plot and in the table
    ticks = [float(x) for x in re.findall(r'<span style="left:[\d.]+%">(.*?)</span>', text)]
    assert 0 in ticks and best["value"] / 2 < max(ticks) <= best["value"] * 1.3
    json.dumps(board.as_dict(), allow_nan=False)


def test_a_rank_is_not_surer_than_the_intervals_and_a_tie_is_a_toss(one):
    twins = leaderboard([like(one, "a", .7), like(one, "b", .7)], n=300).groups[0].rows
    assert [r["rank"] for r in twins] == [1.5, 1.5] and twins[0]["swaps"] == .5 and twins[0]["first"] == pytest.approx(.5, abs=.15)
    three = [cut(like(one, m, 1), one.images[:3]) for m in "ab"]
    t = three[1].table
    t.loc[t.index[t["answerable"]][[0, -1]], "cell"] = "FU"      # two replies on two of three images
    rows = leaderboard(three, n=2000).groups[0].rows
    assert rows[0]["model"] == "a" and .5 < rows[0]["first"] < .9


def test_one_image_and_failed_calls_are_said_as_they_are(one, tmp_path):
    failed = lambda t: t.assign(finish="failed", error="server said 500")
    dead = replace(like(one, "dead", .5), lists=failed(one.lists).assign(kept=0), table=one.table[:0])
    board = leaderboard([cut(r, one.images[:1]) for r in (like(one, "a", .5), dead)], n=100)
    group, text = board.groups[0], board.page(tmp_path/"b.html").read_text()
    assert group.title.startswith("1 image of") and "1 image tells little" in "\n".join(group.notes) and not re.search(r"\b1 images", text)
    assert [n for n in group.notes if n.startswith("dead: nothing could be scored: of 2 lists") and n.endswith("server said 500")] and not one.unscored
    assert "of the readable ones" not in text and group.rows[-1]["why"] == "nothing could be scored"


def test_no_name_turns_a_page_round(one, tmp_path):
    odd = like(one, "gpt\u202e4 \x00\x1b", .5, "list\u2067")
    board, pair = leaderboard([odd, like(one, "b", 1)], n=100), paired(odd, like(one, "b", 1), n=50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")      # as matplotlib's on letters that its font lacks
        pages = board.page(tmp_path/"b.html"), compared_page(pair, tmp_path/"c.html")
    for text in map(str, (odd, board, pair)):      # printed
        assert not re.search("[\u202a-\u202e\u2066-\u2069\x00\x1b]", text) and "gpt\\u202e4 \\x00\\x1b" in text
    for text in (page.read_text() for page in pages):
        assert not re.search("[\u202a-\u202e\u2066-\u2069\x00\x1b]", text) and "<bdi>gpt\ufffd4 \u2400\u241b</bdi>" in text and "<bdi>b</bdi>" in text


def test_the_board_of_two_folders(tmp_path, one, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, rate in (("a", .6), ("b", .9)): like(one, name, rate).save(tmp_path/name)
    run = CliRunner().invoke(app, ["board", "a", "b", "--json", "--n", "100"], prog_name="unsaf")
    assert run.exit_code == 0 and [r["model"] for r in json.loads(run.stdout)["groups"][0]["rows"]] == ["b", "a"] and not (tmp_path/"board.html").exists()
    told = CliRunner().invoke(app, ["board", "a", "b", "--n", "100"], prog_name="unsaf")
    assert told.exit_code == 0 and "written: board.html" in told.stdout and (tmp_path/"board.html").exists()


def test_a_page_that_cannot_be_written_is_told_before_and_a_run_is_not_compared_with_itself(tmp_path, one, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, rate in (("a", .6), ("b", .9)): like(one, name, rate).save(tmp_path/name)
    (tmp_path/"file").write_text("")
    told = lambda *args: CliRunner().invoke(app, ["compare", "a", *map(str, args)], prog_name="unsaf")
    for place in ("a", "file/page.html"):
        lost = told("b", "--store", "out", "--page", place)
        assert lost.exit_code == 2 and f"--page {place}" in lost.output and "p = " not in lost.output and not (tmp_path/"out").exists()
    monkeypatch.setattr("unsaf.assessment.compared.compared_page", broken)      # a disk that is full, say
    assert told("b", "--store", "out", "--page", "new/page.html").exit_code == 2 and (tmp_path/"out/compare.json").exists()
    shutil.copytree("a", "copy")
    for name in ("a", "copy"): assert (same := told(name)).exit_code == 2 and "are one run" in same.output


def broken(*_): raise UnsafError("no space left")


def test_a_question_of_both_stands_once(one):
    b = replace(one, model="b", table=one.table.assign(cell=one.table.cell.replace("TU", "FA"), outcome="answered"))
    images = compared_data(paired(one, b, n=50))["images"]
    assert all(side["own"] == [[], []] for image in images for side in image["sides"])
    odd = one.table[one.table["outcome"] != "answered"]
    assert [i["id"] for i in images if i["d"]] == [name for name in one.images if name in set(odd["image_id"])]
    mine = compared_data(paired(one, replace(b, table=b.table.assign(question="another?")), n=50))["images"][0]["sides"][0]
    assert not mine["both"] and all(map(len, mine["own"])) and len(mine["own"][0]) == len(mine["own"][1])


def shown(page, steps, folder):
    "What is to be seen of a page after `steps`, and how wide it is in a window of a phone."
    report = "document.title = `${document.body.innerText}|${document.querySelectorAll('.card').length}`"
    text = page.read_text().replace("</body>", f"<script>{steps}; {report}</script></body>")
    (folder / "driven.html").write_text(text)
    done = subprocess.run([BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=3000",
                           "--dump-dom", (folder / "driven.html").as_uri()], capture_output=True, text=True, timeout=120)
    return re.search(r"<title>(.*?)</title>", done.stdout, re.S)[1]


WIDE = "[...document.querySelectorAll('.scroll, .plots, svg')].filter(e => e.scrollWidth > e.clientWidth + 1).length"

@pytest.mark.slow
@pytest.mark.skipif(not BROWSER, reason="no chromium here")
def test_both_pages_in_a_browser(one, tmp_path):
    board = leaderboard([like(one, m, r) for m, r in (("aa", .5), ("bb", 1), ("cc", .8))], n=100).page(tmp_path/"b.html")
    names = lambda text: re.findall(r"\b(aa|bb|cc)\b", text.partition("read")[2])
    by_name = shown(board, "document.querySelectorAll('th button')[1].click()", tmp_path)
    down = shown(board, "document.querySelectorAll('th button')[1].click(); document.querySelectorAll('th button')[1].click()", tmp_path)
    assert names(by_name)[-3:] == ["aa", "bb", "cc"] and names(down)[-3:] == ["cc", "bb", "aa"]
    t = one.table.copy()
    t.loc[t["image_id"] == one.images[1], "outcome"] = "refused"
    page = compared_page(paired(one, replace(one, model="other", table=t), n=50), tmp_path/"c.html")
    assert shown(page, "", tmp_path).endswith(f"|{len(one.images)}")
    odd = shown(page, "document.getElementById('odd').click()", tmp_path)
    assert odd.endswith("|1") and f"1 of {len(one.images)} images" in odd
    with Browser(page) as tab:
        tab.js("data.images = Array(130).fill(data.images[0]); show(false); dispatchEvent(new Event('beforeprint'))")
        tab.send("Emulation.setEmulatedMedia", media="print")
        assert tab.js("[...document.querySelectorAll('.card')].filter(card => card.offsetHeight).length") == 100
        assert "the first 100 of 130" in tab.js("document.body.innerText") and not tab.js("[...document.querySelectorAll('button')].some(b => b.offsetHeight)")
    with Browser(page, width=390, height=800) as tab: assert not tab.js(WIDE) and tab.js("document.documentElement.scrollWidth") <= 390
    with Browser(board, width=1046) as tab:      # A4 across, without its margins
        tab.send("Emulation.setEmulatedMedia", media="print")
        assert tab.js("document.querySelector('table').scrollWidth <= document.querySelector('main').clientWidth")
