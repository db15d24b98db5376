"Questions about scenes: what their author claims is true in every domain, and nothing gives the answer away without looking."
import random
from collections import Counter
import pytest
from unsaf.world import grammar
from unsaf.core import UnsafError
from unsaf.world.grammar import CHOICE_KINDS, KINDS, PREMISE_KINDS, UNOBSERVABLE, WORDINGS
from unsaf.world.oracle import check, is_right
from unsaf.world.scenes import CELLS, COLORS, DOMAINS, SHAPES, Scene, Thing, scene

domains = pytest.mark.parametrize("domain", DOMAINS)


def every(s, rng):
    "Every kind of question about a scene, answerable or not, without options."
    posed = [grammar.answerable(s, k, rng) for k in KINDS] + [grammar.false_premise(s, k, rng) for k in PREMISE_KINDS]
    return [p for p in posed if p] + [grammar.unobservable(s, t, rng) for t in UNOBSERVABLE]


@domains
def test_the_oracle_finds_every_question_as_its_author_does(domain):
    for i in range(100):
        s = scene(101, i, domain)
        for p in every(s, None) + every(s, random.Random(i)):
            v = check(s, p.text, p.options)
            assert (v.status == "answerable") == p.answerable and v.reason == p.why and v.kind == p.kind
            assert v.answers == ((p.answer,) if p.answerable else ()) and is_right(v, p.reply)


@domains
def test_rewording_changes_the_words_and_not_the_verdict(domain):
    for i in range(60):
        s = scene(102, i, domain)
        for p in every(s, random.Random(i)):
            others = grammar.reworded(p)
            assert len({q.text for q in others} | {p.text}) == (6 if p.kind in WORDINGS else 1)
            assert all(check(s, q.text) == check(s, p.text) and q.reply == p.reply for q in others)


@domains
def test_what_is_missing_is_named_in_the_domains_own_words(domain):
    d, seen = DOMAINS[domain], Counter()
    for i in range(200):
        s = scene(103, i, domain)
        for rng in (None, random.Random(i)):
            for p in filter(None, (grammar.false_premise(s, k, rng) for k in PREMISE_KINDS)):
                words = [w for w in (*CELLS, *COLORS, *SHAPES) if w == p.about] or p.about.split()
                assert set(words) <= {*d.colors, *d.shapes, *CELLS, "object"}, p
                seen.update(words)
    assert set(seen) == {*d.colors, *d.shapes, *CELLS, "object"}


@domains
def test_a_thing_that_may_be_there_is_named_in_the_domains_own_words(domain):
    d, seen = DOMAINS[domain], Counter()
    for i in range(300):
        p = grammar.answerable(scene(104, i, domain), "exist", random.Random(i))
        article, *words = p.about.split()
        assert article == ("an" if p.about.startswith(("an orange", "an object")) else "a")
        assert words[-1] in d.shapes and all(w in d.colors for w in words[:-1]) and len(words) < 3
        seen[p.answer] += 1
    assert set(seen) == {"yes", "no"} and min(seen.values()) > 60


@domains
def test_missing_things_are_none_where_nothing_is_missing(domain):
    "All colors of a sketch may be there; then no color can be missing, and the answer is None rather than a wrong question."
    full = [s for s in (scene(105, i, domain) for i in range(300)) if {t.color for t in s.things} == set(DOMAINS[domain].colors)]
    assert bool(full) == (domain == "sketch")
    assert all(grammar.false_premise(s, "shape") is None and grammar.false_premise(s, "color") for s in full)


@domains
@pytest.mark.parametrize("setting", ["oe", "mc"])
@pytest.mark.parametrize("asked", [True, False])
def test_lists_hold_different_kinds_in_one_order(domain, setting, asked):
    rng, order = random.Random(0), [*(KINDS if asked else PREMISE_KINDS), "unobservable"]
    for i in range(150):
        s = scene(6, i, domain)
        for k in range(1, 6):
            found = grammar.question_list(s, asked, setting, k, rng if i % 2 else None)
            kinds = [p.kind for p in found]
            assert len({p.text for p in found}) == k and all(p.answerable == asked for p in found)
            assert kinds == sorted(kinds, key=order.index)
            assert all(len(set(p.options)) == (4 if setting == "mc" else 0) for p in found)
            assert all(check(s, p.text, p.options).status == ("answerable" if asked else "unanswerable") for p in found)


def test_too_long_a_list_is_refused():
    with pytest.raises(UnsafError, match="kinds"): grammar.question_list(scene(0, 0), True, k=8)
    with pytest.raises(UnsafError, match="kinds"): grammar.question_list(scene(0, 0), False, k=18)


@domains
def test_canonical_questions_follow_the_things_alone(domain):
    for i in range(50):
        s = scene(7, i, domain)
        again = Scene(s.things, s.ink + 1, domain)
        for asked in (True, False): assert grammar.question_list(s, asked) == grammar.question_list(again, asked)


@domains
def test_canonical_questions_spread_over_pictures(domain):
    "No false premise is so common that it pays to write it without looking."
    lists = [grammar.question_list(scene(7, i, domain), False) for i in range(300)]
    texts = Counter(p.text for found in lists for p in found)
    premises = Counter(p.text for found in lists for p in found if p.kind in PREMISE_KINDS)
    assert len(texts) > 40 and max(texts.values()) < .45 * len(lists) and max(premises.values()) < .3 * len(lists)


@domains
def test_the_right_option_is_at_every_letter(domain):
    found = Counter(p.reply for i in range(400) for p in grammar.question_list(scene(8, i, domain), True, "mc", 5))
    assert set(found) == set("ABCD") and min(found.values()) > .14 * sum(found.values())
    rng, drawn = random.Random(0), Counter()
    for i in range(400):
        s = scene(8, i, domain)
        drawn.update(grammar.with_options(s, p, rng).reply for k in CHOICE_KINDS if (p := grammar.answerable(s, k, rng)))
    assert set(drawn) == set("ABCD") and min(drawn.values()) > .14 * sum(drawn.values())


@domains
def test_options_hold_the_answer_or_miss_it_on_purpose(domain):
    rng = random.Random(0)
    for i in range(100):
        s = scene(9, i, domain)
        for k in CHOICE_KINDS:
            if not (p := grammar.answerable(s, k, rng)): continue
            assert p.answer in grammar.values(k, domain)
            for q in (grammar.with_options(s, p), grammar.with_options(s, p, rng)): assert q.options.count(p.answer) == 1 == len(q.reply)
            missed = grammar.with_options(s, p, rng, miss=True)
            assert p.answer not in missed.options and missed.reply == "unanswerable" and not missed.answerable


def test_yes_or_no_has_no_four_options():
    s = scene(0, 0)
    with pytest.raises(UnsafError, match="exist"): grammar.with_options(s, grammar.answerable(s, "exist"))


def test_every_wording_is_used_and_the_first_one_half_of_the_time():
    rng, seen = random.Random(0), {k: Counter() for k in KINDS}
    for i in range(600):
        for k in KINDS:
            if p := grammar.answerable(scene(10, i), k, rng): seen[k][next(w for w in WORDINGS[k] if w.format(p.about) == p.text)] += 1
    for k in KINDS:
        assert set(seen[k]) == set(WORDINGS[k]) and .4 < seen[k][WORDINGS[k][0]] / sum(seen[k].values()) < .6


@domains
def test_a_generator_of_the_same_seed_asks_the_same(domain):
    s = scene(11, 3, domain)
    assert every(s, random.Random(5)) == every(s, random.Random(5)) != every(s, random.Random(6))


def test_a_list_is_written_one_question_a_line_with_options_below():
    s = Scene((Thing("circle", "red", "large", 0), Thing("star", "blue", "small", 5)))
    found = grammar.question_list(s, True, "mc", 2)
    lines = grammar.written(found).split("\n")
    assert [x for x in lines if "Question" in x] == [f"{i}. Question: {p.text}" for i, p in enumerate(found, 1)]
    assert lines[1:5] == [f"{x}. {o}" for x, o in zip("ABCD", found[0].options)] and len(lines) == 10
