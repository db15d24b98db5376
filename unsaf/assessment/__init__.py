"""UnSAF's two stages, their scores, and the pages and probes that go with them."""
from .run import *
