"""A door: the readers of replies live in `unsaf.prompts.readers`."""
from unsaf.prompts.readers import *
from unsaf.prompts.readers import __all__
