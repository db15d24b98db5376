"""The readers: real-world-like replies in tables, and properties that hold for any text."""
import pytest
from hypothesis import given, settings, strategies as st
from unsaf.core import Outcome, Question, Reply, Setting
from unsaf.prompts.templates import PARAPHRASES, wording
from unsaf.prompts.readers import read_answer, read_questions, read_reply
from unsaf.metrics.text.normalise import soft_abstention

ABCD = "A. red\nB. blue\nC. green\nD. black"
COLORS = ("red", "blue", "green", "black")
FIRST, SECOND = "What color is the car?", "How many dogs are there?"
TWO = [FIRST, SECOND]

# (reply, texts of the questions to ask, pieces): open-ended
OPEN = {
    "as asked": (f"Question: {FIRST}\nQuestion: {SECOND}", TWO, {}),
    "blank before colon": (f"Question : {FIRST}\nQuestion : {SECOND}", TWO, {}),
    "blank lines": (f"\n\nQuestion: {FIRST}\n\n\nQuestion: {SECOND}\n", TWO, {}),
    "numbered": (f"1. {FIRST}\n2. {SECOND}", TWO, {}),
    "numbered with bracket": (f"1) {FIRST}\n2) {SECOND}", TWO, {}),
    "numbered in brackets": (f"(1) {FIRST}\n(2) {SECOND}", TWO, {}),
    "numbered without blank": (f"1.{FIRST}\n2.{SECOND}", TWO, {}),
    "numbered and marked": (f"1. Question: {FIRST}\n2. Question: {SECOND}", TWO, {}),
    "marked with number": (f"Question 1: {FIRST}\nQuestion 2: {SECOND}", TWO, {}),
    "marked with number and bracket": (f"Question 1) {FIRST}\nQuestion 2) {SECOND}", TWO, {}),
    "bold mark": (f"**Question 1:** {FIRST}\n**Question 2:** {SECOND}", TWO, {}),
    "bold all": (f"**Question: {FIRST}**\n**Question: {SECOND}**", TWO, {}),
    "bold number": (f"**1.** {FIRST}\n**2.** **{SECOND}**", TWO, {}),
    "headings": (f"### Question 1\n{FIRST}\n\n### Question 2\n{SECOND}", TWO, {}),
    "heading and blank line": (f"**Question 1**\n\n{FIRST}\n\n**Question 2**\n\n{SECOND}", TWO, {}),
    "short marks": (f"Q1. {FIRST}\nQ2: {SECOND}", TWO, {}),
    "bullets": (f"- {FIRST}\n- {SECOND}", TWO, {}),
    "stars": (f"* {FIRST}\n* *{SECOND}*", TWO, {}),
    "round bullets": (f"• {FIRST}\n• {SECOND}", TWO, {}),
    "letters": (f"A. {FIRST}\nB. {SECOND}", TWO, {}),
    "plain lines": (f"{FIRST}\n{SECOND}", TWO, {}),
    "one plain line": (FIRST, [FIRST], {}),
    "one line": (f"1. {FIRST} 2. {SECOND}", TWO, {}),
    "one line, marked": (f"Question: {FIRST} Question: {SECOND}", TWO, {}),
    "quoted": (f'1. "{FIRST}"\n2. “{SECOND}”', TWO, {}),
    "placeholder brackets": (f"Question: [{FIRST}]\nQuestion: [{SECOND}]", TWO, {}),
    "quotation": (f"> Question: {FIRST}\n> Question: {SECOND}", TWO, {}),
    "code marks": (f"```\nQuestion: {FIRST}\nQuestion: {SECOND}\n```", TWO, {"chatter": 2}),
    "full-width": ("Question： What is this？\n2. 这是什么？", ["What is this？", "这是什么？"], {}),
    "windows line ends": (f"1. {FIRST}\r\n2. {SECOND}\r\n", TWO, {}),
    "chatter before": (f"Sure! Here are 2 questions:\n1. {FIRST}\n2. {SECOND}", TWO, {"chatter": 1}),
    "chatter after": (f"1. {FIRST}\n2. {SECOND}\n\nLet me know if you need more!", TWO, {"chatter": 1}),
    "asking chatter": (f"1. {FIRST}\n2. {SECOND}\n\nWould you like more questions?", TWO, {"chatter": 1}),
    "chatter between": (f"1. {FIRST}\nThis cannot be known.\n2. {SECOND}", TWO, {"chatter": 1}),
    "remark on the line": (f"1. {FIRST} (The car is cropped.)\n2. {SECOND} - not in the image", TWO, {"chatter": 2}),
    "answers given": (f"Q: {FIRST}\nA: red\nQ: {SECOND}\nA: two", TWO, {"answer given": 2}),
    "answer on the line": (f"Question: {FIRST} Answer: red\nQuestion: {SECOND}\nAnswer: 2", TWO, {"answer given": 2}),
    "bold answer": (f"1. {FIRST}\n**Answer:** red", [FIRST], {"answer given": 1}),
    "titles": (f"1. **Color**: {FIRST}\n2. **Count**: {SECOND}", TWO, {}),
    "wrapped line": ("Question: What color is\nthe car?", [FIRST], {}),
    "two sentences": ("1. Look at the car. What color is it?", ["Look at the car. What color is it?"], {}),
    "duplicate": (f"1. {FIRST}\n2. what color is the CAR\n3. {SECOND}", [FIRST, SECOND], {"missing question": 1}),
    "duplicate, marked": (f"Question: {FIRST}\nQuestion: what color is the CAR\nQuestion: {SECOND}", TWO, {"duplicate": 1}),
    "all the same": ("\n".join(f"{i}. {FIRST}" for i in range(1, 6)), [FIRST], {"duplicate": 4}),
    "options nobody asked for": (f"Question: {FIRST}\n{ABCD}", [], {"options given": 1}),
    "inline options": (f"1. {FIRST} A. red B. blue C. green D. black\n2. {SECOND}", [SECOND], {"options given": 1}),
    "echo of the format": ("Question: [A high-quality unanswerable question.]", [], {"template echo": 1}),
    "echo of the image line": (f"Image: <image>\nQuestion: {FIRST}", [FIRST], {"chatter": 1}),
    "no question mark": ("Question: Describe the car.", ["Describe the car."], {}),
    "statement": ("1. The car is red.\n2. There is a dog.", [], {"missing question": 2}),
    "statement beside marks": (f"Question: {FIRST}\n1. The car is red.", [FIRST], {"chatter": 1}),
    "caption": ("The image shows a car.", [], {"chatter": 1}),
    "mark alone": ("Question:", [], {"missing question": 1}),
    "points": ("Question: ...", [], {"missing question": 1}),
    "refusal": ("I'm sorry, I can't help with that.", [], {"chatter": 1}),
    "too many": ("\n".join(f"{i}. Who is number {i}?" for i in range(1, 8)), [f"Who is number {i}?" for i in range(1, 6)],
        {"beyond k": 2}),
    "decimal": ("3.5 miles is far\nQuestion: Is it 3.5 miles away?", ["Is it 3.5 miles away?"], {"chatter": 1}),
    "clock": ("1. Is it 12:30 or 1. 45 on the clock?", ["Is it 12:30 or 1. 45 on the clock?"], {}),
    "question inside": ("Question: What is the answer to the question: who is he?",
        ["What is the answer to the question: who is he?"], {}),
    "blank to fill": ("1. The man's name is ____?", ["The man's name is ____?"], {}),
    "kinds before the mark": (f"Open-ended Question 1: {FIRST}\nUnanswerable question 2: {SECOND}", TWO, {}),
    "chatter before on the line": (f"Sure! Here is a question: {FIRST}", [FIRST], {"chatter": 1}),
    "empty": ("", [], {"empty": 1}),
    "blank": (" \n\t\n ", [], {"empty": 1}),
}


def test_open_ended_replies():
    found = {name: read_questions(text, "oe", False, 5, "car.jpg") for name, (text, _, _) in OPEN.items()}
    assert {name: ([q.text for q in f.questions], f.pieces) for name, f in found.items()} == {name: tuple(wanted) for name, (_, *wanted) in OPEN.items()}
    assert {(q.setting, q.options, q.image_id, q.answerable) for f in found.values() for q in f.questions} == {(Setting.OE, (), "car.jpg", False)}


def mc(*blocks): return "\n".join(blocks)


# (reply, number of questions to ask, pieces): multiple choice; every question has the options red, blue, green, black
CHOICE = {
    "as asked": (mc(f"Question : {FIRST}", ABCD, f"Question : {SECOND}", ABCD), 2, {}),
    "blank lines": (f"Question: {FIRST}\n\n{ABCD}\n\n\nQuestion: {SECOND}\n\n{ABCD}", 2, {}),
    "numbered": (mc(f"1. {FIRST}", ABCD, f"2. {SECOND}", ABCD), 2, {}),
    "numbered and indented": (f"1. {FIRST}\n   A. red\n   B. blue\n   C. green\n   D. black\n", 1, {}),
    "bold": (f"**Question 1:** {FIRST}\n**A.** red\n**B.** blue\n**C.** **green**\n**D. black**", 1, {}),
    "bullets": (f"Question 1: {FIRST}\n- A. red\n- B. blue\n- C. green\n- D. black", 1, {}),
    "bracket": (f"Question: {FIRST}\nA) red\nB) blue\nC) green\nD) black", 1, {}),
    "brackets": (f"Question: {FIRST}\n(A) red\n(B) blue\n(C) green\n(D) black", 1, {}),
    "square brackets": (f"Question: {FIRST}\n[A] red\n[B] blue\n[C] green\n[D] black", 1, {}),
    "lower case": (f"Question: {FIRST}\na. red\nb. blue\nc. green\nd. black", 1, {}),
    "lower case in brackets": (f"Question: {FIRST}\n(a) red\n(b) blue\n(c) green\n(d) black", 1, {}),
    "colons": (f"Question: {FIRST}\nA: red\nB: blue\nC: green\nD: black", 1, {}),
    "dashes": (f"Question: {FIRST}\nA - red\nB - blue\nC - green\nD - black", 1, {}),
    "the word option": (f"Question: {FIRST}\nOption A: red\nOption B: blue\nOption C: green\nOption D: black", 1, {}),
    "no blank": (f"Question: {FIRST}\nA.red\nB.blue\nC.green\nD.black", 1, {}),
    "one line of options": (f"Question: {FIRST}\nA. red B. blue C. green D. black", 1, {}),
    "one line of options, commas": (f"Question: {FIRST}\nA) red, B) blue, C) green, D) black", 1, {}),
    "all on one line": (f"Question: {FIRST} A. red B. blue C. green D. black", 1, {}),
    "all on one line, lower case": (f"1. {FIRST} (a) red (b) blue (c) green (d) black", 1, {}),
    "everything on one line": (f"Question: {FIRST} {ABCD} Question: {SECOND} {ABCD}".replace("\n", " "), 2, {}),
    "two options a line": (f"Question: {FIRST}\nA. red B. blue\nC. green D. black", 0, {"malformed options": 1}),  # or an initial
    "placeholder brackets": (f"Question: [{FIRST}]\nA. [red]\nB. [blue]\nC. [green]\nD. [black]", 1, {}),
    "plain question": (f"{FIRST}\n{ABCD}\n\n{SECOND}\n{ABCD}", 2, {}),
    "heading": (f"### Question 1\n{FIRST}\n{ABCD}", 1, {}),
    "options label": (f"Question: {FIRST}\nOptions:\n{ABCD}", 1, {"chatter": 1}),
    "sentence to complete": (f"1. The car is\n{ABCD}", 1, {}),
    "chatter around": (f"Sure, here you are:\n\nQuestion: {FIRST}\n{ABCD}\n\nI hope this helps.", 1, {"chatter": 2}),
    "answer after": (f"Question: {FIRST}\n{ABCD}\nAnswer: B", 1, {"answer given": 1}),
    "bold answer after": (f"Question: {FIRST}\n{ABCD}\n**Correct Answer: B. blue**", 1, {"answer given": 1}),
    "the answer is": (f"Question: {FIRST}\n{ABCD}\nThe correct answer is B.", 1, {"answer given": 1}),
    "A: B": (f"Q: {FIRST}\n{ABCD}\nA: B", 1, {"answer given": 1}),
    "answer on the option line": (f"Question: {FIRST} A. red B. blue C. green D. black Answer: B", 1, {"answer given": 1}),
    "correct mark": (f"Question: {FIRST}\nA. red\nB. blue (correct)\nC. green\nD. black", 1, {"answer given": 1}),
    "tick": (f"Question: {FIRST}\nA. red\nB. blue ✓\nC. green\nD. black", 1, {"answer given": 1}),
    "answer key": (f"1. {FIRST}\n{ABCD}\n\nAnswers:\n1. B", 1, {"answer given": 2}),
    "three options": (f"Question: {FIRST}\nA. red\nB. blue\nC. green", 0, {"malformed options": 1}),
    "five options": (f"Question: {FIRST}\n{ABCD}\nE. white", 0, {"malformed options": 1}),
    "no options": (f"Question: {FIRST}\nQuestion: {SECOND}\n{ABCD}", 1, {"malformed options": 1}),
    "empty option": (f"Question: {FIRST}\nA. red\nB.\nC. green\nD. black", 0, {"malformed options": 1}),
    "repeated option": (f"Question: {FIRST}\nA. red\nB. Red\nC. green\nD. black", 0, {"malformed options": 1}),
    "repeated letter": (f"Question: {FIRST}\nA. red\nA. blue\nC. green\nD. black", 0, {"malformed options": 1}),
    "wrong order": (f"Question: {FIRST}\nB. red\nA. blue\nC. green\nD. black", 0, {"malformed options": 1}),
    "options without letters": (f"Question: {FIRST}\n- red\n- blue\n- green\n- black", 0, {"malformed options": 1, "chatter": 4}),
    "options without question": (ABCD, 0, {"missing question": 1}),
    "second question missing": (f"Question: {FIRST}\n{ABCD}\n{ABCD}", 1, {"missing question": 1}),
    "duplicate": (f"Question: {FIRST}\n{ABCD}\nQuestion: {FIRST}\nA. blue\nB. red\nC. green\nD. black", 1, {"duplicate": 1}),
    "echo": ("Question: [The question related to the picture with an answer derivable from it]\n" + ABCD, 0,
        {"template echo": 1}),
    "beyond k": ("\n".join(f"Question: Who is number {i}?\n{ABCD}" for i in range(1, 7)), 5, {"beyond k": 1}),
    "chatter only": ("The image shows a car.", 0, {"chatter": 1}),
}


def test_multiple_choice_replies():
    found = {name: read_questions(text, "mc", True, 5) for name, (text, _, _) in CHOICE.items()}
    assert {name: (len(f.questions), f.pieces) for name, f in found.items()} == {name: tuple(wanted) for name, (_, *wanted) in CHOICE.items()}
    assert all(q.options == COLORS and q.setting is Setting.MC and q.answerable for f in found.values() for q in f.questions)
    assert {f.questions[0].text for f in found.values() if f.questions} <= {FIRST, SECOND, "The car is", "Who is number 1?"}


def test_same_question_with_other_options_is_another_question():
    found = read_questions(f"Question: {FIRST}\n{ABCD}\nQuestion: {FIRST}\nA. 1\nB. 2\nC. 3\nD. 4", "mc", True, 5)
    assert len(found.questions) == 2 and not found.pieces


def test_numbers_notes_and_what_is_not_asked():
    found = read_questions("Question: Who is he?\nQuestion:\nQuestion: Who is he\nQuestion: Is he likely old?\nQuestion: Why?",
        "oe", False, 2)
    assert [(q.number, q.notes) for q in found.questions] == [(1, ()), (4, ("forbidden word",))]
    assert [(q.number, q.notes) for q in found.unasked] == [(3, ("no question mark", "duplicate of 1")), (5, ("beyond k",))]
    assert found.pieces == {"missing question": 1, "duplicate": 1, "beyond k": 1}


def test_forbidden_words_matter_for_unanswerable_questions_only():
    assert read_questions("1. Is rain likely?", "oe", True, 5).questions[0].notes == ()
    assert read_questions("1. Is rain likely?", "oe", False, 5).questions[0].notes == ("forbidden word",)
    assert read_questions("1. Is it impossibly small?", "oe", False, 5).questions[0].notes == ()
    options = "A. 1\nB. 2\nC. 3\nD. Cannot determine"
    assert read_questions(f"1. How many?\n{options}", "mc", False, 5).questions[0].notes == ("forbidden option",)
    assert read_questions(f"1. How many?\n{options}", "mc", True, 5).questions[0].notes == ()


@pytest.mark.parametrize("setting,text,asked,pieces", [
    ("oe", "1. Who is he?\n2. What is the", 1, {"cut off": 0, "missing question": 1}),
    ("oe", "Question: Who is he?\nQuestion: What is the", 1, {"cut off": 1}),
    ("oe", "Question: Who is he?\nQuestion: What is that?", 2, {}),
    ("mc", f"Question: {FIRST}\n{ABCD}\nQuestion: {SECOND}\nA. red\nB. bl", 1, {"cut off": 1}),
    ("mc", f"Question: {FIRST}\n{ABCD}\nI hope that", 1, {"chatter": 1}),
    ("mc", f"Question: {FIRST}\n{ABCD}\nQuestion: {SECOND}\n{ABCD}", 1, {"cut off": 1}),  # its last option may be half a word
])
def test_replies_that_hit_their_limit(setting, text, asked, pieces):
    found = read_questions(text, setting, True, 5, cut=True)
    assert len(found.questions) == asked and found.pieces == {k: v for k, v in pieces.items() if v}


@pytest.mark.parametrize("setting,answerable", [("mc", True), ("mc", False), ("oe", True), ("oe", False)])
@pytest.mark.parametrize("n", range(PARAPHRASES + 1))
def test_a_parroted_prompt_gives_no_question(setting, answerable, n):
    assert read_questions(wording("generate", setting, answerable, n), setting, answerable, 5).questions == ()


# ---- answers ----

OPTIONS = ("a dog", "Vitamin C", "a cat", "red")
ANSWERED = {  # reply: letter
    "B": "B", "b": "B", " B \n": "B", "B.": "B", "B)": "B", "(B)": "B", "[b]": "B", "**B**": "B", "B:": "B", "`C`": "C",
        '"D"': "D",
    "Answer: B": "B", "answer: b": "B", "The answer is B": "B", "The correct answer is B.": "B", "The answer is: **(B)**": "B",
    "The answer is b": "B", "Option B": "B", "option c": "C", "I choose D": "D", "I would pick option A.": "A",
        "My answer is A": "A",
    "B. Vitamin C": "B", "(b) vitamin C": "B", "B Vitamin C": "B", "B - Vitamin C": "B", "B, because it is orange": "B",
    "D. red": "D", "d. red": "D", "red": "D", "Red.": "D", "Answer: red": "D", "vitamin c": "B", "A dog": "A", "a dog": "A",
        "dog": "A",
    "the cat": "C", "A. a dog": "A", "A": "A", "a": "A", "A.": "A", "A is correct": "A", "A because it barks": "A",
        "A\nIt barks.": "A",
    "C\n\nThe picture shows a cat.": "C", "The answer is B. Vitamin C": "B", "B. B": "B", "Letter B is right": "B", "B!": "B",
    "Looking at the image, I see a cat. So the answer is C.": "C", "Answer:\nD": "D", "C. a cat sits on a mat": "C", "选 B": "B",
    "A\n\nExplanation: B is wrong": "A", "B. Vitamin C\n**Reasoning:** A dog cannot be option D.": "B", "C\nC": "C",
}
UNREAD = ["", "  ", ".", "?", "A or B", "A and C", "A/B/C/D", "A or B or C or D", "A. a dog B. Vitamin C C. a cat D. red", "E",
    "F.", "5",
          "a horse", "A horse", "A big dog runs", "It is not B", "not A", "neither A nor B", "B? C?", "yes", "I",
          "I am not sure.", "Because",
          "the answer", "vitamin D3", "D'Artagnan", "C3PO", "B-52", "A\nReasoning: D.\nAnswer: B", "B is best, not C",
          "The dog and the cat", "Bob", "U.S.A. map"]


def told(texts, *how):
    "By text, the outcome and the value that are read."
    return {text: ((answer := read_answer(text, *how)).outcome, answer.value) for text in texts}


def test_letters(): assert told(ANSWERED, "mc", OPTIONS) == {text: (Outcome.ANSWERED, letter) for text, letter in ANSWERED.items()}


def test_no_letter(): assert told(UNREAD, Setting.MC, OPTIONS) == dict.fromkeys(UNREAD, (Outcome.UNREADABLE, ""))


def test_letters_without_options():
    for text, letter in {"B": "B", "b.": "B", "The answer is D": "D", "A dog": "", "B. blue": "B"}.items():
        assert read_answer(text, "mc").value == letter
    assert read_answer("D", "mc", ("yes", "no")).outcome is Outcome.UNREADABLE  # there is no option D


def test_options_that_are_letters():
    letters = ("B", "C", "D", "A")
    assert read_answer("B", "mc", letters).value == "B"  # the letter was asked for
    assert read_answer("A. B", "mc", letters).value == "A"
    assert read_answer("B. B", "mc", letters).outcome is Outcome.ANSWERED


@pytest.mark.parametrize("setting", ["mc", "oe"])
def test_abstentions(setting):
    for text in ("unanswerable", "Unanswerable.", "UNANSWERABLE", "The question is unanswerable", "**unanswerable**", "B? No, unanswerable",
                 "Answer: unanswerable", "unanswerable\n\nB", "It's unanswerable: not visible"):
        answer = read_answer(text, setting, OPTIONS if setting == "mc" else ())
        assert (answer.outcome, answer.value, answer.soft_abstain) == (Outcome.ABSTAINED, "unanswerable", False), text


SOFT = ["I cannot tell.", "Cannot be determined", "can't tell", "It can’t be determined from the image.", "not visible",
    "Unknown",
        "unclear", "I don't know", "I do not know.", "The image does not show that.", "It is not clearly visible", "Not sure",
            "N/A",
        "It is impossible to say", "There is no information about it", "unable to determine", "The name is not mentioned",
        "un-answerable", "not answerable", "There is no way to know", "insufficient information", "cannot\nsee", "I couldn't say"]
FIRM = ["red", "a dog", "No", "none", "nothing", "0", "known as Big Ben", "He is showing a sign", "clear sky",
    "a can not far away", "certain death",
        "visible", "It is not red", "The man does not wear a hat"]


def test_soft_abstentions():
    for text in SOFT:
        answer = read_answer(text, "oe")
        assert answer.outcome is Outcome.ANSWERED and answer.soft_abstain and answer.value == text
        assert read_answer(text, "mc", OPTIONS).soft_abstain, text  # unreadable there, and flagged


def test_firm_answers(): assert not [t for t in FIRM if read_answer(t, "oe").soft_abstain or soft_abstention(t)]


def test_choosing_an_option_that_declines_is_flagged():
    assert read_answer("D", "mc", ("one", "two", "three", "cannot be determined")).soft_abstain
    assert not read_answer("A", "mc", ("one", "two", "three", "cannot be determined")).soft_abstain


@pytest.mark.parametrize("text,value", [(" red \n", "red"), ("Answer: red", "Answer: red"), ("A", "A"), ("\n", ""), ("...", ""),
    ("12", "12"), ("是", "是")])
def test_open_ended_answers(text, value):
    answer = read_answer(text, "oe")
    assert answer.value == value and answer.outcome is (Outcome.ANSWERED if value else Outcome.UNREADABLE)


# ---- chain of thought: reply -> (outcome, value, confidence) ----
A, U, N = Outcome.ANSWERED, Outcome.ABSTAINED, Outcome.UNREADABLE
THOUGHTS = {
    "cot: The car is red, answerability: answerable: red, confidence: 5": (A, "red", 5),
    "cot:The car is red. answerability:answerable:red, confidence:5": (A, "red", 5),
    "cot: No name is shown, answerability: unanswerable, confidence: 4": (U, "unanswerable", 4),
    "Cot: it may be unanswerable, but I see red.\nAnswerability: answerable: red\nConfidence: 3": (A, "red", 3),
    "cot: step 1: look: red\nanswerability: Answerable: it says: stop\nconfidence: 4": (A, "it says: stop", 4),
    "**cot**: x\n**answerability**: **answerable**: **red**\n**confidence**: **2**": (A, "red", 2),
    '{"cot": "x", "answerability": "answerable: red", "confidence": 4}': (A, "red", 4),
    "cot: x, answerability: answerable: red": (A, "red", None),
    "cot: x, answerability: answerable, short answer: red, confidence: 5": (A, "red", 5),
    "cot: x, answerability: answerable - red, confidence: 5": (A, "red", 5),
    "cot: x, answerability: answerable (red), confidence: 5": (A, "red)", 5),
    "cot: x, answerability: red, confidence: 5": (A, "red", 5),
    "cot: x, answerability: answerable, confidence: 5": (N, "", 5),
    "cot: x, answerability: , confidence: 5": (N, "", 5),
    "cot: x, confidence: 5": (N, "", 5),
    "cot: it is unanswerable": (N, "", None),
    "red": (N, "", None), "unanswerable": (N, "", None), "": (N, "", None),
    "cot: x, answerability: Unanswerable. confidence: 5/5": (U, "unanswerable", 5),
    "cot: x, answerability: unanswerable, confidence: 7": (U, "unanswerable", None),
    "cot: x, answerability: unanswerable, confidence: 1-5": (U, "unanswerable", None),
    "cot: x, answerability: unanswerable, confidence: 4.5": (U, "unanswerable", None),
    "cot: x, answerability: unanswerable, confidence: high": (U, "unanswerable", None),
    "cot: x, answerability: answerable: 12, 30 and 7, confidence score: 4": (A, "12, 30 and 7", 4),
    "cot: x, answerability: answerable: red, confidence: 5\ncot: y, answerability: answerable: red, confidence: 5": (A, "red", 5),
    "cot: x, answerability: answerable: red, confidence: 5\ncot: y, answerability: unanswerable, confidence: 1": (N, "", None),
    "answerability: answerable: red, confidence: 5": (A, "red", 5),
}


def test_chain_of_thought():
    found = {text: read_answer(text, "oe", template="gpt") for text in THOUGHTS}
    assert {text: (answer.outcome, answer.value, answer.confidence) for text, answer in found.items()} == THOUGHTS


@pytest.mark.parametrize("said,letter", [("B", "B"), ("B. Vitamin C", "B"), ("red", "D"), ("A dog", "A"), ("A or B", ""),
    ("the moon", "")])
def test_chain_of_thought_with_options(said, letter):
    answer = read_answer(f"cot: A and B look alike, answerability: answerable: {said}, confidence: 3", "mc", OPTIONS,
        template="gpt")
    assert (answer.value, answer.outcome) == (letter, A if letter else N)


def test_an_unasked_chain_of_thought_is_read_as_one():
    assert read_answer("cot: maybe unanswerable, answerability: answerable: red, confidence: 3", "oe").value == "red"
    assert read_answer("cot: maybe unanswerable", "oe").outcome is N
    assert read_answer("cotton", "oe").value == "cotton"


@pytest.mark.promise("outcomes")
@settings(max_examples=80, deadline=None)
@given(st.one_of(st.text(), st.lists(st.sampled_from(["A", "B.", "(c)", " ", "unanswerable", "cot:", "answerability:",
    "answerable:", "confidence: 3",
                                                      "not", "answer is", "\n", "red", "’"]), max_size=12).map("".join)),
       st.sampled_from(["mc", "oe"]), st.sampled_from(["none", "llava", "qwen", "gpt"]), st.lists(st.text(), min_size=4,
           max_size=4))
def test_any_reply_has_one_outcome(text, setting, template, options):
    answer = read_answer(text, setting, tuple(options), template)
    assert answer.outcome in (A, U, N)
    assert bool(answer.value) == (answer.outcome is not N)
    if answer.outcome is U: assert "unanswerable" in text.casefold() and answer.value == "unanswerable"
    if answer.outcome is A and setting == "mc": assert answer.value in "ABCD"
    if template != "gpt" and "cot" not in text.casefold(): assert (answer.outcome is U) == ("unanswerable" in text.casefold())
    assert answer.confidence in (None, 1, 2, 3, 4, 5)


def test_replies_that_never_came():
    q = Question(FIRST, Setting.MC, True, COLORS)
    assert read_reply(Reply("", finish="failed", error="timeout"), q).outcome is Outcome.FAILED
    assert read_reply(Reply("B", finish="refused", error="filter"), q).outcome is Outcome.REFUSED
    assert read_reply(Reply("B", finish="length"), q).value == "B"
