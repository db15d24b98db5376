"""Accuracy: the official VQA, MMMU, MME and ScienceQA rules (results of their scripts, frozen), second implementations, and reading choices."""
import itertools, random
from fractions import Fraction
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from unsaf.core import Outcome, Reply
from unsaf.metrics.text import short_answers as room
from unsaf.metrics.accuracy import (OPEN_RULES, Accuracy, by_group, choice_accuracy, exact_match, lettered, normalise, open_accuracy,
                                    read_choice, value_match, vqa_accuracy)
from unsaf.metrics.pressure import by_image, share
from unsaf.metrics.resampling import cluster_bootstrap
from unsaf.metrics.suites import (COGNITION, PERCEPTION, circular, circular_accuracy, mme, mmmu, mmmu_open, mmmu_subject,
                                  scienceqa_groups)
from unsaf.prompts.readers import read_answer

# ---- the official VQA script. The right-hand sides were obtained by running vqaEval.py of GT-Vision-Lab/VQA (commit a013f00)
# unchanged under Python 2.7.18, each annotator with an answer_id as in the files of VQA v2.

NORMALISED = {
    "two dogs": "2 dogs", "The Two dogs.": "2 dogs", "none": "0", "None of them": "0 of them", "zero": "0", "ten": "10", "eleven": "eleven",
    "a": "", "the a an": "", "A man": "man", "an apple a day": "apple day", "dont": "don't", "don't": "don't", "Dont": "don't",
    "cant": "can't", "yall'd've": "y'all'd've", "couldnt've": "couldn't've", "couldn'tve": "couldn't've", "couldntve": "couldntve",
    "Im": "im", "I'm": "i'm", "Ive": "ive", "Id've": "id've", "somebody'd": "somebodyd", "somebodyd": "somebodyd", "let's": "let's",
    "lets": "lets", "shes": "shes", "she's": "she's", "oclock": "o'clock", "5 oclock": "5 o'clock", "ow's'at": "'ow's'at",
    "'ows'at": "'ow's'at", "twas": "'twas", "red,blue": "red blue", "red, blue": "red blue", "red,blue, green": "redblue green",
    "red ,blue": "red blue", "1,000": "1000", "1,000 dogs": "1000 dogs", "10/12": "10 12", "10/12, 1,000": "1012 1000", "1,a": "1",
    "a/b c/d": "b c d", "t-shirt": "t shirt", "t- shirt": "t shirt", "tshirt": "tshirt", "half-full -yes": "halffull yes", "3.5": "3.5",
    "5.": "5", "v. 5.": "v 5", ".5": ".5", "U.S.A.": "usa", "a.m.": "am", "1.2.3.": "1.2.3", "8:30": "8:30", "$5": "$5", "5%": "5%",
    "#1": "#1", "*dog*": "*dog*", "'dog'": "'dog'", '"dog"': "dog", "(dog)": "dog", "( dog )": "dog", "[dog]": "dog", "{dog}": "dog",
    "dog?": "dog", "dog!": "dog", "dog;cat": "dog cat", "a_b": "b", "a=b": "b", "a+b": "b", "a\\b": "b", "<dog>": "dog",
    "me@x.org": "me xorg", "`dog`": "dog", "Unanswerable": "unanswerable", "": "", " ": "", "?": "", ".": "", "...": "", "-": "",
    "it’s": "it’s", "it's": "it's", "É": "é", "日本": "日本", "日本。": "日本。", "1٫5": "1٫5", "٣,٤": "٣ ٤", "ß": "ß",
    "no\xa0dog": "no dog", "x" + "." * 40 + "y": "x........y", "x" + ". " * 35: "x . . .", "Yes\nNo": "yes no", "Yes\tNo": "yes no",
    " yes ": "yes", "2 2": "2 2", "one two three": "1 2 3"}

PREDICTIONS = ["yes", "Yes", "yes.", " yes\n", "no", "2", "two", "Two.", "none", "0", "dog", "the dog", "Dog", "cat", "a", "", "1000", "1,000",
               "dont", "don't", "unanswerable", "blue", "red blue", "redblue", "usa", "U.S.A", "日本", "Japan"]
SCORED = [  # (annotators, the scores that are not 0); every other prediction of the list scored 0
    (["yes"] * 10, {"yes": 1, " yes\n": 1}),
    (["yes"] * 9 + ["no"], {"yes": 1, "Yes": 1, "yes.": 1, " yes\n": 1, "no": .3}),
    (["no"] * 10, {"no": 1}),
    (["2"] * 5 + ["two"] * 5, {"2": 1, "two": 1, "Two.": 1}),
    (["two"] * 10, {"two": 1}),
    (["none"] * 6 + ["0"] * 4, {"none": 1, "0": 1}),
    (["none"] * 10, {"none": 1}),
    (["dog"] * 3 + ["cat"] * 7, {"dog": .9, "the dog": .9, "Dog": .9, "cat": 1}),
    (["dog"] * 2 + ["cat"] * 8, {"dog": .6, "the dog": .6, "Dog": .6, "cat": 1}),
    (["dog"] + ["cat"] * 9, {"dog": .3, "the dog": .3, "Dog": .3, "cat": 1}),
    (["dog", "cat"], {"dog": 1 / 6, "the dog": 1 / 6, "Dog": 1 / 6, "cat": 1 / 6}),
    (["dog"], {}),
    (["dog"] * 2, {"dog": 1 / 3}),
    (["dog"] * 3, {"dog": 2 / 3}),
    (["dog"] * 3 + ["cat"], {"dog": .75, "the dog": .75, "Dog": .75, "cat": .25}),
    (["dog"] * 4, {"dog": 1}),
    (["A", "the", "an"] + ["dog"] * 7, {"dog": 1, "the dog": 1, "Dog": 1, "a": .9, "": .9}),
    (["1,000"] * 4 + ["1000"] * 6, {"1000": 1, "1,000": 1}),
    (["don't"] * 5 + ["dont"] * 5, {"dont": 1, "don't": 1}),
    (["unanswerable"] * 7 + ["blue"] * 3, {"unanswerable": 1, "blue": .9}),
    (["red, blue"] * 5 + ["red,blue"] * 5, {"red blue": 1}),
    (["U.S.A."] * 3 + ["usa"] * 7, {"usa": 1, "U.S.A": 1}),
    (["日本"] * 9 + ["Japan"], {"日本": 1, "Japan": .3}),
    (["", "dog"], {"dog": 1 / 6, "the dog": 1 / 6, "Dog": 1 / 6, "a": 1 / 6, "": 1 / 6}),
    ([" dog "] * 2 + ["dog\n"] * 8, {"dog": 1}),
    (["Dog"] * 10, {"Dog": 1})]


@pytest.mark.promise("accuracy")
def test_normalisation_is_the_official_one(): assert {text: normalise(text) for text in NORMALISED} == NORMALISED


@pytest.mark.promise("accuracy")
def test_soft_accuracy_is_the_official_one():
    for answers, scores in SCORED:
        for p in PREDICTIONS: assert vqa_accuracy(p, answers) == pytest.approx(scores.get(p, 0), abs=1e-9), (p, answers)


# ---- the same rules a second time: character by character and annotator by annotator, in exact fractions

CONTRACTED = {}
for _word in room._SHORTENED.split():
    for _place in range(len(_word)):
        if _word[_place] == "'": CONTRACTED["".join(c for k, c in enumerate(_word) if k != _place)] = _word


def spelled(text):
    marks, out = set(';/[]"{}()=+\\_-><@`,?!'), []
    has_number_comma = any(text[i] == "," and text[i - 1] in "0123456789" and text[i + 1:i + 2] in tuple("0123456789")
                           for i in range(1, len(text)))
    for c in text:
        beside_blank = any(text[i] == c and (text[i - 1:i] == " " or text[i + 1:i + 2] == " ") for i in range(len(text)))
        if c not in marks: out.append(c)
        elif not (has_number_comma or beside_blank): out.append(" ")
    kept, stops = [], 0
    for i, c in enumerate(out):
        if c == "." and not (i + 1 < len(out) and out[i + 1] in "0123456789") and stops < 32: stops += 1
        else: kept.append(c)
    words = []
    for word in "".join(kept).lower().split():
        if word in ("a", "an", "the"): continue
        count = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
        word = "0" if word == "none" else str(count.index(word)) if word in count else word
        words.append("somebodyd" if word == "somebody'd" else CONTRACTED.get(word, word))
    return " ".join(words)


def soft(prediction, answers):
    tidy = lambda t: t.replace("\n", " ").replace("\t", " ").strip()
    prediction, answers = tidy(prediction), [tidy(a) for a in answers]
    if len(set(answers)) != 1: prediction, answers = spelled(prediction), [spelled(a) for a in answers]
    total = Fraction(0)
    for left_out in range(len(answers)):
        witnesses = [a for k, a in enumerate(answers) if k != left_out]
        total += min(Fraction(1), Fraction(sum(a == prediction for a in witnesses), 3))
    return float(total / len(answers))


PIECES = ["dog", "Dog", "the", "a", "two", "none", "10", "1,000", "3.5", "dont", "it's", "U.S.A.", ".", ",", ", ", "-", " - ", "/", "?", " ", "  ",
          "\n", "\t", "é", "’", "(", ") ", "_", "Id've", "yall'll", "somebody'd", "." * 34, "\u00a0", "日本", "0,", ",5"]
written = st.lists(st.sampled_from(PIECES), max_size=7).map("".join) | st.text(max_size=12).filter(lambda t: not set(t) & set("İΣ"))


@settings(max_examples=50, deadline=None)
@given(written)
def test_normalisation_a_second_time(text): assert normalise(text) == spelled(text.replace("\n", " ").replace("\t", " ").strip())


@settings(max_examples=50, deadline=None)
@given(st.lists(written, min_size=1, max_size=3), st.integers(1, 12), st.randoms(use_true_random=False))
def test_soft_accuracy_a_second_time(pool, n, rng):
    answers = [rng.choice(pool) for _ in range(n)]
    for p in {*pool, *answers}: assert vqa_accuracy(p, answers) == pytest.approx(soft(p, answers), abs=1e-12)


def test_leave_one_out_by_hand():
    for n, m in [(of, right) for of in range(1, 12) for right in range(of + 1)]:
        answers = ["dog"] * m + [f"cat {i}" for i in range(n - m)]
        expected = np.mean([min(1, (m - (i < m)) / 3) for i in range(n)])
        assert vqa_accuracy("dog", answers) == pytest.approx(expected)
        assert vqa_accuracy("dog", random.Random(m).sample(answers, n)) == pytest.approx(expected)     # order does not matter


# ---- the mended rule

MENDED = {"Yes": "yes", "red,blue, green": "red blue green", "10/12, 1,000": "10 12 1000", "1,2,3": "1 2 3", "A": "a", "the": "the",
          "Im": "i'm", "Ive": "i've", "Id've": "i'd've", "shes": "she's", "somebody'd": "somebody'd", "somebodyd": "somebody'd",
          "it’s": "it's", "x" + "." * 40 + "y": "xy", "none": "0", "The dog.": "dog", "3.5": "3.5", "half-full -yes": "half full yes"}


def test_mended_normalisation(): assert {text: normalise(text, official=False) for text in MENDED} == MENDED


def test_the_mended_rule_differs_where_it_says_so():
    ten = ["yes"] * 10
    assert (vqa_accuracy("Yes", ten), vqa_accuracy("Yes", ten, official=False)) == (0, 1)
    assert (vqa_accuracy("A", ["A", "the"] * 5), vqa_accuracy("A", ["A", "the"] * 5, official=False)) == (1, 1)
    assert (vqa_accuracy("an", ["A", "the"] * 5), vqa_accuracy("an", ["A", "the"] * 5, official=False)) == (1, 0)
    for n in range(1, 4): assert vqa_accuracy("dog", ["dog"] * n) == (n - 1) / 3 and vqa_accuracy("dog", ["dog"] * n, official=False) == 1
    assert vqa_accuracy("dog", ["dog", "cat"], official=False) == .5 and vqa_accuracy("dog", ["cat"], official=False) == 0
    for m in range(11):                                    # ten annotators without a quirk: the two rules are one
        answers = ["dog"] * m + ["cat"] * (10 - m)
        assert vqa_accuracy("dog", answers) == vqa_accuracy("dog", answers, official=False)


@settings(max_examples=40, deadline=None)
@given(st.lists(written, min_size=1, max_size=10), written)
def test_mended_scores_stay_in_range_and_normalisation_settles(answers, p):
    assert 0 <= vqa_accuracy(p, answers, official=False) <= 1 and 0 <= vqa_accuracy(p, answers) <= 1
    once = normalise(p, official=False)
    assert normalise(" " + p.upper().lower() + " ", official=False) in (once, normalise(p.upper().lower(), official=False))
    if len(answers) == 1: assert vqa_accuracy(answers[0], answers, official=False) == 1


@pytest.mark.parametrize("p,answers", [("a", []), ("a", "abc"), ("a", [1]), (None, ["a"]), (3, ["a", "b"]), ("a", ["a", None])])
def test_what_is_no_text_is_refused(p, answers):
    for official in (True, False):
        with pytest.raises(ValueError): vqa_accuracy(p, answers, official)


# ---- exact and value

@pytest.mark.parametrize("p,a,exact,value", [
    ("a dog.", "dog", True, True), ("dogs", "dog", False, False), ("It is red.", "red", False, True), ("3", "three", True, True),
    ("3.0", "three", False, True), ("There are 1,200", "1200", False, True), ("-5", "5", True, False), ("-5", "-5.0", False, True),
    ("the answer is: It's a dog", "dog", False, True), ("0", "none", True, True), ("3 dogs", "3", False, False), ("", "", True, True),
    ("it is", "dog", False, False), ("12,34", "1234", False, False), (".5", "0.50", False, True), ("Unanswerable", "unanswerable", True, True)])
def test_exact_and_value(p, a, exact, value):
    assert (exact_match(p, ["something else", a]), value_match(p, ["something else", a])) == (exact, value)


# ---- reading a choice

ANIMALS = {"A": "cat", "B": "dog", "C": "Vitamin C", "D": "a red bird"}
READ = {
    "A": "A", "b": "B", "(c)": "C", "[D]": "D", "A.": "A", "B)": "B", "**C**": "C", " D \n": "D", "A. cat": "A", "(B) dog": "B", "The answer is B": "B",
    "The answer is b.": "B", "Answer: C": "C", "The correct option is D.": "D", "I choose B": "B", "cat": "A", "Cat.": "A", "a cat": "A",
    "The dog": "B", "vitamin c": "C", "A red bird": "D", "red bird": "D", "The animal in the picture is a dog.": "B", "It is a cat": "A",
    "I see a cat on the sofa.": "A", "A cat": "A", "A dog": "B", "I think B": "B", "B\n\nExplanation: C and D are wrong": "B", "B, because A is a plant": None,
    "unanswerable": "unanswerable", "Unanswerable. A": "unanswerable", "A? No, it is UNANSWERABLE": "unanswerable",
    "": None, " ": None, "?": None, "A or B": None, "A and B": None, "A, B": None, "AB": None, "E": None, "not A": None, "neither A nor B": None,
    "a horse": None, "A horse": None, "a cat and a dog": None, "a cat or a dog": None, "not a cat": None, "It is not a dog": None,
    "It isn't a dog": None, "I cannot tell, perhaps a cat": None, "catalogue": None, "hotdog": None, "no": None, "I": None, "B or E": None,
    "It could be a cat rather than something else": None, "the cat-like thing": None}


def test_choices(): assert {reply: read_choice(reply, ANIMALS) for reply in READ} == READ


def test_choices_of_other_sizes():
    nine = lettered([f"thing {w}" for w in "one two three four five six seven eight nine".split()])
    assert [read_choice(c, nine) for c in "AEI"] == ["A", "E", "I"] and read_choice("I think G", nine) == "G" and read_choice("J", nine) is None
    assert read_choice("It shows thing nine.", nine) == "I" and read_choice("I am not sure", nine) is None
    assert read_choice("C", {"A": "x", "B": "y"}) is None and read_choice("B", {"B": "y"}) == "B"
    shades = lettered(["red", "dark red", "blue"])
    assert read_choice("The car is dark red.", shades) == "B" and read_choice("The car is red", shades) == "A"
    assert read_choice("blue and dark red", shades) is None
    yes_no, counts = lettered(["yes", "no"]), lettered(["1", "2", "3"])
    assert read_choice("There is no way to know that it is there", yes_no) is None and read_choice("No, it is red.", yes_no) == "B"
    assert read_choice("I would say yes.", yes_no) == "A" and read_choice("yes and no", yes_no) is None
    assert read_choice("There are 2.", counts) == "B" and read_choice("2", counts) == "B" and read_choice("1 of the things has 2", counts) is None
    assert read_choice("same", {"A": "same", "B": "same"}) is None and read_choice("It is the same.", {"A": "same", "B": "Same"}) is None
    letters = lettered(["B", "C", "D", "A"])
    assert read_choice("B", letters) == "B" and read_choice("A. B", letters) == "A"
    assert read_choice("It is (a+b).", lettered(["(a+b)", "a*b"])) == "A"            # what would be a pattern is a text


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["A", "b", "C", "D", "E", "(A)", "B.", "cat", "a dog", "Vitamin C", "is", "not", "or", "the answer is", "because",
                                 "\nReason:", "I", "unanswerable", "horse", ",", ".", "yes", "2"]), max_size=6).map(" ".join) | st.text(max_size=30))
def test_choices_and_the_reader_of_assessment_agree(text):
    "Where both read a letter it is the same one, and they agree on abstention; E to H beside a letter, and mentions, are where they may differ."
    options = ("a cat", "dog", "Vitamin C", "a red bird")
    theirs, mine = read_answer(f" {text}", "mc", options).value or None, read_choice(f" {text}", lettered(options))
    assert mine in (None, "unanswerable", *"ABCD")
    assert (mine == "unanswerable") == ("unanswerable" in text.casefold())
    if mine is not None and theirs is not None and not text.strip().lower().startswith("cot"): assert mine == theirs
    if theirs is not None and mine is None: assert any(c in text for c in "EFGH") or "I" in text


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(["cat", "dog", "red", "blue car", "7", "yes"]), min_size=2, max_size=6, unique=True), st.data())
def test_every_option_can_be_chosen_by_letter_and_by_text(texts, data):
    options = lettered(texts)
    letter = data.draw(st.sampled_from(sorted(options)))
    for reply in (letter, letter.lower(), f"({letter})", f"{letter}. {options[letter]}", f"The answer is {letter}.", options[letter],
                  options[letter].upper(), f"It is {options[letter]}."):
        assert read_choice(reply, options) == letter
    other = data.draw(st.sampled_from([c for c in options if c != letter]))
    for reply in (f"{letter} or {other}", f"{options[letter]} or {options[other]}", f"{letter}, {other}"): assert read_choice(reply, options) is None


@pytest.mark.parametrize("options", [{}, ["cat"], {"a": "cat"}, {"AB": "cat"}, {1: "cat"}, {"": "cat"}, None])
def test_options_without_letters_are_refused(options):
    with pytest.raises(ValueError): read_choice("A", options)


def test_lettered():
    assert lettered(("x", "y")) == {"A": "x", "B": "y"} and len(lettered("abc,def".split(",") * 13)) == 26
    for bad in ([], ["x"] * 27, "xy"):
        with pytest.raises(ValueError): lettered(bad)
    with pytest.raises(ValueError): read_choice(None, ANIMALS)


# ---- results

@pytest.mark.promise("outcomes")
def test_a_result_accounts_for_every_reply():
    replies = ["A", "dog", "unanswerable", "both", "", Reply("", finish="refused"), Reply("", finish="failed"), Reply("B")]
    r = choice_accuracy(replies, [["cat", "dog"]] * 8, list("ABABABAA"))
    assert (r.n, r.right, r.abstained, r.unreadable) == (8, 2, 1, 2) and sum(r.counts.values()) == 8
    assert r.counts == dict(answered=3, abstained=1, unreadable=2, refused=1, failed=1)
    assert r.accuracy == 2 / 7 and r.accuracy_answered == 2 / 3
    assert r.cells.sum(0).tolist() == [2, 7] and share(r.cells.sum(0)) == r.accuracy
    assert "1 abstained" in str(r) and "1 failed" in str(r)
    nothing = choice_accuracy([Reply("", finish="failed")], [["x", "y"]], ["A"])
    assert np.isnan(nothing.accuracy) and np.isnan(nothing.accuracy_answered)


def test_abstention_is_right_only_where_no_option_is():
    assert choice_accuracy(["unanswerable"], [["x", "y"]], ["A"]).right == 0
    r = choice_accuracy(["unanswerable", "A"], [["x", "y"]] * 2, ["unanswerable"] * 2)
    assert (r.right, r.abstained) == (1, 1)
    for rule in OPEN_RULES:
        r = open_accuracy(["unanswerable"] * 2, [["answer"] * 10, ["able"] * 10], rule=rule)
        assert (r.right, r.abstained) == (0, 2), rule
    mixed = [["unanswerable"] * 3 + ["blue"] * 7]
    assert open_accuracy(["unanswerable"], mixed).right == pytest.approx(.9)               # as the official script
    assert open_accuracy(["unanswerable"], mixed, answerable=[True]).right == 0
    assert open_accuracy(["unanswerable"], mixed, answerable=[False]).right == pytest.approx(.9)
    assert open_accuracy(["blue"], mixed, answerable=[True]).right == 1


def test_open_accuracy_is_the_mean_of_its_rule():
    answers = [a for a, _ in SCORED if len(a) == 10]
    for p in PREDICTIONS:
        if "unanswerable" in p or not p.strip(): continue
        r = open_accuracy([p] * len(answers), answers)
        assert r.accuracy == pytest.approx(np.mean([vqa_accuracy(p, a) for a in answers])) and r.rule == "vqa"
    assert open_accuracy(["Yes"], [["yes"] * 10], rule="vqa-mended").right == 1
    assert open_accuracy(["It is 3"], [["three"]], rule="value").right == 1
    def starts(p, a): return p[0] == a[0][0]
    own = open_accuracy(["dig"], [["dog"]], rule=starts)
    assert own.right == 1 and own.rule == "starts"


def test_groups():
    r = Accuracy("x", (1, 0, .5), (Outcome.ANSWERED, Outcome.ABSTAINED, Outcome.ANSWERED))
    g = by_group(r, [["all", "b"], ("all",), {"all", "b"}])
    assert list(g) == ["all", "b"] and g["all"] == r and g["b"].accuracy == .75 and g["b"].n == 2
    assert by_group(r, ["x", "y", "x"])["y"].abstained == 1
    with pytest.raises(ValueError): by_group(r, ["x"])


def test_intervals_over_images():
    rng = np.random.default_rng(0)
    said = np.where(rng.random(300) < .7, "A", "B").tolist()
    r = choice_accuracy(said, [["x", "y"]] * 300, ["A"] * 300)
    i = cluster_bootstrap(share, by_image(r.cells, np.repeat(range(60), 5).astype(str))[1], n=500)
    assert i.value == pytest.approx(r.accuracy) and i.low < r.accuracy < i.high


@pytest.mark.parametrize("call", [
    lambda: choice_accuracy([], [], []), lambda: choice_accuracy(["A"], [["x", "y"]], ["C"]), lambda: choice_accuracy(["A"], [["x"]], ["A", "B"]),
    lambda: choice_accuracy([None], [["x"]], ["A"]), lambda: open_accuracy([], []), lambda: open_accuracy(["a"], [[]]),
    lambda: open_accuracy(["a"], [["a"]], rule="bleu"), lambda: open_accuracy(["a"], ["a"]), lambda: open_accuracy(["a"], [["a"]], answerable=[]),
    lambda: circular_accuracy([["A"]], [["x", "y"]], ["A"]), lambda: circular_accuracy(["AB"], [["x", "y"]], ["A"]),
    lambda: circular_accuracy([["A", "B"]], [["x", "y"]], ["unanswerable"]), lambda: mme(["yes"], ["yes"], ["i"], ["color"]),
    lambda: mme(["yes"] * 2, ["yes", "maybe"], ["i"] * 2, ["color"] * 2), lambda: mmmu_subject("Art"), lambda: scienceqa_groups({})])
def test_questions_without_a_meaning_are_refused(call):
    with pytest.raises(ValueError): call()


# ---- MMBench

@pytest.mark.promise("accuracy")
def test_circular_by_brute_force():
    texts = ["cat", "dog", "bird", "fish"]
    turns = circular(texts)
    assert len(set(turns)) == 4 and turns[0] == tuple(texts) and all(sorted(t) == sorted(texts) for t in turns)
    for place in range(4): assert {t[place] for t in turns} == set(texts)                  # every text at every letter
    for said in itertools.product("ABCD", repeat=4):
        for gold in "ABCD":
            want = texts["ABCD".index(gold)]
            hits = [turn["ABCD".index(s)] == want for s, turn in zip(said, turns)]
            assert circular_accuracy([list(said)], [texts], [gold]).right == all(hits)


def test_circular_outcomes():
    options = [["x", "y", "z"]]
    for said, outcome in [(["A", "unanswerable", "B"], "abstained"), (["A", "?", "unanswerable"], "unreadable"), (["A", "C", "B"], "answered"),
                          (["A", Reply("", finish="failed"), "?"], "failed"), (["A", Reply("", finish="refused"), "?"], "refused")]:
        r = circular_accuracy([said], options, ["A"])
        assert r.outcomes[0] == outcome and r.right == (outcome == "answered")
    assert circular_accuracy([["A"] * 3, ["A", "C", "B"]], options * 2, "AA").accuracy == .5


# ---- MME. The two scores were obtained with the official calculation.py (scikit-learn) on these rows.

MME_ROWS = [("Yes", "yes", "a", "color"), ("No", "no", "a", "color"), ("None of these", "no", "b", "color"), ("eyes", "yes", "b", "color"),
            ("  yes", "yes", "c", "color"), ("no", "no", "c", "color"), ("YES, it is", "no", "d", "color"), ("maybe", "yes", "d", "color"),
            ("yes", "yes", "a", "OCR"), ("not sure", "no", "a", "OCR"), ("The answer is yes", "yes", "b", "OCR"), ("no", "no", "b", "OCR"),
            ("yesno", "no", "c", "OCR"), ("no yes", "no", "c", "OCR")]


@pytest.mark.promise("accuracy")
def test_mme_is_the_official_one():
    m = mme(*zip(*MME_ROWS))
    assert m.tasks["color"].score == pytest.approx(112.5) and m.tasks["OCR"].score == pytest.approx(100) and m.total == pytest.approx(212.5)
    assert m.tasks["color"].accuracy.unreadable == 2 and np.isnan(m.perception) and np.isnan(m.cognition)
    strict = mme(*zip(*MME_ROWS), official=False)
    assert strict.tasks["color"].accuracy.right == 4 and strict.tasks["OCR"].accuracy.right == 3


def test_mme_by_brute_force():
    rng = random.Random(0)
    rows = [(rng.choice(["Yes", "No", "unanswerable", "?"]), g, i, t) for t in PERCEPTION + COGNITION for i in range(9) for g in ("yes", "no")]
    rng.shuffle(rows)
    m, frame = mme(*zip(*rows)), pd.DataFrame(rows, columns=["said", "gold", "image", "task"])
    frame["hit"] = frame.said.str.lower() == frame.gold
    score = 100 * (frame.groupby("task").hit.mean() + frame.groupby(["task", "image"]).hit.all().groupby("task").mean())
    for task in score.index: assert m.tasks[task].score == pytest.approx(score[task])
    assert m.perception == pytest.approx(score[list(PERCEPTION)].sum()) and m.cognition == pytest.approx(score[list(COGNITION)].sum())
    assert m.total == pytest.approx(score.sum())


def test_mme_abstentions_and_failures():
    m = mme(["No, unanswerable", "yes", Reply("", finish="failed"), "yes"], ["no", "yes"] * 2, ["i", "i", "j", "j"], ["count"] * 4).tasks["count"]
    assert m.accuracy.abstained == 1 and m.accuracy.accuracy == 2 / 3 and m.plus == 0
    lost = mme([Reply("", finish="failed"), "yes"], ["no", "yes"], ["i", "i"], ["count"] * 2).tasks["count"]
    assert lost.accuracy.accuracy == 1 and np.isnan(lost.plus) and np.isnan(lost.score)


# ---- MMMU. The verdicts were obtained with parse_open_response and eval_open of the official eval_utils.py.

MMMU_OPEN = [
    ("12", "12", True), ("12.0", "12", True), ("The answer is 12.", "12", True), ("1,200", "1200", True), ("So x = 1,200.004 N", "1200", True),
    ("1,200.01", "1200", True), ("x = 2e3", "2000", True), ("= 5", "5", True), ("a = 4\nso b = 5", "4", False), ("a = 4", "4", True),
    ("it is 3.14159", "3.14", True), ("3.1", "3.14", False), ("It is a category", "cat", True), ("Cat", "cat", True), ("cat", "CAT", True),
    ("a", "a", True), ("the answer is a", "a", True), ("b and a", "a", True), ("bat", "a", False), ("Mitosis. It is division", "mitosis", False),
    ("The process is mitosis", "Mitosis", True), ("The process is mitosis.\nThis is clear.", "mitosis", True), ("", "cat", False),
    (".", ".", False), ("-5", "5", False), ("-5", "-5", True), ("5%", "5%", True), ("5 %", "5", True), ("$5", "5", True), ("1,2,3", "3", True),
    ("12,34", "1234", True), (".5", "0.5", False), ("nan", "nan", False), ("1_000", "1000", True), ("This thing", "thing", True),
    ("x is : ", "x", True), ("result 7 or 8", "7", True), ("thus", "thus", True), ("final answer: 42", "42", True),
    ("42", ["41", "42"], True), ("forty-two", ["42", "forty"], True), ("2.675", "2.67", True), ("1.005", "1.0", True)]


@pytest.mark.promise("accuracy")
def test_mmmu_open_is_the_official_one():
    assert [(reply, gold, mmmu_open(reply, [gold] if isinstance(gold, str) else gold)) for reply, gold, _ in MMMU_OPEN] == MMMU_OPEN


def test_mmmu_mixes_both_kinds_and_never_guesses():
    r = mmmu(["B", "I like trains", "It is 7.", "unanswerable"], [["x", "y"], ["x", "y"], [], []], ["B", "A", ["7", "seven"], ["able"]])
    assert r.credits == (1, 0, 1, 0) and (r.abstained, r.unreadable) == (1, 1) and r.accuracy == .5
    assert all(mmmu(["no letter here"], [["x", "y"]], ["A"]).right == 0 for _ in range(20))
    assert mmmu_subject("validation_Art_Theory_7") == "Art_Theory" and mmmu_subject("test_Math_1") == "Math"


# ---- ScienceQA

def test_scienceqa_groups_by_hand():
    p = dict(subject="natural science", hint="", image=None, grade="grade7", topic="physics")
    assert scienceqa_groups(p) == ("natural", "no_context", "grade_7_12", "topic physics")
    assert scienceqa_groups(p | dict(hint="Look.", image="i.png", grade="grade6")) == ("natural", "has_text", "has_image", "grade_1_6", "topic physics")
    assert "grade_7_12" in scienceqa_groups(p | dict(grade="grade12"))
    for bad in (dict(grade="grade13"), dict(grade="7"), dict(subject="maths")):
        with pytest.raises(ValueError): scienceqa_groups(p | bad)
    with pytest.raises(ValueError, match="no field 'topic'"): scienceqa_groups({k: v for k, v in p.items() if k != "topic"})
