"The drawn world: the same for everybody, and its questions have the truth that their author claims."
import json, random, subprocess, sys
from collections import Counter
import pytest
from unsaf import world
from unsaf.core import UnsafError
from unsaf.world import Scene, Thing


def test_a_scene_is_the_same_in_every_process():
    code = "from unsaf import world; s = world.scene(3, 7); print(s.to_dict(), hash('a'), sum(world.render(s).tobytes()))"
    runs = [subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": h}, capture_output=True, text=True, check=True)
            for h in "12"]
    (a, hash_a, ink_a), (b, hash_b, ink_b) = (r.stdout.rsplit(" ", 2) for r in runs)
    assert (a, ink_a) == (b, ink_b) and hash_a != hash_b


def test_a_known_scene_stays_what_it_is():
    "Bundled checkpoints and their cards are only right for these very scenes."
    s = world.scene(0, 0)
    assert s == world.scene(0)
    assert s.things == (Thing("circle", "orange", "large", 4),)
    assert world.scene(0, 1).things == (Thing("circle", "blue", "small", 1), Thing("star", "yellow", "large", 7))


def test_scenes_are_json():
    for i in range(50):
        s = world.scene(1, i)
        assert Scene.from_dict(json.loads(json.dumps(s.to_dict()))) == s


def test_scenes_differ_and_keep_their_rules():
    scenes = [world.scene(2, i) for i in range(500)]
    assert len(set(scenes)) == 500 and {len(s.things) for s in scenes} == {1, 2, 3}
    for s in scenes:
        assert [t.cell for t in s.things] == sorted({t.cell for t in s.things})
        assert len({str(t) for t in s.things}) == len(s.things)
        assert all(t.shape in world.SHAPES and t.color in world.COLORS and t.size in world.SIZES for t in s.things)


def test_an_unknown_domain_is_named():
    with pytest.raises(UnsafError, match="oil"): world.scene(0, 0, domain="oil")


def test_a_picture_shows_its_things_where_they_are():
    "The middle of a cell has the color of its thing; an empty cell is paper."
    for i in range(40):
        s = world.scene(4, i)
        im = world.render(s)
        at = {t.cell: t for t in s.things}
        for cell in range(9):
            row, col = divmod(cell, 3)
            here = im.crop((16*col + 6, 16*row + 6, 16*col + 10, 16*row + 10)).getcolors()
            if cell in at: assert any(max(abs(a - b) for a, b in zip(c, world.COLORS[at[cell].color])) < 30 for _, c in here)
            else: assert len(here) == 1 and len(set(here[0][1])) == 1


def test_drawing_twice_is_the_same_and_ink_matters():
    s = world.scene(5, 0)
    assert world.render(s).tobytes() == world.render(s).tobytes()
    assert len({world.render(Scene(s.things, ink)).tobytes() for ink in range(10)}) > 5


@pytest.mark.parametrize("setting,most", [("oe", 6), ("mc", 5)])
def test_lists_hold_different_kinds(setting, most):
    rng = random.Random(0)
    for i in range(300):
        s = world.scene(6, i)
        for asked in (True, False):
            for k in range(1, most + 1):
                found = world.question_list(s, asked, setting, k, rng if i % 2 else None)
                assert len({p.text for p in found}) == k and all(p.answerable == asked for p in found)
                assert all(len(set(p.options)) == (4 if setting == "mc" else 0) for p in found)


def test_too_long_a_list_is_refused():
    with pytest.raises(UnsafError, match="kinds"): world.question_list(world.scene(0, 0), True, k=8)
    with pytest.raises(UnsafError, match="kinds"): world.question_list(world.scene(0, 0), False, k=18)


def test_canonical_questions_follow_the_picture():
    "Without a generator the questions are a function of the things alone, and differ between pictures."
    s = world.scene(7, 0)
    assert world.question_list(s, False) == world.question_list(Scene(s.things, s.ink + 1), False)
    texts = Counter(p.text for i in range(200) for p in world.question_list(world.scene(7, i), False))
    assert len(texts) > 150 and max(texts.values()) < 60


def test_the_right_option_is_at_every_letter():
    found = Counter(p.reply for i in range(400) for p in world.question_list(world.scene(8, i), True, "mc", 5))
    assert set(found) == set("ABCD") and min(found.values()) > .15 * sum(found.values())


def test_yes_or_no_has_no_four_options():
    s = world.scene(0, 0)
    with pytest.raises(UnsafError, match="exist"): world.with_options(s, world.answerable(s, "exist"))
