"""What every arm shares: the folder of questions that it reads, and the record that it writes. Plain Python, for any environment.

A folder holds `questions.jsonl` (id, image, text, prompt, label), `images/` and `checkpoint/`.
"""
import json
import os
import time
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def questions(folder, most=None):
    lines = (Path(folder) / "questions.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines][:most]


def picture(folder, question):
    from PIL import Image
    with Image.open(Path(folder) / "images" / question["image"]) as im: return im.convert("RGB")


def versions(*names):
    found = {}
    for name in names:
        try: found[name] = version(name)
        except PackageNotFoundError: found[name] = None
    return found


class Clock:
    "Seconds by name, and seconds of processor time, which a busy machine does not stretch."
    def __init__(self): self.seconds, self.cpu = {}, {}

    @contextmanager
    def __call__(self, name):
        start, used = time.perf_counter(), time.process_time()
        try: yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
            self.cpu[name] = self.cpu.get(name, 0.0) + time.process_time() - used


def one_thread():
    import torch
    torch.set_num_threads(1)
    return torch.get_num_threads()


def write(path, **record):
    "The record of an arm, as JSON."
    Path(path).write_text(json.dumps({**record, "load_average": os.getloadavg()}))
