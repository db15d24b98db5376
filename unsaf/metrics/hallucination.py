"""A door: POPE lives in `unsaf.metrics.pope`, CHAIR in `unsaf.metrics.chair`."""
from unsaf.metrics.pope import *
from unsaf.metrics.pope import __all__
