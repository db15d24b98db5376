"""Author notebooks as text: `python tools/nb.py 10_awareness` turns nbtxt/10_awareness.py (percent format) into
nbs/10_awareness.ipynb, exports it, runs it so that its outputs are stored, and cleans it.
`--text` goes the other way; `--no-run` leaves the stored outputs as they are."""
import argparse, fcntl, os, subprocess, sys, warnings
from contextlib import contextmanager
from pathlib import Path

root = Path(__file__).resolve().parent.parent
HEADER = '''# ---
# jupyter:
#   kernelspec:
#     display_name: python3
#     language: python
#     name: python3
# ---
'''


@contextmanager
def locked():
    "One export at a time: nbdev rewrites shared files."
    with open(root/'nbtxt'/'.lock', 'w') as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def to_notebook(txt: Path, nb: Path):
    if not txt.read_text().startswith('# ---'): txt.write_text(HEADER + txt.read_text())
    nb.parent.mkdir(parents=True, exist_ok=True)
    update = ['--update'] if nb.exists() else []
    subprocess.run([sys.executable, '-m', 'jupytext', '-q', '--from', 'py:percent', '--to', 'ipynb', *update,
                    '--output', str(nb), str(txt)], check=True)


def to_text(nb: Path, txt: Path):
    txt.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, '-m', 'jupytext', '-q', '--to', 'py:percent', '--output', str(txt), str(nb)], check=True)


def export(nb: Path):
    from nbdev.export import nb_export
    with locked(): nb_export(nb, lib_path=root/'unsaf')


def run(nb: Path):
    os.environ['CI'] = 'true'  # a progress bar is nothing to store
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    book = nbformat.read(nb, 4)
    client = NotebookClient(book, timeout=900, kernel_name='python3', resources={'metadata': {'path': str(nb.parent)}},
                            extra_arguments=['--IPKernelApp.log_level=40'])
    try: client.execute()
    except CellExecutionError as e: sys.exit(f'{nb.name} failed\n{e}')
    nbformat.write(book, nb)


def clean(nb: Path):
    from nbdev.clean import nbdev_clean
    with locked(): nbdev_clean(str(nb))


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('names', nargs='+', help='notebook names below nbs/, without .ipynb')
    p.add_argument('--text', action='store_true')
    p.add_argument('--no-run', action='store_true')
    a = p.parse_args()
    os.chdir(root)
    warnings.filterwarnings('ignore')
    for name in a.names:
        nb, txt = root/'nbs'/f'{name}.ipynb', root/'nbtxt'/f'{name}.py'
        if a.text: to_text(nb, txt); continue
        to_notebook(txt, nb)
        clean(nb)
        export(nb)
        if not a.no_run: run(nb); clean(nb)
        print(name, 'ok')


if __name__ == '__main__': main()
