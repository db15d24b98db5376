"The benchmark prompts: each slot filled once, one difference between a prompt and its variant, and lists read without a loss."
import json, os, re
from pathlib import Path
import pytest
from hypothesis import given, strategies as st
from PIL import Image
from unsaf.prompts import benchmarks as B
from unsaf.core import Picture, UnsafError
from unsaf.data.closed import options_in

RED = Picture("red", lambda: Image.new("RGB", (2, 2), "red"))
OFFICIAL = Path(os.environ.get("UNSAF_OFFICIAL_FILES", "/nowhere"))
ABCD = ("blue", "red", "green", "black")


# ---- texts and versions

@pytest.mark.promise("prompts")
def test_the_taken_over_sentences_are_the_published_ones():
    assert B.accuracy_parts(RED, "Q?")[1] == "Q?\nAnswer the question using a single word or phrase."
    assert B.accuracy_parts(RED, "Q?", ABCD)[1] == \
        "Q?\nA. blue\nB. red\nC. green\nD. black\nAnswer with the option's letter from the given choices directly."
    assert B.caption_parts(RED) == (RED, "Please describe this image in detail.")
    assert B.yes_no_parts(RED, "Q?")[1] == "Q?\nPlease answer yes or no."


@pytest.mark.parametrize("name", B.TEXTS)
def test_texts_are_short(name):
    assert len(re.sub(r"<image>|\{\w+\}", "", B.TEXTS[name]).split()) <= 32
    assert ("unanswerable" in B.TEXTS[name]) == name.endswith("_abstain")


def test_versions_follow_every_character(monkeypatch):
    before = {name: B.version(name) for name in B.TEXTS}
    assert all(re.fullmatch("[0-9a-f]{12}", v) for v in before.values())
    for name in B.TEXTS:
        monkeypatch.setattr(B, "TEXTS", {**B.TEXTS, name: B.TEXTS[name] + " "})
        assert B.version(name) != before[name]
        monkeypatch.undo()
    with pytest.raises(UnsafError, match="'chair' is unknown"): B.version("chair")


# ---- rendering

anything = st.text(min_size=1).filter(str.strip)


@given(anything, st.lists(anything, min_size=2, max_size=9), anything)
def test_what_is_filled_in_stays_text(question, options, hint):
    text = B.accuracy_parts(RED, question, options, hint=hint)[1]
    lines = "\n".join(f"{x}. {' '.join(o.split())}" for x, o in zip(B.LETTERS, options))
    assert text == f"{hint.strip()}\n{question.strip()}\n{lines}\n{B.LETTER}"


@given(anything, anything, anything)
def test_a_models_words_cannot_add_a_line(question, a, b):
    text, = B.judge_parts(question, a, b)
    assert len(re.split("[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", text)) == 4
    draft = B.cove_plan_parts((RED, "Q?"), a)[1]
    assert draft.count("\n") == 2 and " ".join(a.split()) in draft


def test_slots_inside_slots_are_left_alone():
    assert "Question: {k} {answer} <image>\nAnswer: {question}\n" in B.rephrase_parts("{k} {answer} <image>", 3, "{question}")[0]
    assert B.accuracy_parts(RED, "<image>{options}", ABCD)[1].startswith("<image>{options}\nA. blue")


@pytest.mark.parametrize("options", [(), ABCD])
def test_the_offer_to_abstain_is_the_only_difference(options):
    plain, offered = (B.accuracy_parts(RED, "Q?", options, abstain=a) for a in (False, True))
    assert offered == (RED, f"{plain[1]} {B.UNSURE}")
    plain, offered = (B.pope_parts(RED, "dog", abstain=a) for a in (False, True))
    assert offered == (RED, f"{plain[1]} {B.UNSURE}")


@pytest.mark.parametrize("kind", B.MISLEADING)
@pytest.mark.parametrize("wrong", "ABCD")
def test_the_misleading_line_is_the_only_difference(kind, wrong):
    first, misled = B.accuracy_parts(RED, "Q?", ABCD), B.misleading_parts(RED, "Q?", ABCD, wrong, kind)
    lines = misled[1].split("\n")
    cue = lines.pop(-2)
    assert (misled[0], "\n".join(lines)) == first
    assert re.findall(r"\b[A-D]\b", cue) == [wrong] and ("correct" in cue) == (kind == "explicit")


def test_pictures_are_in_front_and_may_be_missing():
    for parts in (B.accuracy_parts(RED, "Q?"), B.caption_parts(RED, "short"), B.pope_parts(RED, "dog"),
                  B.rephrase_parts("Q?", picture=RED), B.judge_parts("Q?", "a", "b", picture=RED)):
        assert len(parts) == 2 and parts[0] is RED and isinstance(parts[1], str)
    for parts in (B.accuracy_parts(None, "Q?"), B.rephrase_parts("Q?"), B.judge_parts("Q?", "a", "b")): assert len(parts) == 1


def test_bad_choices_are_refused_in_one_line():
    for call in (lambda: B.accuracy_parts(RED, "Q?", ("one",)), lambda: B.option_lines([str(i) for i in range(27)]),
                 lambda: B.misleading_parts(RED, "Q?", ABCD, "E"), lambda: B.misleading_parts(RED, "Q?", ABCD, "red"),
                 lambda: B.misleading_parts(RED, "Q?", ABCD, ""), lambda: B.misleading_parts(RED, "Q?", (), "A"),
                 lambda: B.misleading_parts(RED, "Q?", ABCD, "A", "rude"), lambda: B.caption_parts(RED, "long"),
                 lambda: B.rephrase_parts("Q?", 0), lambda: B.cove_plan_parts((RED, "Q?"), "a", 0),
                 lambda: B.cove_revise_parts((RED, "Q?"), "a", [])):
        with pytest.raises(UnsafError) as e: call()
        assert "\n" not in str(e.value)


# ---- POPE against its files

def test_pope_questions_equal_the_published_ones():
    files = sorted((OFFICIAL / "pope").glob("coco_pope_*.json"))
    if not files: pytest.skip("UNSAF_OFFICIAL_FILES names no folder with pope/coco_pope_*.json")
    asked = [json.loads(line)["text"] for f in files for line in f.read_text().splitlines()]
    things = [re.fullmatch(r"Is there an? (.+) in the image\?", q)[1] for q in asked]
    odd = [q for q, thing in zip(asked, things) if B.pope_question(thing) != q]
    assert len(asked) == 9000 and odd == ["Is there an traffic light in the image?"]


def test_articles_and_mme():
    assert [B.pope_question(t).split(" in ")[0] for t in ("apple", "oven", "dog", "hot dog")] == \
        ["Is there an apple", "Is there an oven", "Is there a dog", "Is there a hot dog"]
    assert B.yes_no_parts(RED, "Is it red? Please answer yes or no.", True) == B.yes_no_parts(RED, "Is it red?", True)


# ---- CoVe

def test_checks_see_nothing_of_the_draft_or_the_task():
    parts = B.pope_parts(RED, "unicorn")
    check = B.cove_check_parts(parts, "Which animals are there?")
    assert check == (RED, "Which animals are there?\n" + B.SHORT)
    for later in (B.cove_plan_parts(parts, "yes"), B.cove_revise_parts(parts, "yes", [("Which animals?", "a\ncat")])):
        assert later[0] is RED and len(later) == 2 and later[1].startswith(parts[1] + "\nDraft answer: yes\n")
    assert "Checks:\n1. Which animals? a cat\n" in later[1]


def test_cove_keeps_any_layout():
    late = ("Question: what?\nImage: ", RED)
    assert B.cove_plan_parts(late, "a dog")[:2] == late
    two = Picture("two", lambda: None)
    assert B.cove_check_parts((RED, "and", two), "Same?")[:2] == (RED, two)


# ---- reading lists

WORDINGS = ("Which color is the car?", "What is the car's color?", "The car is of what color?", "Name the color of the car.")


@pytest.mark.parametrize("form", ["{i}. {t}", "{i}) {t}", "({i}) {t}", "- {t}", "* {t}", "• {t}", "**{i}.** {t}", "{i}. **{t}**",
                                  "{i}. \"{t}\"", "{i}. Question: {t}", "   {i}.   {t}  ", "{i}. Wording {i}: {t}", "> {i}: {t}"])
def test_forms_of_a_list(form):
    text = "\n".join(form.format(i=i, t=t) for i, t in enumerate(WORDINGS, 1))
    found = B.read_rephrasings("Sure! Here they are:\n\n" + text + "\n\nShall I go on?", "What color is the car?", 4)
    assert found.items == WORDINGS and found.faults == {"chatter": 2}


def test_lists_on_one_line_and_without_marks():
    assert B.read_list("1. Is it red? 2. Is it 3.5 m long? 3. Is it 4?") == ("Is it red?", "Is it 3.5 m long?", "Is it 4?")
    assert B.read_list("Is it red?\nNo idea.\nQ2: Is it big?") == ("Is it red?", "Is it big?")
    assert B.read_list("1. What is on\n   the table?\n2. Tell me the color\nThat is all.") == ("What is on the table?", "Tell me the color")


def test_every_fault_by_hand():
    text = "Sure!\n1. Is it red? Yes, it is.\n2.\n3. is it RED\n4. What color is it?\n5. Name its color.\n6. Is it blue?\n7. Is it\n8. Is th"
    found = B.read_items(text, 3, asked="what color is it", cut=True)
    assert found.items == ("Is it red?", "Name its color.", "Is it blue?")
    assert found.faults == {"chatter": 1, "remark": 1, "blank item": 1, "duplicate": 1, "same as asked": 1, "beyond k": 1, "cut off": 1}
    assert B.read_plan(text, 9).faults["no question"] == 4        # 3, 5, 7 and 8
    assert B.read_items(" \n\t").faults == {"empty": 1} and B.read_items("").lines == ()
    assert B.read_items("1. Is it red?", cut=True).items == ("Is it red?",)


@given(st.text(st.sampled_from("kl1.)-?*\n \"“:z？Q"), max_size=60), st.booleans(), st.booleans(), st.integers(1, 4))
def test_nothing_is_lost(text, questions, cut, k):
    found = B.read_items(text, k, questions=questions, cut=cut)
    assert len(found.items) <= k and len(found.items) + sum(found.faults.values()) == max(len(found.lines), 1)
    assert [t for kind, t in found.lines if kind == "item"] == list(found.items)
    words = lambda t: re.findall("[klz]+", t)
    assert [w for _, t in found.lines for w in words(t)] == words(text)
    if questions: assert all("?" in i or "？" in i for i in found.items)


@pytest.mark.promise("readers")
@given(st.text())
def test_no_reply_breaks_a_reader(text):
    B.read_items(text, 3, asked=text, questions=True, cut=True)
    B.read_verdict(text)


@given(st.lists(st.text(st.sampled_from("abcdefgh "), min_size=3).filter(str.strip).map(lambda t: " ".join(t.split()) + "?"),
                min_size=1, max_size=6, unique=True))
def test_what_was_written_is_read(questions):
    assert B.read_plan("\n".join(f"{i}. {q}" for i, q in enumerate(questions, 1)), len(questions)).items == tuple(questions)


# ---- verdicts

@pytest.mark.parametrize("text, verdict", [
    ("yes", True), ("Yes.", True), (" **Yes**, both mean red.", True), ("Yes, there is no difference.", True), ("NO", False),
    ("No. The second does not say the color.", False), ("yes or no", None), ("Yes/No", None), ("Yes and no", None), ("Yes. No.", None),
    ("They are the same.", None), ("Yesterday", None), ("Nothing", None), ("unanswerable", None), ("", None), ("I would say yes", None)])
def test_verdicts(text, verdict): assert B.read_verdict(text) is verdict


@given(st.lists(st.sampled_from(["A.", "B)", "(C)", "A:", " ", "\n", "red", "please", "A. ", "B. ", "C. "]), max_size=14).map("".join))
def test_options_are_told_or_not_told(text):
    found = options_in(text)
    if found: assert found[0] and 2 <= len(found[1]) <= 26 and all(o.strip() for o in found[1]) and found[0] in text
