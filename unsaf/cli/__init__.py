"""The command `unsaf`."""
from .main import app
