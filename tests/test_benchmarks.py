"Every data set in small files of its true schema: as its authors' files, as a copy of the Hub's, and through `load_dataset`."
import json, os, pickle, random, socket, sys, zipfile
from collections import Counter
from pathlib import Path
import datasets
import huggingface_hub
import pandas as pd
import pytest
from PIL import Image
from unsaf.prompts.benchmarks import pope_question
from unsaf.core import ImageError, UnsafError
from unsaf.data import choices, files, coco_imagenet, open_ended, sources
from unsaf.data.benchmarks import BENCHMARKS, available, benchmark, easy_polls, pictures
from unsaf.data.closed import as_choice, left_open

sys.path.insert(0, str(Path(__file__).parent))
from rehearsal.schemas import (  # noqa: E402
    MMBENCH, as_hub, coco_files, coco_name, coded, mmmu_columns, photo, scienceqa_row, unk_row, vqa_files, vqa_row, written)

COLORS = ["red", "blue", "green", "yellow", "black", "white"]
TEN = [{"answer": a, "answer_confidence": "yes", "answer_id": i} for i, a in enumerate(["red"] * 7 + ["dark red"] * 3, 1)]


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    "No network, and caches of our own."
    def connect(*_): raise AssertionError("a test reached for the network")
    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path/"hf"/"hub"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path/"hf"/"datasets")
    monkeypatch.setattr(datasets.config, "TORCH_AVAILABLE", False)      # else a stream imports it, and nothing here needs it
    for name in ("UNSAF_DATA", "UNSAF_CACHE"): monkeypatch.delenv(name, raising=False)
    datasets.disable_progress_bars()


def one_line(error) -> str:
    text = str(error.value)
    assert text and "\n" not in text
    return text

def plain(s): return s.question, s.options, s.answers, s.info

def looks(s) -> str: return "#%02x%02x%02x" % s.picture.pixels().getpixel((3, 3))


# --- open questions ------------------------------------------------------------------------------------------------------------

def vqa_rows(n: int) -> list[dict]:
    return [vqa_row(100 + i // 2, i % 2, f"Question {i}?", ["red"] * 7 + ["dark red"] * 3) for i in range(n)]

def vqa_original(root: Path, rows: list[dict], version: str, part: str = "val2014", zipped: bool = False) -> Path:
    vqa_files(root, rows, version, part)
    for i in {r["image_id"] for r in rows}: photo(root/part/coco_name(part, i), COLORS[i % len(COLORS)])
    if zipped:
        with zipfile.ZipFile(root/f"{part}.zip", "w") as z:
            for p in sorted((root/part).iterdir()): z.write(p, f"{part}/{p.name}"); p.unlink()
        (root/part).rmdir()
    return root

def vqa_hub(root: Path, rows: list[dict], original: Path) -> Path:
    table = {k: [r[k] for r in rows] for k in rows[0]}
    return as_hub(root, table | {"image": [str(original/"val2014"/f"COCO_val2014_{r['image_id']:012d}.jpg") for r in rows]}, "validation")

def test_vqav2_from_files_zip_and_hub(tmp_path):
    rows = vqa_rows(8)
    original = vqa_original(tmp_path/"files", rows, "v2_")
    hub = vqa_hub(tmp_path/"hub", rows, original)
    zipped = vqa_original(tmp_path/"zip", rows, "v2_", zipped=True)
    sets = [benchmark("vqav2", None, folder=f) for f in (original, zipped, hub)]
    for found in sets:
        assert len(found) == 8 and found.image_ids == [str(r["image_id"]) for r in rows]
        for s, r in zip(found, rows):
            assert s.question == r["question"] and s.answers == tuple(a["answer"] for a in TEN) and s.options == ()
            assert s.info == {k: r[k] for k in ("question_id", "image_id", "question_type", "answer_type", "multiple_choice_answer")}
    assert [looks(s) for s in sets[0]] == [looks(s) for s in sets[1]] == [looks(s) for s in sets[2]]
    assert [s.source.partition("@")[0] for s in sets[0]] == ["vqav2:validation"] * 8

def test_vqav2_test_split_has_no_answers_and_half_a_download_is_an_error(tmp_path):
    rows = vqa_rows(2)
    vqa_original(tmp_path, rows, "v2_", "test2015")
    (tmp_path/"v2_mscoco_test2015_annotations.json").unlink()
    assert [s.answers for s in benchmark("vqav2", folder=tmp_path, split="test")] == [(), ()]
    vqa_original(tmp_path, rows, "v2_")
    path = tmp_path/"v2_mscoco_val2014_annotations.json"
    path.write_text(json.dumps({"annotations": json.loads(path.read_text())["annotations"][:1]}))
    with pytest.raises(UnsafError) as e: benchmark("vqav2", folder=tmp_path)
    assert "1 of its questions have no annotation" in one_line(e)
    path.write_text(path.read_text()[:50])
    with pytest.raises(UnsafError) as e: benchmark("vqav2", folder=tmp_path)
    assert "no JSON" in one_line(e) and path.name in str(e.value)

def test_ok_vqa(tmp_path):
    rows = [r | {"answers": [a | {"raw_answer": a["answer"]} for a in TEN]} for r in vqa_rows(4)]
    original = vqa_original(tmp_path/"files", rows, "")
    hub = as_hub(tmp_path/"hub", {"question_id": [str(r["question_id"]) for r in rows], "question": [r["question"] for r in rows],
                                  "answers": [[a["answer"] for a in TEN]] * 4, "question_type": ["one"] * 4, "answer_type": ["other"] * 4,
                                  "image": [str(original/"val2014"/f"COCO_val2014_{r['image_id']:012d}.jpg") for r in rows]}, "val2014")
    a, b = benchmark("ok-vqa", folder=original), benchmark("ok-vqa", folder=hub)
    assert [(s.question, s.answers) for s in a] == [(s.question, s.answers) for s in b] and a[0].answers.count("red") == 7
    assert a.image_ids == ["100", "100", "101", "101"] and b.image_ids == ["100000", "100000", "101000", "101000"]      # named by content
    assert len(a.unique()) == len(b.unique()) == 2

def test_vizwiz(tmp_path):
    said = [{"answer": a, "answer_confidence": "yes"} for a in ["unanswerable"] * 6 + ["pills"] * 4]
    names = ["VizWiz_val_00000000.jpg", "VizWiz_val_00000001.jpg"]
    shots = [photo(tmp_path/"files"/"val"/n, c) for n, c in zip(names, COLORS)]
    written(tmp_path/"files"/"Annotations"/"val.json", [
        {"image": n, "question": "What is this?", "answers": said, "answer_type": "unanswerable", "answerable": 0} for n in names])
    written(tmp_path/"files"/"Annotations"/"test.json", [{"image": names[0], "question": "What is this?"}])
    hub = as_hub(tmp_path/"hub", {"question_id": names, "image": shots, "question": ["What is this?"] * 2, "answers": [[a["answer"] for a in said]] * 2,
                                  "category": ["unanswerable"] * 2}, "val")
    a, b = benchmark("vizwiz", folder=tmp_path/"files"), benchmark("vizwiz", folder=hub)
    assert [s.answers for s in a] == [s.answers for s in b] == [("unanswerable",) * 6 + ("pills",) * 4] * 2
    assert a.image_ids == b.image_ids == ["VizWiz_val_00000000", "VizWiz_val_00000001"]
    assert a[0].info["answerable"] == 0 and "answerable" not in b[0].info
    assert [s.answers for s in benchmark("vizwiz", folder=tmp_path/"files", split="test", images=tmp_path/"files"/"val")] == [()]

def test_textvqa(tmp_path):
    photo(tmp_path/"files"/"train_images"/"00685bc495504d61.jpg", "white")
    photo(tmp_path/"files"/"test_images"/"ff.jpg", "black")
    row = {"question": "who?", "image_id": "00685bc495504d61", "image_classes": ["Airplane"], "flickr_original_url": "", "image_width": 16, "image_height": 12,
           "question_tokens": ["who"], "answers": ["simon"] * 10, "question_id": 3, "set_name": "val"}
    written(tmp_path/"files"/"TextVQA_0.5.1_val.json", {"data": [row, row | {"question_id": 4}]})
    written(tmp_path/"files"/"TextVQA_0.5.1_test.json", {"data": [{k: v for k, v in row.items() if k != "answers"} | {"image_id": "ff", "set_name": "test"}]})
    hub = as_hub(tmp_path/"hub", {k: [v, v] for k, v in row.items()} | {
        "question_id": [3, 4], "ocr_tokens": [["SIMON"]] * 2, "image": [str(tmp_path/"files"/"train_images"/"00685bc495504d61.jpg")] * 2}, "validation")
    a, b = benchmark("textvqa", folder=tmp_path/"files"), benchmark("textvqa", folder=hub)
    assert [s.answers for s in a] == [s.answers for s in b] == [("simon",) * 10] * 2 and b[0].info["ocr_tokens"] == ["SIMON"]
    assert a.image_ids == b.image_ids == ["00685bc495504d61"] * 2
    test, = benchmark("textvqa", folder=tmp_path/"files", split="test")
    assert test.answers == () and looks(test) == "#000000"
    empty = as_hub(tmp_path/"empty", {k: [v] for k, v in row.items()} | {"answers": [[""] * 10], "image": [photo(tmp_path/"x.jpg", "red")]}, "test")
    assert benchmark("textvqa", folder=empty, split="test")[0].answers == ()      # as the loader fills a test split

def test_unk_vqa(tmp_path):
    photo(tmp_path/"images-val"/"COCO_val2014_000000549683.jpg", "red")
    row = unk_row(1, "What?", "COCO_val2014_000000549683.jpg", "nothing")
    rows = [row, row | {"question_id": 2, "answerability": {"binary": False, "other": {"answer": "3", "reason": "1"}}},
            row | {"question_id": 3, "answerability": {"binary": True, "other": None}}]
    written(tmp_path/"annt_val.json", {"answer_map": {}, "reason_map": {}, "alter_type_map": {}, "annotation": rows})
    found = benchmark("unk-vqa", folder=tmp_path)
    assert [s.answers for s in found] == [("nothing",), ("unanswerable",), ()] and [s.info["answerable"] for s in found] == [True, False, True]
    assert found[1].info["answerability"] == rows[1]["answerability"] and len(found.unique()) == 1
    with pytest.raises(UnsafError, match="not on the Hub"): benchmark("unk-vqa")

def test_unk_vqa_puts_codes_into_the_words_of_its_file_and_counts_odd_items(tmp_path):
    photo(tmp_path/"images-train"/"a.jpg", "red")
    maps = {"answer_map": {"1": "I don't know"}, "reason_map": {"3": "The image lacks it"}, "alter_type_map": {"T-2": "semantic negation"}}
    row = {"question_id": 1, "question": "What?", "image_name": "a.jpg", "alter_type": "T-2", "answerability": {"binary": False, "other": None}}
    other = lambda **said: row | {"answerability": {"binary": False, "other": said}}
    odd = ["cut", row | {"question": " "}, row | {"image_name": 5}, row | {"question_id": None}, row | {"answerability": {"binary": 1}},
           row | {"answerability": {"binary": True, "other": {"answer": 2}}}]
    written(tmp_path/"annt_train.json", maps | {"annotation": [other(answer="1", reason="3"), other(answer="9", reason=None), row | {"alter_type": "X"}, *odd]})
    found = benchmark("unk-vqa", folder=tmp_path/"annt_train.json")
    assert [[s.info.get(x) for x in ("kind", "reason", "declined")] for s in found] == [
        ["semantic negation", "The image lacks it", "I don't know"], ["semantic negation", None, None], [None] * 3]
    assert found.source.startswith("unk-vqa:train@") and {s.answers for s in found} == {("unanswerable",)}
    assert found.skipped == {"no record": 1, "no question": 1, "no image_name": 1, "no question_id": 1, "no answerability": 1, "its answer is no text": 1}
    for name, words in (("annotations.json", "its annotations are annt_train.json"), ("annt_test.json", "no 'annotation'|no column 'annotation'")):
        written(tmp_path/name, {"annotations": []})
        with pytest.raises(UnsafError, match=words): benchmark("unk-vqa", folder=tmp_path/name)


# --- photographs ---------------------------------------------------------------------------------------------------------------

def coco_original(root: Path, split: str, n: int = 4, prefix: str = "") -> Path:
    photos = {(i, f"{prefix}{i:012d}.jpg"): COLORS[i - 1] for i in range(1, n + 1)}
    return coco_files(root, split, photos, {18: "dog", 1: "person"}, [(1, 18), (1, 1), (1, 18), (2, 1)],
                      [(i, f"Caption {k}.") for k, i in enumerate([1, 1, 2, 3])])

def test_coco_pictures_annotations_and_chair(tmp_path):
    root = coco_original(tmp_path, "val2014", prefix="COCO_val2014_")
    found = benchmark("coco", folder=root, split="val2014", annotations=True)
    assert [s.info["objects"] for s in found] == [["dog", "person"], ["person"], [], []]
    assert [s.info["captions"] for s in found] == [["Caption 0.", "Caption 1."], ["Caption 2."], ["Caption 3."], []]
    assert found.image_ids[0] == "COCO_val2014_000000000001" and found[0].info["id"] == 1 and found[0].question == ""
    seen = benchmark("chair", folder=root)
    assert [(s.info["objects"], s.info["references"]) for s in seen] == [(s.info["objects"], s.info["captions"]) for s in found]
    assert "objects" not in benchmark("coco", folder=root, split="val2014")[0].info

def test_coco_lists_by_folder_zip_and_test_info(tmp_path, monkeypatch):
    root = coco_original(tmp_path/"coco", "test2017")
    for p in (root/"annotations").iterdir(): p.unlink()
    listed = benchmark("coco:test2017", folder=root)
    seen = [looks(s) for s in listed]
    assert listed.image_ids == [f"{i:012d}" for i in range(1, 5)] and len(set(seen)) == 4
    with zipfile.ZipFile(root/"test2017.zip", "w") as z:
        for p in (root/"test2017").iterdir(): z.write(p, f"test2017/{p.name}"); p.unlink()
    (root/"test2017").rmdir()
    with pytest.raises(UnsafError, match="image_info_test2017.json"): benchmark("coco:test2017", folder=root)
    written(root/"annotations"/"image_info_test2017.json", {"images": [{"id": i, "file_name": f"{i:012d}.jpg"} for i in range(1, 5)], "categories": []})
    assert [looks(s) for s in benchmark("coco:test2017", folder=root)] == seen
    monkeypatch.setenv("UNSAF_DATA", str(tmp_path))
    alone = pictures("coco:test2017", n=2, seed=4)
    assert len(alone) == 2 and alone.image_ids == pictures("coco:test2017", n=2, seed=4).image_ids
    with pytest.raises(UnsafError, match="5 images were asked for"): pictures("coco", n=5)

def test_coco_from_the_hubs_copy(tmp_path):
    hub = as_hub(tmp_path, {"question_id": ["000000000139.jpg", "000000000285.jpg"], "image": [photo(tmp_path/"a.jpg", "red"), photo(tmp_path/"b.jpg", "blue")],
                            "question": ["Please describe it"] * 2, "answer": [["A room.", ""], [""]], "id": [139, 285],
                            "file_name": ["000000000139.jpg", "000000000285.jpg"]}, "test")
    found = benchmark("coco", folder=hub)
    assert found.image_ids == ["000000000139", "000000000285"] and found[0].info["captions"] == ["A room."] and found[0].info["id"] == 139

def test_coco_schema_is_checked(tmp_path):
    root = coco_original(tmp_path, "val2014")
    path = root/"annotations"/"instances_val2014.json"
    content = json.loads(path.read_text())
    for a in content["annotations"]: a["category"] = a.pop("category_id")
    path.write_text(json.dumps(content))
    with pytest.raises(UnsafError) as e: benchmark("chair", folder=root)
    assert "no column 'category_id'" in one_line(e) and "image_id" in str(e.value)
    path.write_text(json.dumps({"images": content["images"], "annotations": []}))
    with pytest.raises(UnsafError, match="no column 'categories'"): benchmark("chair", folder=root)

def test_imagenet(tmp_path):
    photo(tmp_path/"a"/"val"/"ILSVRC2012_val_00000002.JPEG", "red")
    photo(tmp_path/"a"/"val"/"ILSVRC2012_val_00000010.JPEG", "blue")
    photo(tmp_path/"b"/"val"/"n01440764"/"ILSVRC2012_val_00000293.JPEG", "red")
    hub = as_hub(tmp_path/"hub", {"image": [photo(tmp_path/"x.jpg", "red")] * 2, "label": [0, 7]}, "validation")
    assert benchmark("imagenet", folder=tmp_path/"a").image_ids == ["ILSVRC2012_val_00000002", "ILSVRC2012_val_00000010"]
    assert benchmark("imagenet", folder=tmp_path/"b")[0].info["synset"] == "n01440764"
    found = benchmark("imagenet", folder=hub)
    assert [s.info for s in found] == [{"label": 0}, {"label": 7}] and found.image_ids == ["0", "1"]

def pope_lines(n: int = 2) -> list[dict]:
    return [{"question_id": i + 1, "image": f"COCO_val2014_{i // 2 + 1:012d}.jpg", "text": f"Is there a {t} in the image?", "label": ("yes", "no")[i % 2]}
            for i, t in enumerate(["dog", "car"] * (n // 2))]

def test_pope_from_files_and_hub(tmp_path):
    own = coco_original(tmp_path/"files", "val2014", prefix="COCO_val2014_")
    for s in coco_imagenet.STRATEGIES: written(own/f"coco_pope_{s}.json", "\n".join(map(json.dumps, pope_lines(4))))
    shot = str(own/"val2014"/"COCO_val2014_000000000001.jpg")
    for s in coco_imagenet.STRATEGIES:
        hub = as_hub(tmp_path/"hub", {"id": ["0", "1"], "question_id": ["1", "2"], "question": [r["text"] for r in pope_lines()], "answer": ["yes", "no"],
                                      "image_source": ["COCO_val2014_000000000001"] * 2, "image": [shot] * 2, "category": [s] * 2}, s, "Full")
    a, b = benchmark("pope", None, folder=own), benchmark("pope", None, folder=hub)
    assert len(a) == 12 and len(b) == 6 and len(a.unique()) == 2 and Counter(s.answers for s in a) == {("yes",): 6, ("no",): 6}
    assert [x.info["strategy"] for x in b] == [s for s in coco_imagenet.STRATEGIES for _ in range(2)]
    assert b.image_ids == ["COCO_val2014_000000000001"] * 6 and [a.ids[i] for i in a.order[:2]] == [b.ids[i] for i in b.order[:2]]
    assert [s.question for s in benchmark("pope:popular", folder=own)] == [r["text"] for r in pope_lines(4)]

@pytest.mark.skipif(not os.environ.get("UNSAF_OFFICIAL_FILES"), reason="$UNSAF_OFFICIAL_FILES does not name a folder with pope/coco_pope_*.json")
def test_pope_on_the_official_files(tmp_path):
    root = Path(os.environ["UNSAF_OFFICIAL_FILES"])/"pope"
    every = benchmark("pope", None, folder=root, images=tmp_path)      # the pictures are not needed to read the questions
    assert len(every) == 9000 == BENCHMARKS["pope"].sizes["all"] and len(every.unique()) == 500
    for s in coco_imagenet.STRATEGIES:
        theirs = [json.loads(line) for line in (root/f"coco_pope_{s}.json").read_text().splitlines()]
        ours = benchmark("pope", None, folder=root, images=tmp_path, split=s)
        assert [(x.question, x.answers[0], x.image_id + ".jpg") for x in ours] == [(t["text"], t["label"], t["image"]) for t in theirs]
        assert Counter(x.answers for x in ours) == {("yes",): 1500, ("no",): 1500}
    with pytest.raises(ImageError, match="no such file"): every[0].picture.pixels()
    assert len(benchmark("pope", folder=root, images=tmp_path)) == 4000


# --- choices -------------------------------------------------------------------------------------------------------------------

MM = MMBENCH

def test_mmbench(tmp_path):
    rows = [MM | {"index": 7, "A": "red", "B": "blue", "C": "None", "answer": "A", "hint": "Look.", "image": coded("red")},
            MM | {"index": 1000007, "A": "blue", "B": "None", "C": "red", "answer": "C", "image": "7"},
            MM | {"index": 9, "A": "NA", "B": "nan", "answer": "A", "image": coded("blue")}]
    (tmp_path/"files").mkdir()
    pd.DataFrame(rows).to_csv(tmp_path/"files"/"MMBench_DEV_EN.tsv", sep="\t", index=False)
    shots = [photo(tmp_path/"r.png", "red"), str(tmp_path/"r.png"), photo(tmp_path/"b.png", "blue")]
    table = {k: [str(r[k]) if k == "index" else r[k] or "nan" for r in rows] for k in rows[0]} | {"image": shots}
    hub = as_hub(tmp_path/"hub", {("L2-category" if k == "l2-category" else k): v for k, v in table.items()}, "dev", "en")
    for folder in (tmp_path/"files", hub):
        found = benchmark("mmbench", folder=folder)
        assert [s.options for s in found] == [("red", "blue", "None"), ("NA",)] and found[0].question == "Look.\nWhat?" and found[1].question == "What?"
        assert found.skipped == {"a later pass of the circular evaluation": 1} and found.image_ids == ["7", "9"]
        every = benchmark("mmbench", folder=folder, passes=True)
        assert [s.answers for s in every] == [("A",), ("C",), ("A",)] and every.image_ids == ["7", "7", "9"] and len(every.unique()) == 2
        assert every[1].info["question_id"] == 7 and every[1].info["l2-category"] == "y" and looks(every[1]) == "#ff0000"

def test_scienceqa(tmp_path):
    row = scienceqa_row("Which?", ["a", "b", "c"], 2, hint="A map.")
    written(tmp_path/"files"/"problems.json", {"1": row | {"image": "image.png", "split": "test"}, "2": row | {"image": None, "split": "test"},
                                               "3": row | {"image": "image.png", "split": "train"}})
    shot = photo(tmp_path/"files"/"images"/"test"/"1"/"image.png", "red")
    hub = as_hub(tmp_path/"hub", {"image": [shot, None]} | {k: [v, v] for k, v in row.items()}, "test")
    a, b = benchmark("scienceqa", folder=tmp_path/"files"), benchmark("scienceqa", folder=hub)
    assert [plain(s) for s in a] == [plain(s) for s in b] and a.skipped == b.skipped == {"no picture": 1}
    assert a[0].question == "A map.\nWhich?" and a[0].answers == ("C",) and a[0].options == ("a", "b", "c")

def mmmu_rows(shot: str, other: str, subject: str) -> dict:
    rows = [("<image 1>?", "['a', 'b\\'s']", "B", "multiple-choice", [shot]), ("How long? <image 2>", "[]", "['2', 'two']", "open", [shot, other]),
            ("<image 1> <image 2>", "['x', 'y']", "A", "multiple-choice", [shot, other]), ("No mark?", "['<image 1>', 'y']", "?", "multiple-choice", [shot])]
    return mmmu_columns([(f"validation_{subject}_{i}", *row) for i, row in enumerate(rows, 1)])

def test_mmmu(tmp_path):
    shot, other = photo(tmp_path/"a.png", "red"), photo(tmp_path/"b.png", "blue")
    for subject in ("Math", "Art_Theory"): as_hub(tmp_path/"hub", mmmu_rows(shot, other, subject), "validation", subject, choices.MMMU.image)
    found = benchmark("mmmu", folder=tmp_path/"hub", subjects=("Art_Theory", "Math"))
    assert len(found) == 6 and found.skipped == {"more than one picture": 2}
    assert [s.answers for s in found[:3]] == [("B",), ("2", "two"), ()] and found[2].info["answer"] == "?"
    assert found[0].options == ("a", "b's") and found[1].options == ()
    assert [looks(s) for s in found[:2]] == ["#ff0000", "#0000ff"] and found[1].info["id"] == "validation_Art_Theory_2"
    with pytest.raises(UnsafError, match="no parquet files of mmmu"): benchmark("mmmu", folder=tmp_path/"hub")       # 28 subjects are missing

def test_conbench(tmp_path):
    photo(tmp_path/"files"/"color"/"images"/"0001.png", "yellow")
    asked = [("N/Y", "Is it?", "yes"), ("Choices", "A. x B. y", "A"), ("Q/A", "What?", "yellow"), ("Caption", "Describe.", "")]
    written(tmp_path/"files"/"color"/"output_w_caption_color.json",
            [{"image": "images/0001.png", "question": q, "question_field": f, "answer": a} for f, q, a in asked])
    shot = str(tmp_path/"files"/"color"/"images"/"0001.png")
    hub = as_hub(tmp_path/"hub", {"image_id": ["i1"] * 3, "image": [shot] * 3, "question": [q for _, q, _ in asked[:3]], "field": ["color"] * 3,
                                  "answer": [a for *_, a in asked[:3]], "question_id": ["0", "1", "2"], "question_field": [f for f, *_ in asked[:3]]}, "test")
    a, b = benchmark("conbench", folder=tmp_path/"files"), benchmark("conbench", folder=hub)
    assert [plain(s) for s in a[:3]] == [plain(s) for s in b] and len(a) == 4 and set(a.image_ids) == {"color/0001"} and set(b.image_ids) == {"i1"}
    with pytest.raises(UnsafError, match="looked for CATEGORY"): benchmark("conbench", folder=tmp_path)

def test_what_conbench_and_mme_are_answered_from(tmp_path):
    photo(tmp_path/"color"/"images"/"1.png", "red")
    asked = [("N/Y", "Is it red? Please answer yes or no.", "Yes"), ("Choices", "What color is it? A. blue B. red C. green", "B"),
             ("Choices", "Which?\n(A) one\n(B) two\nPlease choose.", "a"), ("Choices", "Which of these is it?", "A"), ("Choices", "Which? A) x B) y", "C"),
             ("Q/A", "What color is it?", "red"), ("Caption", "Describe the image.", "")]
    written(tmp_path/"color"/"output_w_caption_color.json", [{"image": "images/1.png", "question": q, "question_field": f, "answer": a} for f, q, a in asked])
    found = list(benchmark("conbench", folder=tmp_path))
    choice = [as_choice(s) for s in found]
    assert [(s.question, s.options, s.answers) for s in choice[:3]] == [
        (asked[0][1], ("yes", "no"), ("A",)), ("What color is it?", ("blue", "red", "green"), ("B",)), ("Which?", ("one", "two"), ("A",))]
    assert choice[3:] == found[3:] and not any(s.options for s in found)
    assert left_open(found) == {"has options in its text that cannot be told apart": 1, "has an answer that is none of its options": 1,
                                "asks for a free answer": 1, "asks for a description": 1}
    photo(tmp_path/"mme"/"color"/"1.jpg", "red")
    written(tmp_path/"mme"/"color"/"1.txt", "Is it red? Please answer yes or no.\tYes\nIs it blue? Please answer yes or no.\tNo\n")
    assert [(as_choice(s).options, as_choice(s).answers) for s in benchmark("mme", folder=tmp_path/"mme")] == [(("yes", "no"), ("A",)), (("yes", "no"), ("B",))]

def test_mme(tmp_path):
    two = "Is it red? Please answer yes or no.\tYes\nIs it blue? Please answer yes or no.\tNo\n"
    shots = [photo(tmp_path/"files"/"color"/"000001.jpg", "red"), photo(tmp_path/"files"/"artwork"/"images"/"toy_dataset"/"10002.jpg", "blue")]
    written(tmp_path/"files"/"color"/"000001.txt", two)
    written(tmp_path/"files"/"artwork"/"questions_answers_YN"/"10002.txt", two)
    named = (("color", "000001.jpg", shots[0]), ("artwork", "10002.jpg", shots[1]))
    rows = [(f"{t}/{p}", s, *line.split("\t"), t) for t, p, s in named for line in two.splitlines()]
    hub = as_hub(tmp_path/"hub", dict(zip(("question_id", "image", "question", "answer", "category"), map(list, zip(*rows)))), "test")
    a, b = benchmark("mme", folder=tmp_path/"files"), benchmark("mme", folder=hub)
    assert [plain(s) for s in a] == [plain(s) for s in b] and a.image_ids == b.image_ids == ["color/000001"] * 2 + ["artwork/10002"] * 2
    assert [s.answers for s in a] == [("yes",), ("no",)] * 2 and len(set(a.ids)) == 4 and [looks(s) for s in a] == [looks(s) for s in b]
    (tmp_path/"files"/"color"/"000001.txt").write_text("Is it red? Yes\n")
    with pytest.raises(UnsafError, match="two lines of question, tab and answer"): benchmark("mme", folder=tmp_path/"files")

def test_mm_upd(tmp_path):
    rows = [MM | {"index": 7, "A": "red", "B": "blue", "answer": "A", "masked_answer": "", "type": "standard", "image": coded("red")},
            MM | {"index": 7, "A": "blue", "B": "green", "answer": "F", "masked_answer": "red", "type": "upd", "image": coded("red")},
            MM | {"index": 1000007, "A": "green", "B": "blue", "answer": "F", "masked_answer": "red", "type": "upd", "image": coded("red")}]
    (tmp_path/"data").mkdir()
    pd.DataFrame(rows).to_csv(tmp_path/"data"/"mmaad_20240303_base.tsv", sep="\t", index=False)
    found = benchmark("mm-upd", folder=tmp_path)
    assert [s.answers for s in found] == [("A",), ("unanswerable",)] and [s.info["pair"] for s in found] == [7, 7] and found[1].info["answer"] == "F"
    assert len(benchmark("mm-upd", folder=tmp_path, passes=True)) == 3 and len(found.unique()) == 1
    with pytest.raises(UnsafError, match="looked for mmivqd_20240303_option.tsv"): benchmark("mm-upd:ivqd_option", folder=tmp_path)

@pytest.mark.parametrize("kind", choices.KINDS)
def test_mm_upd_by_its_own_names_with_the_kind_and_odd_rows_counted(tmp_path, kind):
    row = MM | {"index": 7, "A": "red", "B": "blue", "answer": "A", "masked_answer": "", "type": "standard", "image": coded("red")}
    odd = [row | more for more in ({"index": "x"}, {"type": kind}, {"answer": "E"}, {"answer": ""}, {"question": ""}, {"A": "", "B": ""}, {"image": ""})]
    file = tmp_path/f"mm{kind}_20240303_option.tsv"
    pd.DataFrame([row, row | {"type": "upd", "C": "None of the above", "answer": "C"}, *odd]).to_csv(file, sep="\t", index=False)
    one, twin = found = benchmark(f"mm-upd:mm{kind}_option", folder=tmp_path)
    assert (one.info["kind"], one.answers, one.info["answerable"]) == (kind, ("A",), True)
    assert (twin.answers, twin.info["answer"], twin.options[2]) == (("unanswerable",), "C", "None of the above")
    assert found.skipped == {"its index is no number": 1, "neither standard nor upd": 1, "its answer is none of its options": 1, "no answer": 1,
                             "no question": 1, "no options": 1, "no picture": 1}
    assert list(benchmark("mm-upd", folder=file).ids) == list(found.ids)
    with pytest.raises(UnsafError, match="no table of MM-UPD: give one of mm"): benchmark("mm-upd", folder=file.rename(tmp_path/"mine.tsv"))

def test_mm_upd_fetches_one_file_of_the_hub(tmp_path, monkeypatch):
    (tmp_path/"data").mkdir()
    pd.DataFrame([MM | {"index": 7, "A": "a", "B": "b", "answer": "A", "masked_answer": "", "type": "standard", "image": coded("red")}]
                 ).to_csv(tmp_path/"data"/"mmiasd_20240303_option.tsv", sep="\t", index=False)
    asked = []
    def download(hub, name, repo_type, revision): asked.append((hub, name, repo_type, revision)); return str(tmp_path/name)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(sources, "_asked", lambda hub: "f" * 40)
    monkeypatch.setitem(sys.modules, "datasets", None)      # its tables need the Hub's client alone
    assert len(benchmark("mm-upd:iasd_option")) == 1
    assert asked == [("MM-UPD/MM-UPD", "data/mmiasd_20240303_option.tsv", "dataset", "f" * 40)]


# --- the Hub -------------------------------------------------------------------------------------------------------------------

@pytest.fixture
def hub(monkeypatch):
    "`load_dataset` as it would be called, and the tables that it gives, by split or config."
    asked, tables = [], {}
    def load(path, name=None, *, split, revision, **options):
        asked.append((path, name, split, revision, options))
        return tables[name] if name in tables else tables[split]
    monkeypatch.setattr(datasets, "load_dataset", load)
    return asked, tables

def pixels_table(rows: dict, path: str) -> datasets.Dataset:
    n = len(next(iter(rows.values())))
    return datasets.Dataset.from_dict(rows | {"image": [path] * n}).cast_column("image", datasets.Image())

@pytest.mark.promise("offline")
def test_a_pinned_commit_is_never_asked_for(tmp_path, hub, monkeypatch):
    asked, tables = hub
    monkeypatch.setattr(sources, "_asked", lambda hub: pytest.fail("asked the Hub"))
    tables["val"] = pixels_table({"question_id": ["a"], "question": ["?"], "answers": [["x"]], "category": ["other"]}, photo(tmp_path/"a.png", "red"))
    found = benchmark("vizwiz")
    assert asked == [("lmms-lab/VizWiz-VQA", None, "val", "d428a2dae984f79cf1b9d99467dfa883e0c30686", {})]
    assert found[0].source == "vizwiz:val@lmms-lab/VizWiz-VQA@d428a2dae984" and looks(found[0]) == "#ff0000"

def test_an_unpinned_commit_is_asked_for_once_and_recorded(tmp_path, hub, monkeypatch):
    asked, tables = hub
    tables["test"] = pixels_table({"question_id": ["a"], "question": ["?"], "answer": ["Yes"], "category": ["color"]}, photo(tmp_path/"a.png", "red"))
    commits = iter(["1" * 40, "2" * 40])
    class Api:
        def dataset_info(self, hub): return type("Info", (), {"sha": next(commits)})
    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    for _ in range(2): assert benchmark("mme")[0].source == "mme:test@lmms-lab/MME@111111111111"
    assert [a[3] for a in asked] == ["1" * 40] * 2
    assert json.loads((tmp_path/"hf"/"unsaf_revisions.json").read_text()) == {"lmms-lab/MME": "1" * 40}

@pytest.mark.promise("offline")
def test_without_a_network_the_cache_says_the_commit_or_nothing_does(tmp_path, monkeypatch):
    class Api:
        def dataset_info(self, hub): raise ConnectionError("no route to host\nreally")
    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    with pytest.raises(UnsafError) as e: benchmark("mme")
    assert "neither cached nor in reach" in one_line(e) and "$UNSAF_DATA" in str(e.value) and "folder=" in str(e.value)
    assert not (tmp_path/"hf"/"unsaf_revisions.json").exists()
    written(tmp_path/"hf"/"hub"/"datasets--lmms-lab--MME"/"refs"/"main", "3" * 40 + "\n")
    assert sources.revision_of(choices.MME) == "3" * 40

def snapshot(cache: Path, commit: str, rows: int = 2, ref: bool = True, shards: int = 1) -> Path:
    "MME in the layout of the Hub's cache: `refs/main`, and a snapshot whose files are links into `blobs`."
    home = cache/"datasets--lmms-lab--MME"
    made = as_hub(cache.parent/f"made {commit[:4]}", {"question_id": [f"color/{i}.png" for i in range(rows)], "question": ["Is it red?"] * rows,
                  "answer": ["Yes"] * rows, "category": ["color"] * rows, "image": [photo(cache.parent/"a.png", "red")] * rows}, "test")
    (home/"blobs").mkdir(parents=True, exist_ok=True)
    (home/"snapshots"/commit/"data").mkdir(parents=True)
    (made/"data"/"test-00000-of-00001.parquet").rename(home/"blobs"/commit)
    (home/"snapshots"/commit/"data"/f"test-00000-of-{shards:05}.parquet").symlink_to(f"../../../blobs/{commit}")
    if ref: written(home/"refs"/"main", commit)
    return home/"snapshots"/commit

def files_in(folder: Path) -> set[str]: return {str(p.relative_to(folder)) for p in folder.rglob("*")}

@pytest.mark.promise("offline")
@pytest.mark.parametrize("ref", [True, False])
def test_offline_a_cached_snapshot_is_read_and_nothing_is_written_beside_it(tmp_path, monkeypatch, ref):
    hub = tmp_path/"hf"/"hub"
    snapshot(hub, "a" * 40, ref=ref)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: pytest.fail("asked the Hub"))
    before = files_in(tmp_path/"hf")
    assert {r["name"]: r["here"] for r in available()}["mme"] == "Hub cache"
    found = benchmark("mme", cache=tmp_path/"own")
    assert len(found) == 2 and found[0].source == f"mme:test@lmms-lab/MME@{'a' * 12}" and looks(found[0]) == "#ff0000" and found[0].answers == ("yes",)
    assert files_in(tmp_path/"hf") == before and not (tmp_path/"own"/"unsaf_revisions.json").exists()
    monkeypatch.setenv("UNSAF_CACHE", str(tmp_path/"by name"))
    assert len(benchmark("mme")) == 2 and files_in(tmp_path/"hf") == before and (tmp_path/"by name"/"datasets").is_dir()

def test_a_cache_that_can_only_be_read_is_enough(tmp_path, monkeypatch):
    "Tables go to a folder of our own where `datasets` has none that can be written to; without any, a line says what to name."
    snapshot(tmp_path/"hf"/"hub", "a" * 40)
    (tmp_path/"file").touch()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path/"file"/"datasets")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path/"cache"))
    assert len(benchmark("mme")) == 2 and (tmp_path/"cache"/"unsaf"/"datasets").is_dir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path/"file"))
    with pytest.raises(UnsafError, match="UNSAF_CACHE") as e: benchmark("mme")
    one_line(e)

def test_half_a_snapshot_is_none_and_another_commit_is_said(tmp_path, monkeypatch):
    hub = tmp_path/"hf"/"hub"
    snapshot(hub, "b" * 40, shards=3)
    with pytest.raises(UnsafError, match="cannot be loaded"): benchmark("mme")           # one file of three
    whole = snapshot(hub, "c" * 40, ref=False)
    with pytest.warns(UserWarning, match="commit bbbbbbbbbbbb cannot be had, cccccccccccc is in the cache"): found = benchmark("mme")
    assert len(found) == 2 and "cccccccccccc" in found[0].source
    next(whole.rglob("*.parquet")).unlink()
    (whole/"data"/"test-00000-of-00001.parquet").symlink_to("../../../blobs/gone")
    with pytest.raises(UnsafError, match="cannot be loaded"): benchmark("mme")

def test_a_note_that_cannot_be_written_costs_nothing_and_a_place_can_be_chosen(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_asked", lambda hub: "d" * 40)
    (tmp_path/"file").touch()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path/"file"/"hub"))
    with pytest.warns(UserWarning, match="UNSAF_CACHE"): assert sources.revision_of(choices.MME) == "d" * 40
    assert sources.revision_of(choices.MME, tmp_path/"own") == "d" * 40
    assert json.loads((tmp_path/"own"/"unsaf_revisions.json").read_text()) == {"lmms-lab/MME": "d" * 40}
    with pytest.raises(UnsafError): sources.revision_of(choices.MME, tmp_path/"file")     # named by the user, so it must work
    for wrong in ("{", "[]", "[" * 100_000):
        written(tmp_path/"own"/"unsaf_revisions.json", wrong)
        with pytest.raises(UnsafError) as e: sources.revision_of(choices.MME, tmp_path/"own")
        assert "unsaf_revisions.json" in one_line(e)

def test_parts_are_joined(tmp_path, hub, monkeypatch):
    asked, tables = hub
    monkeypatch.setattr(sources, "_asked", lambda hub: "4" * 40)
    rows = mmmu_rows(photo(tmp_path/"a.png", "red"), photo(tmp_path/"b.png", "blue"), "X")
    one = datasets.Dataset.from_dict(rows)
    for c in choices.MMMU.image: one = one.cast_column(c, datasets.Image())
    tables["validation"] = one
    assert len(benchmark("mmmu")) == 3 * 30 and [a[1] for a in asked] == list(choices.SUBJECTS) and len(choices.SUBJECTS) == 30
    shot = photo(tmp_path/"c.png", "red")
    for s in coco_imagenet.STRATEGIES:
        tables[s] = pixels_table({"question_id": ["1"], "question": ["?"], "answer": ["yes"], "category": [s], "image_source": ["x"]}, shot)
    tables.pop("Full", None)
    assert [s.info["strategy"] for s in benchmark("pope")] == list(coco_imagenet.STRATEGIES)

def test_what_the_hub_refuses_is_told_in_one_line(monkeypatch):
    monkeypatch.setattr(sources, "_asked", lambda hub: "5" * 40)
    def load(*_, **__): raise datasets.exceptions.DatasetNotFoundError("Dataset is a gated dataset on the Hub.\nAsk for access.")
    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(UnsafError) as e: benchmark("imagenet", None)
    assert "gated" in one_line(e) and "ILSVRC/imagenet-1k" in str(e.value)

def test_streaming_keeps_what_the_seed_would_have_chosen(tmp_path, monkeypatch):
    rows = vqa_rows(60)
    original = vqa_original(tmp_path/"files", rows, "v2_")
    local = str(vqa_hub(tmp_path/"hub", rows, original))
    monkeypatch.setattr(open_ended, "VQAV2", sources.replace(open_ended.VQAV2, hub=local))
    for options in (dict(n=7, seed=5), dict(n=7, seed=None), dict(n=4, unique_images=True), dict(n=1000)):
        whole = benchmark("vqav2", stream=False, **options)
        drawn = benchmark("vqav2", **options)                                   # a large data set that is not cached is streamed
        assert [plain(s) for s in drawn] == [plain(s) for s in whole] and drawn.image_ids == whole.image_ids
        assert len(drawn.ids) == len(drawn) and len(whole.ids) == 60            # only the drawn rows were kept
        assert [looks(s) for s in drawn[:3]] == [looks(s) for s in whole[:3]]
    with pytest.raises(UnsafError, match="streaming needs n"): benchmark("vqav2", None, stream=True)

def test_streaming_without_a_key(tmp_path, monkeypatch):
    shots = [photo(tmp_path/f"{i}.png", c) for i, c in enumerate(COLORS)]
    local = as_hub(tmp_path/"hub", {"image": shots, "label": list(range(6))}, "validation")
    monkeypatch.setattr(coco_imagenet, "IMAGENET", sources.replace(coco_imagenet.IMAGENET, hub=str(local)))
    whole, drawn = benchmark("imagenet", 3, stream=False), benchmark("imagenet", 3, stream=True)
    assert [(s.image_id, s.info, looks(s)) for s in drawn] == [(s.image_id, s.info, looks(s)) for s in whole]


# --- schemas, seeds, pictures ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", [c.name for c in BENCHMARKS.values() if c.hub and c.columns and c.name != "mm-upd"])
def test_a_changed_schema_names_the_missing_column_and_those_found(tmp_path, name):
    card = BENCHMARKS[name]
    config = {"pope": "Full", "mmmu": "Math"}.get(name, card.config or "data")
    split = {"pope": "random", "coco": "test"}.get(name, card.split)
    text = {c: ["x"] for c in card.columns if c not in card.image}
    options = {"subjects": ("Math",)} if name == "mmmu" else {"split": "random"} if name == "pope" else {}
    for i, lost in enumerate(c for c in card.columns if c not in card.image):
        rows = {("new_" + c if c == lost else c): v for c, v in text.items()} | {c: [photo(tmp_path/"a.png", "red")] for c in card.image}
        with pytest.raises(UnsafError) as e:                                          # the first by its file, the others by their table
            if i: sources.table_of(datasets.Dataset.from_dict(rows), card, name)
            else: benchmark(name, folder=as_hub(tmp_path/lost, rows, split, config, card.image), **options)
        assert f"no column {lost!r}, but " in one_line(e) and f"new_{lost}" in str(e.value)

def test_a_column_of_another_kind_is_told_with_its_row(tmp_path):
    hub = as_hub(tmp_path, {"question_id": ["1"], "question": ["?"], "answers": [5], "image": [photo(tmp_path/"a.png", "red")]}, "val2014")
    found = benchmark("ok-vqa", folder=hub)
    with pytest.raises(UnsafError) as e: found[0]
    assert "row 0 is not of the known schema" in one_line(e)
    words = datasets.Dataset.from_dict({"question_id": ["1"], "question": ["?"], "answers": [["x"]], "image": [5]})
    words.save_to_disk(tmp_path/"words")
    with pytest.raises(UnsafError) as e: benchmark("ok-vqa", folder=tmp_path/"words")
    assert "'image' holds no images" in one_line(e)

def test_the_same_seed_draws_the_same_questions_from_either_source(tmp_path):
    rows = vqa_rows(50)
    original = vqa_original(tmp_path/"files", rows, "v2_")
    shuffled = random.Random(3).sample(rows, 50)
    hub = vqa_hub(tmp_path/"hub", shuffled, original)
    def ids(folder, seed): return {s.info["question_id"] for s in benchmark("vqav2", 12, seed, folder=folder)}
    assert ids(original, 0) == ids(hub, 0) and ids(original, 0) != ids(original, 1) and len(ids(hub, 2)) == 12
    assert len(benchmark("vqav2", folder=original)) == 50                         # min(4000, available)
    order = [s.info["question_id"] for s in benchmark("vqav2", 12, folder=original)]
    assert order == [q for q in (r["question_id"] for r in rows) if q in order]   # in the source's order
    for n in (0, -1, 2.5, True, "ten"):
        with pytest.raises(UnsafError, match="give a whole number"): benchmark("vqav2", n, folder=original)

def test_unique_images_keeps_the_first_question_of_each(tmp_path):
    original = vqa_original(tmp_path, vqa_rows(50), "v2_")
    found = benchmark("vqav2", folder=original, unique_images=True)
    assert len(found) == len(set(found.image_ids)) == 25 and {s.info["question_id"] % 1000 for s in found} == {0}
    assert len(benchmark("vqav2", 10, folder=original, unique_images=True)) == 10

def test_broken_pictures_are_typed_and_the_rest_goes_on(tmp_path):
    rows = vqa_rows(6)
    original = vqa_original(tmp_path/"files", rows, "v2_")
    (original/"val2014"/"COCO_val2014_000000000101.jpg").write_bytes(b"<html>404</html>")
    (original/"val2014"/"COCO_val2014_000000000102.jpg").unlink()
    found = benchmark("vqav2", folder=original)
    problems = found.problems()
    assert problems.keys() == {"101", "102"} and "no image in a known format" in problems["101"] and "no such file" in problems["102"]
    assert looks(found[0]) == looks(found[1])
    whole = (original/"val2014"/"COCO_val2014_000000000100.jpg").read_bytes()
    table = datasets.Dataset.from_dict({"question_id": ["1", "2"], "question": ["?"] * 2, "answers": [["x"]] * 2,
                                        "image": [{"bytes": b"nonsense", "path": None}, {"bytes": whole, "path": None}]})
    table.cast_column("image", datasets.Image()).save_to_disk(tmp_path/"saved")
    found = benchmark("ok-vqa", folder=tmp_path/"saved")
    with pytest.raises(ImageError): found[0].picture.pixels()
    assert found[1].picture.pixels().size == (16, 12)

def test_archives_and_base64_that_are_broken(tmp_path):
    with zipfile.ZipFile(tmp_path/"val.zip", "w") as z: z.writestr("val/a.png", b"")
    reader = files.pictures_in(tmp_path, "val")
    for name, reason in (("a.png", "empty"), ("b.png", "no such file in the archive")):
        with pytest.raises(ImageError, match=reason): reader(name)()
    (tmp_path/"open").mkdir()
    for name in ("../secret.png", "/etc/secret.png", "a/../../secret.png"):
        with pytest.raises(UnsafError, match="leads out of"): files.pictures_in(tmp_path, "open")(name)
    (tmp_path/"test.zip").write_bytes(b"PK no archive")
    with pytest.raises(UnsafError, match="no zip file"): files.pictures_in(tmp_path, "test")("a.png")
    with pytest.raises(ImageError, match="row 7: no base64"): files.FromBase64("a\nb$", "row 7")()
    with pytest.raises(ImageError): files.FromBase64("", "row 7")()
    with pytest.raises(UnsafError, match="no images"): files.pictures_in(tmp_path, "train", "images/train")
    with pytest.raises(UnsafError, match="no such|cannot be read"): files.read_json(tmp_path/"none.json")
    (tmp_path/"latin.json").write_bytes("{\"a\": \"é\"}".encode("latin-1"))
    with pytest.raises(UnsafError, match="not UTF-8"): files.read_json(tmp_path/"latin.json")
    with pytest.raises(UnsafError, match="no column 'x', but none at all"): files.read_json(written(tmp_path/"list.json", [1]), "x")

def test_sets_and_pictures_travel_to_other_processes(tmp_path):
    original = vqa_original(tmp_path/"files", vqa_rows(4), "v2_", zipped=True)
    shot = photo(tmp_path/"a.png", "red")
    hub = as_hub(tmp_path/"hub", mmmu_rows(shot, shot, "Math"), "validation", "Math", choices.MMMU.image)
    for found in (benchmark("vqav2", folder=original), benchmark("mmmu", folder=hub, subjects=("Math",)), benchmark("easy-vqa", 5), easy_polls("popular", n=5)):
        again = pickle.loads(pickle.dumps(found))
        assert [plain(s) for s in again] == [plain(s) for s in found] and again[0].picture.digest == found[0].picture.digest
        assert pickle.loads(pickle.dumps(found[0].picture.read))().size == found[0].picture.pixels().size

def test_folders(tmp_path, monkeypatch):
    rows = vqa_rows(4)
    vqa_original(tmp_path/"home"/"vqav2", rows, "v2_")
    with pytest.raises(UnsafError, match="does not exist"): benchmark("vqav2", folder=tmp_path/"nowhere")
    monkeypatch.setenv("UNSAF_DATA", str(tmp_path/"home"))
    assert len(benchmark("vqav2")) == 4
    at = {r["name"]: r for r in available()}
    assert at["vqav2"]["here"] == str(tmp_path/"home"/"vqav2") and at["mme"]["here"] == "" and at["easy-vqa"]["here"] == "package"
    written(tmp_path/"hf"/"hub"/"datasets--lmms-lab--MME"/"snapshots"/"1"/"data"/"test-0.parquet", "x")
    written(tmp_path/"hf"/"hub"/"datasets--lmms-lab--OK-VQA"/"snapshots"/"1"/"README.md", "x")
    at = {r["name"]: r for r in available()}
    assert at["mme"]["here"] == "Hub cache" and at["ok-vqa"]["here"] == ""
    json.dumps(available())

def test_coco_pictures_are_shared_through_the_home_folder(tmp_path, monkeypatch):
    rows = vqa_rows(2)
    vqa_original(tmp_path/"home"/"vqav2", rows, "v2_")
    (tmp_path/"home"/"coco").mkdir()
    (tmp_path/"home"/"vqav2"/"val2014").rename(tmp_path/"home"/"coco"/"val2014")
    monkeypatch.setenv("UNSAF_DATA", str(tmp_path/"home"))
    shared, named = benchmark("vqav2")[0], benchmark("vqav2", images=tmp_path/"home"/"coco"/"val2014")[0]
    straight = Image.open(tmp_path/"home"/"coco"/"val2014"/"COCO_val2014_000000000100.jpg")
    assert shared.picture.pixels().tobytes() == named.picture.pixels().tobytes() == straight.tobytes()

def test_images_without_original_files_are_no_option(tmp_path):
    hub = as_hub(tmp_path, {"question_id": ["1"], "question": ["?"], "answers": [["x"]], "image": [photo(tmp_path/"a.png", "red")]}, "val2014")
    with pytest.raises(UnsafError, match="images="): benchmark("ok-vqa", folder=hub, images=tmp_path)


# --- the table, the door, easy-VQA ---------------------------------------------------------------------------------------------

def test_every_card_says_where_it_was_read():
    assert set(BENCHMARKS) == {"coco", "imagenet", "mmbench", "vizwiz", "vqav2", "ok-vqa", "textvqa", "conbench", "mme", "mmmu", "scienceqa", "pope", "chair",
                               "mm-upd", "unk-vqa", "easy-vqa"}
    for name, card in BENCHMARKS.items():
        assert card.name == name and card.read and card.split in card.sizes and all(n is None or n > 0 for n in card.sizes.values())
        assert card.revision is None or (len(card.revision) == 40 and int(card.revision, 16))
        assert card.hub is None or card.columns

# --- odd files -----------------------------------------------------------------------------------------------------------------

LINE = json.dumps(pope_lines()[0])

def pope_of(tmp_path: Path, content: "bytes | str"):
    path = tmp_path/"coco_pope_random.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return benchmark("pope:random", folder=tmp_path, images=tmp_path)

@pytest.mark.parametrize("content", [LINE, f"{LINE}\r\n{LINE}\r\n", f"\ufeff{LINE}\n\n", f"[{LINE}, {LINE}]", LINE.replace(", ", ",\r ", 1)])
def test_pope_files_that_are_fine(tmp_path, content):
    assert {s.question for s in pope_of(tmp_path, content)} == {"Is there a dog in the image?"}

@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\\ud83d"])
def test_a_line_ends_at_a_line_feed_only(tmp_path, mark):
    content = LINE.replace("a dog", f"a{mark}dog")
    found, _ = pope_of(tmp_path, f"{content}{mark if len(mark) == 1 else ''}\n{content}")
    assert found.question == f"Is there a{mark if len(mark) == 1 else chr(0xfffd)}dog in the image?"
    found.question.encode()

@pytest.mark.parametrize("content, words", [
    ("7", ["line 1 is a number"]), ("null", ["line 1 is null"]), ("", ["is empty"]), (" \n\n", ["is empty"]), ("[]", ["no rows"]),
    ("[1]", ["item 0 is a number"]),
    ("{}", ["line 1 has no column"]), ('"x"', ["line 1 is a text"]), (f"{LINE}\n\n{{", ["line 3", "no JSON"]), ("[" * 100_000, ["no JSON"]),
    (f"{LINE}\n" + "[" * 100_000, ["line 2", "no JSON"]), (LINE.encode("utf-16"), ["not UTF-8"]), (b"\xff\xfe", ["not UTF-8"]),
    (f'{LINE}\n{{"text": "x"}}', ["line 2"]),
    (LINE.replace('"yes"', '"maybe"'), ["line 1", "'maybe'", "neither yes nor no"]), (LINE.replace('"yes"', "null"), ["line 1", "'label' is null"]),
    (LINE.replace('"Is there a dog in the image?"', "7"), ["line 1", "'text' is a number"]), (LINE.replace("1,", "[1],", 1), ["line 1", "an id is a list"]),
    (LINE[:40] + "\n  " + LINE[40:], ["line 1", "no JSON"]), ("1" * 5000, ["line 1"]),
])
def test_pope_files_that_are_none(tmp_path, content, words):
    with pytest.raises(UnsafError) as e: pope_of(tmp_path, content)
    assert "coco_pope_random.json" in str(e.value) or words == ["no rows"]
    for word in words: assert word in one_line(e)

def test_a_folder_in_the_place_of_a_file(tmp_path):
    (tmp_path/"coco_pope_random.json").mkdir()
    with pytest.raises(UnsafError, match="coco_pope_random.json cannot be read: Is a directory"): benchmark("pope:random", folder=tmp_path, images=tmp_path)
    (tmp_path/"MMBench_DEV_EN.tsv").mkdir()
    with pytest.raises(UnsafError, match="MMBench_DEV_EN.tsv is no tab-separated table: Is a directory"): benchmark("mmbench", folder=tmp_path)

@pytest.mark.parametrize("form", [str, lambda i: f"{i:012d}", float, lambda i: f"COCO_val2014_{i:012d}", lambda i: f"COCO_val2014_{i:012d}.jpg"])
def test_coco_ids_are_the_same_as_text_or_number(tmp_path, form):
    root = coco_original(tmp_path, "val2014", prefix="COCO_val2014_")
    plain_ones = [s.info for s in benchmark("chair", folder=root)]
    for name, part in (("instances", "annotations"), ("captions", "annotations"), ("instances", "images")):
        path = root/"annotations"/f"{name}_val2014.json"
        content = json.loads(path.read_text())
        for a in content[part]: a["id" if part == "images" else "image_id"] = form(a["id" if part == "images" else "image_id"])
        for a in content.get("categories", ()): a["id"] = str(a["id"])
        path.write_text(json.dumps(content))
        assert [s.info for s in benchmark("chair", folder=root)] == plain_ones
    rows = [r | {"question_id": form(r["question_id"]), "image_id": form(r["image_id"])} for r in vqa_rows(4)] if form in (str, float) else []
    if rows:
        vqa_original(tmp_path/"vqa", vqa_rows(4), "v2_")
        same = [plain(s) for s in benchmark("vqav2", folder=tmp_path/"vqa")]
        written(tmp_path/"vqa"/"v2_mscoco_val2014_annotations.json", {"annotations": [{k: v for k, v in r.items() if k != "question"} for r in rows]})
        assert [plain(s) for s in benchmark("vqav2", folder=tmp_path/"vqa")] == same

def test_options_that_look_like_nothing_and_gaps(tmp_path):
    cells = [("None", "NA", "null", "NaN", "D"), ("N/A", "n/a", "#N/A", "<NA>", "A"), ("red", "blue", "", "green", "D"), ("red", "blue", "", "green", "C"),
             ("red", "nan", " ", "", "A"), ("", "", "", "", "A"), ("red", "blue", "", "", "E")]
    rows = [MM | dict(zip("ABCD", four)) | {"index": i, "answer": a, "image": coded("red")} for i, (*four, a) in enumerate(cells, 1)]
    pd.DataFrame(rows).to_csv(tmp_path/"MMBench_DEV_EN.tsv", sep="\t", index=False)
    for end in ("\n", "\r\n"):
        path = tmp_path/"MMBench_DEV_EN.tsv"
        path.write_bytes(path.read_bytes().replace(b"\n", end.encode()))
        found = benchmark("mmbench", folder=tmp_path)
        assert [s.options for s in found] == [("None", "NA", "null", "NaN"), ("N/A", "n/a", "#N/A", "<NA>"), ("red", "blue", "", "green"), ("red",)]
        assert [s.answers for s in found] == [("D",), ("A",), ("D",), ("A",)] and found.skipped == {"its answer is none of its options": 2, "no options": 1}

def test_rows_that_cannot_be_asked_are_counted(tmp_path):
    row = dict(question="Which?", choices=["a", "b"], answer=0, hint="", task="t", grade="g", subject="s", topic="t", image="image.png", split="test")
    odd = [row, row | {"answer": 2}, row | {"choices": ["a", ""]}, row | {"choices": None}, row | {"question": None}, row | {"image": None},
           row | {"answer": "A"}]
    written(tmp_path/"problems.json", {str(i): r for i, r in enumerate(odd)})
    photo(tmp_path/"images"/"test"/"0"/"image.png", "red")
    found = benchmark("scienceqa", folder=tmp_path)
    assert len(found) == 1 and found.skipped == {"its answer is none of its options": 2, "an option is missing": 2, "no question": 1, "no picture": 1}
    shot = photo(tmp_path/"a.png", "red")
    rows = mmmu_rows(shot, shot, "Math") | {"options": ["['a', ", "[]", "['x', 'y']", "['x', 'y']"], "answer": ["A", "2", "A", "Z"]}
    found = benchmark("mmmu", folder=as_hub(tmp_path/"hub", rows, "validation", "Math", choices.MMMU.image), subjects=("Math",))
    assert len(found) == 1 and found.skipped == {"its options cannot be read": 1, "more than one picture": 1, "its answer is none of its options": 1}

@pytest.mark.parametrize("name, file, content, words", [
    ("vqav2", "v2_OpenEnded_mscoco_val2014_questions.json", {"questions": 7}, "holds a number, not a list"),
    ("vqav2", "v2_OpenEnded_mscoco_val2014_questions.json", {"questions": [{"question_id": 1, "image_id": 1, "question": None}]},
     "item 0: its 'question' is null"),
    ("vqav2", "v2_OpenEnded_mscoco_val2014_questions.json", {"questions": [{"question_id": 1, "image_id": "cat", "question": "?"}]}, "'cat' is no id"),
    ("vizwiz", "Annotations/val.json", {"image": 1}, "holds an object, not a list"), ("vizwiz", "Annotations/val.json", [None], "item 0 is null"),
    ("vizwiz", "Annotations/val.json", [{"image": "a.jpg", "question": "?", "answers": "yes", "answerable": 1}], "'answers' is a text, not a list"),
    ("vizwiz", "Annotations/val.json", [{"image": "a.jpg", "question": "?", "answers": [{"answer": 3}], "answerable": 1}], "'answer' is a number"),
    ("textvqa", "TextVQA_0.5.1_val.json", {"data": [[]]}, "item 0 is a list"), ("unk-vqa", "annt_val.json", {"annotation": [
        {"question_id": 1, "question": "?", "image_name": "a.jpg", "answerability": 1}]}, "its answerability is a number"),
    ("scienceqa", "problems.json", [], "holds a list"), ("scienceqa", "problems.json", {"1": 5}, "problem 1 of"),
    ("conbench", "color/output_w_caption_color.json", [{"image": 5, "question": "?", "question_field": "x", "answer": "y"}], "'image' is a number"),
    ("mmbench", "MMBench_DEV_EN.tsv", "", "no tab-separated table"), ("mmbench", "MMBench_DEV_EN.tsv", "a\tb\n1\t2\t3\n", "more cells than its header"),
    ("mmbench", "MMBench_DEV_EN.tsv", 'a\tb\n"1\t2\n', "no tab-separated table"), ("mme", "color/1.txt", "a\tYes", "two lines"),
])
def test_odd_rows_are_told_with_file_and_place(tmp_path, name, file, content, words):
    written(tmp_path/file, content)
    for folder in ("val", "val2014", "train_images", "images-val", "images/test"): (tmp_path/folder).mkdir(parents=True)
    photo(tmp_path/"color"/"1.jpg", "red")
    with pytest.raises(UnsafError, match=words) as e: benchmark(name, folder=tmp_path)
    assert Path(file).name in one_line(e)

def test_archives_that_are_odd(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MEMBER", 5000)
    with zipfile.ZipFile(tmp_path/"val.zip", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("val/bomb.png", b"\0" * (files.MEMBER + 1), compresslevel=1)
        z.writestr("val/fine.png", b"x")
    reader = files.pictures_in(tmp_path, "val")
    with pytest.raises(ImageError, match="decompression bomb"): reader("bomb.png")()
    content = bytearray((tmp_path/"val.zip").read_bytes())
    place = content.rfind(b"PK\1\2")
    content[place + 8] |= 1                                       # the flag of a file with a password
    (tmp_path/"locked.zip").write_bytes(content)
    with pytest.raises(ImageError, match="encrypted|password"): files.pictures_in(tmp_path, "locked")("fine.png")()
    with pytest.raises(ImageError, match="no base64"): files.FromBase64("ü", "row 1")()

def test_wrong_names_splits_and_options():
    for wrong, text in ((lambda: benchmark("vqa"), "no benchmark is called"), (lambda: benchmark("."), "are for unsaf assess"),
                        (lambda: benchmark("mme", split="val"), "no split 'val'"),
                        (lambda: benchmark("mme:val"), "no split 'val'"), (lambda: benchmark("mme", passes=True), "no option 'passes'"),
                        (lambda: easy_polls("rare"), "no polls 'rare'")):
        with pytest.raises(UnsafError) as e: wrong()
        assert text in one_line(e)

def test_easy_vqa_against_its_own_files():
    import easy_vqa
    questions, answers, images = easy_vqa.get_test_questions()
    found = benchmark("easy-vqa", None)
    ours = Counter((s.image_id, s.question, s.answers[0]) for s in found)
    assert ours == Counter((f"test/{i}", q, a) for q, a, i in zip(questions, answers, images))
    kinds = Counter(s.info["kind"] for s in found)
    assert kinds["yes/no"] == 7136 and kinds.total() == 9673 == BENCHMARKS["easy-vqa"].sizes["test"]     # as its README counts them

@pytest.fixture(scope="module")
def polls(): return easy_polls(seed=3)

def test_easy_polls_tell_the_truth_about_the_pixels(polls):
    "The color that the answers imply is the color that is seen: every color word has a hue of its own."
    polls = [s for s in polls if s.answers == ("yes",) and s.info["strategy"] == "random"]
    seen = {}
    for s in polls[::9]:
        counts = Counter(s.picture.pixels().getdata()).most_common()
        background, shape = counts[0][0], counts[1][0]
        if counts[0][1] < 2000: background, shape = shape, background              # a shape that fills most of the picture
        seen.setdefault(s.info["thing"].split()[0], []).append(shape)
    assert set(seen) == {"teal", "brown", "black", "gray", "blue", "yellow", "red", "green"}
    centers = {c: tuple(sorted(p[k] for p in ps)[len(ps) // 2] for k in range(3)) for c, ps in seen.items()}
    near = lambda p: min(centers, key=lambda c: sum((a - b) ** 2 for a, b in zip(p, centers[c])))
    right = [near(p) == c for c, ps in seen.items() for p in ps]
    assert sum(right) / len(right) > .97

def test_easy_polls_by_their_rules(polls):
    by = {}
    for s in polls: by.setdefault((s.info["strategy"], s.image_id), {})[s.answers[0]] = s
    things = Counter(p["yes"].info["thing"] for (strategy, _), p in by.items() if strategy == "random")
    top = sorted(things, key=lambda t: (-things[t], t.split()))
    for (strategy, _), pair in by.items():
        there, other = pair["yes"].info["thing"], pair["no"].info["thing"]
        assert there != other and pair["no"].question == pope_question(other)
        if strategy == "popular": assert other == next(t for t in top if t != there)
        if strategy == "adversarial":
            alike = [t for t in top if t != there and set(t.split()) & set(there.split())]
            assert other == alike[0] and len(alike) == 9
    assert len({p["no"].info["thing"] for (s, _), p in by.items() if s == "random"}) == 24
    assert [s.info for s in polls if s.info["strategy"] == "random"] != [s.info for s in easy_polls("random", seed=4)]
    assert len(easy_polls("popular", n=10)) == 10

def test_pictures_alone_have_no_questions():
    alone = pictures("easy-vqa", n=20, seed=2)
    assert len(set(alone.image_ids)) == 20 and all(s.question == "" and s.answers == () for s in alone)


@pytest.mark.parametrize("name, package", [("coco", "datasets"), ("vqav2", "datasets"), ("mm-upd", "huggingface_hub")])
def test_without_the_library_of_data_sets_there_is_one_line(name, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UnsafError, match=f"needs the package {package}: pip install"): pictures(name, 2, 0)
