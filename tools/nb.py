"""Author notebooks as text: `python tools/nb.py 10_metrics/01_awareness` turns nbtxt/10_metrics/01_awareness.py (percent
format) into nbs/10_metrics/01_awareness.ipynb, exports it, runs it so that its outputs are
stored, and cleans it. `--text` goes the other way; `--no-run` leaves the stored outputs as they are."""
import argparse, base64, fcntl, io, os, subprocess, sys, warnings
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
    (root/'nbtxt').mkdir(exist_ok=True)
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
    "As nbdev_export, for one notebook: its module, the `__init__.py` of its folder, and the index of all names."
    from nbdev.config import add_init
    from nbdev.doclinks import _build_modidx
    from nbdev.export import nb_export
    with locked():
        nb_export(nb, lib_path=root/'unsaf')
        add_init(root/'unsaf')
        _build_modidx()


def run(nb: Path):
    os.environ['CI'] = 'true'  # a progress bar is nothing to store
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    book = nbformat.read(nb, 4)
    whole = book.cells                     # what is not evaluated here is run by somebody else, papermill for one
    book.cells = [c for c in whole if not (c.cell_type == 'code' and '#| eval: false' in c.source)]
    client = NotebookClient(book, timeout=900, kernel_name='python3', resources={'metadata': {'path': str(nb.parent)}},
                            extra_arguments=['--IPKernelApp.log_level=40'])
    try: client.execute()
    except CellExecutionError as e: sys.exit(f'{nb.name} failed\n{e}')
    book.cells = whole
    nbformat.write(lighter(book), nb)


def pictures(nb: Path):
    import nbformat
    nbformat.write(lighter(nbformat.read(nb, 4)), nb)
    clean(nb)


def lighter(book):
    "`book` with each picture stored once, as a PNG with a palette where that does: a third of the bytes, and the same to the eye."
    for data in (output['data'] for cell in book.cells for output in cell.get('outputs', ()) if 'data' in output):
        if 'image/png' not in data: continue
        data.pop('image/jpeg', None)
        data['image/png'] = min(data['image/png'], palette(data['image/png']), key=len)
    return book


def palette(png: str) -> str:
    "The same picture in 128 or 256 colours; as it is where that would show."
    from PIL import Image, ImageChops, ImageStat
    with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
        if picture.mode == 'P': return png
        flat = Image.new('RGB', picture.size, 'white')
        flat.paste(picture, mask=picture.getchannel('A') if picture.mode == 'RGBA' else None)
    for colours in (128, 256):
        few = flat.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        if max(ImageStat.Stat(ImageChops.difference(flat, few.convert('RGB'))).rms) > 5: continue
        few.save(file := io.BytesIO(), 'PNG', optimize=True)
        return base64.b64encode(file.getvalue()).decode()
    return png


def clean(nb: Path):
    from nbdev.clean import nbdev_clean
    with locked(): nbdev_clean(str(nb))


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('names', nargs='+', help='notebook names below nbs/, without .ipynb')
    p.add_argument('--text', action='store_true')
    p.add_argument('--no-run', action='store_true')
    p.add_argument('--pictures', action='store_true', help='only make the stored pictures smaller')
    a = p.parse_args()
    os.chdir(root)
    warnings.filterwarnings('ignore')
    for name in a.names:
        name = name.removeprefix('nbs/').removeprefix('nbtxt/').removesuffix('.ipynb').removesuffix('.py')
        nb, txt = root/'nbs'/f'{name}.ipynb', root/'nbtxt'/f'{name}.py'
        if a.text: to_text(nb, txt); continue
        if a.pictures: pictures(nb); continue
        to_notebook(txt, nb)
        clean(nb)
        export(nb)
        if not a.no_run: run(nb); clean(nb)
        print(name, 'ok')


if __name__ == '__main__': main()
