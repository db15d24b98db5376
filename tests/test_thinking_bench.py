"A model that thinks aloud, or says more than a word, in every benchmark: the same scores, everything counted, and no reply too long to read."
import json, random, time
from dataclasses import replace
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image
from test_bench import N, one, run, seer
from unsaf.prompts import benchmarks as prompts
from unsaf.benchmarking.run import bench
from unsaf.benchmarking.parts import BenchPlan, asks_yes_no, given_parts, open_all
from unsaf.core import Picture, Reply, Sample
from unsaf.metrics import suites
from unsaf.metrics.pope import RULES, pope, read_yes_no
from unsaf.metrics.chair import Chair, drop_incomplete
from unsaf.metrics.suites import COGNITION, PERCEPTION, mmmu, mmmu_open
from unsaf.metrics.text.short_answers import for_script, verdict_of, yes_or_no
from unsaf.models.base import Scripted

THOUGHTS = ["<think>Yes? No? A, B, C: unanswerable. A dog, a red star.</think>", "Yes. Or no? A or B? unanswerable\n</think>\n\n",
            "<think>\n1. Is it red?\n2. Is it\n</think>\n", "◁think▷No.◁/think▷ ", "<reasoning>No</reasoning>\n",
            "<|channel|>analysis<|message|>No. A star.<|end|><|start|>assistant<|channel|>final<|message|>"]


# ---- one word

SAYS = {"yes": ["Yes", "yes.", "**Yes**", "“Yes”", "`yes`", "__Yes__", "Ｙｅｓ。", "Yes, there is a dog.", "Yes\n\nThe dog is brown.", "Yes — a dog",
                "Answer: Yes",
                "**Answer:** yes.", "The final answer is **Yes**.", "Answer (yes or no): Yes", r"$\boxed{\text{Yes}}$", '{"reason": "no cat", "answer": "yes"}',
                "There is no cat, but a dog.\n\nYes", "Look.\nSo, yes.", "<answer>Yes</answer>", "Yes<|im_end|>", "是", "是的，图中有一只狗。", "对。",
                "答案：是",
                "「はい」", "はい、犬がいます。", "答え：はい", "네, 있습니다.", "정답: 예", "Sí, hay un perro.", "Oui, il y a un chien.", "Réponse : Oui",
                "Ja.",
                "Antwort: Ja", "Да, есть.", "Sim.", "نعم، هناك كلب.", "हाँ।", "जी हाँ, एक कुत्ता है।", "Evet."],
        "no": ["No", "NO.", "**No**, there is not.", "No\nIt is a cat.", "That is a cat.\n\nSo, no.", "The answer is no. There is a cat.",
               "否", "不。", "不是，图中是一只猫。", "没有，图中没有狗。", "いいえ、犬はいません。", "아니요, 개가 없습니다.", "No, no hay ningún perro.",
               "Non.",
               "Nein, das ist ja eine Katze.", "Нет, собаки нет.", "Não.", "لا، لا يوجد كلب.", "नहीं।", "Hayır."],
        None: ["", "No idea", "No one is there", "No-one is there", "No. 7 is on the shirt", "nope", "Nothing", "Yesterday", "Yes and no", "yes/no",
               "No, wait, yes",
               "Yes. Answer: no", "Answer: yes\nAnswer: no", "Answer: yes or no", "The answer is not yes", "If the answer is yes, say so.", "There is a dog.",
               "There is no dog.", "I cannot tell", "yes, unanswerable", "<think>Yes", "是/否", "是或否", "是一只狗", "不知道", "是的，但是没有狗",
               "Oui ou non",
               "Да или нет", "Please answer yes or no.", "Yes.\nNo.", "Sí o no"]}


@pytest.mark.promise("readers")
@pytest.mark.parametrize("word", SAYS, ids=str)
def test_a_word_is_read_in_any_dress_and_never_guessed(word):
    for text in SAYS[word]:
        assert yes_or_no(text) == read_yes_no(text, "strict") == word, text
        if text and "<" not in text: assert {yes_or_no(t + text) for t in THOUGHTS} == {word}, text
    assert (yes_or_no("Yes it is", clause=True), yes_or_no("Yes it is"), yes_or_no("No one is", clause=True)) == ("yes", None, None)


@given(st.lists(st.sampled_from(["Yes", "no", "No", "是", "不是", "いいえ", "nein", "answer", "is", ":", ".", ",", " ", "\n", "*", "{", '"', "<think>",
                                 "</think>", "unanswerable"]), max_size=12))
@settings(deadline=None, max_examples=80)
def test_no_reply_breaks_the_reader_and_a_thought_changes_nothing(parts):
    text = "".join(parts)
    word = yes_or_no(text)
    assert word in ("yes", "no", None) and verdict_of(text) in ("yes", "no", None)
    if "think" not in text:
        assert yes_or_no(f"<think>No. Yes? Answer: no</think>\n{text}") == word
        if "unanswerable" in text: assert word is None


@pytest.mark.parametrize("rule", RULES)
def test_pope_takes_a_thought_off_under_every_rule(rule):
    labels = ["yes"] * 4 + ["no"] * 4
    plain = ["Yes", "no", "Yes, there is.", "unanswerable", "No.", "yes", "No, there is no dog.", " no\n"]
    s = pope(plain, labels, rule)
    for thought in THOUGHTS[:3]: assert pope([thought + r.strip() for r in plain], labels, rule) == pope([r.strip() for r in plain], labels, rule)
    assert for_script(" no\n") == " no\n"
    cut = pope([*plain, "<think>Yes, a dog. No", "<think>unanswerable"], [*labels, "yes", "no"], rule)      # cut in its thought: neither
    assert (cut.neither, cut.tp, cut.fp, cut.abstained_no) == (s.neither + 2, s.tp, s.fp, s.abstained_no) and cut.n == 10


def test_suites_read_what_was_said():
    rows = [("Yes", "yes", "a", "color"), ("no, it is", "no", "a", "color"), ("None", "no", "b", "color"), ("  yes", "yes", "b", "color")]
    for official in (True, False):
        plain = suites.mme(*zip(*rows), official=official)
        for thought in THOUGHTS[:3]: assert suites.mme(*zip(*[(thought + r.strip(), *x) for r, *x in rows]), official=official).total == \
            suites.mme(*zip(*[(r.strip(), *x) for r, *x in rows]), official=official).total
        cut = suites.mme(["<think>yes", "no"], ["yes", "no"], "aa", ["color"] * 2, official).tasks["color"]
        assert (cut.accuracy.unreadable, cut.accuracy.right, cut.plus) == (1, 1, 0) and plain.total > 0
    assert mmmu_open("<think>Is it 7?</think>So it is 8.", ["8"]) and not mmmu_open("<think>Is it 7?</think>So it is 8.", ["7"]) and not mmmu_open("<think>7",
        ["7"])
    r = mmmu([f"{THOUGHTS[0]}B", f"{THOUGHTS[0]}The result is 1.50", "<think>B"], [["x", "y"], [], ["x", "y"]], ["B", ["1.5"], "B"])
    assert r.credits == (1, 1, 0) and r.unreadable == 1


# ---- captions

def test_captions_lose_their_thoughts():
    plain = ["A dog and a cat.", "A bus.", "A field."]
    objects, references = [["dog"], ["bus"], ["cow"]], [[], [], []]
    for official in (False, True):
        a = Chair(official=official).score(plain, objects, references)
        for thought in THOUGHTS:
            b = Chair(official=official).score([thought + c for c in plain], objects, references)
            assert [c.mentioned for c in b.captions] == [c.mentioned for c in a.captions] and str(b) == str(a)
        cut = Chair(official=official).score([*plain, "<think>A giraffe"], [*objects, ["dog"]], [*references, []])
        assert cut.counts.tolist() == a.counts.tolist() and cut.unfinished == 1 and "cut in its thought" in str(cut) and cut.silent == a.silent


@pytest.mark.parametrize("text, kept", [
    ("图中有一只猫。旁边是一", "图中有一只猫。"), ("猫がいます。「すごい！」その", "猫がいます。「すごい！」"), ("有猫吗？有", "有猫吗？"),
    ("एक कुत्ता है। एक बि", "एक कुत्ता है।"),
    ("هل هذا كلب؟ نعم", "هل هذا كلب؟"), ("A dog… A ca", "A dog…"), ("He said “Go.” Then", "He said “Go.”"), ("«Un chien.» Un", "«Un chien.»"),
    ("**A dog.** A", "**A dog.**"),
    ("Two:\n- a dog\n- a cat\n- a bo", "Two:\n- a dog\n- a cat\n"), ("1. **Sofa**: red\n2. **Lamp**: o", "1. **Sofa**: red\n"), ("- A dog.\n- A c", "- A dog."),
    ("| thing | place |\n|---|---|\n| dog | left |\n| c", "| thing | place |\n|---|---|\n| dog | left |\n"),
    ("- left:\n  - a dog\n  - a c", "- left:\n  - a dog\n"),
    ("It is 3.5 feet. It i", "It is 3.5 feet."), ("Fruit, e.g. apples", ""), ("Near St. Paul and Dr. Who", ""), ("A cat. Near St. Pau", "A cat."),
    ("House No. 5 i", ""),
    ("About approx. five", ""), ("A dog\nA ca", ""), ("- a dog and a", ""), ("<think>A bus. No.</think>A dog. A ca", "A dog."), ("<think>A bus. No", "")])
def test_finished_sentences_are_kept_in_any_script(text, kept):
    assert drop_incomplete(text) == kept == drop_incomplete(kept)


# ---- lists and verdicts

LIST = ["Which color has it?", "What color is it?"]


@pytest.mark.parametrize("text", [
    "1. {0}\n2. {1}", "1️⃣ {0}\n2️⃣ {1}", "① {0}\n② {1}", "I. {0}\nII. {1}", "（1）{0}\n（2）{1}", "1、{0}\n2、{1}", '["{0}", "{1}"]',
    '```json\n["{0}",\n "{1}"]\n```',
    'Here:\n```\n[{{"id": 1, "text": "{0}", "why": "Is it short?"}}, {{"id": 2, "text": "{1}"}}]\n```', '{{"wordings": ["{0}", "{1}"], "n": 2}}',
    '{{"1": "{0}", "2": "{1}"}}', '[{{"q": "{0}", "why": "a"}}, {{"q": "{1}", "why": "b"}}, {{"q": "Wha', "Wording 1: {0}\nWording 2: {1}",
    "改写1：{0}\n改写2：{1}"])
def test_lists_of_wordings_in_the_forms_that_models_write(text):
    for thought in ["", *THOUGHTS[:3]]:
        found = prompts.read_rephrasings(thought + text.format(*LIST), "How is it?", 5, cut=text.endswith("Wha"))
        assert list(found.items) == LIST, (text, found)
        assert found.notes == (("thought removed",) if thought else ())


def test_a_list_or_a_verdict_that_was_cut_in_its_thought():
    for read in (lambda t: prompts.read_rephrasings(t, "?"), prompts.read_plan, prompts.read_items):
        found = read("<think>1. Is it red?\n2. Is it big?")
        assert found.items == () and found.faults == {"cut in its thought": 1} and found.notes == ("cut in its thought",)
    assert prompts.read_items("これは何ですか。\nどこですか。").items == ("これは何ですか。", "どこですか。")
    said = {"<think>No.</think>Yes.": True, "<think>Yes": None, "是的。": True, "いいえ、違います。": False, "Both are red.\n\nYes": True,
            "Verdict: **No**": False,
            "Yes, there is no difference.": True, "No difference": None, "Yes they do": True, '{"verdict": "yes"}': True}
    assert {t: prompts.read_verdict(t) for t in said} == said


# ---- every benchmark

@pytest.mark.promise("dressed")
@pytest.mark.parametrize("thought", [THOUGHTS[0], THOUGHTS[1]])
def test_a_thinking_mind_scores_as_it_does_without_thoughts(thought):
    def thinks(request):
        r = seer(request)
        return replace(r, text=thought + r.text) if isinstance(r, Reply) else thought + r
    plain, aloud = run(seer), run(thinks)
    assert aloud.table.equals(plain.table) and not plain.reading and aloud.how == plain.how
    assert aloud.reading == {name: {"thought removed": len(rows)} for name, rows in aloud.items.items() if name != "calibration"}
    assert aloud.items["accuracy"].reply.str.startswith(thought).all() and (aloud.items["mr"].first_reading == "thought removed").all()
    told = str(aloud)
    assert f"thought removed: {4 * N} of {4 * N} accuracy replies" in told and "thought removed" in aloud._repr_html_()
    assert json.loads(json.dumps(aloud.as_dict()))["reading"] == aloud.reading


def test_replies_that_are_cut_in_their_thought_are_counted_and_never_read():
    count = iter(range(10_000))
    def some(request): return Reply("<think>Yes. A. A red star", finish="length") if next(count) % 3 == 0 else seer(request)
    r = run(some, "accuracy,pope,chair,mr", setting="mc")
    for name, rows in r.items.items():
        cut = rows[rows.reading == "cut in its thought"]
        assert len(cut) == r.reading[name]["cut in its thought"] > 0 and (cut.outcome == "unreadable").all() and cut.answer.isna().all()
    chair = r.table.query("benchmark == 'chair'").iloc[0]
    assert (chair.n, chair.unreadable, chair.replies) == (8, 4, 12) and one(r, "chair", "captions", "recall") == 1
    assert "4 replies cut in its thought, left out" in r.how["chair, captions"] and "cut in its thought: 8 of 24 accuracy replies" in str(r)
    assert "mr replies; raise --answer-tokens and --question-tokens" in " ".join(r.reading_lines())
    for rules in RULES: assert run(lambda request: "<think>Yes", "pope", rules=rules).table.unreadable.gt(0).all()


def test_probabilities_of_a_thought_are_no_confidence():
    def thinks(request): return Reply("<think>Is it red? It may be blue, or green.</think>red", logprobs=(-.1,) * 20)
    r = run(thinks, "calibration", setting="oe")
    assert "of the thought, too" in r.missing["calibration, oe"]


def test_wordings_and_judges_that_think_aloud():
    judge = Scripted(lambda r: "<think>No. They differ? Hm.</think>Yes.", name="judge")
    writer = Scripted(lambda r: "<think>1. A?\n2. B?</think>1. Color?\n2. Shape?", name="writer")
    answers = Scripted(lambda r: "1" if r.text.startswith("Color?") else "2", name="mind")
    r = bench(answers, "cu", n=N, setting="oe", rephraser=writer, judge=judge, k=2, resamples=100)
    assert one(r, "cu", "oe", "consistency") == 1 and r.items["rephrasings"].missing.tolist() == [0] * N
    assert r.reading == {"rephrasings": {"thought removed": N}} and len(writer.asked) == N


# ---- yes and no as gold

def polls(*gold, source="mine", **info):
    return [Sample(Picture(f"p{i}", lambda i=i: Image.new("RGB", (4, 4), (i, 0, 0))), source, f"Is there a dog, number {i}?", (), g
                   if isinstance(g, tuple) else (g,), info)
            for i, g in enumerate(gold)]


def test_a_yes_or_no_answer_is_read_as_that_word():
    said = ["Yes, there is a dog.", "**No**", "是的。", "No, wait, yes", "There is a dog.", "unanswerable", "<think>No</think>Yes!"]
    r = run(lambda request: said[int(request.text.split("number ")[1].split("?")[0])], "accuracy",
            source=polls("yes", "no", "yes", "yes", "yes", "yes", "yes"), n=None)
    rows = r.items["accuracy"].query("not offered")
    assert rows.credit.tolist() == [1, 1, 1, 0, 0, 0, 1] and rows.answer.tolist()[:3] == ["yes", "no", "yes"] and rows.outcome.tolist()[5] == "abstained"
    assert r.how["accuracy, oe"].startswith("rule: value; ") and "4 replies that say yes or no in other words" in r.how["accuracy, oe"]
    many = polls(("yes",) * 9 + ("no",), ("yes", "no", "maybe", "yes", "yes"), ("是", "是的。", "是", "是"))
    assert all(map(asks_yes_no, many)) and not asks_yes_no(polls(("red", "yes", "red"))[0])
    r = run(lambda request: "Yes, there is.", "accuracy", source=many, n=None)
    assert r.items["accuracy"].query("not offered").credit.tolist() == pytest.approx([1, .8, 1]) and r.how["accuracy, oe"].startswith("rule: vqa; ")
    official = run(lambda request: "Yes, there is.", "accuracy", source=many, n=None, rule="vqa")          # as the script does
    assert official.items["accuracy"].credit.sum() == 0 and official.how["accuracy, oe"] == "rule: vqa"


def test_wordings_of_a_yes_or_no_question_agree_by_their_word():
    count = iter(["Yes.", "Yes, there is a dog.", "**yes**", "No.", "No, there is not.", "yes"])
    r = run(lambda request: "1. A dog?\n2. Any dog?" if "other wordings" in request.text else next(count), "cu", source=polls("yes", "no"), n=None, k=2,
            setting="oe")
    assert one(r, "cu", "oe", "consistency") == .75


# ---- MME

def of_mme(*subtasks, images=2):
    grey = Image.new("RGB", (4, 4))
    return [Sample(Picture(f"{t}/{i}", lambda: grey), "mme:test@here", f"Is {t} {i} {w}? Please answer yes or no.", (), (a,), {"category": t})
            for t in subtasks for i in range(images) for w, a in (("there", "yes"), ("gone", "no"))]


ALL = (*PERCEPTION, *COGNITION)


def knows(request): return "Yes, it is there." if "there?" in request.text else "No, it is not."


def test_mme_gives_its_numbers_through_suites():
    rng = random.Random(0)
    def mind(request): return rng.choice(["Yes.", "No", "**Yes**", "None", "unanswerable", "The answer is no.", "<think>No</think>yes"])
    r = run(mind, "mme", source=of_mme(*ALL, images=5), n=None)
    rows = r.items["mme"]
    for how in ("strict", "official"):
        m = suites.mme(rows.reply.tolist(), rows.label.tolist(), rows.image_id.tolist(), rows.part.tolist(), how == "official")
        assert [one(r, "mme", how, s) for s in ("perception", "cognition", "total")] == pytest.approx([m.perception, m.cognition, m.total])
        assert one(r, "mme", how, "accuracy") == pytest.approx(np.mean([c for t in m.tasks.values() for c in t.accuracy.credits]))
        assert one(r, "mme", how, "accuracy_plus") == pytest.approx(np.mean([t.plus for t in m.tasks.values()]))
    strict = suites.mme(rows.reply.tolist(), rows.label.tolist(), rows.image_id.tolist(), rows.part.tolist(), False)
    for t in ALL: assert one(r, "mme", t, "score") == pytest.approx(strict.tasks[t].score)
    inside = r.table.low.isna() | ((r.table.low <= r.table.value + 1e-9) & (r.table.value <= r.table.high + 1e-9))      # nan: nothing varied
    assert inside.all() and (r.table[["answered", "abstained", "unreadable"]].sum(axis=1) == r.table.replies).all()
    assert one(run(lambda q: "Yes", "mme", source=of_mme(*ALL), n=None), "mme", "official", "perception") == 500 and "perception" in str(r)


def test_mme_comes_with_accuracy_and_asks_nothing_more():
    thinks = lambda request: f"<think>Yes? No.</think>{knows(request)}"
    plain, aloud, alone = (run(f, b, source=of_mme(*ALL), n=None) for f, b in ((knows, "accuracy"), (thinks, "accuracy"), (knows, "mme")))
    assert plain.table.equals(aloud.table) and one(plain, "accuracy", "oe", "accuracy") == 1
    for r in (plain, alone): assert [one(r, "mme", "official", s) for s in ("accuracy", "accuracy_plus", "perception", "cognition")] == [1, 1, 2000, 800]
    assert plain.calls == {"asked": 2 * 56, "cached": 56, "failed": 0} and alone.calls["asked"] == 56
    assert run(knows, "mme", source=of_mme(*ALL), n=None, rules="pope").table.part.iloc[0] == "official"
    assert "mme" in run(knows, "mme").missing and "mme" not in run(seer, "accuracy", n=2).items


def test_whole_pairs_are_chosen_and_odd_ones_left_out_and_counted():
    opened = open_all(of_mme(*ALL, images=9), BenchPlan(("accuracy",), n=29, seed=3))
    chosen = opened["mme"]["oe"]
    pairs = pd.Series([(s.info["category"], s.image_id) for s in chosen]).value_counts()
    assert (pairs == 2).all() and len(chosen) == 28 and {t for t, _ in pairs.index} == set(ALL) and opened["accuracy"]["oe"] == chosen
    assert len({s.image_id for s in given_parts(of_mme("OCR"), "accuracy", BenchPlan(n=1))["oe"]}) == 1      # no half pair
    lost = of_mme("color", "OCR")[1:]
    r = run(knows, "mme", source=lost, n=None)
    assert "1 questions without their pair left out" in r.how["mme, strict"] and r.table.query("part == 'strict'").n.tolist() == [6] * 5
    failing = run(lambda q: Reply("", finish="failed", error="timed out") if "color 0 there" in q.text else knows(q), "mme", source=of_mme("color"), n=None)
    assert one(failing, "mme", "color", "accuracy") == 1 and failing.table.query("part == 'color'").failed.tolist() == [1] * 3
    assert "timed out" in run(lambda q: Reply("", finish="failed", error="timed out"), "mme", source=of_mme("color"), n=None).missing["mme"]


# ---- a megabyte

LONG = ["\n", "1", "hot dog. ", "yes, no\n", ".)'", "[\"a?\", "]


@pytest.mark.parametrize("read", [
    yes_or_no, lambda t: [read_yes_no(t, r) for r in RULES], lambda t: mmmu_open(t, ["5"]), drop_incomplete, prompts.read_verdict,
    lambda t: prompts.read_items(t, 5, asked="What?", questions=True, cut=True), lambda t: Chair().score([t], [["dog"]], [[]]),
    lambda t: Chair(official=True).score([t], [["dog"]], [[]]), lambda t: suites.mme([t, t], ["yes", "no"], "aa", ["x"] * 2)],
    ids=["word", "pope", "mmmu", "sentences", "verdict", "list", "chair", "official chair", "mme"])
def test_a_megabyte_is_read_in_no_time(read):
    "Nothing here is quadratic: that would take hours. The bound is generous, since machines are shared."
    for piece in LONG:
        began = time.process_time()
        read(piece * (1_000_000 // len(piece)))
        assert time.process_time() - began < 60, repr(piece)


def test_a_reply_that_is_read_in_part_says_so():
    r = run(lambda request: "Yes. " * 50_000, "pope", n=1)
    assert r.reading == {"pope": {"read up to 100,000 characters": len(r.items["pope"])}} and "read up to" in str(r)
