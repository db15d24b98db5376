"""A door: scores live in `unsaf.assessment.scores`."""
from unsaf.assessment.scores import *
from unsaf.assessment.scores import __all__
