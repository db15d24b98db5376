"Benchmarks of the drawn world: every gold is what the oracle says, the dice are fair, and the noise is what it claims to be."
import json, pickle, random, re, subprocess, sys
from collections import Counter, defaultdict
import pytest
from unsaf.world import tasks
from unsaf.core import UnsafError, to_json
from unsaf.world.scenes import render, DOMAINS, PLURALS, SHAPES, Scene, scene
from unsaf.world.grammar import KINDS, WORDINGS, values
from unsaf.world.oracle import check, is_right

domains = pytest.mark.parametrize("domain", DOMAINS)
ALL = {"vqa": tasks.vqa, "choices": tasks.choices, "captions": tasks.captions,
       **{f"polls {k}": (lambda n, seed, domain, k=k: tasks.polls(n, seed, domain, k)) for k in tasks.STRATEGIES},
       **{f"twins {k}": (lambda n, seed, domain, k=k: tasks.twins(n, seed, domain, k)) for k in tasks.SORTS}}
every_task = pytest.mark.parametrize("task", ALL)


def of(sample): return Scene.from_dict(sample.info["scene"])
def verdict(sample): return check(of(sample), sample.question, sample.options)


# ---- what all tasks share

@domains
@every_task
def test_the_oracle_agrees_with_every_gold(task, domain):
    if task == "captions": return
    for s in ALL[task](80, 3, domain):
        v, gold = verdict(s), set(s.answers) if task != "vqa" else {s.info["truth"]}
        assert v.kind == s.info["kind"] and v.reason == s.info["why"]
        assert v.answers == ((s.info["truth"],) if not s.info["why"] else ())
        assert len(gold) == 1 and is_right(v, *gold, s.options)
        assert sum(is_right(v, x, s.options) for x in (*"ABCD", "unanswerable")) == 1 or not s.options


@domains
@every_task
def test_samples_are_lazy_seeded_and_plain(task, domain):
    make = ALL[task]
    found = make(10, 7, domain)
    assert found == make(10, 7, domain) == make(30, 7, domain)[:len(found)] and len(found) in (10, 20)
    assert [s.question for s in found] != [s.question for s in make(10, 8, domain)] or task == "captions"
    assert [s.answers for s in found] != [s.answers for s in make(10, 8, domain)] or task.startswith("polls")
    for s in found:
        assert json.loads(json.dumps(to_json(s.info))) == to_json(s.info)
        assert s.picture.pixels().tobytes() == render(of(s)).tobytes() and of(s).domain == domain
        assert pickle.loads(pickle.dumps(s.picture)).digest == s.picture.digest
    assert {s.source.split("/")[0] for s in found} == {"scenes:7" if domain == "plain" else f"scenes:7:{domain}"}


@pytest.mark.promise("seeds")
def test_samples_are_the_same_in_every_process():
    code = ("from unsaf.world import tasks\nprint([(s.question, s.options, s.answers) for f in (tasks.vqa, tasks.choices, tasks.captions, tasks.polls,"
            "tasks.twins) for s in f(8, 1, 'sketch')] + [s.question for s in tasks.polls(20, strategy='adversarial')], hash('a'))")
    runs = [subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": h}, capture_output=True, text=True, check=True, timeout=120)
            for h in "12"]
    (a, hash_a), (b, hash_b) = (r.stdout.rsplit(" ", 1) for r in runs)
    assert a == b and hash_a != hash_b


def test_a_name_is_one_picture():
    named = defaultdict(set)
    for domain in DOMAINS:
        for seed in (0, 1):
            for i in range(12): named[(s := tasks.drawn(seed, i, domain)).image_id].add(s.picture.digest)
    assert len(named) == 5 * 2 * 12 and all(len(d) == 1 for d in named.values())
    assert tasks.drawn(0, 3).image_id == "scene-0-3" and tasks.drawn(0, 3, "easy").image_id == "scene-easy-0-3"


@every_task
def test_wrong_arguments_are_told_in_one_line(task):
    for n in (0, -1, 2.5, None):
        with pytest.raises(UnsafError, match="whole number"): ALL[task](n, 0, "plain")
    with pytest.raises(UnsafError, match="oil.*plain"): ALL[task](3, 0, "oil")


def test_unknown_strategies_and_sorts_are_named():
    with pytest.raises(UnsafError, match="'rare'.*random, popular, adversarial"): tasks.polls(2, strategy="rare")
    with pytest.raises(UnsafError, match="'xyz'.*premise, aad, iasd, ivqd"): tasks.twins(2, sort="xyz")


# ---- ten answers

def normal(answer):
    "Lower case, without article and final mark, numbers as digits: what the official normalisation does to these answers."
    words = re.sub(r"^(a|an|the) ", "", answer.lower().rstrip("."))
    number = "zero one two three four five six".split()
    return str(number.index(words)) if words in number else words


@domains
def test_annotators_err_and_vary_as_often_as_stated(domain):
    found = tasks.vqa(1200, 5, domain, error=.1, words=.3)
    said = [(s, a) for s in found for a in s.answers]
    assert {len(s.answers) for s in found} == {10}
    wrong = [normal(a) != s.info["truth"] for s, a in said]
    other = [normal(a) != a for _, a in said]
    assert sum(wrong) / len(said) == pytest.approx(.1, abs=4 * (.09 / 12_000)**.5)
    assert sum(other) / len(said) == pytest.approx(.3, abs=4 * (.21 / 12_000)**.5)
    assert sum(a and b for a, b in zip(wrong, other)) / len(said) == pytest.approx(.03, abs=.01)       # independent
    assert all(normal(a) in values(s.info["kind"], domain) for s, a in said)
    counts = [abs(int(normal(a)) - int(s.info["truth"])) for s, a in said if s.info["kind"] == "count"]
    assert set(counts) == {0, 1}


def test_noise_can_be_turned_off_and_all_the_way_up():
    assert all(set(s.answers) == {s.info["truth"]} for s in tasks.vqa(50, error=0, words=0))
    assert not any(s.info["truth"] in map(normal, s.answers) for s in tasks.vqa(50, error=1, words=0))
    assert not any(a == normal(a) for s in tasks.vqa(50, error=0, words=1) for a in s.answers)


@domains
def test_the_true_answer_has_nearly_full_soft_accuracy(domain):
    "Mean over leaving one of ten out of min(1, agreeing / 3)."
    def soft(answer, ten): return sum(min(1, sum(t == answer for j, t in enumerate(ten) if j != i) / 3) for i in range(10)) / 10
    scores = [soft(s.info["truth"], [normal(a) for a in s.answers]) for s in tasks.vqa(300, 2, domain)]
    assert sum(scores) / 300 > .999
    assert Counter(s.info["kind"] for s in tasks.vqa(300, 2, domain)).keys() == set(KINDS)


# ---- choices

@domains
def test_no_letter_and_no_place_in_the_list_is_favoured(domain):
    found = tasks.choices(1200, 4, domain)
    letters = Counter(s.answers[0] for s in found)
    assert set(letters) == set("ABCD") and all(abs(k / 1200 - .25) < 4 * (.1875 / 1200)**.5 for k in letters.values())
    assert all(len(set(s.options)) == 4 and s.options.count(s.info["truth"]) == 1 for s in found)


# ---- polls

@domains
@pytest.mark.parametrize("strategy", tasks.STRATEGIES)
def test_half_the_polls_are_yes_and_their_form_gives_nothing_away(strategy, domain):
    found = tasks.polls(600, 2, domain, strategy)
    assert [s.answers[0] for s in found] == ["yes", "no"] * 300
    for yes, no in zip(found[::2], found[1::2]):
        assert yes.image_id == no.image_id and len(yes.question.split()) == len(no.question.split())
        for s in (yes, no):
            about = s.info["about"]
            assert s.question == f"Is there {about} in the image?" and about.startswith("an " if about.split()[1][0] == "o" else "a ")
    assert len(tasks.polls(7, 2, domain, strategy)) == 7


@domains
def test_frequencies_are_counts_over_scenes(domain):
    often, along = tasks.frequencies(domain)
    scenes, d = [scene(-1, i, domain) for i in range(1000)], DOMAINS[domain]
    assert set(often) == {*d.shapes, *(f"{c} {s}" for c in d.colors for s in d.shapes)}
    for name in often:
        color, shape = name.split() if " " in name else (None, name)
        with_it = [s for s in scenes if any(t.shape == shape and color in (None, t.color) for t in s.things)]
        assert often[name] == len(with_it)
        for word in (d.colors[0], d.shapes[-1]):
            assert along.get((name, word), 0) == sum(any(word in (t.color, t.shape) for t in s.things) for s in with_it)


@domains
def test_strategies_choose_what_their_names_say(domain):
    often, _ = tasks.frequencies(domain)
    def missing(strategy): return [(of(s), s.info["about"].split(" ", 1)[1]) for s in tasks.polls(800, 9, domain, strategy)[1::2]]
    gone = {k: missing(k) for k in tasks.STRATEGIES}
    usual = {k: sum(often[name] for _, name in pairs) / len(pairs) for k, pairs in gone.items()}
    def known(s, name): return [any(w in (t.color, t.shape) for t in s.things) for w in name.split()]
    near = {k: sum(sum(known(*pair)) / len(known(*pair)) for pair in pairs) / len(pairs) for k, pairs in gone.items()}
    assert usual["popular"] > 1.5 * max(usual["random"], usual["adversarial"])
    assert all(any(known(*pair)) for pair in gone["adversarial"]) and near["adversarial"] > max(near["random"], near["popular"]) + .15
    for s, name in gone["popular"]:              # at most two absent names are more popular
        here = {str(t) for t in s.things} | {t.shape for t in s.things}
        assert sum(often[x] > often[name] for x in often if x not in here) < 3
    assert all(len({name for _, name in pairs}) >= (5 if k == "popular" else 10) for k, pairs in gone.items())


def test_in_a_picture_of_two_the_adversary_mixes_what_is_there():
    "Of three adversarial names two exchange colors and shapes, so two thirds of such polls do."
    two = [s for s in tasks.polls(3000, 3, strategy="adversarial")[1::2]
           if len(of(s).things) == 2 and len({t.shape for t in of(s).things}) == 2 == len({t.color for t in of(s).things})]
    mixed = [s for s in two if set(s.info["about"].split()[1:]) <= {w for t in of(s).things for w in (t.color, t.shape)}]
    assert len(two) > 200 and len(mixed) / len(two) == pytest.approx(2/3, abs=.12)


# ---- captions

@domains
def test_references_name_all_that_is_there_and_nothing_else(domain):
    canonical = {w: name for name, words in tasks.synonyms().items() for w in words}
    plural = {PLURALS[s]: s for s in SHAPES}
    words = re.compile("|".join(rf"\b{w}\b" for w in sorted({**canonical, **plural}, key=len, reverse=True)))
    used = Counter()
    for s in tasks.captions(150, 6, domain):
        assert s.info["objects"] == [t.shape for t in of(s).things] and len(s.answers) == len(set(s.answers)) == 5 and not s.question
        for caption in s.answers:
            seen = [plural.get(w, w) for w in words.findall(caption.lower())]
            assert {canonical[w] for w in seen} == set(s.info["objects"])
            assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", caption)
            used.update(seen)
        colors = {c for c in DOMAINS[domain].colors if c in " ".join(s.answers)}
        assert colors == {t.color for t in of(s).things}
    assert set(used) == {w for name in DOMAINS[domain].shapes for w in tasks.synonyms()[name]}


def test_synonyms_are_a_table_with_one_meaning_a_word():
    table = tasks.synonyms()
    assert set(table) == set(SHAPES) and all(words[0] == name for name, words in table.items())
    flat = [w for words in table.values() for w in words]
    assert len(flat) == len(set(flat))
    table["circle"] = ()
    assert tasks.synonyms()["circle"]


# ---- pressure

@domains
def test_what_is_suggested_is_wrong_and_possible(domain):
    rng = random.Random(0)
    for s in tasks.choices(150, 1, domain):
        letter = tasks.misleading(s, rng)
        assert letter in "ABCD" and letter != s.answers[0] and not is_right(verdict(s), letter, s.options)
    for s in tasks.vqa(150, 1, domain) + tasks.polls(50, 1, domain):
        value = tasks.misleading(s, rng)
        assert value in values(s.info["kind"], domain) and not is_right(verdict(s), value)
    for sort in tasks.SORTS:
        for s in tasks.twins(50, 1, domain, sort): assert not is_right(verdict(s), tasks.misleading(s, rng), s.options)


def test_every_wrong_letter_is_suggested_alike():
    rng, s = random.Random(0), tasks.choices(1)[0]
    said = Counter(tasks.misleading(s, rng) for _ in range(900))
    assert set(said) == set("ABCD") - {s.answers[0]} and min(said.values()) > 250
    assert tasks.misleading(s, random.Random(4)) == tasks.misleading(s, random.Random(4))


def test_a_sample_without_a_question_cannot_mislead():
    with pytest.raises(UnsafError, match="scene-0-0"): tasks.misleading(tasks.captions(1)[0], random.Random(0))
    assert tasks.rephrasings(tasks.captions(1)[0]) == ()


@domains
def test_rephrasings_ask_the_same(domain):
    for s in tasks.vqa(100, 1, domain) + tasks.choices(50, 1, domain) + tasks.polls(20, 1, domain) + tasks.twins(50, 1, domain):
        others = tasks.rephrasings(s)
        assert len({*others, s.question}) == 6 == len(WORDINGS[s.info["kind"]])
        assert all(check(of(s), text, s.options) == verdict(s) for text in others)


# ---- twins

@domains
@pytest.mark.parametrize("sort", tasks.SORTS)
def test_twins_differ_in_what_makes_them_unanswerable_and_nothing_else(sort, domain):
    found = tasks.twins(100, 2, domain, sort)
    assert len(found) == 200 and [s.info["pair"] for s in found] == [i // 2 for i in range(200)]
    for one, other in zip(found[::2], found[1::2]):
        a, b = verdict(one), verdict(other)
        assert a.status == "answerable" and b.status == "unanswerable" and other.answers == ("unanswerable",)
        assert one.image_id == other.image_id and a.kind == b.kind
        assert b.reason == ("no right option" if sort in ("aad", "iasd") else "false premise")
        wording = {w for w in WORDINGS[a.kind] if w.format(one.info["about"]) == one.question}
        assert any(w.format(other.info["about"]) == other.question for w in wording)
        assert (one.question == other.question) == (sort in ("aad", "iasd"))
        assert len(set(one.options)) == len(set(other.options)) == (0 if sort == "premise" else 4)
        own = set(values(a.kind, domain))
        if sort == "iasd": assert not own & set(other.options)
        if sort in ("aad", "ivqd"): assert set(other.options) <= own


# ---- the package's own scorers on the tasks

@domains
def test_soft_accuracy_normalises_what_annotators_vary(domain):
    from unsaf.metrics.text.short_answers import normalise
    from unsaf.metrics.accuracy import vqa_accuracy
    found = tasks.vqa(300, 2, domain)
    assert all(normalise(a) == normal(a) for s in found for a in s.answers)
    assert sum(vqa_accuracy(s.info["truth"], s.answers) for s in found) / 300 > .999
    rng = random.Random(0)
    assert sum(vqa_accuracy(tasks.misleading(s, rng), s.answers) for s in found) / 300 < .2


@domains
def test_choices_are_read(domain):
    from unsaf.metrics.text.letters import lettered
    from unsaf.metrics.accuracy import read_choice
    for s in tasks.choices(100, 2, domain):
        for reply in (s.answers[0], f"{s.answers[0]}. {s.info['truth']}", s.info["truth"]):
            assert read_choice(reply, lettered(s.options)) == s.answers[0]


@domains
def test_chair_finds_what_is_planted_and_nothing_else(domain):
    from unsaf.metrics.chair import Chair
    found, chair = tasks.captions(60, 2, domain), Chair(synonyms=tasks.synonyms())
    objects, references = [s.info["objects"] for s in found], [list(s.answers) for s in found]
    for k in range(5):
        r = chair.score([s.answers[k] for s in found], objects, references)
        assert (r.chair_i, r.chair_s, r.recall) == (0, 0, 1)
    lacking = [(s, [x for x in SHAPES if x not in s.info["objects"]]) for s in found]
    planted = [f"{s.answers[1]} There is a {tasks.synonyms()[gone[0]][-1]}." for s, gone in lacking if gone]
    kept = [(s.info["objects"], list(s.answers)) for s, gone in lacking if gone]
    r = chair.score(planted, *zip(*kept))
    assert r.chair_s == 1 and all(len(c.hallucinated) == 1 for c in r.captions)
