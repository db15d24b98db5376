"""The oracle against a second one, written another way: it does not read questions at all. It writes down every question of
the grammar for a scene, each with its truth found by going over the board, and looks the question up."""
import itertools, random
from functools import lru_cache
import pytest
from hypothesis import given, strategies as st
from unsaf import world
from unsaf.oracle import check, is_right
from unsaf.world import Scene, Thing

PAINT = "red green blue yellow purple orange".split()
FORM = "circle square triangle star cross".split()
MANY = "circles squares triangles stars crosses".split()
ROW, COL = ("top", "middle", "bottom"), ("left", "center", "right")
SPOT = {(r, c): "center" if r == c == 1 else f"{ROW[r]} {COL[c]}" for r in range(3) for c in range(3)}
NEVER = ["who owns the {}", "who painted the {}", "what is the name of the {}", "how much does the {} cost",
         "how heavy is the {}", "how old is the {}", "what does the {} smell like",
         "when was the {} drawn", "what is hidden behind the {}",
         "what is the {} made of", "how warm is the {}", "where was the {} bought"]


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
        told = [("color", noun, {here[x][0] for x in spots}, "what color is the {}", "which color does the {} have"),
                ("shape", noun, {here[x][1] for x in spots}, "what shape is the {}", "what is the shape of the {}"),
                ("where", noun, {SPOT[x] for x in spots}, "where is the {}", "in which part of the image is the {}"),
                ("count", plural, {str(len(spots))}, "how many {} are there", "how many {} can you see"),
                ("exist", noun, {"yes" if spots else "no"}, "is there a {} in the image", "does the image show a {}"),
                ("unobservable", noun, None, *NEVER)]
        for kind, name, answers, *texts in told: out |= {t.format(name): (kind, answers) for t in texts}
    for spot, name in SPOT.items():
        paint, form = here.get(spot, (None, None))
        for text in ("what shape is in the {}", "which shape is at the {}"): out[text.format(name)] = "atshape", {form} - {None}
        for text in ("what color is the object in the {}", "which color is at the {}"):
            out[text.format(name)] = "atcolor", {paint} - {None}
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


@pytest.mark.parametrize("seed", range(6))
def test_both_oracles_agree_on_every_question_of_the_grammar(seed):
    s = world.scene(100, seed)
    rng = random.Random(seed)
    assert len(book(s)) > 900
    for question, (kind, _) in book(s).items():
        agree(s, question)
        if kind in world.VALUES: agree(s, question, rng.choices(world.VALUES[kind], k=4))


def test_both_oracles_and_the_author_agree_on_generated_questions():
    rng, n, statuses = random.Random(0), 0, set()
    for i in range(300):
        s = world.scene(101, i)
        for r in (None, rng):
            posed = [p for k in world.KINDS if (p := world.answerable(s, k, r))]
            posed += [world.false_premise(s, k, r) for k in world.PREMISE_KINDS]
            posed += [world.unobservable(s, t, r) for t in world.UNOBSERVABLE]
            posed += [world.with_options(s, p, r) for p in posed if p.kind != "exist"]
            posed += [world.with_options(s, p, rng, miss=True) for p in posed if p.kind in world.PREMISE_KINDS and not p.options]
            for p in posed:
                v = agree(s, p.text, p.options)
                assert (v.status == "answerable") == p.answerable and v.reason == p.why and v.kind == p.kind
                assert v.answers == ((p.answer,) if p.answerable else ()) and is_right(v, p.reply, p.options)
                statuses.add(v.reason or v.status)
                n += 1
    assert n > 20_000 and statuses == {"answerable", "false premise", "unobservable", "no right option"}


def test_two_things_of_one_name_are_ambiguous():
    s = Scene((Thing("circle", "red", "small", 0), Thing("circle", "blue", "large", 8), Thing("star", "red", "small", 4)))
    assert agree(s, "What color is the circle?").answers == ("red", "blue")
    assert agree(s, "Where is the object?").status == "ambiguous"
    assert agree(s, "What color is the star?").status == "answerable"
    assert agree(s, "What color is the red object?").answers == ("red",)
    assert agree(s, "What color is the circle?", ("red", "blue", "green", "orange")).status == "ambiguous"
    assert agree(s, "What color is the circle?", ("red", "yellow", "green", "orange")).answers == ("red",)
    assert agree(s, "What color is the star?", ("red", "red", "green", "orange")).status == "ambiguous"


@pytest.mark.parametrize("question", ["", "What color is the sky?", "What color is the circle and the star?",
                                      "What color is the pink circle?", "Who owns the dog?",
                                      "Where is the circle circle?", "How many circle are there?"])
def test_what_is_not_in_the_grammar_is_unread(question):
    s = world.scene(0, 0)
    v = agree(s, question)
    assert v.status == "unread" and not is_right(v, "red") and not is_right(v, "unanswerable")


@given(st.integers(0, 500), st.sampled_from(world.KINDS), st.sampled_from(["  ", "\n", " \t "]),
       st.sampled_from(["", "?", " ?", "."]), st.booleans())
def test_case_spacing_and_the_final_mark_do_not_matter(i, kind, gap, mark, upper):
    s = world.scene(102, i)
    p = world.answerable(s, kind)
    if p is None: return
    text = gap.join(p.text.rstrip("?").split()) + mark
    assert check(s, text.upper() if upper else text) == check(s, p.text)


def test_replies_are_judged_by_letter_and_by_text():
    s = Scene((Thing("circle", "red", "small", 0),))
    options = ("blue", "red", "green", "orange")
    v = check(s, "What color is the circle?", options)
    assert [is_right(v, r, options) for r in ("B", "b.", "red", "Red", "A", "E", "", "unanswerable")] == [True]*4 + [False]*4
    v = check(s, "What color is the star?", options)
    assert is_right(v, "Unanswerable", options) and not is_right(v, "B", options)
