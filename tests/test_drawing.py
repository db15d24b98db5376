"Pictures of scenes: the same pixels everywhere, each domain its own look, and every thing where the scene says."
import subprocess, sys
import numpy as np
import pytest
from unsaf.world.scenes import CELL_PIXELS, IMAGE_PIXELS, blank, render, COLORS, DOMAINS, Scene, Thing, scene

PIXEL_RULES = [d for d in DOMAINS if d != "easy"]        # a thing in the middle of its cell
SHARED = Scene((Thing("circle", "black", "large", 0), Thing("star", "gray", "large", 4), Thing("cross", "white", "large", 8)), 1)


def pixels(s): return np.asarray(render(s)).astype(int)


def middle(a, cell, half=2):
    row, col = divmod(cell, 3)
    y, x = (CELL_PIXELS*i + CELL_PIXELS//2 for i in (row, col))
    return a[y-half:y+half, x-half:x+half].reshape(-1, 3)


@pytest.mark.promise("seeds")
def test_a_picture_is_the_same_in_every_process():
    code = ("import hashlib\nfrom unsaf.world.scenes import render\nfrom unsaf.world.scenes import DOMAINS, scene\n"
            "print(*(hashlib.sha256(render(scene(3, i, d)).tobytes()).hexdigest() for d in DOMAINS for i in range(5)), hash('a'))")
    runs = [subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": h}, capture_output=True, text=True, check=True, timeout=120)
            for h in "12"]
    (*a, hash_a), (*b, hash_b) = (r.stdout.split() for r in runs)
    assert a == b and len(set(a)) == 25 and hash_a != hash_b


@pytest.mark.parametrize("domain", DOMAINS)
def test_pictures_have_one_size_and_ink_matters(domain):
    s = scene(5, 0, domain)
    assert render(s).mode == "RGB" and render(s).size == (IMAGE_PIXELS, IMAGE_PIXELS) == (48, 48)
    assert len({render(Scene(s.things, ink, domain)).tobytes() for ink in range(10)}) > 5


def test_domains_differ_visibly():
    "The same things and the same ink in two domains: at least one pixel in twelve differs by more than 12 of 255."
    def drawn(ink, domain): return pixels(Scene(SHARED.things, ink, domain))
    for i, a in enumerate(PIXEL_RULES):
        for b in PIXEL_RULES[i+1:]:
            assert np.mean([(np.abs(drawn(k, a) - drawn(k, b)) > 12).any(-1).mean() for k in range(10)]) > 1/12, (a, b)


def looks(domain, i):
    "Of a picture: tints of its paper, the largest difference between neighbours on paper, and how gray it is."
    s = scene(6, i, domain)
    a, free = pixels(s), [c for c in range(9) if c not in {t.cell for t in s.things}]
    edges = np.abs(np.diff(np.asarray(blank(s)).astype(int), axis=1)).max()
    return len({tuple(p) for c in free for p in middle(a, c)}), int(edges), int(np.ptp(a, axis=-1).max())


def test_each_domain_has_the_look_that_its_name_says():
    seen = {d: np.array([looks(d, i) for i in range(40)]) for d in DOMAINS}
    assert (seen["plain"][:, 0] == 1).all() and (seen["plain"][:, 1] == 0).all()                 # flat paper
    assert (seen["textured"][:, 1] > 0).mean() > .95 and (seen["textured"][:, 1] <= 80).all()      # faint patterns
    assert (seen["cluttered"][:, 1] > 80).mean() > .95                                            # marks as strong as things
    assert (seen["sketch"][:, 2] <= 8).all() and (seen["sketch"][:, 0] > 5).all()                 # no color, grain
    assert (seen["easy"][:, 2] > 90).mean() > .5


@pytest.mark.parametrize("domain", ["plain", "cluttered", "sketch"])
def test_the_middle_of_a_cell_has_the_color_of_its_thing(domain):
    for i in range(60):
        s = scene(4, i, domain)
        for t in s.things:
            gap = np.abs(middle(pixels(s), t.cell) - COLORS[t.color]).max(-1)
            assert gap.min() < 30, (s, t)


def test_hatching_keeps_the_hue():
    "In the middle of a hatched thing's cell are pixels of its color or a darker one of the same hue, and none of another's."
    def alike(here, color):
        share = np.clip(here @ color / (color @ color), .72, 1)
        return (np.abs(here - share[:, None]*color).max(-1) < 25).sum()
    for i in range(100):
        s = scene(4, i, "textured")
        for t in s.things:
            here = middle(pixels(s), t.cell, 5)
            seen = {c: alike(here, np.array(COLORS[c])) for c in DOMAINS["textured"].colors}
            assert seen[t.color] > 12 and max(seen, key=seen.get) == t.color, (s, t, seen)


def test_the_one_thing_of_easy_is_in_its_cell_and_in_its_color():
    pure = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0), "black": (0, 0, 0)}
    whole = 0
    for i in range(150):
        s = scene(4, i, "easy")
        (t,), a = s.things, pixels(s)
        mask = np.abs(a - pure.get(t.color, COLORS[t.color])).max(-1) < 40
        ys, xs = np.nonzero(mask)
        assert mask.sum() > 10
        y, x = (ys.min() + ys.max() + 1)/2, (xs.min() + xs.max() + 1)/2       # the middle of what is seen
        row, col = divmod(t.cell, 3)
        assert mask[16*row:16*row+16, 16*col:16*col+16].any()
        if min(xs.min(), ys.min()) > 0 and max(xs.max(), ys.max()) < 47:      # not cut by the border
            assert abs(x - 16*col - 8) < 8 and abs(y - 16*row - 8) < 8, (s, x, y)
            whole += 1
    assert whole > 60


@pytest.mark.parametrize("domain", PIXEL_RULES)
def test_empty_cells_are_paper(domain):
    "No empty cell looks like a thing: its middle is what the same paper shows without things."
    for i in range(40):
        s = scene(4, i, domain)
        a, paper = pixels(s), np.asarray(blank(s)).astype(int)
        for cell in set(range(9)) - {t.cell for t in s.things}: assert (middle(a, cell) == middle(paper, cell)).all()


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_color_and_shape_stands_out_from_its_paper(domain):
    d = DOMAINS[domain]
    for color in d.colors:
        for shape in d.shapes:
            for ink in range(3):
                s = Scene((Thing(shape, color, "small", 4),), ink, domain)
                paper = np.median(pixels(s).reshape(-1, 3), axis=0)
                assert (np.abs(pixels(s) - paper).max(-1) > 35).sum() > 20, (color, shape, ink)


@pytest.mark.parametrize("domain", DOMAINS)
def test_shapes_and_sizes_differ(domain):
    d = DOMAINS[domain]
    drawn = {pixels(Scene((Thing(s, d.colors[0], size, 4),), 3, domain)).tobytes() for s in d.shapes for size in ("small", "large")}
    assert len(drawn) == 2 * len(d.shapes)


@pytest.mark.parametrize("domain", DOMAINS)
def test_blank_paper_has_nothing_on_it(domain):
    for i in range(10):
        s = scene(7, i, domain)
        bare = blank(s)
        assert bare.size == (48, 48) and bare.tobytes() == blank(s).tobytes() != render(s).tobytes()
        assert bare.tobytes() == blank(Scene((), s.ink, domain)).tobytes()
