"""The prompts: word for word the paper's, each slot filled once, and a version that follows every character."""
import hashlib
import itertools
import re
import pytest
from hypothesis import given, strategies as st
from PIL import Image
from unsaf.prompts import templates as P
from unsaf.core import Picture, Question, Setting, UnsafError

RED = Picture("red", lambda: Image.new("RGB", (2, 2), "red"))
OURS = {"unq_gen_mc_unanswerable": P.GEN_MC_UNANSWERABLE, "unq_gen_oe_unanswerable": P.GEN_OE_UNANSWERABLE,
        "unq_gen_mc_answerable": P.GEN_MC_ANSWERABLE, "unq_gen_oe_answerable": P.GEN_OE_ANSWERABLE,
        "unq_ans_mc": P.ANSWER_MC, "unq_ans_oe": P.ANSWER_OE, "family_llava": P.FAMILY["llava"],
        "family_qwen": P.FAMILY["qwen"], "family_gpt_cot": P.FAMILY["gpt"],
        "pe_audacity": P.SUFFIX["audacity"], "pe_timidity": P.SUFFIX["timidity"]}
# SHA-256 of each text as printed in Appendix J.1 to J.4, marks of emphasis removed
PRINTED = {
    "unq_gen_mc_unanswerable": "fa8ff4e448ad5571e0d4cccd6db8875d74dba7938d3f4ac3ac5ae11626604e5c",
    "unq_gen_oe_unanswerable": "8d4247a7e605e620ceb0161408cff1d2c74db93cfe22440c07dd32a748ca5e11",
    "unq_gen_mc_answerable": "40df087d73f6587ae19cf0a26c65d68a1a0f055e5ca474c83390620a1060327b",
    "unq_gen_oe_answerable": "d053fd2a194ec12b8013bee14e7b4ec405ae2e6d4f44a1d65248a531e594766b",
    "unq_ans_mc": "11be4fb71a25006e4a7db0cbbefb5dd3089d18b6ad6e762fbd3a1143c7411f6c",
    "unq_ans_oe": "4d602f1eea139d4dcdbe6fcc586afaf7e0fa3357a9cf9dfb8f648b1d2ce6f887",
    "family_llava": "b8d6430a7e8f9f9b26a90f4606babbb6b6dba78eaeb48aa160575c4f3543f329",
    "family_qwen": "e8662ea4e09451884327dd03feb8a1ec03a8b2c0d1df79f6c212acf98318e356",
    "family_gpt_cot": "10c2f2e7f3f5dd09e3f9bcb36d2de4d34627ed40688284e22a4bc47343e26cb5",
    "pe_audacity": "f8022b7b62836de802e28062f46c4a1c7385191af0e608bb310de69b1b8b0c09",
    "pe_timidity": "b7e135c4b77326a911ab1cd5119be4a232a167b295ddf3e217706b88abdc9bbc",
}
MC = Question("Who is it?", Setting.MC, False, ("Ann", "Bob", "Cid", "Dan"))
OE = Question("Who is it?", Setting.OE, True)
GEN = list(itertools.product(("mc", "oe"), (True, False)))
NUMBERS = range(P.PARAPHRASES + 1)


def flat(parts): return "".join(p if isinstance(p, str) else "<image>" for p in parts)


@pytest.mark.promise("prompts")
@pytest.mark.parametrize("name", OURS)
def test_texts_are_the_printed_ones(name):
    assert hashlib.sha256(OURS[name].encode()).hexdigest() == PRINTED[name]


def test_every_experiment_prompt_is_there(): assert set(OURS) == set(PRINTED)


@pytest.mark.parametrize("setting,answerable", GEN)
@pytest.mark.parametrize("n", NUMBERS)
@pytest.mark.parametrize("layout", P.LAYOUTS)
def test_generation_prompt(setting, answerable, n, layout):
    parts = P.gen_parts(RED, setting, answerable, 7, layout=layout, paraphrase=n)
    assert [p for p in parts if not isinstance(p, str)] == [RED]
    whole = P.wording("generate", setting, answerable, n)
    assert len(re.findall(r"\bk\b", whole)) == 1 and whole.count("Image: <image>\n") == whole.count("<image>") == 1
    filled = re.sub(r"\bk\b", "7", whole)
    if layout == "paper": assert flat(parts) == filled
    else: assert parts == (RED, filled.replace("Image: <image>\n", ""))
    assert filled.split("\n")[-1].count("7") == 1  # the closing sentence asks for the number


@pytest.mark.parametrize("setting", ("mc", "oe"))
@pytest.mark.parametrize("n", NUMBERS)
def test_wordings_differ_and_keep_slots_and_format(setting, n):
    printed, ours = P.wording("answer", setting), P.wording("answer", setting, paraphrase=n)
    slots = r"\[Generated Question\]|\[option .\]|<image>"
    assert re.findall(slots, ours) == re.findall(slots, printed)
    assert ours.split("Output Format:")[1] == printed.split("Output Format:")[1]
    assert "unanswerable" in ours.split("Output Format:")[0]
    for answerable in (True, False):
        printed, ours = (P.wording("generate", setting, answerable, m) for m in (0, n))
        assert re.findall(r"Output Format:.*<image>", ours, re.S) == re.findall(r"Output Format:.*<image>", printed, re.S)
        assert len(re.findall(r"^\d\. ", ours, re.M)) == len(re.findall(r"^\d\. ", printed, re.M))  # as many rules
    words = {m: P.wording("generate", setting, False, m) for m in NUMBERS}
    assert len(set(words.values())) == len(words)


@pytest.mark.parametrize("n", NUMBERS)
def test_unanswerable_wordings_forbid_what_the_paper_forbids(n):
    mc, oe = P.wording("generate", "mc", False, n), P.wording("generate", "oe", False, n)
    for word in ("possible", "likely", "uncertainty"): assert word in mc and word in oe
    for word in ("cannot determine", "unclear", "unanswerable", "unknow", "ambiguous" if n != 1 else "vague"): assert word in mc


@pytest.mark.promise("prompts")
def test_answer_prompt_to_the_letter():
    assert P.answer_parts(RED, OE) == (RED, P.ANSWER_OE.replace("Image: <image>\n", "").replace("[Generated Question]",
        "Who is it?"))
    before, picture, after = P.answer_parts(RED, MC, layout="paper")
    assert picture is RED and before.endswith("Question: Who is it?\nA. Ann B. Bob C. Cid D. Dan\nImage: ")
    assert after.startswith("\nIf you are unsure, reply with unanswerable without guessing. Please answer directly")


def test_picture_first_shares_its_prefix():
    other = Question("Where?", Setting.OE, False)
    assert P.answer_parts(RED, OE)[0] is P.answer_parts(RED, other)[0] is RED


@given(st.text(), st.lists(st.text(), min_size=4, max_size=4), st.sampled_from(P.LAYOUTS), st.sampled_from(["none", "gpt"]))
def test_filled_text_is_never_read_as_a_template(text, options, layout, template):
    "Replacing each slot by a unique mark, then the marks by the texts, is the same as filling in the texts."
    marks = ["\ue000", "\ue001", "\ue002", "\ue003", "\ue004"]
    marked = P.answer_parts(RED, Question(marks[0], Setting.MC, True, tuple(marks[1:])), layout=layout, template=template)
    wanted = tuple("".join(dict(zip(marks, [text, *options])).get(c, c) for c in p) if isinstance(p, str) else p for p in marked)
    assert P.answer_parts(RED, Question(text, Setting.MC, True, tuple(options)), layout=layout, template=template) == wanted


@pytest.mark.parametrize("nasty", ["<image>", "[option A]", "[Generated Question]", "k", "{x}", "\\1", "Output Format:"])
@pytest.mark.parametrize("suffix", [None, "audacity"])
def test_slot_like_questions(nasty, suffix):
    q = Question(f"Is {nasty} shown?", Setting.MC, True, (nasty, "[option B]", "c", "d"))
    parts = P.answer_parts(RED, q, suffix=suffix)
    assert len(parts) == 2 and f"Question: Is {nasty} shown?\nA. {nasty} B. [option B] C. c D. d\n" in parts[1]


@pytest.mark.parametrize("suffix", P.SUFFIX)
@pytest.mark.parametrize("n", NUMBERS)
@pytest.mark.parametrize("q", [MC, OE], ids=["mc", "oe"])
def test_suffix_keeps_one_output_format(suffix, n, q):
    text, plain = flat(P.answer_parts(RED, q, suffix=suffix, paraphrase=n)), flat(P.answer_parts(RED, q, paraphrase=n))
    omitted, added = P.SUFFIX[suffix].split("\n", 1)
    assert omitted.startswith("...(") and text == plain.split("\nOutput Format:")[0] + "\n" + added
    assert text.count("Output Format:") == 1 and "omitted" not in text


def test_chain_of_thought_turn():
    form = "Output format:\ncot:chain-of-thought, answerability: answerable: short answer or unanswerable, confidence: 1-5"
    assert P.answer_parts(RED, OE, template="gpt") == (RED, f"Question: Who is it?\n{form}")
    assert flat(P.answer_parts(RED, MC, template="gpt", layout="paper")) == \
        f"Question: Who is it?\nA. Ann B. Bob C. Cid D. Dan\nImage: <image>\n{form}"
    text = P.answer_parts(RED, OE, template="gpt", suffix="timidity")[1]
    assert text.endswith(form) and "Trust your instincts" in text and text.lower().count("output format") == 1


def test_system_messages():
    assert P.SYSTEM["none"] == ""
    for name in ("llava", "qwen", "gpt"):
        assert P.SYSTEM[name].startswith("You are a helpful") and P.SYSTEM[name] in P.FAMILY[name]
        assert "\n" not in P.SYSTEM[name] and "<|" not in P.SYSTEM[name]
    assert P.system_message("gpt") == P.SYSTEM["gpt"] and P.system_message("gpt", "generate") == P.SYSTEM["llava"]


def every_version():
    for setting, layout in itertools.product(("mc", "oe"), P.LAYOUTS):
        for answerable, n, template in itertools.product((True, False), NUMBERS, ("none", "llava", "qwen")):
            yield P.version("generate", setting, answerable, layout=layout, paraphrase=n, template=template)
        for suffix, n, template in itertools.product((None, *P.SUFFIX), NUMBERS, P.SYSTEM):
            if template == "gpt" and n: continue
            yield P.version("answer", setting, layout=layout, suffix=suffix, paraphrase=n, template=template)


def test_every_choice_has_its_version():
    versions = list(every_version())
    assert len(set(versions)) == len(versions) and all(re.fullmatch("[0-9a-f]{12}", v) for v in versions)


@given(st.data())
def test_one_character_changes_the_version(data):
    before = P.version("generate", "oe", False)
    text = P.GEN_OE_UNANSWERABLE
    at = data.draw(st.integers(0, len(text) - 1).filter(lambda i: not text.index("Image:") <= i < text.index("Please")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(P._GEN, ("oe", False), text[:at] + ("#" if text[at] != "#" else "%") + text[at + 1:])
        assert P.version("generate", "oe", False) != before
        assert P.version("generate", "oe", True) == P.version("generate", "oe", True, layout="image_first")
    assert P.version("generate", "oe", False) == before


def test_system_message_is_part_of_the_version(monkeypatch):
    before = P.version("answer", "oe", template="llava")
    monkeypatch.setitem(P.SYSTEM, "llava", P.SYSTEM["llava"] + " ")
    assert P.version("answer", "oe", template="llava") != before


@pytest.mark.parametrize("call,said", [
    (lambda: P.gen_parts(RED, "tf", True), "mc"), (lambda: P.gen_parts(RED, "mc", True, 0), "at least 1"),
    (lambda: P.gen_parts(RED, "mc", True, layout="last"), "image_first"), (lambda: P.gen_parts(RED, "mc", True, paraphrase=4),
        "0, 1, 2, 3"),
    (lambda: P.answer_parts(RED, MC, suffix="bold"), "audacity"), (lambda: P.answer_parts(RED, MC, template="gemini"), "llava"),
    (lambda: P.answer_parts(RED, MC, template="gpt", paraphrase=1), "paraphrase 0"), (lambda: P.wording("read", "oe"),
        "generate"),
    (lambda: P.answer_parts(RED, Question("Why?", Setting.MC, True, ("a", "b"))), "needs four"), (lambda: P.version("x", "oe"),
        "answer"),
])
def test_bad_choices_are_one_clear_line(call, said):
    with pytest.raises(UnsafError, match=re.escape(said)) as e: call()
    assert "\n" not in str(e.value)
