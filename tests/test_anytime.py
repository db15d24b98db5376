"Stop when sure: an interval that may be looked at, a run that ends by it, and what a run that has grown says."
import json
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner
import unsaf
from unsaf.assessment.saved import paired
from unsaf.cli import app
from unsaf.core import UnsafError
from unsaf.metrics.anytime import anytime_j, limits, stakes, wealth
from unsaf.models.base import Scripted
from unsaf.models.budget import Budget


def draw(rng, runs, n, rate, icc, k=5):
    "Shares of `k` questions answered, with an effect of the image."
    p = rng.beta(rate * (1 - icc) / icc, (1 - rate) * (1 - icc) / icc, (runs, n)) if icc else np.full((runs, n), rate)
    return rng.binomial(k, p) / k


@pytest.mark.promise("anytime")
@pytest.mark.parametrize("t, f, icc", [(.5, .5, .6), (.8, .3, .2), (.995, .002, .2)])
def test_no_look_is_wrong_more_often_than_said(t, f, icc):
    "400 runs of 150 images, looked at after each: the sequence keeps its 5 %, and an interval for one look does not."
    rng = np.random.default_rng(1)
    x = (draw(rng, 400, 150, t, icc) - draw(rng, 400, 150, f, icc) + 1) / 2
    true, bets = np.full(400, (t - f + 1) / 2), stakes(x)
    rich = np.maximum(*(wealth(x, true, above, bets).max(1) for above in (True, False)))
    assert (rich >= np.log(40)).mean() <= .05
    n = np.arange(1, 151)
    mean = np.cumsum(x, 1) / n
    error = 1.96 * np.sqrt(np.maximum(np.cumsum(x**2, 1) / n - mean**2, 0) / n)
    assert (np.abs(mean - true[:, None]) > error)[:, 19:].any(1).mean() > .15


def test_limits_are_where_the_wealth_reaches_its_mark_and_no_stake_sees_ahead():
    x = np.random.default_rng(2).random((3, 60))
    low, high = limits(x)
    for end, above, inside in ((low, True, 1e-6), (high, False, -1e-6)):
        assert (wealth(x, end, above, stakes(x))[:, -1] >= np.log(40)).all()
        assert (wealth(x, end + inside, above, stakes(x))[:, -1] < np.log(40)).all()
    assert np.allclose(stakes(x)[..., :30], stakes(x[:, :30]))


def test_images_without_both_classes_are_left_out_and_counted():
    j = anytime_j([[5, 0, 5, 0], [0, 0, 0, 0], [3, 0, 0, 2], [0, 5, 0, 5]])
    assert (j.value, j.images, j.left_out) == (0, 2, 2)
    assert anytime_j([[0, 0, 0, 0]]).as_dict()["low"] is None


def talk(request):
    "Two questions a class; one of each is answered, so J is 0 for every image."
    if "provide" not in request.text: return "grey" if "color" in request.text else "unanswerable"
    if "can be answered directly" in request.text:
        return "1. Question: What color is it?\n2. Question: How large is it?"
    return "1. Question: Who made it?\n2. Question: What color is the dog?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for i in range(100): Image.new("L", (8, 8), 2 * i).save(folder/f"{i:03}.png")
    return folder


def assess(store, folder, n=None, name="script", **options):
    options = dict(block=10) | options
    found = unsaf.assess(Scripted(talk, name=name), folder, "oe", 2, store, n=n, progress=False, **options)
    found.save(store)
    return found


def command(*args):
    return CliRunner().invoke(app, [str(a) for a in args], prog_name="unsaf")


@pytest.mark.promise("anytime")
def test_a_run_ends_where_it_is_sure_and_goes_on_where_more_is_wanted(tmp_path, folder):
    assess(tmp_path, folder, 20)
    first, again = (assess(tmp_path, folder, until_halfwidth=.11) for _ in range(2))
    assert first.images == again.images and len(first.images) == 50 and first.images != sorted(first.images)
    assert (first.calls["asked"], again.calls["asked"], first.stopped) == (180, 0, "")      # 20 images were paid for
    assert again.looked()[0].startswith("sure enough after 50 of 100 images")
    more = assess(tmp_path, folder, until_halfwidth=.08)
    assert (len(more.images), more.calls["asked"], more.looks.earlier) == (70, 120, [20, 50])
    assert more.images[:50] == first.images and more.run_id == first.run_id
    card = json.loads((tmp_path/f"scores-oe-{more.run_id}.json").read_text())
    assert card["anytime"]["halfwidth"] <= .08 and card["images"] == 70
    page = command("report", tmp_path, "--limit", 1)
    assert page.exit_code == 0 and "sure enough after 70 of 100 images" in (tmp_path/"report.html").read_text()


def test_a_budget_ends_it_first_and_it_is_resumed(tmp_path, folder):
    cut = assess(tmp_path, folder, until_halfwidth=.11, budget=Budget(calls=100))
    assert "--max-calls" in cut.stopped and cut.looked()[0].startswith(f"not sure enough after {len(cut.images)} of 100")
    whole = assess(tmp_path, folder, until_halfwidth=.11, budget=Budget(calls=1000))
    assert not whole.stopped and whole.calls["cached"] >= 100 and whole.images[:len(cut.images)] == cut.images


def test_all_images_may_not_be_enough(tmp_path, folder):
    all_asked = unsaf.assess(Scripted(talk), folder, "oe", 2, n=20, progress=False, until_halfwidth=.01)
    assert not all_asked.stopped and "not sure enough after 20 of 20 images" in all_asked.looked()[0]


def test_a_half_width_without_a_meaning_is_told_in_a_line(tmp_path, folder):
    for odd in (0, 1.5, "narrow"):
        with pytest.raises(UnsafError, match="until_halfwidth"): assess(tmp_path, folder, until_halfwidth=odd)


def test_a_run_that_grew_shows_both_intervals_and_one_that_did_not_is_as_it_was(tmp_path, folder):
    once = assess(tmp_path/"a", folder, 20)
    assert once.looks is None and not once.looked() and not {"looks", "anytime", "looked"} & once.as_dict().keys()
    grown = assess(tmp_path/"a", folder, 40)
    assert grown.looks.earlier == [20] and "20 images when it was scored before" in grown.looked()[1]
    assert assess(tmp_path/"a", folder, 40).looks.earlier == [20]                 # scored again without new images: no new look
    other = assess(tmp_path/"b", folder, 40, name="b")
    assert other.looks is None and paired(other, other, n=10).anytime is None
    told = paired(grown, other, n=10).looked()
    assert "difference of J per image +0.000, 95% anytime-valid" in told[0] and "images before: script" in told[1]
    measured = json.loads(command("compare", tmp_path/"a", tmp_path/"b", "--json").stdout)      # the run as it is now, not the one before
    assert measured["images"] == 40 and measured["anytime"]["low"] < 0 < measured["anytime"]["high"]
