"Old checkpoints that carry a bundled tiny model: what they write through the bridge is what that model writes here."
import json
import pytest
from test_bridge import HOST, old_world, prepared  # noqa: F401  (one a fixture)
from rehearsal.clothes import CLOTHES, MARKS, dress
from unsaf.world import tiny

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
LAID_OUT = {"internvl2": "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n<img>{images}</img>\n{text}<|im_end|>\n<|im_start|>assistant\n",
            "minicpm-v-2": "<用户><image>{images}</image>\n{text}<AI>"}


@pytest.mark.parametrize("family", LAID_OUT)
def test_what_is_left_of_a_prompt_is_the_tiny_model_s_own(family, tmp_path):
    from tokenizers import Tokenizer
    from rehearsal.carried import readable
    ids = {name: Tokenizer.from_file(str(folder/"tokenizer.json")).encode for name, folder in
           (("theirs", dress(family, tmp_path/"c")), ("own", tiny.path("tiny-m")))}
    text = "What color is the circle?\nunanswerable or [answer letter or short phrase]"
    theirs = torch.tensor(ids["theirs"](LAID_OUT[family].format(images=MARKS[family][5] * 2 * 64, text=text)).ids)
    left = theirs[readable(theirs, [64, 64])].tolist()
    assert left == ids["own"]("<|user|>" + "<image>" * 18 + text + "<|assistant|>").ids
    config = json.loads((tmp_path/"c/config.json").read_text())
    assert all((tmp_path/"c"/f"{name.split('.')[0]}.py").exists() for name in config["auto_map"].values())


@pytest.mark.promise("bridge")
@pytest.mark.slow
@pytest.mark.parametrize("family", CLOTHES)
def test_they_write_through_the_bridge_what_it_writes_here(family, old_world, tmp_path, monkeypatch):  # noqa: F811
    "Greedy and by DoLa, with an image seen and a system message overlooked; candidates and log-probabilities come with it."
    import unsaf
    from unsaf.models.base import collect
    from unsaf.models.cove import intervene
    host = HOST.get(family, family)
    prepared(host, old_world(host), monkeypatch)
    own = unsaf.load("tiny-m")
    model = unsaf.load(f"bridge:{family}@{dress(family, tmp_path/'c')}", trust_remote_code=True, device="cpu", dtype="float32", retries=0, logprobs=True)
    for layout in ("image_first", "paper"):
        here, there = (unsaf.assess(m, "scenes", n=3, k=2, layout=layout, progress=False) for m in (own, model))
        assert there.lists["kept"].sum() == there.lists["asked"].sum() == 12
        if (family, layout) == ("minicpm-v-2", "paper"): continue       # it has its image in front of the text, always
        assert list(there.lists["reply"]) == list(here.lists["reply"]) and list(there.table["reply"]) == list(here.table["reply"])
        assert there.table["p_abstain"].tolist() == pytest.approx(here.table["p_abstain"].tolist(), abs=.02)
    asked = unsaf.assess(model, "scenes", n=3, k=2, progress=False)
    assert asked.scores.unf1 > .8
    by_dola = unsaf.assess(intervene(model, "dola", layers="low"), "scenes", n=2, k=2, progress=False)
    assert by_dola.lists["kept"].sum() == 8
    from unsaf.core import Request
    [sample] = unsaf.images("scenes", n=1)
    [reply] = collect(model, [Request((sample.picture, "What color is the circle?"), candidates=("orange", "unanswerable"), max_tokens=4)])
    assert len(reply.logprobs) == reply.output_tokens and reply.candidates["orange"] > reply.candidates["unanswerable"]
    model.close()
