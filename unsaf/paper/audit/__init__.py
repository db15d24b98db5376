"""The published numbers checked against each other: `audit` reads the verdicts, `recompute` makes them anew."""
from .verdicts import FAMILIES, audit, derived, keep, lines, recompute

__all__ = ["FAMILIES", "audit", "derived", "keep", "lines", "recompute"]
