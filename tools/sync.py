"""Bring exported code, notebooks, README and the page of promises into step; with --check, fail where they were not."""
import hashlib, os, re, subprocess, sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent


def state() -> dict[str, str]:
    files = [p for d in ('nbs', 'unsaf') for p in (root/d).rglob('*') if p.suffix in ('.ipynb', '.py')] + [root/'README.md', root/'docs/promises.md']
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in files if p.exists() and '.ipynb_checkpoints' not in str(p)}


def readme():
    "README.md is nbs/index.ipynb without its hidden cells."
    import nbformat
    from nbconvert import MarkdownExporter
    book = nbformat.read(root/'nbs/index.ipynb', 4)
    book.cells = [c for c in book.cells if not re.search(r'^#\|\s*hide', c.source, re.M)]
    for c in book.cells:
        if c.cell_type == 'code': c.source = re.sub(r'^#\|.*\n?', '', c.source, flags=re.M)
    book.metadata['language_info'] = {'name': 'python'}  # nbdev_clean strips it; the code fences need it
    text, _ = MarkdownExporter().from_notebook_node(book)
    text = re.sub(r'<style scoped>.*?</style>\n', '', text, flags=re.S)  # pandas' own; a README shows it as text
    text = re.sub(r'\n{3,}', '\n\n', text.replace('](../', ']('))
    (root/'README.md').write_text(text.strip() + '\n')


def main():
    os.chdir(root)
    before = state()
    for tool in ('nbdev_export', 'nbdev_clean'): subprocess.run([Path(sys.executable).parent/tool], check=True)
    if (root/'nbs/index.ipynb').exists(): readme()
    subprocess.run([sys.executable, root/'tools/promises.py'], check=True)
    after = state()
    changed = sorted(f for f in before.keys() | after.keys() if before.get(f) != after.get(f))
    if changed: print('out of step:' if '--check' in sys.argv else 'written:', *changed, sep='\n  ')
    sys.exit(bool(changed) and '--check' in sys.argv)


if __name__ == '__main__': main()
