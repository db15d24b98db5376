"The drawn world: the same scenes for everybody, within the rules of their domain."
import json, subprocess, sys
from collections import Counter
import pytest
from unsaf.world import scenes as world
from unsaf.core import UnsafError
from unsaf.world.scenes import DOMAINS, Scene, Thing


@pytest.mark.promise("seeds")
def test_a_scene_is_the_same_in_every_process():
    code = "from unsaf.world import scenes as world; print([world.scene(3, 7, d).to_dict() for d in world.DOMAINS], hash('a'))"
    runs = [subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": h}, capture_output=True, text=True, check=True, timeout=120)
            for h in "12"]
    (a, hash_a), (b, hash_b) = (r.stdout.rsplit(" ", 1) for r in runs)
    assert a == b and hash_a != hash_b


def test_known_scenes_stay_what_they_are():
    "Bundled checkpoints and their cards are only right for these very scenes."
    assert world.scene(0) == world.scene(0, 0) == world.scene(0, 0, "plain")
    assert world.scene(0).things == (Thing("circle", "orange", "large", 4),)
    assert world.scene(0, 1).things == (Thing("circle", "blue", "small", 1), Thing("star", "yellow", "large", 7))
    assert world.scene(0, 0, "textured").things == (Thing("circle", "blue", "small", 8),)
    assert world.scene(0, 1, "cluttered").things == (
        Thing("cross", "purple", "small", 1), Thing("star", "yellow", "small", 3), Thing("circle", "red", "small", 6),
        Thing("triangle", "blue", "large", 8))
    assert world.scene(0, 1, "sketch").things == (
        Thing("cross", "gray", "small", 2), Thing("star", "white", "small", 5), Thing("circle", "black", "small", 7))
    assert world.scene(0, 0, "easy").things == (Thing("circle", "gray", "large", 4),)


@pytest.mark.parametrize("domain", DOMAINS)
def test_scenes_are_json(domain):
    for i in range(30):
        s = world.scene(1, i, domain)
        assert Scene.from_dict(json.loads(json.dumps(s.to_dict()))) == s
    assert Scene.from_dict({"things": []}) == Scene(())


@pytest.mark.parametrize("domain", DOMAINS)
def test_scenes_differ_and_keep_their_rules(domain):
    scenes, d = [world.scene(2, i, domain) for i in range(500)], DOMAINS[domain]
    assert len(set(scenes)) == 500 and {len(s.things) for s in scenes} == set(range(d.least, d.most + 1))
    for s in scenes:
        assert s.domain == domain and [t.cell for t in s.things] == sorted({t.cell for t in s.things})
        assert len({str(t) for t in s.things}) == len(s.things)
        assert all(t.shape in d.shapes and t.color in d.colors and t.size in world.SIZES for t in s.things)
        assert 1 in Counter(t.shape for t in s.things).values()


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_word_of_a_domain_occurs_about_equally_often(domain):
    things = [t for i in range(1000) for t in world.scene(3, i, domain).things]
    for side, pool in (("shape", DOMAINS[domain].shapes), ("color", DOMAINS[domain].colors), ("size", world.SIZES), ("place", world.CELLS)):
        seen = Counter(getattr(t, side) for t in things)
        assert set(seen) == set(pool) and max(seen.values()) < 2 * min(seen.values())


def test_domains_and_series_have_scenes_of_their_own():
    def things(seed, domain): return [world.scene(seed, i, domain).things for i in range(20)]
    assert things(0, "plain") != things(1, "plain") and things(0, "plain") != things(0, "textured")


def test_an_unknown_domain_is_named():
    with pytest.raises(UnsafError, match="oil.*plain, textured, cluttered, sketch, easy"): world.scene(0, 0, domain="oil")


@pytest.mark.parametrize("domain", DOMAINS)
def test_words_for_what_is_there_and_what_is_not(domain):
    for i in range(100):
        s = world.scene(4, i, domain)
        told, cells = world.caption(s), world.grid(s).rstrip(".").split(", ")
        assert told.startswith(str(len(s.things))) and all(f"{t} at the {t.place}" in told for t in s.things) and "a orange" not in told
        assert [c for c in cells if c != "empty"] == [str(t) for t in s.things] and len(cells) == 9
        for what, pool in (("shape", DOMAINS[domain].shapes), ("color", DOMAINS[domain].colors), ("cell", world.CELLS)):
            here = {t.place if what == "cell" else getattr(t, what) for t in s.things}
            gone = world.absent(s, what)
            assert set(gone) | here == set(pool) and not set(gone) & here and list(gone) == sorted(gone, key=pool.index)
