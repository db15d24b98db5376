"The bundled checkpoints are what their cards say."
import json
import pytest
from unsaf import tiny
from unsaf.core import ModelError

NAMES = tiny.names()


def test_there_is_a_bundled_model(): assert "tiny-m" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_card_and_weights_belong_together(name):
    card, folder = tiny.card(name), tiny.path(name)
    assert card["name"] == name and card["sha256"] == tiny.checksum(folder)
    assert sum(f.stat().st_size for f in folder.iterdir()) < 12_000_000
    stages = ("look", "choice", "full")
    assert len(card["curve"]) > 3 and card["step"] == sum(card["recipe"][f"{x}_steps"] for x in stages)


@pytest.mark.parametrize("name", NAMES)
def test_the_config_names_its_system_template_and_needs_no_code(name):
    config = json.loads((tiny.path(name)/"config.json").read_text())
    assert config["unsaf_template"] == "none" and config["model_type"] == "llava" and "auto_map" not in config


def test_changed_weights_are_refused(tmp_path, monkeypatch):
    folder = tmp_path/"tiny-z"
    folder.mkdir()
    (folder/"model.safetensors").write_bytes(b"other weights")
    (folder/"card.json").write_text(json.dumps({"sha256": "0"*64}))
    monkeypatch.setattr(tiny, "_shelf", lambda: tmp_path)
    assert tiny.names() == ["tiny-z"]
    with pytest.raises(ModelError, match="card"): tiny.path("tiny-z")


def test_the_bundled_model_sees_and_abstains():
    "A small part of the examination, on scenes of another seed: far above chance, with room for other machines' rounding."
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from unsaf.tiny_exam import Candidate, answering
    found = answering(Candidate(tiny.path("tiny-m")), 24, seed=4242)
    assert found["open right"] > .8 and found["open false premise"] > .8 and found["open wrong abstention"] < .1
