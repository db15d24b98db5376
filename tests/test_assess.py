"The pipeline on scripted models: every outcome in its place, nothing lost, and the table recomputed by a second, independent count."
import gc, json, math, weakref
from dataclasses import replace
from html.parser import HTMLParser
import numpy as np
import pandas as pd
import pytest
from PIL import Image
import unsaf
from browser import cards_of
from unsaf.core import ImageError, Picture, Reply, Sample, UnsafError
from unsaf.models.base import Scripted
from unsaf.models.cache import Replay
from unsaf.assessment.saved import as_saved, saved_runs

def writing(request) -> bool:
    return request.max_tokens > 100


def pictures(n: int, size: int = 8) -> list[Sample]:
    return [Sample(Picture(f"p{i}", lambda i=i: Image.new("RGB", (size, size), (i % 256, 0, 0)))) for i in range(n)]


def oe(request):
    if writing(request):
        easy = "can be answered directly" in request.text
        return "Here you are:\n" + "\n".join(f"{i}. Question: {'Is' if easy else 'Why'} number {i}?" for i in range(1, 6))
    n = int(request.text.split("number ")[1][0])
    easy = "Is number" in request.text
    return [Reply("yes" if easy else "unanswerable"), Reply("unanswerable" if easy else "because"), Reply(""),
            Reply("", finish="refused", error="filter"), Reply("", finish="failed", error="timeout")][n - 1]


@pytest.mark.promise("outcomes")
def test_each_outcome_has_its_place():
    r = unsaf.assess(Scripted(oe), pictures(3), "oe", k=5)
    assert len(r.table) == 30
    by = r.table.groupby(["answerable", "outcome"]).size().to_dict()
    assert by == {(a, o): 3 for a in (True, False) for o in ("answered", "abstained", "unreadable", "refused", "failed")}
    assert r.table.cell.value_counts().to_dict() == dict(TA=3, FU=3, TU=3, FA=3) and r.table.cell.isna().sum() == 18
    assert r.scores.leftovers == {"chatter": 6}
    assert r.scores.bounds.worst.unf1 < r.scores.unf1 < r.scores.bounds.best.unf1
    assert r.calls["failed"] == 6 and set(r.table.loc[r.table.outcome == "failed", "error"]) == {"timeout"}


def test_copies_of_an_image_are_counted_and_said(tmp_path):
    from unsaf.assessment.report import _noise
    same = [Sample(Picture(f"p{i}", lambda: Image.new("RGB", (8, 8)))) for i in range(6)]
    r = unsaf.assess(Scripted(oe), same, "oe", k=5, store=tmp_path)
    assert r.copies == 5 and "5 of the 6 images are copies of others" in str(r.scores) and "not known" in _noise(r)
    r.save(tmp_path)
    assert as_saved(saved_runs(tmp_path)[0]).copied == r.copied and not unsaf.assess(Scripted(oe), pictures(3), "oe", k=5).copied


@pytest.mark.promise("hand")
def test_scores_equal_a_second_count():
    rng = np.random.default_rng(0)
    answers = {}
    def model(request):
        if writing(request): return oe(request)
        return answers.setdefault((request.pictures[0].digest, request.text), str(rng.choice(["yes", "unanswerable", "blue"])))
    r = unsaf.assess(Scripted(model), pictures(25), "oe", k=5)
    said = r.table.reply.str.contains("unanswerable")
    easy = r.table.answerable
    ta, fa, tu, fu = (easy & ~said).sum(), (~easy & ~said).sum(), (~easy & said).sum(), (easy & said).sum()
    assert r.scores.unf1 == pytest.approx(2 * ta / (2 * ta + fa + fu))
    assert r.scores.youden_j == pytest.approx(ta / (ta + fu) - fa / (fa + tu))
    assert r.scores.intervals["unf1"].low < r.scores.unf1 < r.scores.intervals["unf1"].high


def test_multiple_choice_reads_letters_and_probabilities():
    options = "A. red\nB. blue\nC. green\nD. black"
    def model(request):
        if writing(request): return f"Question: Which color?\n{options}\nQuestion: Which shade?\n{options}"
        assert request.candidates == ("A", "B", "C", "D", "unanswerable")
        return Reply("B", candidates={c: math.log(p) for c, p in zip(request.candidates, (.1, .2, .05, .05, .1))}, logprobs=(math.log(.2),))
    r = unsaf.assess(Scripted(model), pictures(2), "mc", k=2)
    assert set(r.table.answer) == {"B"} and set(r.table.cell) == {"TA", "FA"}
    assert np.allclose(r.table.p_abstain, .1) and np.allclose(r.table.p_abstain_choice, .2) and np.allclose(r.table.p_reply, .2)
    assert json.loads(r.table.options.iloc[0]) == ["red", "blue", "green", "black"]


def test_logit_mode_decodes_nothing():
    def model(request):
        if writing(request): return "Question: Which?\nA. a\nB. b\nC. c\nD. d"
        assert request.decide
        return "unanswerable"
    r = unsaf.assess(Scripted(model), pictures(1), "mc", k=1, answer_mode="logit")
    assert r.table.cell.tolist() == ["FU", "TU"]


@pytest.mark.parametrize("options,word", [(dict(layout="paper"), "Image:"), (dict(suffix="audacity"), "Think carefully"),
                                          (dict(suffix="timidity"), "Trust your instincts"),
                                          (dict(paraphrase=2), ""), (dict(template="qwen"), ""), (dict(template="gpt"), "cot")])
def test_options_reach_the_prompt_and_the_key(options, word):
    model, store = Scripted(oe), unsaf.Store()
    unsaf.assess(model, pictures(1), "oe", store=store)
    plain, model.asked = model.asked, []
    unsaf.assess(model, pictures(1), "oe", store=store, **options)
    assert model.asked, "a changed prompt must be asked anew"
    assert not set(plain) & set(model.asked)
    answers = [r for r in model.asked if not writing(r) or "cot" in r.text]
    assert all(word in r.text for r in answers)
    if "template" in options: assert all(r.system for r in model.asked)


def test_settings_that_do_not_go_together_cost_nothing():
    model = Scripted(oe)
    for bad in (dict(setting="essay"), dict(k=0), dict(layout="upside"), dict(suffix="brave"), dict(paraphrase=4), dict(template="vicuna"),
                dict(answer_mode="logit"), dict(temperature=-1.0), dict(colour="red"), dict(k=2.5), dict(block=0), dict(block=-1),
                dict(template="gpt", paraphrase=1), dict(template="gpt", setting="mc", answer_mode="logit")):
        with pytest.raises(UnsafError) as e: unsaf.assess(model, pictures(1), **bad)
        assert "\n" not in str(e.value)
    assert not model.asked


@pytest.mark.promise("refused")
def test_nothing_counted_is_an_error_not_a_zero():
    r = unsaf.assess(Scripted(lambda r: "I would rather not."), pictures(2))
    assert len(r.table) == 0 and list(r.table.columns) and len(r.lists) == 4
    with pytest.raises(UnsafError, match="nothing could be scored"): r.scores
    assert "nothing could be scored" in r._repr_html_()    # a notebook shows the line, not a traceback


def test_a_replay_gives_the_same_table_without_the_model(tmp_path):
    first = unsaf.assess(Scripted(oe, name="m"), pictures(3), store=tmp_path)
    second = unsaf.assess(Replay(tmp_path), pictures(3))
    pd.testing.assert_frame_equal(first.table.drop(columns="error"), second.table.drop(columns="error"))


@pytest.mark.promise("images")
def test_a_broken_picture_is_one_failure_wherever_it_stands():
    def broken(): raise ImageError("p.png: truncated")
    samples = pictures(5)
    samples[3] = Sample(Picture("p3", broken))
    r = unsaf.assess(Scripted(oe), samples, block=2)
    assert r.failures.image_id.tolist() == ["p3"] and r.images == ["p0", "p1", "p2", "p4"] and len(r.table) == 40
    with pytest.raises(UnsafError, match="nothing could be scored"): unsaf.assess(Scripted(oe), [samples[3]]).scores


def test_no_more_pictures_live_than_a_block_holds():
    alive, most = [0], [0]
    def gone(): alive[0] -= 1
    def read():
        im = Image.new("RGB", (8, 8))
        alive[0] += 1
        weakref.finalize(im, gone)
        return im
    class Watching(Scripted):
        def generate(self, requests):
            for i, r in enumerate(requests):
                gc.collect()
                most[0] = max(most[0], alive[0])
                yield Reply(oe(r) if writing(r) else "yes", index=i)
    samples = [Sample(Picture(f"p{i}", read)) for i in range(16)]
    gc.freeze()      # what other tests have left is not looked through each time
    try: r = unsaf.assess(Watching(oe), samples, k=1, block=4)
    finally: gc.unfreeze()
    assert len(r.images) == 16 and 4 <= most[0] <= 8     # a block, and at most the one before it


def test_a_sampled_run_draws_anew_for_each_request_and_greedy_ones_share_replies():
    model, store = Scripted(oe), unsaf.Store()
    unsaf.assess(model, pictures(3), store=store, temperature=.7, seed=1)
    assert len({r.seed for r in model.asked}) == len(model.asked)
    sampled, model.asked = len(model.asked), []
    unsaf.assess(model, pictures(3), store=store, temperature=.7, seed=2)
    assert len(model.asked) == sampled
    model.asked = []
    unsaf.assess(model, pictures(3), store=store, seed=1)
    greedy, model.asked = len(model.asked), []
    again = unsaf.assess(model, pictures(3), store=store, seed=2)
    assert greedy > len(model.asked) == again.calls["failed"]    # a greedy reply does not depend on the seed; only failures are asked again


def test_a_model_that_cannot_decide_is_told_before_it_is_paid():
    model = Scripted(oe)
    model.decides = False
    with pytest.raises(UnsafError, match="gives no probabilities"): unsaf.assess(model, pictures(1), "mc", answer_mode="logit")
    assert not model.asked


def test_options_may_hold_anything(tmp_path):
    def model(request): return "Question: Which?\nA. red | blue\nB. the \"x\"\nC. a, b\nD. <i>" if writing(request) else "A"
    r = unsaf.assess(Scripted(model), pictures(2), "mc", k=1)
    assert json.loads(r.table.options.iloc[0]) == ["red | blue", 'the "x"', "a, b", "<i>"]
    page = r.report(tmp_path / "r.html").read_text()
    options = [q["options"] for card in cards_of(page) for side in card["sides"] for q in side["questions"]]
    assert options == [["red | blue", 'the "x"', "a, b", "<i>"]] * 4 and "<i>" not in page


def test_runs_in_one_folder_do_not_overwrite_each_other(tmp_path):
    first = unsaf.assess(Scripted(oe, name="a"), pictures(2), store=tmp_path)
    second = unsaf.assess(Scripted(oe, name="b"), pictures(2), store=tmp_path)
    files = first.save(tmp_path) + second.save(tmp_path) + first.save(tmp_path)
    assert len(set(files)) == 6
    assert json.loads((tmp_path / "scores-oe.json").read_text())["model"] == "a"
    assert json.loads((tmp_path / f"scores-oe-{second.run_id}.json").read_text())["model"] == "b"
    assert Replay(tmp_path, "b").name == "b"


def test_a_replay_stores_nothing_twice(tmp_path):
    unsaf.assess(Scripted(oe, name="m"), pictures(3), store=tmp_path)
    with unsaf.Store(tmp_path) as store:
        before = len(store)
        r = unsaf.assess(Replay(store), pictures(3), store=store)
        assert len(store) == before and r.calls["asked"] == 0


def test_what_no_file_can_hold_is_replaced(tmp_path):
    r = unsaf.assess(Scripted(lambda q: oe(q) if writing(q) else "yes \ud83d"), pictures(2), store=tmp_path)
    r.save(tmp_path)
    assert set(r.table.reply) == {"yes \ufffd"}


def test_a_reply_to_no_request_is_an_error_and_is_not_stored():
    class Wrong:
        name = "wrong"
        def generate(self, requests): yield Reply("x", index=-1)
    store = unsaf.Store()
    with pytest.raises(unsaf.UnsafError, match="index -1"): unsaf.assess(Wrong(), pictures(1), store=store)
    assert len(store) == 0


@pytest.mark.promise("twice")
def test_a_call_for_equal_pictures_is_paid_once():
    same = [Sample(Picture(f"copy{i}", lambda: Image.new("RGB", (8, 8)))) for i in range(4)]
    def model(request): return Reply(oe(request) if writing(request) else "yes", cost=1.0)
    r = unsaf.assess(Scripted(model), same, k=5)
    assert r.lists.cost.sum() + r.table.cost.sum() == r.calls["asked"] == 12


def test_saved_files_hold_everything(tmp_path):
    r = unsaf.assess(Scripted(oe), pictures(3))
    r.save(tmp_path)
    table = pd.read_csv(tmp_path / "table-oe.csv", keep_default_na=False)
    assert len(table) == 30 and table.cell.tolist() == r.table.cell.fillna("").tolist()
    scores = json.loads((tmp_path / "scores-oe.json").read_text())
    assert scores["scores"]["counts"] == dict(TA=3, FA=3, TU=3, FU=3) and scores["plan"]["setting"] == "oe"


def test_one_picture_has_a_score_but_no_interval():
    r = unsaf.assess(Scripted(oe), pictures(1))
    assert 0 < r.scores.unf1 < 1 and math.isnan(r.scores.intervals["unf1"].low)
    assert "undefined" in r.scores.sentence and str(r.scores)


# ---- models that think aloud

def keeps(request) -> str:
    "The reply of a model that keeps every announcement, in both settings."
    easy = "can be answered" in request.text
    if not writing(request): return ("B" if "A. red" in request.text else "blue") if "What" in request.text else "unanswerable"
    options = "\nA. red\nB. blue\nC. green\nD. black" if "options" in request.text else ""
    return "\n".join(f"{i}. Question: {'What' if easy else 'Why'} is number {i}?{options}" for i in (1, 2))


THOUGHTS = ["<think>\n{}\n</think>\n\n{{}}", "{}\n</think>\n{{}}", "◁think▷{}◁/think▷{{}}", "<reasoning>{}</reasoning><answer>{{}}</answer>"]


@pytest.mark.promise("dressed")
@pytest.mark.parametrize("setting", ["oe", "mc"])
def test_a_thinking_model_that_keeps_every_announcement_has_unf1_1(setting, tmp_path):
    for form in THOUGHTS:
        musing = form.format("Unanswerable? Could be A or D.\n1. Question: What is it not?\nIt cannot be seen. Wait.")
        r = unsaf.assess(Scripted(lambda q: musing.format(keeps(q))), pictures(3), setting, k=2)
        assert r.scores.unf1 == r.scores.youden_j == 1 and len(r.table) == 12 and r.scores.soft == r.scores.awareness, form
        assert r.table.reply.str.contains("Wait").all() and set(r.table.reading) == set(r.lists.reading) == {"thought removed"}, form
    line = "thought was taken off 6 of 6 lists and 12 of 12 replies"
    page = r.report(tmp_path / "page.html").read_text()
    assert line in str(r.scores) and line in page and line in r._repr_html_() and page.count('"reading":"thought removed","notes"') == 12
    assert r.as_dict()["scores"]["yields"]["answerable"]["replies with a thought taken off"] == 6
    again = r.save(tmp_path) and as_saved(saved_runs(tmp_path)[0])
    assert str(again.scores) == str(r.scores)
    for column in ("reading", "reply"): assert again.table[column].tolist() == r.table[column].tolist()


def test_a_plain_model_has_no_line_about_thoughts(tmp_path):
    r = unsaf.assess(Scripted(keeps), pictures(2), k=2)
    page = r.report(tmp_path / "page.html").read_text()
    assert set(r.table.reading) == {""} and "thought" not in str(r.scores) + page.split("<script>")[0]
    assert r.scores.yields.loc["lists cut in their thought"].sum() == 0


def test_thoughts_that_were_cut_say_what_to_raise(tmp_path):
    def model(request):
        if writing(request): return Reply("<think>1. Question: What",
                                          finish="length") if request.pictures[0].pixels().getpixel((0, 0))[0] == 1 else keeps(request)
        return Reply("<think>unanswerable? B?", finish="length") if "number 2" in request.text else keeps(request)
    r = unsaf.assess(Scripted(model), pictures(4), k=2)
    lists, answers = "2 of 8 lists (25%) were cut in the model's thought and say nothing: raise --question-tokens", "6 of 12 replies (50%)"
    page = r.report(tmp_path / "page.html").read_text().replace("&#39;", "'")
    for text in (str(r.scores), page): assert lists in text and answers in text and "raise --answer-tokens" in text
    assert r.table.cell.isna().sum() == 6 and set(r.table[r.table.cell.isna()].outcome) == {"unreadable"}
    cut = [q for card in cards_of(page) for side in card["sides"] for q in side["questions"] if q.get("thought") and not q.get("reply")]
    assert len(cut) == 6
    with pytest.raises(UnsafError, match=r"nothing could be scored.*4 of 4 lists \(100%\) were cut .*raise --question-tokens"):
        unsaf.assess(Scripted(lambda q: Reply("<think>hm", finish="length")), pictures(2)).scores
    with pytest.raises(UnsafError, match=r"8 of 8 replies \(100%\) were cut .*raise --answer-tokens"):
        unsaf.assess(Scripted(lambda q: keeps(q) if writing(q) else "<think>hm"), pictures(2), k=2).scores


def test_nothing_counted_says_the_error_itself():
    with pytest.raises(UnsafError, match=r"most often \(4 times\): the key ran out"):
        unsaf.assess(Scripted(lambda q: Reply("", finish="failed", error="the key ran out")), pictures(2), max_failures=1).scores
    with pytest.raises(UnsafError, match="one reply is 'I would rather not.'") as e: unsaf.assess(Scripted(lambda r: "I would rather not."), pictures(2)).scores
    assert "column" not in str(e.value)
    def torn(): raise ImageError("a HEIF image")
    with pytest.raises(UnsafError, match=r"none of 2 images could be read; most often \(2 times\): .*a HEIF image"):
        unsaf.assess(Scripted(lambda r: ""), [Sample(Picture(name, torn)) for name in "ab"], progress=False).scores
    with pytest.raises(UnsafError, match="every reply is empty"): unsaf.assess(Scripted(lambda r: ""), pictures(2)).scores


def test_tokens_of_reasoning_are_counted():
    class Thinker(Scripted):
        def generate(self, requests): return (replace(reply, reasoning_tokens=100) for reply in super().generate(requests))
    r = unsaf.assess(Thinker(keeps), pictures(2), k=2)
    assert set(r.table.reasoning_tokens) == set(r.lists.reasoning_tokens) == {100} and "1,200 tokens of reasoning" in str(r.scores)


# ---- what is written, and the page

@pytest.mark.promise("files")
def test_replies_of_any_kind_survive_the_files(tmp_path):
    replies = iter(["B\rbecause", '=HYPERLINK("http://x","y")', "a\x00b", "None", "\x1b]0;gone\x07", "\u2028", "' =1", "NA"] * 3)
    r = unsaf.assess(Scripted(lambda q: oe(q) if writing(q) else next(replies)), pictures(2), k=5)
    r.save(tmp_path)
    run, = saved_runs(tmp_path)
    first = as_saved(run)
    assert first.table.reply.tolist() == r.table.reply.tolist() and first.scores.frame().equals(r.scores.frame())
    for file in tmp_path.glob("*.parquet"): file.unlink()
    alone = as_saved(run)
    pd.testing.assert_frame_equal(alone.table, first.table)
    pd.testing.assert_frame_equal(alone.lists, first.lists)
    assert "\n'=HYPERLINK" not in (tmp_path / "table-oe.csv").read_text() and ',"\'=HYPERLINK' in (tmp_path / "table-oe.csv").read_text()


@pytest.mark.promise("old")
def test_runs_of_before_are_read(tmp_path):
    r = unsaf.assess(Scripted(oe), pictures(2), k=5)
    r.save(tmp_path)
    for name in ("table-oe", "lists-oe"):
        (tmp_path / f"{name}.parquet").unlink()
        old = pd.read_csv(tmp_path / f"{name}.csv", dtype=str, keep_default_na=False).drop(columns=["reading", "reasoning_tokens"])
        old.to_csv(tmp_path / f"{name}.csv", index=False)
    run, = saved_runs(tmp_path)
    back = as_saved(run)
    assert set(back.table.reading) == {""} and back.table.reasoning_tokens.isna().all() and back.scores.frame().equals(r.scores.frame())
    assert len(cards_of(back.report(tmp_path / "page.html").read_text())) == 2
    torn = (tmp_path / "table-oe.csv").read_text().replace("because", "be\rcause", 1)      # as Python 3.11.0 to 3.11.8 wrote it
    (tmp_path / "table-oe.csv").write_bytes(torn.encode())
    with pytest.raises(UnsafError, match=r"table-oe.csv.* run again with that store"): as_saved(run)


MARKUP = ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</pre></details><script>alert(1)</script>", '"><svg onload=alert(1)>',
          "'><b onclick=alert(1)>",
          "<iframe src=javascript:alert(1)>", "--><script>alert(1)</script><!--", "]]><script>alert(1)</script>", "{{ 7*7 }}{% raw %}",
          "<a href='javascript:alert(1)'>x</a>",
          "&lt;script&gt;alert(1)&lt;/script&gt;", "<style>*{display:none}</style>", "<meta http-equiv=refresh content=0>", "<base href=//evil>",
          "<form action=//evil><input>",
          "</title><script>alert(1)</script>", "<math><mtext></mtext></math>", "<template><script>alert(1)</script></template>", "<!--", "<plaintext>"]


@pytest.mark.promise("inert")
def test_twenty_pieces_of_markup_are_inert_wherever_they_stand(tmp_path):
    n = len(MARKUP)
    at = lambda request: MARKUP[request.pictures[0].pixels().getpixel((0, 0))[0] % n]
    def model(request):
        if not writing(request): return Reply("", "refused", at(request)) if "number 2" in request.text else f"<think>{at(request)}</think>{at(request)}"
        return f"{at(request)}\n1. Question: What is number 1 {at(request)}?\n2. Question: What is number 2 {at(request)}?"
    named = [Sample(Picture(f"{MARKUP[i]}{i}", s.picture.read), info={}) for i, s in enumerate(pictures(n))]
    def broken(): raise ImageError(MARKUP[0])
    r = unsaf.assess(Scripted(model, name=f"m{MARKUP[6]}{MARKUP[15]}"), [*named, Sample(Picture("gone", broken))], k=2)
    r.note, r.source, r.skipped = MARKUP[1], MARKUP[2], {MARKUP[3]: 2}
    plain = unsaf.assess(Scripted(oe, name="m"), pictures(n), k=2).report(tmp_path / "plain.html").read_text()
    page = r.report(tmp_path / "page.html").read_text()
    def tags(text):
        found = []
        class Seen(HTMLParser):
            def handle_starttag(self, tag, attrs): found.append((tag, tuple(name for name, _ in attrs)))
        Seen().feed(text)
        return found
    assert set(tags(page)) - set(tags(plain)) <= {("p", ("class",)), ("ul", ()), ("li", ())}
    assert sum(tag == "script" for tag, _ in tags(page)) == 2 and "{{ 7*7 }}" in page and len(cards_of(page)) == n
    assert page.rstrip().endswith("</main></body></html>")


@pytest.mark.promise("inert")
def test_control_characters_are_shown_not_sent(tmp_path):
    r = unsaf.assess(Scripted(lambda q: oe(q) if writing(q) else "\x1b[2J\x1b]0;title\x07 a\r\nb \x9b1m"), pictures(2), k=2)
    page = r.report(tmp_path / "page.html").read_text()
    assert not set(page) & {chr(c) for c in (*range(9), *range(11, 32), *range(127, 160))} and "␛[2J" in page and "a\\nb" in page


def test_a_very_long_reply_stands_on_the_page_in_part_and_is_counted(tmp_path):
    r = unsaf.assess(Scripted(lambda q: oe(q) if writing(q) else "yes " * 75_000), pictures(1), k=1)
    page = r.report(tmp_path / "page.html").read_text()
    assert len(page) < 150_000 and "more characters are in the table" in page and r.table.reply.str.len().tolist() == [300_000] * 2
    assert "2 of 2 replies were so long that only their beginning was read" in str(r.scores)
