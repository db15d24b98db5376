"""Reading short texts: normalised forms, yes and no, letters, soft abstention."""
from .normalise import *
