"""Every data set of the paper's profile as a small folder in its true schema: images of the drawn world, questions and
answers of its truth. `write_all(root)` fills what `UNSAF_DATA` is to name.

The drawn world and COCO share two names: a circle passes for a sports ball, and what is orange is called an orange. So
POPE's polls and CHAIR's annotations are about COCO's own categories; that a stand-in's descriptions say `ball` is its
checkpoint's doing (`checkpoints.call_circles_balls`)."""
import json, random, string
from importlib.resources import files
from pathlib import Path
from unsaf.data.choices import KINDS, MMMU, SUBJECTS
from unsaf.metrics.suites import COGNITION, PERCEPTION
from unsaf.world import tasks
from .schemas import (
    MMBENCH, UNK_MAPS, as_hub, coco_files, coco_name, coded, encoded, mmmu_columns, photo, scienceqa_row, tsv, unk_row,
    upd_entry, vqa_files, vqa_row, written)

# a series of scenes for each pool of images, so that no two pools share one
SERIES = {name: 7100 + i for i, name in enumerate((
    "test2017", "train2014", "vqav2", "ok-vqa", "imagenet", "mmbench", "vizwiz", "textvqa", "conbench", "mme", "mmmu",
    "scienceqa", "unk-vqa", "mm-upd", "upd-tuning"))}
HELD_OUT = 1000          # images of COCO's test set that the profile keeps from training
TRAIN = 4                # times as many images to train on as to test on: seeds choose among them
LETTERS = string.ascii_uppercase


def pixels(sample): return sample.picture.pixels()


def lettered(sample, style="{}. {}"):
    "Options in the text of a question."
    return "\n".join(style.format(x, o) for x, o in zip(LETTERS, sample.options))


# --- COCO, and what asks about its images ----------------------------------------------------------------------------

def categories():
    "COCO's eighty, by a number."
    lines = files("unsaf").joinpath("tables/coco_objects.txt").read_text(encoding="utf-8").splitlines()
    return {i: line.split(", ")[0] for i, line in enumerate(lines, 1)}


def objects(sample):
    "The COCO categories that a scene passes for, one for each instance."
    things = sample.info["scene"]["things"]
    oranges, balls = (sum(t[kind] == name for t in things) for kind, name in (("color", "orange"), ("shape", "circle")))
    return ["orange"] * oranges + ["sports ball"] * balls


def seen(name, n, make=tasks.captions):
    "Id in val2014 and sample of `n` scenes that pass for an object of COCO, three of four with a ball."
    first, every = (1 if name == "vqav2" else 100_001), [s for s in make(8 * n + 40, SERIES[name]) if objects(s)]
    balls, others = ([s for s in every if ("sports ball" in objects(s)) is ball] for ball in (True, False))
    return list(enumerate([(others if i % 4 == 3 else balls).pop(0) for i in range(n)], first))


def annotated(root, split, samples):
    "A split with its images, object and caption annotations; `samples`: ids and samples."
    kinds = categories()
    numbers = {name: i for i, name in kinds.items()}
    coco_files(root, split, {(i, coco_name(split, i)): pixels(s) for i, s in samples}, kinds,
               [(i, numbers[name]) for i, s in samples for name in objects(s)],
               [(i, text) for i, s in samples for text in s.answers])


def coco(root, n):
    "test2017 without annotations, train2014 and val2014 with them."
    listed = [{"id": i, "file_name": f"{i:012d}.jpg"} for i in range(1, HELD_OUT + 1)]
    for row in listed: photo(root/"test2017"/row["file_name"], pixels(tasks.drawn(SERIES["test2017"], row["id"])))
    written(root/"annotations"/"image_info_test2017.json", {"images": listed, "categories": []})
    annotated(root, "train2014", list(enumerate(tasks.captions(TRAIN * n, SERIES["train2014"]), 1)))
    annotated(root, "val2014", seen("vqav2", n) + seen("ok-vqa", n))


def vqav2(root, n):
    "Two questions about each image: one of any kind, and a poll."
    poll = {s.image_id: s for s in tasks.polls(16 * n + 80, SERIES["vqav2"])}
    asked = [(i, k, q) for i, s in seen("vqav2", n, tasks.vqa) for k, q in enumerate((s, poll[s.image_id]))]
    vqa_files(root, [vqa_row(i, k, q.question, (q.answers * 10)[:10]) for i, k, q in asked], "v2_", "val2014")


def ok_vqa(root, n):
    rows = [vqa_row(i, 0, s.question, s.answers) for i, s in seen("ok-vqa", n, tasks.vqa)]
    raw = [r | {"answers": [a | {"raw_answer": a["answer"]} for a in r["answers"]]} for r in rows]
    vqa_files(root, raw, "", "val2014")


ABSENT = {"random": sorted(categories().values()), "popular": ["person", "chair", "car"],
          "adversarial": ["orange", "sports ball", "apple"]}


def pope(root, n):
    "Polls about the images of val2014, yes and no in turn."
    for strategy, pool in ABSENT.items():
        dice, rows = random.Random(f"rehearsal {strategy}"), []
        for i, sample in seen("vqav2", n):
            here = objects(sample)
            gone = dice.choice([name for name in pool if name not in here])
            for name, label in ((here[-1], "yes"), (gone, "no")):
                article = "an" if name[0] in "aeiou" else "a"
                rows.append({"question_id": len(rows) + 1, "image": coco_name("val2014", i), "label": label,
                             "text": f"Is there {article} {name} in the image?"})
        written(root/f"coco_pope_{strategy}.json", "\n".join(map(json.dumps, rows)))


# --- other images ----------------------------------------------------------------------------------------------------

def imagenet(root, n):
    for i in range(n):
        name = f"n{1440764 + i % 5:08d}/ILSVRC2012_val_{i + 1:08d}.JPEG"
        photo(root/"val"/name, pixels(tasks.drawn(SERIES["imagenet"], i, "textured")))


def vizwiz(root, n):
    "Questions in turn with an answer and without one."
    rows, pairs = [], tasks.twins(n, SERIES["vizwiz"])
    for i in range(n):
        s = pairs[2 * i + i % 2]
        name, none = f"VizWiz_val_{i:08d}.jpg", s.answers[0] == "unanswerable"
        photo(root/"val"/name, pixels(s))
        said = [{"answer": s.answers[0], "answer_confidence": "yes"}] * 10
        rows.append({"image": name, "question": s.question, "answers": said, "answerable": int(not none),
                     "answer_type": "unanswerable" if none else "other"})
    written(root/"Annotations"/"val.json", rows)


def textvqa(root, n):
    rows = []
    for i, s in enumerate(tasks.vqa(n, SERIES["textvqa"])):
        name = f"{i:016x}"
        photo(root/"train_images"/f"{name}.jpg", pixels(s))
        rows.append({"question": s.question, "image_id": name, "image_classes": ["Drawing"], "flickr_original_url": "",
                     "image_width": 48, "image_height": 48, "question_tokens": s.question.split(),
                     "answers": list(s.answers), "question_id": i, "set_name": "val"})
    written(root/"TextVQA_0.5.1_val.json", {"data": rows})


# --- choices ---------------------------------------------------------------------------------------------------------

def choice_columns(sample):
    "A row of MMBench or MM-UPD for a question with options."
    return MMBENCH | {"question": sample.question, "answer": sample.answers[0]} | dict(zip(LETTERS, sample.options))


def mmbench(root, n):
    "Each question, and its second pass of the circular evaluation."
    rows = []
    for i, s in enumerate(tasks.choices(n, SERIES["mmbench"]), 1):
        rows.append(choice_columns(s) | {"index": i, "image": coded(pixels(s))})
        turned = dict(zip(LETTERS, s.options[1:] + s.options[:1]))
        answer = LETTERS[(LETTERS.index(s.answers[0]) - 1) % len(s.options)]
        rows.append(choice_columns(s) | turned | {"index": 1_000_000 + i, "answer": answer, "image": str(i)})
    tsv(root/"MMBench_DEV_EN.tsv", rows)


def scienceqa(root, n):
    problems = {}
    for i, s in enumerate(tasks.choices(n, SERIES["scienceqa"]), 1):
        photo(root/"images"/"test"/str(i)/"image.png", pixels(s))
        right = LETTERS.index(s.answers[0])
        problems[str(i)] = scienceqa_row(s.question, s.options, right, image="image.png", split="test")
    plain = scienceqa_row("Which?", ["a", "b"], 0, image=None, split="test")       # as half of them have no image
    written(root/"problems.json", problems | {str(n + 1): plain})


def mmmu(root, n):
    "A folder for each subject; every fifth has an open question, too."
    every, each = len(SUBJECTS), -(-n // len(SUBJECTS))
    samples, free = (make(every * each, SERIES["mmmu"]) for make in (tasks.choices, tasks.vqa))
    for k, subject in enumerate(SUBJECTS):
        mine = slice(each * k, each * (k + 1))
        asked = [(s, repr(list(s.options)), s.answers[0], "multiple-choice") for s in samples[mine]]
        if k % 5 == 0: asked += [(s, "[]", s.info["truth"], "open") for s in free[mine][:1]]
        shots = [{"bytes": encoded(pixels(s)), "path": None} for s, *_ in asked]
        rows = [(f"validation_{subject}_{i}", f"{s.question} <image 1>", *more, [shot])
                for i, ((s, *more), shot) in enumerate(zip(asked, shots), 1)]
        as_hub(root, mmmu_columns(rows), "validation", subject, MMMU.image)


def conbench(root, n):
    "Each image under four questions: yes or no, a choice, a free one and a description."
    series = SERIES["conbench"]
    polls, chosen, free = tasks.polls(2 * n, series)[::2], tasks.choices(n, series), tasks.vqa(n, series)
    for i, (poll, choice, open_) in enumerate(zip(polls, chosen, free)):
        field, name = ("color", "count", "position")[i % 3], f"images/{i:04d}.png"
        photo(root/field/name, pixels(poll))
        asked = (("N/Y", f"{poll.question} Please answer yes or no.", poll.answers[0]),
                 ("Choices", f"{choice.question}\n{lettered(choice)}", choice.answers[0]),
                 ("Q/A", open_.question, open_.info["truth"]), ("Caption", "Describe the image.", ""))
        file = root/field/f"output_w_caption_{field}.json"
        before = json.loads(file.read_text()) if file.exists() else []
        written(file, before + [{"image": name, "question": q, "question_field": f, "answer": a} for f, q, a in asked])


def mme(root, n):
    "Two questions about each image of the fourteen subtasks, in either of the two layouts."
    tasks_of_mme = (*PERCEPTION, *COGNITION)
    each = -(-n // len(tasks_of_mme))
    polls = tasks.polls(2 * each * len(tasks_of_mme), SERIES["mme"])
    for i, (yes, no) in enumerate(zip(polls[::2], polls[1::2])):
        task = tasks_of_mme[i // each]
        flat = task not in ("artwork", "celebrity", "landmark", "posters", "scene")
        photo(root/task/("" if flat else "images")/f"{i:05d}.jpg", pixels(yes))
        lines = (f"{s.question} Please answer yes or no.\t{s.answers[0].capitalize()}" for s in (yes, no))
        written(root/task/("" if flat else "questions_answers_YN")/f"{i:05d}.txt", "\n".join(lines) + "\n")


# --- the annotated baselines -----------------------------------------------------------------------------------------

def unk_vqa(root, n):
    for k, split in enumerate(("train", "val", "test")):
        rows = []
        for i, s in enumerate(tasks.twins(TRAIN * n, SERIES["unk-vqa"] + 100 * (k + 1))):
            name, answer = coco_name("val2014", 200_001 + i // 2), s.answers[0]
            photo(root/f"images-{split}"/name, pixels(s))
            rows.append(unk_row(i + 1, s.question, name, None if answer == "unanswerable" else answer))
        written(root/f"annt_{split}.json", UNK_MAPS | {"annotation": rows})


UPD_LINE = "The image and question are irrelevant."


def mm_upd(root, n):
    "The benchmark's tables, and the set for instruction tuning, whose pairs end in MM-UPD's own refusal."
    for kind in KINDS:
        rows = [_upd_row(s) for s in tasks.twins(n, SERIES["mm-upd"] + 100 * (1 + KINDS.index(kind)), sort=kind)]
        tsv(root/"data"/f"mm{kind}_20240303_base.tsv", rows)
        tsv(root/"data"/f"mm{kind}_20240303_option.tsv", [r | {"E": "None of the above"} for r in rows])
    entries = []
    for i, s in enumerate(tasks.twins(TRAIN * n, SERIES["upd-tuning"], sort="ivqd")):
        name = f"images/{i // 2:06d}.jpg"
        photo(root/name, pixels(s))
        reply = UPD_LINE if s.answers[0] == "unanswerable" else s.answers[0]
        entries.append(upd_entry(name, f"<image>\n{s.question}\n{lettered(s)}", reply))
    written(root/"upd_tuning_data_20240303.json", entries)


def _upd_row(sample):
    none = sample.answers[0] == "unanswerable"
    kind, answer = ("upd", "F") if none else ("standard", sample.answers[0])
    return choice_columns(sample) | {"index": sample.info["pair"] + 1, "type": kind, "answer": answer,
                                     "masked_answer": "", "image": coded(pixels(sample))}


WRITERS = {"coco": coco, "vqav2": vqav2, "ok-vqa": ok_vqa, "pope": pope, "imagenet": imagenet, "vizwiz": vizwiz,
           "textvqa": textvqa, "mmbench": mmbench, "scienceqa": scienceqa, "mmmu": mmmu, "conbench": conbench,
           "mme": mme, "unk-vqa": unk_vqa, "mm-upd": mm_upd}      # CHAIR's files are COCO's


def write_all(root, n=12):
    "A folder for each data set below `root`, each with `n` images or samples at least; COCO's test set has 1,000."
    for name, write in WRITERS.items(): write(Path(root)/name, n)
    return Path(root)
