"The bundled checkpoints are what their cards say."
import json
from dataclasses import asdict
import pytest
from unsaf.world import tiny
from unsaf.core import ModelError

pytest.importorskip("torch")
from unsaf.world.exam import Candidate, answering     # noqa: E402
from unsaf.world.training import RECIPES              # noqa: E402

NAMES = tiny.names()


def test_the_shelf_holds_three_sizes_a_base_and_a_student():
    assert NAMES == ["tiny-l", "tiny-m", "tiny-m-base", "tiny-s", "tiny-student"]
    assert sum((tiny.path(n)/"model.safetensors").stat().st_size for n in NAMES) < 24_000_000
    sizes = [tiny.card(n)["parameters"] for n in ("tiny-s", "tiny-m", "tiny-l")]
    assert sizes[0]*1.5 < sizes[1] and sizes[1]*1.5 < sizes[2]


@pytest.mark.promise("retrained")
@pytest.mark.parametrize("name", NAMES)
def test_card_and_weights_belong_together(name):
    card, folder = tiny.card(name), tiny.path(name)
    assert card["name"] == name and card["sha256"] == tiny.checksum(folder)
    assert sum(f.stat().st_size for f in folder.iterdir()) < 12_000_000
    stages = ("look", "choice", "full")
    assert card["recipe"] == asdict(RECIPES[name]) and len(card["curve"]) > 3 and card["step"] == sum(card["recipe"][f"{x}_steps"] for x in stages)


@pytest.mark.parametrize("name", NAMES)
def test_the_config_names_its_system_template_and_needs_no_code(name):
    config = json.loads((tiny.path(name)/"config.json").read_text())
    assert config["unsaf_template"] == "none" and config["model_type"] == "llava" and "auto_map" not in config


@pytest.mark.parametrize("name", NAMES)
def test_the_recipe_still_starts_from_the_bundled_tokenizer(name):
    "A prompt added since would give another tokenizer, and so another model of the same recipe and seed."
    from unsaf.world.lessons import phrases
    added = {t["content"] for t in json.loads((tiny.path(name)/"tokenizer.json").read_text())["added_tokens"] if not t["special"]}
    assert added == set(phrases())


@pytest.mark.promise("retrained")
def test_changed_weights_are_refused(tmp_path, monkeypatch):
    folder = tmp_path/"tiny-z"
    folder.mkdir()
    (folder/"model.safetensors").write_bytes(b"other weights")
    (folder/"card.json").write_text(json.dumps({"sha256": "0"*64}))
    monkeypatch.setattr(tiny, "_shelf", lambda: tmp_path)
    assert tiny.names() == ["tiny-z"]
    with pytest.raises(ModelError, match="card"): tiny.path("tiny-z")


@pytest.mark.parametrize("name", NAMES)
def test_every_bundled_model_sees(name):
    "A small part of the examination, on scenes of another seed: more is right than with another scene's picture."
    found = answering(Candidate(tiny.path(name)), 15, seed=4242)["open"]
    assert found["right"] > found["swapped"] + .2, found
    if name == "tiny-m-base": assert found["unobservable"] == 0
    elif name != "tiny-student": assert found["unobservable"] > .9 and found["false premise"] > .6


def test_abilities_rise_with_size():
    exams = [tiny.card(n)["exam"] for n in ("tiny-s", "tiny-m", "tiny-l")]
    for setting in ("oe", "mc"):
        j = [e[setting]["J asked"] for e in exams]
        assert j[0][2] < j[1][1] and j[1][2] < j[2][1], j       # the intervals do not even touch
