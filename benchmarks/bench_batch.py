"""How fast requests become lines of a batch file: photographs of 640 x 480 as JPEG, the prompts of a self-assessment.

    python benchmarks/bench_batch.py --images 200
"""
import argparse
import io
import tempfile
import time
from pathlib import Path
import numpy as np
from PIL import Image
from unsaf.assessment.run import Plan, question_request
from unsaf.core import Setting
from unsaf.data.images import images
from unsaf.models.served.api import Api
from unsaf.models.served.batch import BYTES, LINES, Batched, _line


def photographs(folder: Path, n: int) -> int:
    "n JPEG files of noise over a gradient; returns their bytes."
    rng = np.random.default_rng(0)
    slope, size = np.linspace(0, 200, 640)[None, :, None], 0
    for i in range(n):
        data = io.BytesIO()
        Image.fromarray((slope + rng.integers(0, 56, (480, 640, 3))).astype("uint8")).save(data, "jpeg", quality=85)
        (folder/f"{i:05}.jpg").write_bytes(data.getvalue())
        size += len(data.getvalue())
    return size


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parse.add_argument("--images", type=int, default=200)
    n = parse.parse_args().images
    api, plan = Api("gpt-4o", "http://127.0.0.1:9/v1", key_env=""), Plan(Setting.OE)
    with tempfile.TemporaryDirectory() as folder:
        size = photographs(Path(folder), n)
        model, began = Batched(api, folder + "/run"), time.process_time()
        lines = [_line(model, question_request(s.picture, able, plan))[1] for s in images(folder) for able in (True, False)]
        seconds = time.process_time() - began
    total = sum(map(len, lines))
    print("| images | bytes a file | lines | bytes a line | lines a second of the processor | images in a batch of lists | images a second |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    print(f"| {n:,} | {size / n:,.0f} | {len(lines):,} | {total / len(lines):,.0f} | {len(lines) / seconds:,.0f} | "
          f"{min(LINES, BYTES * len(lines) // total) // 2:,} | {n / seconds:,.0f} |")


if __name__ == "__main__": main()
