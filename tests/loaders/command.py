"""A tool's command line, with mended wheels: `python command.py swift.cli.sft --model ...`."""
import runpy
import sys
import wheels  # noqa: F401

if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
