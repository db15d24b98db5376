"The stand-ins of the rehearsal: every data set of the paper's profile and its native checkpoints."
import json, os, subprocess, sys
from pathlib import Path
import pytest
import unsaf
from unsaf.core import UnsafError
from unsaf.data.benchmarks import benchmark
from unsaf.distill.baselines import published
from unsaf.distill.data import keep_apart
from unsaf.paper.study import PAPER

sys.path.insert(0, str(Path(__file__).parent))
from rehearsal.checkpoints import STAND_INS, write_cache  # noqa: E402
from rehearsal.datasets import write_all  # noqa: E402

N = 6
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    "The folder that UNSAF_DATA names, and the caches of tables beside it."
    import datasets
    datasets.disable_progress_bars()
    home = tmp_path_factory.mktemp("rehearsal")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNSAF_DATA", str(home/"data"))
        patch.setenv("UNSAF_CACHE", str(home/"cache"))
        yield write_all(home/"data", N)


@pytest.mark.parametrize("source", [*PAPER.data.values(), PAPER.train["data"]])
def test_every_source_of_the_paper_has_images_in_its_true_schema(data, source):
    found = unsaf.images(source, n=N, seed=9100)
    assert len(found) == N and found.source.partition("@")[2].startswith("folder:") and not found.problems()


def test_questions_have_the_answers_that_benchmarks_need(data):
    for name in ("mmbench", "scienceqa"):
        choices = [s for s in benchmark(name) if s.options]
        assert len(choices) >= N and all(s.answers[0] in "ABCD" for s in choices), name
    assert {s.info["answerable"] for s in benchmark("vizwiz")} == {0, 1}
    assert {s.answers for s in benchmark("pope")} == {("yes",), ("no",)}
    assert {o for s in benchmark("chair") for o in s.info["objects"]} == {"orange", "sports ball"}
    assert all(len(s.answers) == 10 for name in ("vqav2", "ok-vqa", "textvqa") for s in benchmark(name))


def test_training_images_are_in_no_examination(data):
    taught = {s.image_id: s.picture.digest for s in unsaf.images(PAPER.train["data"])}
    held_out = [unsaf.images(images, n=n, seed=seed) for images, n, seed in PAPER.held_out]
    keep_apart(taught, PAPER.train["data"], held_out)
    with pytest.raises(UnsafError): keep_apart(taught, PAPER.train["data"], [unsaf.images("coco:train2014", n=2)])


@pytest.mark.parametrize("name", ["unk-vqa", "unk-vqa-by", "mm-upd", "mm-upd-bench"])
def test_the_annotated_baselines_give_records_of_both_classes(data, name):
    records = published(name, data/name.removesuffix("-by").removesuffix("-bench"), 2 * N,
                        exclude=[unsaf.images("coco:test2017", n=20)])
    assert len(records) == 2 * N and {r.answerable for r in records} == {True, False}


def test_a_dressed_checkpoint_continues_a_text_as_the_tiny_model_does(tmp_path):
    import torch
    from unsaf.models.checkpoint import load_checkpoint
    from unsaf.world import tiny
    (folder,) = write_cache(tmp_path, ["qwen2.5-vl-7b"]).values()
    own, dressed = load_checkpoint(tiny.path("tiny-m"), device="cpu"), load_checkpoint(folder, device="cpu")
    turns = "<|user|>{}<|assistant|>", "<|im_start|>user\n{}<|im_start|>assistant\n"
    ids, new = (c.processor.tokenizer(turn.format("What color is the circle?"))["input_ids"]
                for c, turn in zip((own, dressed), turns))
    assert ids == new
    with torch.no_grad(): a, b = (c.model(input_ids=torch.tensor([ids])).logits for c in (own, dressed))
    assert torch.allclose(a, b[..., :a.shape[-1]], atol=1e-3)


def test_what_a_stand_in_calls_a_circle_in_a_description(tmp_path):
    from transformers import AutoTokenizer
    (folder,) = write_cache(tmp_path, ["llava-1.5-7b"]).values()
    tok = AutoTokenizer.from_pretrained(folder)
    def again(text): return tok.decode(tok(text, add_special_tokens=False)["input_ids"])
    assert again("1 object: a red circle at the center.") == "1 object: a red ball at the center."
    assert again("What color is the circle?") == "What color is the circle?"


ASKED = """
import json, sys, unsaf
from unsaf.models.dola import with_dola
from unsaf.models.families import find
out = {}
for name in sys.argv[1:]:
    model = unsaf.load(f"hf:{find(name).hub}", device="cpu")
    plain, contrasted = (unsaf.assess(m, "scenes", n=3, k=2, progress=False) for m in (model, with_dola(model)))
    out[name] = [float((r.lists["kept"] > 0).mean()) for r in (plain, contrasted)]
print(json.dumps(out))
"""


@pytest.mark.slow
def test_every_native_checkpoint_is_found_in_the_cache_and_writes_lists_that_can_be_read(tmp_path):
    assert len(write_cache(tmp_path)) == len(STAND_INS)
    here = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    ran = subprocess.run([sys.executable, "-c", ASKED, *STAND_INS], capture_output=True, text=True, env=here,
                         cwd=Path(__file__).parents[1])
    assert ran.returncode == 0, ran.stderr[-2000:]
    shares = json.loads(ran.stdout.splitlines()[-1])
    assert set(shares) == set(STAND_INS) and min(min(pair) for pair in shares.values()) >= .8, shares
