"A scripted model for replicas, which are other processes: its calls are counted in files, and it may die on an image."
import os, signal, time
from collections import Counter
from pathlib import Path
from unsaf.core import Reply

QUESTIONS = "1. What colour is the sky?\n2. What is on the table?"


def scripted(request): return QUESTIONS if "generate" in request.text.lower() else "blue"


class OnPaper:
    def __init__(self, folder, seconds=0.0, dies_on="", fails_on=""):
        self.folder, self.seconds, self.dies_on, self.fails_on = Path(folder), seconds, dies_on, fails_on
        self.name, self.template, self.identity = "on-paper", "none", {"name": "on-paper"}
        import ray
        (self.folder/f"node-of-{os.getpid()}").write_text(ray.get_runtime_context().get_node_id())

    def generate(self, requests):
        for i, request in enumerate(requests):
            time.sleep(self.seconds)
            image = request.pictures[0].image_id
            with open(self.folder/"calls", "a") as f: f.write(f"{os.getpid()} {image}\n")
            if image == self.dies_on: os.kill(os.getpid(), signal.SIGKILL)
            if image == self.fails_on: yield Reply("", "failed", "no memory for it", index=i)
            else: yield Reply(scripted(request), index=i)


class Breaks:
    name = "breaks"
    def generate(self, requests): raise RuntimeError("it broke")


class AllFail:
    name = "all-fail"
    def generate(self, requests): return (Reply("", "failed", "no memory", index=i) for i in range(len(requests)))


def busy_on(folder, node, block, seconds=240):
    "The process of a node that is in the middle of a block, of so many calls; waits for it."
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        counts = Counter(pid for pid, _ in calls(folder))
        here = [pid for pid in counts if (Path(folder)/f"node-of-{pid}").read_text() == node]
        if found := [pid for pid in here if counts[pid] % block in (2, 3, 4)]: return int(found[-1])
        time.sleep(.02)
    raise TimeoutError(f"nobody was busy on {node}")


def calls(folder):
    "(process, image) of every call."
    path = Path(folder)/"calls"
    return [tuple(line.split(" ", 1)) for line in path.read_text().splitlines()] if path.exists() else []
