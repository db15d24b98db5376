"""The oracle against a second one, written another way: it does not read questions at all. It writes down every question of
the grammar for a scene, each with its truth found by going over the board, and looks the question up."""
import itertools, random
from functools import lru_cache
import pytest
from hypothesis import given, settings, strategies as st
from unsaf.world import grammar, scenes as world
from unsaf.world.oracle import check, is_right
from unsaf.world.scenes import DOMAINS, Scene, Thing

PAINT = "red green blue yellow purple orange black gray white teal brown".split()
FORM = "circle rectangle triangle star cross".split()
MANY = "circles rectangles triangles stars crosses".split()
ROW, COL = ("top", "middle", "bottom"), ("left", "center", "right")
SPOT = {(r, c): "center" if r == c == 1 else f"{ROW[r]} {COL[c]}" for r in range(3) for c in range(3)}
TEXTS = {
    "color": """what color is the {} / which color is the {} / what color does the {} have / which color does the {} have /
        what is the color of the {} / in which color is the {} drawn""",
    "shape": """what shape is the {} / which shape is the {} / what shape does the {} have / which shape does the {} have /
        what is the shape of the {} / in which shape is the {} drawn""",
    "where": """where is the {} / where in the image is the {} / where can you see the {} / in which place is the {} drawn /
        in which part of the image is the {} / what is the position of the {}""",
    "atshape": """what shape is in the {} / which shape is at the {} / which shape is drawn in the {} / which shape can you see in the {} /
        what is the shape of the object in the {} / what shape does the object in the {} have""",
    "atcolor": """what color is the object in the {} / which color is at the {} / which color is drawn in the {} /
        which color can you see in the {} / what is the color of the object in the {} / what color does the object in the {} have""",
    "count": """how many {} are there / how many {} are in the image / how many {} are drawn / how many {} can you see /
        how many {} does the image show / what is the number of {}""",
    "exist": """is there {} in the image / is {} in the image / is {} drawn / can you see {} / does the image show {} /
        does the image contain {}""",
    "unobservable": """who owns the {} / who painted the {} / what is the name of the {} / how much does the {} cost /
        how heavy is the {} / how old is the {} / what does the {} smell like / when was the {} drawn /
        what is hidden behind the {} / what is the {} made of / how warm is the {} / where was the {} bought"""}
TEXTS = {kind: [" ".join(t.split()) for t in texts.split("/")] for kind, texts in TEXTS.items()}
VALUES = {"color": PAINT, "atcolor": PAINT, "shape": FORM, "atshape": FORM, "where": list(SPOT.values()), "count": list("012345")}


def board(scene):
    return {divmod(t.cell, 3): (t.color, t.shape) for t in scene.things}


@lru_cache(maxsize=None)
def book(scene):
    "Every question of the grammar, lower case and without its mark: (kind, all right answers or None where no picture tells)."
    here, out = board(scene), {}
    for paint, form in itertools.product([None, *PAINT], [None, *FORM]):
        spots = [x for x, (p, f) in here.items() if (paint is None or p == paint) and (form is None or f == form)]
        noun = f"{paint or ''} {form or 'object'}".strip()
        plural = f"{paint or ''} {MANY[FORM.index(form)] if form else 'objects'}".strip()
        told = [("color", noun, {here[x][0] for x in spots}), ("shape", noun, {here[x][1] for x in spots}),
                ("where", noun, {SPOT[x] for x in spots}), ("count", plural, {str(len(spots))}),
                ("exist", f"{'an' if noun.startswith(('orange', 'object')) else 'a'} {noun}", {"yes" if spots else "no"}),
                ("unobservable", noun, None)]
        for kind, name, answers in told: out |= {t.format(name): (kind, answers) for t in TEXTS[kind]}
    for spot, name in SPOT.items():
        paint, form = here.get(spot, (None, None))
        for kind, side in (("atshape", form), ("atcolor", paint)): out |= {t.format(name): (kind, {side} - {None}) for t in TEXTS[kind]}
    return out


def second(scene, question, options=()):
    "(status, answers, reason, kind) by looking the question up."
    found = book(scene).get(" ".join(question.lower().strip("?. ").split()))
    if found is None: return "unread", set(), "", ""
    kind, answers = found
    if answers is None: return "unanswerable", set(), "unobservable", kind
    if not answers: return "unanswerable", set(), "false premise", kind
    if not options: return ("answerable" if len(answers) == 1 else "ambiguous"), answers, "", kind
    hits = [o for o in options if o in answers]
    if not hits: return "unanswerable", set(), "no right option", kind
    return ("answerable" if len(hits) == 1 else "ambiguous"), set(hits), "", kind


def agree(scene, question, options=()):
    v = check(scene, question, options)
    assert (v.status, set(v.answers), v.reason, v.kind) == second(scene, question, options), (scene, question, options)
    return v


@pytest.mark.parametrize("domain", DOMAINS)
def test_both_oracles_agree_on_every_question_of_the_grammar(domain):
    rng = random.Random(domain)
    for seed in range(4):
        s, statuses = world.scene(100, seed, domain), set()
        assert len(book(s)) == 72 * 42 + 9 * 12        # things and places, each in every wording
        for question, (kind, _) in book(s).items():
            statuses.add(agree(s, question).status)
            if kind in VALUES: agree(s, question, rng.choices(VALUES[kind], k=4))
        assert statuses >= {"answerable", "unanswerable"}


def test_the_second_oracle_knows_every_word_and_wording():
    assert set(PAINT) == set(world.COLORS) and set(FORM) == set(world.SHAPES) and list(SPOT.values()) == list(world.CELLS)
    for kind, wordings in grammar.WORDINGS.items():
        assert {w.lower().rstrip("?") for w in wordings} == set(TEXTS[kind])
    assert {w.lower().rstrip("?") for w in grammar.UNOBSERVABLE} == set(TEXTS["unobservable"])


@pytest.mark.parametrize("domain", DOMAINS)
def test_both_oracles_and_the_author_agree_on_generated_questions(domain):
    rng, n, statuses, texts = random.Random(0), 0, set(), set()
    for i in range(60):
        s = world.scene(101, i, domain)
        for r in (None, rng):
            posed = [p for k in grammar.KINDS if (p := grammar.answerable(s, k, r))]
            posed += [p for k in grammar.PREMISE_KINDS if (p := grammar.false_premise(s, k, r))]
            posed += [grammar.unobservable(s, t, r) for t in grammar.UNOBSERVABLE]
            chosen = [grammar.with_options(s, p, r) for p in posed if p.kind != "exist"]
            missed = [grammar.with_options(s, p, rng, miss=True) for p in posed if p.kind in grammar.PREMISE_KINDS]
            for p in posed + chosen + missed:
                v = agree(s, p.text, p.options)
                assert (v.status == "answerable") == p.answerable and v.reason == p.why and v.kind == p.kind
                assert v.answers == ((p.answer,) if p.answerable else ()) and is_right(v, p.reply, p.options)
                statuses.add(v.reason or v.status)
                texts.add(p.text)
                n += 1
    assert n > 6_000 and len(texts) > 400 and statuses == {"answerable", "false premise", "unobservable", "no right option"}


def test_two_things_of_one_name_are_ambiguous():
    s = Scene((Thing("circle", "red", "small", 0), Thing("circle", "blue", "large", 8), Thing("star", "red", "small", 4)))
    assert agree(s, "What color is the circle?").answers == ("red", "blue")
    assert agree(s, "Which color does the circle have?").status == "ambiguous"
    assert agree(s, "Where is the object?").status == "ambiguous"
    assert agree(s, "What color is the star?").status == "answerable"
    assert agree(s, "What color is the red object?").answers == ("red",)
    assert agree(s, "What color is the circle?", ("red", "blue", "green", "orange")).status == "ambiguous"
    assert agree(s, "What color is the circle?", ("red", "yellow", "green", "orange")).answers == ("red",)
    assert agree(s, "What color is the star?", ("red", "red", "green", "orange")).status == "ambiguous"


@pytest.mark.parametrize("question", [
    "", "What color is the sky?", "What color is the circle and the star?", "What color is the pink circle?", "Who owns the dog?",
    "Where is the circle circle?", "How many circle are there?", "What color is the circle have?", "Which color does the circle?",
    "What color is the circle drawn?", "Is a circle?", "Is there circle in the image?", "How many circles does the image?",
    "What shape is in the middle?", "What is the color of the object in the circle?", "Where is in the image the circle?",
    "What is the shape of the top left?", "What is the number of circle?", "What color is the square?"])
def test_what_is_not_in_the_grammar_is_unread(question):
    s = world.scene(0, 0)
    v = agree(s, question)
    assert v.status == "unread" and not is_right(v, "red") and not is_right(v, "unanswerable")


@given(st.integers(0, 500), st.sampled_from(list(DOMAINS)), st.sampled_from(grammar.KINDS), st.sampled_from(["  ", "\n", " \t "]),
       st.sampled_from(["", "?", " ?", "."]), st.booleans())
@settings(deadline=None)
def test_case_spacing_and_the_final_mark_do_not_matter(i, domain, kind, gap, mark, upper):
    s = world.scene(102, i, domain)
    p = grammar.answerable(s, kind, random.Random(i))
    if p is None: return
    text = gap.join(p.text.rstrip("?").split()) + mark
    assert check(s, text.upper() if upper else text) == check(s, p.text) != check(s, "")


def test_replies_are_judged_by_letter_and_by_text():
    s = Scene((Thing("circle", "red", "small", 0),))
    options = ("blue", "red", "green", "orange")
    v = check(s, "What color is the circle?", options)
    assert [is_right(v, r, options) for r in ("B", "b.", "red", "Red", "A", "E", "", "unanswerable")] == [True]*4 + [False]*4
    v = check(s, "What color is the star?", options)
    assert is_right(v, "Unanswerable", options) and not is_right(v, "B", options)
