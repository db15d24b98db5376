"""Makes a torchvision or torchaudio wheel that was built for CUDA importable beside a CPU torch; does nothing where they work.

Both packages load a compiled part that names CUDA libraries. Resizing is plain torch, and no audio is ever read here."""
import importlib
import sys
import types


def mend():
    import torch
    try: import torchvision  # noqa: F401
    except ImportError: pass                       # not installed: the tool says so where it needs it
    except RuntimeError:                           # operator torchvision::nms does not exist
        for name in [m for m in sys.modules if m.split(".")[0] == "torchvision"]: del sys.modules[name]
        mend.library = torch.library.Library("torchvision", "FRAGMENT")
        for op in ("nms", "qnms"): mend.library.define(f"{op}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        importlib.import_module("torchvision")
    try: import torchaudio  # noqa: F401
    except (ImportError, OSError, RuntimeError):
        for name in [m for m in sys.modules if m.split(".")[0] == "torchaudio"]: del sys.modules[name]
        silent = types.ModuleType("torchaudio")
        silent.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
        sys.modules["torchaudio"] = silent


mend()
