"unsaf.metrics.pope: POPE and CHAIR against the official scorers' own results, second implementations, and numbers by hand."
import itertools, json, math, os, random, re
from pathlib import Path
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.metrics import accuracy_score, precision_score, recall_score
from unsaf.core import UnsafError
from unsaf.metrics import objects
from unsaf.metrics.pope import (
    CHAIR_COUNTS, CHAIR_SCORES, POLLINGS, POPE_COUNTS, POPE_SCORES, RULES, Chair, chair_scorer, drop_incomplete, pope, pope_cells,
    pope_mean, pope_scorer, read_yes_no)
from unsaf.metrics.objects import Objects, OfficialObjects
from unsaf.metrics.resampling import cluster_bootstrap

folder = os.environ.get("UNSAF_OFFICIAL_FILES")
with_official_files = pytest.mark.skipif(
    not folder, reason="UNSAF_OFFICIAL_FILES names no folder with pope/coco_pope_*.json and chair/synonyms.txt")


# ---- POPE: frozen results of the official code
# reply, then what POPE's evaluate.py (08d957b), lmms-eval (75571cf) and VLMEvalKit (e8e78f0) made of it when they were run

READ = [
    ('yes', 'yes', 'yes', 'yes'),
    ('no', 'no', 'no', 'no'),
    ('Yes', 'yes', 'yes', 'yes'),
    ('No', 'no', 'no', 'no'),
    ('YES', 'yes', 'yes', 'yes'),
    ('NO', 'yes', 'no', 'no'),
    (' yes ', 'yes', 'yes', 'yes'),
    ('no\n', 'yes', 'no', 'no'),
    ('Yes.', 'yes', None, 'yes'),
    ('No.', 'no', None, 'no'),
    ('Yes, there is a dog.', 'yes', None, 'yes'),
    ('No, there is no dog.', 'no', None, 'no'),
    ('There is a dog.', 'yes', None, None),
    ('There is not a dog.', 'no', None, None),
    ("There isn't a dog.", 'yes', None, None),
    ('No, wait, yes.', 'no', None, None),
    ('Yes and no', 'no', None, None),
    ('Yes\nNo', 'yes', None, None),
    ('unanswerable', 'yes', None, None),
    ('Unanswerable.', 'yes', None, None),
    ('No, unanswerable', 'no', None, 'no'),
    ('The question is unanswerable', 'yes', None, None),
    ('', 'yes', None, None),
    ('   ', 'yes', None, None),
    ('**Yes**', 'yes', None, None),
    ("'no'", 'yes', None, None),
    ('Answer: yes', 'yes', None, 'yes'),
    ('The answer is no.', 'no', None, 'no'),
    ('No idea', 'no', None, 'no'),
    ('I do not know. No.', 'no', None, 'no'),
    ('not sure', 'no', None, None),
    ('Nothing', 'yes', None, None),
    ('no-one', 'yes', None, 'no'),
    ('yes,no', 'yes', None, None),
    ('yes,sir, it is', 'yes', None, None),
    ('1,000 dogs, yes', 'yes', None, 'yes'),
    ('Yes; no doubt', 'no', None, None),
    ('yes/no', 'yes', None, None),
    ('No!', 'yes', None, 'no'),
    ('(no)', 'yes', None, 'no'),
    ('yes: 2', 'yes', None, None),
    ('No. Yes.', 'no', None, None),
    ('Yes . . . no', 'yes', None, None),
]
REPLIES = [row[0] for row in READ]
# labels: every 2nd, 3rd, 5th is yes. evaluate.py: TP FP TN FN accuracy precision recall F1 yes ratio
EVALUATE = {2: (17, 12, 9, 5, 0.6046511627906976, 0.5862068965517241, 0.7727272727272727, 0.6666666666666667, 0.6744186046511628),
            3: (9, 20, 8, 6, 0.3953488372093023, 0.3103448275862069, 0.6, 0.4090909090909091, 0.6744186046511628),
            5: (6, 23, 11, 3, 0.3953488372093023, 0.20689655172413793, 0.6666666666666666, 0.31578947368421056, 0.6744186046511628)}
# lmms-eval: accuracy precision recall F1 yes ratio
LMMS = {2: (0.18604651162790697, 1.0, 1.0, 1.0, 0.5116279069767442),
        3: (0.11627906976744186, 0.5, 0.6666666666666666, 0.5714285714285715, 0.3488372093023256),
        5: (0.09302325581395349, 0.25, 0.5, 0.3333333333333333, 0.20930232558139536)}
# VLMEvalKit: accuracy precision recall F1, in percent
VLMEVALKIT = {2: (37.2093023255814, 87.5, 31.818181818181817, 46.666666666666664),
              3: (25.581395348837212, 25.0, 13.333333333333334, 17.39130434782609),
              5: (32.55813953488372, 37.5, 33.33333333333333, 35.294117647058826)}


@pytest.mark.promise("pope")
def test_replies_are_read_as_the_official_code_read_them():
    assert [(reply, *(read_yes_no(reply, rule) for rule in RULES[:3])) for reply, *_ in READ] == READ


@pytest.mark.promise("pope")
@pytest.mark.parametrize("step", [2, 3, 5])
def test_scores_equal_those_of_the_official_code(step):
    labels = ["yes" if i % step == 0 else "no" for i in range(len(REPLIES))]
    s = pope(REPLIES, labels)
    assert (s.tp, s.fp, s.tn, s.fn, s.accuracy, s.precision, s.recall, s.f1, s.yes_ratio) == pytest.approx(EVALUATE[step])
    s = pope(REPLIES, labels, "lmms-eval")
    assert (s.accuracy, s.precision, s.recall, s.f1, s.yes_ratio) == pytest.approx(LMMS[step])
    s = pope(REPLIES, labels, "vlmevalkit")
    assert tuple(100 * x for x in (s.accuracy, s.precision, s.recall, s.f1)) == pytest.approx(VLMEVALKIT[step])


# ---- POPE: a second implementation, on generated replies

def second_reading(reply, rule):
    if rule == "pope":
        first = re.match(r"[^.]*", reply)[0].replace(",", "")
        return "no" if re.search(r"(?<![^ ])(?:[Nn]o|not)(?![^ ])", first) else "yes"
    if rule == "lmms-eval": return {"yes": "yes", "no": "no"}.get(reply.strip().lower())
    if rule == "vlmevalkit":
        text, kept, dots = reply.lower(), "", 0
        digits = any(a.isdigit() and b == "," and c.isdigit() for a, b, c in zip(text, text[1:], text[2:]))
        spaced = {c for a, c in itertools.pairwise(text) if a == " "} | {a for a, c in itertools.pairwise(text) if c == " "}
        for c in text: kept += c if c not in ";/[]\"{}()=+\\_-><@`,?!" else "" if digits or c in spaced else " "
        out = ""
        for i, c in enumerate(kept):
            alone = c == "." and not kept[i - 1:i].isdigit() and not kept[i + 1:i + 2].isdigit() and dots < 32
            dots += alone
            out += "" if alone else c
        words = set(out.split()) & {"yes", "no"}
        return words.pop() if len(words) == 1 else None
    text = reply.lower()                                          # strict, where nothing is labelled and there is one line
    if "unanswerable" in text or {"yes", "no"} <= set(re.findall(r"\w+", text)): return None
    first = re.match(r"\W*(?:\d\d?[.)]\s+)?(yes|no)(?![-']\w)[^\S\n]*(.?)", text, re.S)
    if first and not re.match(r"\w", first[2]): return first[1]
    last = re.fullmatch(r"\W*(yes|no)", re.split(r"[.!?]", re.sub(r"[ .!*\"'\n]+$", "", text))[-1])
    return last and last[1]


def beyond(reply, rule):
    "Is a reply read by more than `second_reading` knows of: labels and lines, which the strict rule looks at?"
    return rule == "strict" and ("\n" in reply or "answer" in reply.lower().replace("unanswerable", ""))


WORDS = "yes no Yes No NO YES not Not unanswerable Unanswerable idea there is a dog isn't none 3 1,000 answer Answer: the The".split()
MARKS = list(".,;:!?/()[]{}\"'`*-<>@=+\\\n ") + [", ", ". ", " - ", "...", ""] + [" "] * 20


def some_replies(seed):
    rng = random.Random(seed)
    n = rng.choice([1, 2, 3, 10, 60])
    plain = lambda: rng.choice(["yes", "no", "Yes.", "No.", "unanswerable", "", "Yes, there is.", "No, there is not.", ". ".join(WORDS[:2] * 20)])
    mixed = lambda: "".join(rng.choice(WORDS) + rng.choice(MARKS) for _ in range(rng.randint(1, 6)))
    return [rng.choice([plain, mixed])() for _ in range(n)], [rng.choice(["yes", "no"]) for _ in range(n)]


def second_scores(replies, labels, rule):
    "With scikit-learn, from the readings: accuracy, precision, recall; nan or 0 where undefined."
    read = [second_reading(r, rule) for r in replies]
    zero = 0. if rule in ("lmms-eval", "vlmevalkit") else np.nan
    right = [a == b for a, b in zip(read, labels)]
    if rule == "vlmevalkit": read = [r or "no" for r in read]
    pairs = [(t, r) for t, r in zip(labels, read) if r]
    accuracy = np.mean(right) if rule != "strict" else np.nan if not pairs else accuracy_score(*zip(*pairs))
    if not pairs: return accuracy, zero, zero
    truth, said = zip(*pairs)
    return (accuracy, *(f(truth, said, pos_label="yes", zero_division=zero) for f in (precision_score, recall_score)))


@pytest.mark.parametrize("rule", RULES)
def test_generated_replies_against_a_second_implementation(rule):
    for seed in range(300):
        replies, labels = some_replies(seed)
        for r in replies:
            said = read_yes_no(r, rule)
            if beyond(r, rule): assert said is None or re.search(rf"(?<!\w){said}(?!\w)", r.lower()) and "unanswerable" not in r.lower(), r
            else: assert said == second_reading(r, rule), (rule, r)
        known = [pair for pair in zip(replies, labels) if not beyond(pair[0], rule)]
        if seed >= 60 or not known: continue       # scikit-learn takes its time
        replies, labels = map(list, zip(*known))
        s = pope(replies, labels, rule)
        accuracy, precision, recall = second_scores(replies, labels, rule)
        assert (s.accuracy, s.precision, s.recall) == pytest.approx((accuracy, precision, recall), nan_ok=True)
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.
        assert s.f1 == pytest.approx(f1, nan_ok=True) or math.isnan(precision + recall) and math.isnan(s.f1)
        away = ["unanswerable" in r.lower() for r in replies]
        assert (s.abstained_yes, s.abstained_no) == tuple(sum(a and t == k for a, t in zip(away, labels)) for k in ("yes", "no"))
        assert s.n == len(replies) and s.tp + s.fn + (s.yes_neither if rule in ("lmms-eval", "strict") else 0) == labels.count("yes")


# ---- POPE: by hand, and what must hold

def test_ten_questions_by_hand():
    labels = ["yes"] * 5 + ["no"] * 5
    replies = ["yes", "yes", "yes", "no", "unanswerable", "yes", "no", "no", "no", "Unanswerable"]
    cells = {"pope": (4, 2, 3, 1), "lmms-eval": (3, 1, 3, 1), "vlmevalkit": (3, 1, 4, 2), "strict": (3, 1, 3, 1)}
    f1 = {"pope": 8 / 11, "lmms-eval": 3 / 4, "vlmevalkit": 2 / 3, "strict": 3 / 4}
    for rule in RULES:
        s = pope(replies, labels, rule)
        assert (s.tp, s.fp, s.tn, s.fn) == cells[rule] and s.f1 == pytest.approx(f1[rule])
        assert (s.abstained_yes, s.abstained_no, s.abstention_rate) == (1, 1, .2)


def test_undefined_ratios_are_what_the_rule_says():
    for rule in RULES:
        never, wrong = pope(["no", "no"], ["yes", "no"], rule), pope(["yes", "no"], ["no", "yes"], rule)
        named = rule in ("lmms-eval", "vlmevalkit")
        assert (never.precision, never.f1) == pytest.approx((0, 0) if named else (np.nan, np.nan), nan_ok=True)
        assert never.recall == 0 and (wrong.precision, wrong.recall, wrong.f1) == (0, 0, 0)
        assert type(never.precision) is type(wrong.f1) is float
    silent = pope(["unanswerable"], ["yes"], "strict")
    assert math.isnan(silent.accuracy) and math.isnan(silent.f1) and silent.read_share == 0


def test_strict_never_guesses():
    for reply in ("", "No idea", "I say yes", "Yes and no", "No, wait, yes", "yes, unanswerable", "There is a dog", "no one", "nope", "Yes there is"):
        assert read_yes_no(reply, "strict") is None, reply
    for reply, read in (("Yes", "yes"), ("**No**.", "no"), ("The answer is: no", "no"), ("Answer: Yes.", "yes"), (" yes, there is", "yes"),
                        ("No\nIt is empty", "no"), ("No, there is no dog.", "no")):
        assert read_yes_no(reply, "strict") == read, reply


@given(st.integers(0, 10_000), st.sampled_from(RULES))
@settings(deadline=None, max_examples=30)
def test_cells_add_up_and_order_does_not_matter(seed, rule):
    replies, labels = some_replies(seed)
    ids = [f"image {i % 4}" for i in range(len(replies))]
    images, cells = pope_cells(replies, labels, ids, rule)
    s = pope(replies, labels, rule)
    assert cells.sum(0).tolist() == [getattr(s, c) for c in POPE_COUNTS] and images.tolist() == sorted(set(ids))
    many = pope_scorer(*POPE_SCORES, rules=rule)(np.stack([cells.sum(0)] * 2))
    for name in POPE_SCORES: assert many[name] == pytest.approx([getattr(s, name)] * 2, nan_ok=True)
    order = random.Random(seed).sample(range(len(replies)), len(replies))
    assert pope([replies[i] for i in order], [labels[i] for i in order], rule) == s


def test_mean_of_three_and_intervals():
    said = {"random": ["yes", "no"] * 20, "popular": ["yes", "yes"] * 20, "adversarial": ["no", "no"] * 20}
    scores = {name: pope(replies, ["yes", "no"] * 20) for name, replies in said.items()}
    assert pope_mean(scores)["accuracy"] == pytest.approx((1 + .5 + .5) / 3) and math.isnan(pope_mean(scores)["f1"])
    for bad in ({}, {"random": scores["random"]}, {**scores, "all": scores["random"]},
                {**scores, "random": pope(["yes"], ["yes"], "strict")}):
        with pytest.raises(ValueError): pope_mean(bad)
    _, cells = pope_cells(said["random"], ["yes", "no"] * 20, np.repeat(range(20), 2))
    assert cluster_bootstrap(pope_scorer("f1"), cells, n=200)["f1"].low == 1


@pytest.mark.promise("refused")
@pytest.mark.parametrize("call", [
    lambda: pope([], []), lambda: pope(["yes"], ["yes", "no"]), lambda: pope(["yes"], ["maybe"]), lambda: pope("yes", ["yes"]),
    lambda: pope([None], ["yes"]), lambda: pope(["yes"], ["yes"], "mmbench"), lambda: read_yes_no("yes", "mmbench"), lambda: read_yes_no(1),
    lambda: pope_cells(["yes"], ["yes"], ["a", "b"]), lambda: pope_scorer(), lambda: pope_scorer("f2"), lambda: pope_scorer("f1", rules="x"),
    lambda: pope_scorer("f1")(np.zeros((2, 4)))])
def test_pope_refuses_what_has_no_meaning(call):
    with pytest.raises(ValueError): call()


@with_official_files
@pytest.mark.parametrize("polling", POLLINGS)
def test_official_questions(polling):
    rows = [json.loads(line) for line in Path(folder, "pope", f"coco_pope_{polling}.json").read_text().splitlines()]
    labels, ids = [r["label"] for r in rows], [r["image"] for r in rows]
    assert len(rows) == 3000 and labels.count("yes") == 1500 and len(set(ids)) == 500
    for rule in RULES:
        perfect, always = pope(labels, labels, rule), pope(["yes"] * 3000, labels, rule)
        assert perfect.f1 == perfect.accuracy == 1 and always.precision == .5 and always.f1 == pytest.approx(2 / 3)
    rng = random.Random(polling)
    replies = [rng.choice([r["label"], r["label"].capitalize() + ".", "unanswerable", "No, there is no such thing.", "Yes"]) for r in rows]
    for rule in RULES:
        s = pope(replies, labels, rule)
        assert (s.accuracy, s.precision, s.recall) == pytest.approx(second_scores(replies, labels, rule))
        images, cells = pope_cells(replies, labels, ids, rule)
        assert cells.shape == (500, 8) and (cells[:, :6].sum(1) == 6).all() and cells[:, 6:].sum() == replies.count("unanswerable")


# ---- CHAIR: frozen results of the official code
# chair.py of LisaAnne/Hallucination 6e4d33c under Python 2.7 with nltk 3.2.5 and the singularize of pattern 3.6; what it found with TABLE, and,
# where that differs, with its own synonyms.txt

TABLE = {"person": ["man", "woman", "child", "baby", "adult", "passenger", "girl"], "bicycle": ["bike"],
         "motorcycle": ["motor bike", "scooter"], "airplane": ["plane", "jet", "air plane"], "bus": ["minibus"], "train": ["locomotive"],
         "truck": ["pickup"], "bird": ["duck", "goose"], "dog": ["puppy", "collie"], "cat": ["kitten"], "elephant": [], "bear": ["panda"],
         "tie": ["bow", "bow tie"], "skis": ["ski"], "wine glass": [], "cup": [], "knife": [], "sandwich": [], "hot dog": [],
         "cake": [" cheesecake"], "chair": ["seat", "stool"], "couch": ["sofa"], "dining table": ["table"], "toilet": ["urinal"],
         "cell phone": ["phone", "iPhone"], "oven": ["stove", "stove top oven"], "scissors": [], "teddy bear": ["teddybear"], "mouse": [],
         "tennis racket": ["racket"], "traffic light": ["street light"], "sheep": ["lamb"]}
FOUND = [
    ('A bus stops behind two buses and a minibus.', 'bus'),
    ("A man, a man and a man's dog.", 'person, person, person, dog'),
    ('Two women with three children and their puppies.', 'person, person, dog'),
    ('A hot dog on a table. Two hot dogs, no dog.', 'hot dog, dining table, hot dog, dog'),
    ('A hot-dog stand; a hot  dog; a hot, dog.', 'hot dog, dog'),
    ('Wine glasses and a wine glass beside a glass of wine.', 'wine glass, wine glass'),
    ('A toilet with the seat up.', 'toilet'),
    ('A toilet seat.', 'toilet'),
    ('A girl sits on a seat, the toilet is broken, a stool and a seat remain.', 'person, toilet, chair'),
    ('A baby elephant and an adult bear. A baby and an elephant.', 'elephant, bear, person, elephant'),
    ('A passenger train on the train tracks, a passenger jet above.', 'train, airplane'),
    ('A train on a train track.', 'train'),
    ('A motor bike, a motorbike and motor bikes.', 'motorcycle, motorcycle', 'motorcycle'),
    ('A bow tie and a bow.', 'tie, tie'),
    ('A man skis on one ski with skis.', 'person, skis, skis, skis'),
    ('Geese, ducks, mice, sheep, knives and scissors.', 'bird, bird, mouse, sheep, knife, scissors'),
    ('A dog. A cat.', 'dog, cat'),
    ('A dog.A cat.', 'cat'),
    ('A dog., a cat!', 'cat'),
    ('A dog... a cat.. a man.... a bus', 'dog, person'),
    ('"A dog", \'a cat\', (a man), [a bird], {a cup}.', 'dog, cat, person, bird, cup'),
    ('**A dog** and *cats* and _cups_ and `mice`.', ''),
    ('dog/cat, dog-cat, dog--cat, dog—cat', 'dog, cat'),
    ('The man’s dog and the “dogs”.', 'person, dog, dog'),
    ("The dogs' bowl; the dog's", 'dog, dog', 'dog, bowl, dog'),
    (' bowl', '', 'bowl'),
    ("The man'll ride, the dog'd bark.", 'person, dog'),
    ('Dogs:cats;birds,cups', 'dog, cat, bird, cup'),
    ('3 dogs, 1,000 cats and dogs,3 cats', 'dog, cat, cat'),
    ('A DOG AND A Cat AND aN iPhone.', 'dog, cat'),
    ('a cheesecake and a cake', 'cake'),
    ('Pandas, pickups, sofas, scooters, bikes, puppies, collies, sandwiches.', 'bear, truck, couch, motorcycle, bicycle, dog, sandwich'),
    ('A woman in a tie ties a tie with ties.', 'person, tie, tie'),
    ('A tennis racket and tennis rackets and a racket.', 'tennis racket, tennis racket, tennis racket'),
    ('A stove top oven, two ovens, a stove.', 'oven, oven, oven, oven'),
    ('Street lights, traffic lights and a street lamp.', 'traffic light, traffic light'),
    ('A teddy bear, a teddybear, teddy bears and bears.', 'teddy bear, teddy bear, teddy bear, bear'),
    ('No objects here at all.', ''),
    ('An air plane, air planes, airplanes and planes', 'airplane, airplane, airplane, airplane'),
    ('A dog.', 'dog'),
    ('A cat.', 'cat'),
    ('', ''),
    ('A bird', 'bird'),
    ('A dog.) A cat."', 'dog, cat'),
    ('A dog!? A cat?! A man?', 'dog, cat, person'),
    ('The phone (a cell phone), cell phones & mobile phones.', 'cell phone, cell phone, cell phone', 'cell phone, cell phone, cell phone, cell phone'),
    ('Passengers, a passenger bus, adult dogs, a baby bird, baby birds.', 'person, person, dog, bird, bird'),
    ('A woman.\tA child.', 'person, person'),
    ('1. A dog.', 'dog'),
    ('2. A cat.', 'cat'),
    ('Home plate, train station, bus stop, train.', 'train, train'),
    ('Urinals and toilets have seats.', 'toilet, toilet'),
    ('A \'dog\' and \'\'cats\'\' and "mice"', 'mouse'),
    ('Mr. Cat met Mrs. Dog at 5 p.m. on a bus. The end.', 'cat, dog'),
    ('Man-made dogs, cat-like birds, two-man tables.', 'dog, bird, dining table'),
]
CAPTIONS = [row[0] for row in FOUND]


def names(finder, caption): return ", ".join(m.name for m in finder.find(caption))


@pytest.mark.promise("pope")
def test_official_mode_finds_what_the_official_code_found():
    finder = OfficialObjects(TABLE)
    assert [(row[0], names(finder, row[0])) for row in FOUND] == [row[:2] for row in FOUND]


@with_official_files
def test_official_mode_with_the_official_table():
    finder = OfficialObjects(Path(folder, "chair", "synonyms.txt"))
    for row in FOUND: assert names(finder, row[0]) == row[-1], row[0]
    assert len(finder.names) == 80 and finder.name_of(" cheesecake") == "cake" and finder.name_of("cheesecake") is None


def made_up():
    kinds, n = list(TABLE), len(CAPTIONS)
    return ([[kinds[(7 * i + 3 * k) % len(kinds)] for k in range(i % 4)] for i in range(n)],
            [[CAPTIONS[(i + 5) % n], CAPTIONS[i][:len(CAPTIONS[i]) // 2]][:i % 3] for i in range(n)])


@pytest.mark.promise("pope")
def test_official_scores():
    "compute_chair on these captions, with annotation files of these objects and references, gave these numbers."
    r = Chair(TABLE, official=True).score(CAPTIONS, *made_up())
    assert r.chair_i == 85 / 129 == 0.6589147286821705 and r.chair_s == 36 / 55 == 0.6545454545454545
    assert [len(c.hallucinated) for c in r.captions] == [
        1, 4, 1, 4, 2, 0, 1, 0, 1, 4, 2, 0, 2, 2, 0, 6, 2, 0, 1, 1, 3, 0, 0, 0, 2, 0, 0, 4, 3, 0, 1, 6, 0, 3, 4, 0, 4, 0, 0, 1, 1, 0, 1, 1, 1, 3, 5,
        0, 1, 1, 0, 2, 1, 0, 3]


# ---- CHAIR: captions whose objects are known by construction: text, what the official tool finds, what the mended lookup finds

PIECES = [("a bus", "", "bus"), ("two buses", "bus", "bus"), ("a hot dog", "hot_dog", "hot_dog"), ("the man's dogs", "person dog", "person dog"),
          ("a baby elephant", "elephant", "elephant"), ("a motor bike", "motorcycle", "motorcycle"), ("a *cat*", "", "cat"),
          ("wine glasses", "wine_glass", "wine_glass"), ("a baby elephants' knife", "elephant knife", "elephant knife"),
          ("three collies", "", "dog"), ("a train track", "", ""), ("a train station", "train", ""), ("mice/scissors", "", "mouse scissors"),
          ("a bow tie", "tie", "tie"), ("skis", "skis", "skis"), ("a man-made lake", "", ""), ("a toilet seat", "toilet", "toilet"),
          ("a tree", "", ""), ("Geese", "bird", "bird"), ("a cat-dog-bear", "", "bear"), ("a cheesecake", "", "cake"), ("an iPhone", "", "cell_phone"),
          ("a passenger train", "train", "train"), ("a passenger bus", "person", "bus"), ("a mother bear", "bear", "bear"),
          ("sandwiches", "sandwich", "sandwich")]


@given(st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from([", ", ". ", "; ", " with ", "! ", "\n"])), min_size=1, max_size=8))
@settings(deadline=None, max_examples=50)
def test_captions_by_construction(parts):
    caption = "".join(piece[0] + glue for piece, glue in parts)
    for finder, column in ((OfficialObjects(TABLE), 1), (Objects(TABLE), 2)):
        expected = " ".join(piece[column] for piece, _ in parts).split()
        assert [m.name.replace(" ", "_") for m in finder.find(caption)] == expected, caption


def test_singular_of_the_official_tool():
    "Frozen from pattern 3.6's singularize, the words with a way of their own."
    pairs = """bus:bu buses:bus glass:glas glasses:glass tennis:tenni people:person women:woman policemen:policeman children:child knives:knife
    wolves:wolf calves:calf scarves:scarf leaves:leaf gloves:glove olives:olife skis:ski scissors:scissors collies:collies puppies:puppy movies:movie
    mice:mouse slice:slouse geese:goose oxen:ox potatoes:potato shoes:shoe boxes:box benches:bench brushes:brush vases:vase noses:nose roses:rose
    bases:basis horses:horse houses:house pizza:pizza pasta:pastum data:datum spaghetti:spaghettus series:series ears:ears news:news your:ymy
    sheep:sheep dress:dres grass:gras is:is has:ha this:thi axes:axe taxes:taxe quizzes:quiz specimen:speciman opera:opus s:s""".split()
    for plural, singular in (p.split(":") for p in pairs): assert objects._official_singular(plural) == singular, plural


# ---- CHAIR: the mended lookup and our table

def plural(phrase):
    if phrase.endswith(("boy", "scissors", "skis", "people", "cattle", "luggage", "baggage", "sheep")): return phrase.replace("boy", "boys")
    ends = (("man", "men"), ("child", "children"), ("mouse", "mice"), ("goose", "geese"), ("ox", "oxen"), ("knife", "knives"), ("y", "ies"),
            ("s", "ses"), ("ch", "ches"), ("sh", "shes"), ("", "s"))
    return next(phrase.removesuffix(end) + new for end, new in ends if phrase.endswith(end))


def test_every_word_of_our_table_is_found_in_singular_and_plural():
    finder = Objects()
    assert len(finder.names) == 80
    for line in objects._lines(None):
        for word in line:
            assert names(finder, f"There is a {word}.") == line[0] == finder.name_of(word), word
            assert names(finder, f"Three {plural(word)}!") == line[0] == finder.name_of(plural(word)), plural(word)


def test_mended_by_hand():
    finder, rows = Objects(), [
        ("A bus, two buses, a bus stop.", "bus, bus"), ("A man-made lake.", ""), ("A **dog** and dog/cat", "dog, dog, cat"),
        ("A woman in an orange shirt eats an orange.", "person, orange"), ("Three oranges, orange juice.", "orange"),
        ("An orange and white cat.", "cat"), ("An orange and a cat.", "orange, cat"), ("A toilet next to a stool.", "toilet, chair"),
        ("Toilet paper.", ""), ("A carrot cake.", "cake"), ("The man\u2019s knives.", "person, knife"), ("wineglasses, wine-glasses", "wine glass, wine glass"),
        ("A stuffed bear and a polar bear.", "teddy bear, bear"), ("Tennis racquets.", "tennis racket"), ("A jet ski.", ""), ("", "")]
    assert [(caption, names(finder, caption)) for caption, _ in rows] == rows


@with_official_files
def test_mended_with_the_official_table():
    finder = Objects(Path(folder, "chair", "synonyms.txt"))
    assert names(finder, "A bus, a cheesecake, an iPhone, a motor bike, a stove top oven.") == "bus, cake, cell phone, motorcycle, oven"
    assert names(finder, "A toilet seat; the seat of the toilet. A chair with a seat and a toilet.") == "toilet, toilet, chair, chair, toilet"
    for name in finder.names: assert names(finder, f"one {name}") == name


def test_the_drawn_world_is_another_vocabulary():
    r = Chair({"circle": ["circle"], "square": ["square", "box"]}).score(["A red circle and two boxes."], [["circle"]], [["1 object: a red circle."]])
    assert r.captions[0].mentioned == ["circle", "square"] and r.captions[0].hallucinated == ["square"] and r.chair_i == .5


# ---- CHAIR: the scores

def by_loops(captions, objects_, references, finder):
    "CHAIR and the pooled set scores, with lists and loops."
    mentions = wrong = bad = given = hit = there = 0
    for caption, kinds, texts in zip(captions, objects_, references):
        truth = [finder.name_of(k) for k in kinds] + [m.name for t in texts for m in finder.find(t)]
        said = [m.name for m in finder.find(caption)]
        errors = [s for s in said if s not in truth]
        mentions, wrong, bad = mentions + len(said), wrong + len(errors), bad + (len(errors) > 0)
        for kind in finder.names: given, there, hit = given + (kind in said), there + (kind in truth), hit + (kind in said and kind in truth)
    p, r = hit / given, hit / there
    return wrong / mentions, bad / len(captions), p, r, 2 * p * r / (p + r)


@pytest.mark.parametrize("official", [False, True])
def test_scores_by_loops_and_adding_up(official):
    chair, rows = Chair(TABLE, official), (CAPTIONS, *made_up())
    r = chair.score(*rows)
    assert [getattr(r, s) for s in CHAIR_SCORES] == pytest.approx(by_loops(*rows, chair.objects))
    assert r.cells.shape == (len(CAPTIONS), len(CHAIR_COUNTS)) and r.cells.sum(0).tolist() == r.counts.tolist()
    again = chair_scorer(*CHAIR_SCORES)(r.cells.sum(0)[None])
    for name in CHAIR_SCORES: assert again[name] == pytest.approx([getattr(r, name)])
    order = random.Random(0).sample(range(len(CAPTIONS)), len(CAPTIONS))
    moved = chair.score(*([column[i] for i in order] for column in rows))
    assert [getattr(moved, s) for s in CHAIR_SCORES] == [getattr(r, s) for s in CHAIR_SCORES]
    assert sum(r.hallucinated.values()) == sum(len(c.hallucinated) for c in r.captions) == r.counts[3]
    for c in r.captions: assert len(c.words) == len(c.mentioned) and c.hallucinated == [m for m in c.mentioned if m not in c.truth]


def test_repeats_count_for_chair_i_but_not_for_the_sets():
    once = Chair().score(["A dog and a cat."], [["dog"]], [[]])
    twice = Chair().score(["A dog and a cat, a cat, a cat."], [["dog"]], [[]])
    assert (once.chair_i, twice.chair_i) == (1 / 2, 3 / 4) and once.precision == twice.precision == .5 and once.f1 == twice.f1


def test_a_reference_can_clear_a_caption_and_instances_need_no_reference():
    args = ["A lady on a bench."], [["person"]]
    assert Chair().score(*args, [[]]).chair_i == .5 and Chair().score(*args, [["Someone sits on a park bench."]]).chair_i == 0


def test_nothing_mentioned_is_no_perfect_score():
    r = Chair().score(["A field.", "A sky."], [["cow"], []], [[], []])
    assert all(math.isnan(x) for x in (r.chair_i, r.precision, r.f1)) and (r.chair_s, r.recall, r.silent) == (0, 0, 2)
    assert math.isnan(Chair().score(["A dog."], [[]], [[]]).recall) and Chair().score(["A dog."], [["cat"]], [[]]).f1 == 0


@pytest.mark.parametrize("call, error", [
    (lambda: Chair().score([], [], []), "no captions"), (lambda: Chair().score(["a"], [[]], []), "one entry"),
    (lambda: Chair().score(["a"], [["unicorn"]], [[]]), "unicorn"), (lambda: Chair().score(["a"], ["person"], [[]]), "objects of caption 0"),
    (lambda: Chair().score(["a"], [[]], ["a dog"]), "references of caption 0"), (lambda: Chair().score([None], [[]], [[]]), "not a text"),
    (lambda: Chair({"a": "b"}), "must be a list"), (lambda: Chair({}), "empty"), (lambda: Chair({"a": ["x"], "b": ["x"]}), "both"),
    (lambda: chair_scorer("chair"), "unknown"), (lambda: chair_scorer("f1")(np.zeros((2, 3))), "7 numbers")])
def test_chair_refuses_what_has_no_meaning(call, error):
    with pytest.raises(ValueError, match=error): call()


def test_a_table_that_cannot_be_read(tmp_path):
    with pytest.raises(UnsafError, match="no such|No such"): Chair(tmp_path / "none.txt")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UnsafError, match="UTF-8"): Chair(tmp_path / "bytes.txt", official=True)


# ---- the last sentence

@pytest.mark.parametrize("text, kept", [
    ("A dog. A ca", "A dog."), ("A dog.", "A dog."), ("A dog", ""), ("", ""), ('He says "hi!" and', 'He says "hi!"'), ("1. A dog.\n2. A ca", "1. A dog."),
    ("It is 3.5 m", ""), ("From 1950. It", "From 1950."), ("Birds, e.g. ducks", ""), ("What? A do", "What?"), ("A dog...", "A dog..."),
    ("**A dog.** A", "**A dog.**"), ("A dog. \n", "A dog.")])
def test_incomplete_last_sentences_are_dropped(text, kept):
    assert drop_incomplete(text) == kept


@given(st.text("aB1 .!?\n\"*", max_size=40))
def test_what_is_kept_is_a_beginning_that_stays(text):
    kept = drop_incomplete(text)
    assert text.startswith(kept) and drop_incomplete(kept) == kept
    assert not kept or re.search(r"[.!?][\"*]*$|\n$", kept)    # a sentence, or an item of a list
