"""Does a multimodal model know what it does not know? Label-free self-assessment of uncertainty awareness (UnSAF)."""
__version__ = "0.1.0"
import sys

# Public names and where they live. Looked up on first use, so that `import unsaf` loads none of torch, transformers or pandas.
_HOME = {
    "load": "unsaf.models.loading",
    "images": "unsaf.data.images",
    "assess": "unsaf.assessment.run",
    "Assessment": "unsaf.assessment.run",
    "compare": "unsaf.assessment.saved:paired",      # a module and a name, where it is called otherwise there
    "bench": "unsaf.benchmarking.run",
    "Store": "unsaf.store",
    "Picture": "unsaf.core",
    "Sample": "unsaf.core",
    "Question": "unsaf.core",
    "Request": "unsaf.core",
    "Reply": "unsaf.core",
    "Outcome": "unsaf.core",
    "Setting": "unsaf.core",
    "UnsafError": "unsaf.core",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    from importlib import import_module
    if name not in _HOME: raise AttributeError(f"module 'unsaf' has no attribute {name!r}")
    module, _, own = _HOME[name].partition(":")
    value = globals()[name] = getattr(import_module(module), own or name)
    return value


class _Moved:
    """Modules of 0.1.0 under their old names, with a warning, for one version; asked where no other finder has the module."""
    PLACES = {"bench": "benchmarking.run", "data.photos": "data.coco_imagenet", "frames": "runs",
              "label_audit": "assessment.label_audit", "leakage": "assessment.leakage",
              "metrics.abstention": "metrics.calibration", "models.api": "models.served.api",
              "models.decoding": "models.dola", "plots": "assessment.figures", "probe_runs": "assessment.probe_runs",
              "probes": "assessment.probes", "report": "assessment.report", "reproduce": "paper.runner",
              "saved": "assessment.saved", "tasks": "world.tasks", "tiny": "world.tiny"}

    @classmethod
    def find_spec(cls, name: str, path=None, target=None):
        from importlib.machinery import ModuleSpec
        package, _, old = name.partition(".")
        return ModuleSpec(name, cls) if package == __name__ and old in cls.PLACES else None

    @staticmethod
    def create_module(spec): return None

    @classmethod
    def exec_module(cls, module) -> None:
        from importlib import import_module
        from warnings import warn
        new = f"{__name__}.{cls.PLACES[module.__name__.partition('.')[2]]}"
        warn(f"{module.__name__} is now {new}; the old name goes with the next version", DeprecationWarning, stacklevel=2)
        vars(module).update((k, v) for k, v in vars(import_module(new)).items() if not k.startswith("__"))


sys.meta_path.append(_Moved)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
