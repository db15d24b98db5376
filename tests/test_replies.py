"What models write, with its right value set down by hand: thoughts, letters, abstentions in their own words, and short answers in any dress."
import json, time
from pathlib import Path
import pytest
from unsaf.prompts.benchmarks import read_items, read_verdict
from unsaf.metrics.text import normalise as declining
from unsaf.metrics.accuracy import OPEN_RULES, exact_match, read_choice, value_match, vqa_accuracy
from unsaf.metrics.text.letters import lettered
from unsaf.metrics.chair import drop_incomplete
from unsaf.metrics.pressure import consistency
from unsaf.metrics.text.short_answers import yes_or_no
from unsaf.metrics.text.normalise import extend_soft_abstention, soft_abstention, split_reasoning
from unsaf.prompts.readers import read_answer, read_questions

CASES = Path(__file__).parent / "cases"
REPORTED = json.loads((CASES / "replies.json").read_text())
ANSWERS = json.loads((CASES / "answers.json").read_text())
THOUGHT = r"Is it A? No. It might be D, unanswerable perhaps. \boxed{C}"


def read(text, setting, options):
    "The value of a reply, or the name of its outcome; `read_choice` never reads another letter."
    said = read_answer(text, setting, options)
    value = said.value or str(said.outcome)
    if setting == "mc": assert (read_choice(text, lettered(options)) or "unreadable") == value, text
    return value


@pytest.mark.parametrize("case", REPORTED, ids=range(len(REPORTED)))
def test_what_people_reported(case):
    if case["reader"] == "answer":
        assert read(case["text"], case["setting"], tuple(case["options"])) == case["want"]
        if "soft" in case: assert read_answer(case["text"], case["setting"]).soft_abstain == case["soft"]
        return
    found = read_questions(case["text"], case["setting"], True, case["k"], cut=case["cut"]).questions
    assert [[q.text, list(q.options)] if q.options else q.text for q in found] == case["want"]


@pytest.mark.promise("dressed")
@pytest.mark.parametrize("options", ANSWERS["letters"])
def test_letters_and_thoughts(options):
    wrong = [(t, want, got) for want, texts in ANSWERS["letters"][options].items() for t in texts
             if (got := read(t.replace("{thought}", THOUGHT), "mc", tuple(options.split()))) != want]
    assert not wrong


@pytest.mark.promise("dressed")
@pytest.mark.parametrize("language", ANSWERS["wordings"])
def test_abstentions_in_other_words(language):
    told = ANSWERS["wordings"][language]
    assert not [t for t in told["declines"] if not soft_abstention(t)] and not [t for t in told["answers"] if soft_abstention(t)]


def test_a_lexicon_that_grows(monkeypatch):
    monkeypatch.setattr(declining, "_ADDED", [])
    assert not read_answer("Ei voi tietää", "oe").soft_abstain
    extend_soft_abstention("ei voi tietää", r"\bpas\b.*\bgok\b")
    assert read_answer("Ei voi tietää.", "oe").soft_abstain and read_answer("Pas op: gok", "oe").soft_abstain
    for bad in ((), ("",), ("(",), (3,)):
        with pytest.raises(ValueError): extend_soft_abstention(*bad)


DRESS = ["**{}**", "*{}*", "__{}__", "“{}”", "‘{}’", "'{}'", "`{}`", "{}。", "{}.", "{}:", r"\boxed{{{}}}", r"\text{{{}}}", r"\boxed{{\text{{{}}}}}",
         r"$\boxed{{{}}}$.", r"\emph{{{}}}", r"\( {} \)", "「{}」", "« {} »", "【{}】", "({})", "```text\n{}\n```", "<b>{}</b>", "# {}", "### {}",
         "- {}", "* {}", "• {}", "> {}", "— {}", "**{}.**", "“{}.”", "{}؟", "{}।", "&quot;{}&quot;", "| {} |", "{}<|im_end|>", "<think>blue?</think>{}",
         "<answer>{}</answer>", '{{"answer": "{}"}}', "¿{}?", "\u200b{}", "Answer: {}",
         "**Final answer:** {}", "答案：{}"]


@pytest.mark.promise("dressed")
@pytest.mark.parametrize("dress", DRESS)
def test_short_answers_in_any_dress(dress):
    for said in ("black", "two dogs", "黑色"):
        text = dress.format(said)
        assert [r(text, [said]) for name, r in OPEN_RULES.items() if name != "vqa"] == [1, True, True] and consistency([said], [[text]]) == 1, text
    for said, number in (("1,200", "1200"), ("3.5", "3.5"), ("-5", "-5")): assert value_match(dress.format(said), [number])


def test_what_no_dress_makes_equal():
    pairs = [("black", "blue"), ("not black", "black"), ("5", "50"), ("3.5", "35"), ("5%", "5"), ("#1", "1"), ("10:30", "1030"), ("$5", "5"),
             ("~~black~~", "black"), ("3 - 5", "35"), ("12 > 3", "123"), ("Answer: not black", "black")]
    assert not [p for p in pairs if exact_match(p[0], [p[1]]) or value_match(p[0], [p[1]])]
    assert [vqa_accuracy(t, ["black"] * 10) for t in ("**black**", "black。", "“black”", "# black", "black")] == [0, 0, 0, 0, 1]    # as the script


READERS = {"letter": lambda t: read(t, "mc", ("red", "green", "blue", "black")), "text": lambda t: read_answer(t, "oe"),
           "chain": lambda t: read_answer(t, "mc", ("red", "green", "blue", "black"), "gpt"),
           "value": lambda t: value_match(t, ["x"]), "sentences": drop_incomplete, "word": yes_or_no, "verdict": read_verdict, "list": read_items}
LONG = ["B\n", "A ", "#", "<think", "选B", "- a\n"]


@pytest.mark.promise("readers")
@pytest.mark.parametrize("name", READERS)
def test_no_reply_is_too_long(name):
    "Longer than what is read; what is quadratic takes hours. The bound is generous, since machines are shared."
    for piece in LONG + ["answerability: ", "A. "] * (name == "chain"):
        began = time.process_time()
        READERS[name](piece * (110_000 // len(piece)))
        assert time.process_time() - began < 60, piece
    assert split_reasoning("B" + "\n" * 60_000).content.strip() == "B"
