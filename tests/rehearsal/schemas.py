"Writers of files in the schemas of the data sets' authors and of the Hub's copies, with the caller's content."
import base64, io, json
from pathlib import Path
from PIL import Image

SIDE = (16, 12)


def as_image(what):
    "An image, or one of a color."
    return what if isinstance(what, Image.Image) else Image.new("RGB", SIDE, what)


def photo(path, what):
    "Save an image, or one of a color; its path as text."
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = isinstance(what, Image.Image) and path.suffix.lower() in (".jpg", ".jpeg")
    as_image(what).save(path, **(dict(quality=95, subsampling=0) if drawn else {}))     # small shapes keep their colors
    return str(path)


def written(path, content):
    "Text, or anything else as JSON."
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def encoded(what):
    "The bytes of an image file."
    as_image(what).save(out := io.BytesIO(), "PNG")
    return out.getvalue()


def coded(what): return base64.b64encode(encoded(what)).decode()


def tsv(path, rows):
    import pandas as pd
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(path, sep="\t", index=False)
    return path


def as_hub(folder, rows, split, config="data", images=("image",)):
    "A folder in the layout of a Hub repository; `rows`: its columns."
    import datasets
    (folder/config).mkdir(parents=True, exist_ok=True)
    table = datasets.Dataset.from_dict(rows)
    for c in images: table = table.cast_column(c, datasets.Image())
    table.to_parquet(folder/config/f"{split}-00000-of-00001.parquet")
    return folder


def coco_files(root, split, photos, categories, boxes, captions):
    """COCO's official files. `photos`: images by id and file name; `categories`: names by id; `boxes`: (image,
    category); `captions`: (image, text)."""
    for (_, name), what in photos.items(): photo(root/split/name, what)
    listed = [{"id": i, "file_name": name, "width": 16, "height": 12, "license": 1} for i, name in photos]
    kinds = [{"id": c, "name": name, "supercategory": name} for c, name in categories.items()]
    drawn = [{"id": k, "image_id": i, "category_id": c, "iscrowd": 0} for k, (i, c) in enumerate(boxes)]
    told = [{"id": k, "image_id": i, "caption": text} for k, (i, text) in enumerate(captions)]
    written(root/"annotations"/f"instances_{split}.json", {"images": listed, "annotations": drawn, "categories": kinds})
    written(root/"annotations"/f"captions_{split}.json", {"images": listed, "annotations": told})
    return root


def coco_name(part, i): return f"COCO_{part}_{i:012d}.jpg"


def vqa_files(root, rows, version, part):
    "Questions and annotations of VQA, whose images stand in COCO's folder."
    questions = [{k: r[k] for k in ("image_id", "question_id", "question")} for r in rows]
    annotations = [{k: v for k, v in r.items() if k != "question"} for r in rows]
    more = {"info": {}, "license": {}}
    written(root/f"{version}OpenEnded_mscoco_{part}_questions.json", {"questions": questions, **more})
    written(root/f"{version}mscoco_{part}_annotations.json", {"annotations": annotations[::-1], **more})
    return root


def vqa_row(image_id, number, question, answers, kind="other"):
    "A question of VQA about a COCO image, the `number`-th of it, with its answers."
    said = [{"answer": a, "answer_confidence": "yes", "answer_id": i} for i, a in enumerate(answers, 1)]
    return {"question_type": "what color is", "multiple_choice_answer": answers[0], "answers": said,
            "answer_type": kind, "image_id": image_id, "question_id": image_id * 1000 + number, "question": question}


MMBENCH = {"hint": "", "category": "color", "source": "x", "l2-category": "y", "comment": "", "split": "dev",
           "question": "What?", "C": "", "D": ""}


def mmmu_columns(rows):
    "Columns of MMMU's table; `rows`: id, question, options, answer, type, images."
    named = {"id": 0, "question": 1, "options": 2, "answer": 3, "question_type": 4}
    table = {name: [r[k] for r in rows] for name, k in named.items()}
    same = {"explanation": "", "img_type": "['Diagrams']", "topic_difficulty": "Easy", "subfield": "f"}
    table |= {name: [value] * len(rows) for name, value in same.items()}
    return table | {f"image_{i}": [(*r[5], *[None] * 7)[i - 1] for r in rows] for i in range(1, 8)}


def scienceqa_row(question, choices, answer, **more):
    "A problem of ScienceQA."
    about = dict(grade="grade2", subject="social science", topic="geography", category="Geography")
    return dict(question=question, choices=list(choices), answer=answer, hint="", skill="s", lecture="", solution="",
                task="closed choice", **about) | more


def unk_row(number, question, image_name, answer, way="T-1"):
    "An item of UNK-VQA; without an answer it is unanswerable, declined by code 1 for reason 3."
    other = {"answer": answer, "options": {}} if answer else {"answer": "1", "reason": "3"}
    return {"question_id": number, "question": question, "image_name": image_name, "alter_type": way,
            "misc": {"answer_origin": "x"}, "answerability": {"binary": bool(answer), "other": other}}


UNK_MAPS = {"answer_map": {"1": "I don't know"}, "reason_map": {"3": "The image lacks it"},
            "alter_type_map": {"T-1": "word replacement", "T-2": "semantic negation"}}


def upd_entry(image, asked, reply, **more):
    "A conversation of MM-UPD's set for instruction tuning, in LLaVA's format."
    said = [{"from": "human", "value": asked}, {"from": "gpt", "value": reply}]
    return {"image": image, "conversations": said, **more}
