"""Does a multimodal model know what it does not know? Label-free self-assessment of uncertainty awareness (UnSAF)."""
__version__ = "0.1.0"

# Public names and where they live. Looked up on first use, so that `import unsaf` loads none of torch, transformers or pandas.
_HOME = {
    "load": "unsaf.models.loading",
    "images": "unsaf.data.images",
    "assess": "unsaf.assessment",
    "Assessment": "unsaf.assessment",
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
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
