"""Promises about files: pictures, folders of links, data sets that are odd, tables that a spreadsheet opens. Tried by `faults.py`."""
import csv, io, json, os, random, re, time
from pathlib import Path
import pandas as pd
from PIL import Image
from promises import Outcome, promise
import unsaf
from unsaf.core import UnsafError
from unsaf.data.benchmarks import benchmark
from unsaf.runs import read_table, unguarded, write_table


@promise("A broken image is an outcome of its own, with its name and the reason")
def images(out: Outcome, quick: bool, rng: random.Random, tmp: Path) -> None:
    whole = Image.effect_mandelbrot((64, 48), (-2, -1.5, 1, 1.5), 20).convert("RGB")
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"):
        buffer = io.BytesIO()
        whole.save(buffer, kind)
        for i in range(3 if quick else 10):
            data, path = bytearray(buffer.getvalue()), tmp / f"{i}.{kind.lower()}"
            if i % 2: data = data[:rng.randrange(len(data))]
            else:
                for _ in range(rng.randint(1, 30)): data[rng.randrange(len(data))] = rng.randrange(256)
            path.write_bytes(data)
            try: unsaf.images(str(path))[0].picture.pixels()
            except UnsafError as e: out.check(path.name in str(e) and "\n" not in str(e), f"{path.name}: {e}")
            else: out.check(True, "")


@promise("A folder with links to itself, in rings and in farms is read once, in seconds")
def links(out: Outcome, quick: bool, rng: random.Random, tmp: Path) -> None:
    def picture(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), "red").save(path)
    for i in range(3 if quick else 20):
        root, deep = tmp / str(i), rng.randint(5, 20)
        for k in range(deep): picture(root / f"level{k}/a.png")
        for k in range(deep - 1):
            for name in ("left", "right"): (root / f"level{k}" / name).symlink_to(f"../level{k + 1}")     # 2^deep ways down
        for name, to in {"self": "self", "here": ".", "up": "..", "one": "two", "two": "one", "gone": "nowhere", "null": "/dev/null"}.items():
            (root / name).symlink_to(to)
        os.mkfifo(root / "pipe.png")
        for source in (root, root / "**" / "*.png"):
            began = time.monotonic()
            try: found = {os.path.realpath(root / name) for name in unsaf.images(str(source)).image_ids}
            except UnsafError as e: found = str(e)
            real = {os.path.realpath(p) for p in root.glob("level*/a.png")}
            out.check(isinstance(found, set) and real <= found, f"{source}: {found if isinstance(found, str) else real - found}")
            out.check(time.monotonic() - began < 10, f"{source}: {time.monotonic() - began:.1f} s")


POPE = [{"question_id": i, "image": f"COCO_val2014_{i:012d}.jpg", "text": f"Is there a dog {i} in the image?", "label": "yes"} for i in range(1, 9)]
COCO = {"images": [{"id": i, "file_name": f"COCO_val2014_{i:012d}.jpg"} for i in range(1, 9)], "categories": [{"id": 18, "name": "dog"}],
        "annotations": [{"id": i, "image_id": i, "category_id": 18} for i in range(1, 9)]}
CAPTIONS = {"images": COCO["images"], "annotations": [{"image_id": i, "caption": "A dog."} for i in range(1, 9)]}
MMBENCH = "index\tquestion\thint\tA\tB\tanswer\tcategory\timage\n" + "".join(f"{i}\tWhich?\t\tNone\tNA\tA\tx\tiVBOR{i}\n" for i in range(1, 9))
VALUES = [None, True, 7, -1.5, 1e308, "", "nan", "\u2028", "\ud83d", "x" * 5000, [], [1], {}, {"a": []}, "[" * 3000]


def spoiled(text: str, rng: random.Random) -> bytes:
    "A file as it may arrive: cut, with other bytes, other line ends, another value somewhere."
    how = rng.randrange(6)
    if how == 0: return text.encode()[:rng.randrange(len(text))]
    if how == 1:
        data = bytearray(text.encode())
        for _ in range(rng.randint(1, 5)): data[rng.randrange(len(data))] = rng.randrange(256)
        return bytes(data)
    if how == 2: return rng.choice(["\ufeff", "\n", "\r\n", ""]).encode() + text.replace("\n", rng.choice(["\r\n", "\n\n", "\r"])).encode()
    if how == 3: return json.dumps(rng.choice(VALUES)).encode()
    if how == 4: return text.encode(rng.choice(["utf-16", "utf-8-sig", "latin-1"]), "replace")
    words = text.split('"')
    words[rng.randrange(len(words))] = json.dumps(rng.choice(VALUES))
    return '"'.join(words).encode()


@promise("A file of a data set that is cut, damaged or of another kind is read as it should be, or is one line that names it")
def odd_files(out: Outcome, quick: bool, rng: random.Random, tmp: Path) -> None:
    for i in range(1, 9):
        (tmp / "val2014").mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), "red").save(tmp / f"val2014/COCO_val2014_{i:012d}.jpg")
    plain = {"coco_pope_random.json": "\n".join(map(json.dumps, POPE)), "annotations/instances_val2014.json": json.dumps(COCO),
             "annotations/captions_val2014.json": json.dumps(CAPTIONS), "MMBench_DEV_EN.tsv": MMBENCH}
    (tmp / "annotations").mkdir()
    for name, text in plain.items(): (tmp / name).write_text(text, encoding="utf-8")
    for _ in range(200 if quick else 4_000):
        name = rng.choice(list(plain))
        (tmp / name).write_bytes(spoiled(plain[name], rng))
        which = "pope:random" if "pope" in name else "mmbench" if "MMB" in name else "chair"
        try: len(list(benchmark(which, None, folder=tmp)))
        except UnsafError as e: out.check("\n" not in str(e) and len(str(e)) < 2000, f"{name}: {e}")
        except Exception as e: out.check(False, f"{name}: {type(e).__name__}: {e}")     # the finding itself
        else: out.check(True, "")
        (tmp / name).write_text(plain[name], encoding="utf-8")


CELLS = ["=1+1", "+1", "-2+3", "@SUM(A1)", "\t=1", "\r", "a\rb",
         "\n", "\r\n", '"', "'", ",", ";", "\x00", "\u2028", "\x85", "\ufeff", "None", "nan", "-5", "图", "＝1", " ", "x"]


@promise("A table comes back as it was written, from Parquet and from the CSV alone, and a spreadsheet runs none of its cells")
def spreadsheets(out: Outcome, quick: bool, rng: random.Random, tmp: Path) -> None:
    for i in range(30 if quick else 200):
        made = pd.DataFrame({c: ["".join(rng.choice(CELLS) for _ in range(rng.randint(0, 4))) for _ in range(20)] for c in ("reply", "=name")})
        path = write_table(made, tmp / "t.csv")
        both = read_table(path)
        path.with_suffix(".parquet").unlink()
        out.check(both.equals(made.astype("str")) and read_table(path).equals(both), f"table {i} comes back otherwise")
        cells = [cell for row in csv.reader(io.StringIO(path.read_bytes().decode(), newline="")) for cell in row]
        runs = [c for c in cells if c[:1] in tuple("=@\t\r\n") or (c[:1] in ("+", "-") and not re.fullmatch(r"[\d.,\s]+", c[1:]))]
        out.check(not runs and [unguarded(c) for c in cells[2:]] == [x for row in made.values.tolist() for x in row], f"table {i}: {runs[:3]}")
