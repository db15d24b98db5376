"`python -m unsaf`, which is the command `unsaf`."
from unsaf.cli import app

if __name__ == "__main__": app(prog_name="unsaf")
