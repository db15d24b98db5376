"Terminals that know few letters or are gone, and what a user's file may hold: a run is never lost, and nothing ends in a traceback."
import errno, io, os, shutil, subprocess, sys
from pathlib import Path
import pytest
from PIL import Image
from unsaf import Store, __version__
from unsaf.assessment.run import assess
from unsaf.cli.main import app
from unsaf.core import UnsafError, write_file, patient, say
from unsaf.data.images import images
from unsaf.models.base import Scripted

ODD = "naïve 图片 ü \ud83d"


def writer(request):
    return "Question: Is it 红色?\nQuestion: Was ist das für ein Bild?" if "enerate" in request.text else "unanswerable 图片"


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    "A run over pictures with names in two scripts, one of them broken, to be replayed without a model."
    root = tmp_path_factory.mktemp("läuft 图片")
    (root/"фото").mkdir()
    for name in ("a ü.png", "图片.png"): Image.new("RGB", (20, 20), "red").save(root/"фото"/name)
    (root/"фото"/"kaputt ü.png").write_bytes(b"no picture")
    with Store(root/"run") as store: assess(Scripted(writer, name="модель"), images(root/"фото"), store=store, k=2).save(root/"run")
    return root


def called(*args) -> int:
    "The exit code of a command, run within this process."
    with pytest.raises(SystemExit) as e: app([str(a) for a in args])
    return e.value.code or 0


class Failing(io.RawIOBase):
    "A file on which every write fails."
    def __init__(self, code: int): self.code = code
    def writable(self) -> bool: return True
    def fileno(self) -> int: raise OSError("no file behind it")
    def write(self, content) -> int: raise OSError(self.code, os.strerror(self.code))


# --- what cannot be shown ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "gb2312"])
def test_a_terminal_of_few_letters_costs_no_run(encoding, run_folder, tmp_path, monkeypatch):
    out = io.TextIOWrapper(io.BufferedWriter(io.FileIO(tmp_path/"out", "w")), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", out)
    shutil.copytree(run_folder/"run", tmp_path/"läuft")
    assert called("assess", "--model", f"replay:{tmp_path}/läuft", "--images", run_folder/"фото", "--k", "2", "--store", tmp_path/"läuft") == 0
    assert called("report", tmp_path/"läuft", "--images", run_folder/"фото") == 0
    out.flush()
    shown = (tmp_path/"out").read_bytes().decode(encoding)
    assert "kaputt" in shown and "unf1" in shown and "written:" in shown
    assert (tmp_path/"läuft"/"table-oe.csv").stat().st_size > 500 and "图片" in (tmp_path/"läuft"/"report.html").read_text(encoding="utf-8")
    assert sys.stdout is out, "the stream of before is put back"

@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "utf-16", "shift_jis"])
def test_say_shows_what_it_can(encoding):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    say(ODD, 7, sep="|", file=stream, flush=True)
    text = stream.buffer.getvalue().decode(encoding)
    assert text.startswith("na") and text.endswith("|7\n") and r"\ud83d" in text

def test_say_follows_print_and_outlives_its_stream(monkeypatch, capsys):
    say("a", 1, end="!")
    assert capsys.readouterr().out == "a 1!"
    monkeypatch.setattr(sys, "stdout", None)
    say("nobody")                                                       # pythonw, or `>&-`
    for code in (errno.EPIPE, errno.EIO, errno.ENOSPC):
        say("x" * 10, file=io.TextIOWrapper(io.BufferedWriter(Failing(code)), encoding="ascii"), flush=True)


# --- who reads no more ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("code", [errno.EPIPE, errno.EIO], ids=["pipe", "terminal"])
def test_a_stream_that_takes_no_more_stops_nothing(code, run_folder, tmp_path, monkeypatch):
    shutil.copytree(run_folder/"run", tmp_path/"run")
    (tmp_path/"run"/"report.html").unlink(missing_ok=True)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(Failing(code)), encoding="utf-8"))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BufferedWriter(Failing(code)), encoding="utf-8", line_buffering=True))
    assert called("assess", "--model", f"replay:{tmp_path}/run", "--images", run_folder/"фото", "--k", "2", "--store", tmp_path/"run") == 0
    assert (tmp_path/"run"/"report.html").exists()
    assert called("report", tmp_path/"nowhere") == 2

@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_pipe_that_head_has_closed(unbuffered):
    "Many lines into `head -1`, for real: no word on standard error, and the command's own exit code."
    code = "from unsaf.core import patient\nwith patient():\n    for i in range(50_000): print('line', i)"
    command = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env={**os.environ, "PYTHONUNBUFFERED": unbuffered})
    assert command.stdout.readline() == b"line 0\n"
    command.stdout.close()
    error = command.stderr.read()
    assert command.wait(60) == 0 and error == b""

def test_results_are_on_disk_before_they_are_printed(run_folder, tmp_path, monkeypatch):
    "Each command that pays writes first: a print that raises finds the files there."
    class Full(io.StringIO):
        "It breaks after the first line, which says what will be asked."
        def write(self, text):
            if "\n" in self.getvalue(): raise RuntimeError("the terminal is broken beyond words")
            return super().write(text)
    for i, (command, left) in enumerate([(("assess", "--images", run_folder/"фото", "--k", "2"), "table-oe.csv"),
                                         (("bench", "--images", "scenes", "--n", "2", "--benchmarks", "pope"), "bench.csv")]):
        folder = tmp_path/str(i)
        shutil.copytree(run_folder/"run", folder)
        for path in folder.glob("*.csv"): path.unlink()
        with monkeypatch.context() as m:
            m.setattr(sys, "stdout", Full())
            args = [command[0], "--model", f"replay:{folder}", *map(str, command[1:]), "--store", str(folder)]
            with pytest.raises(RuntimeError, match="beyond words"): app(args)
        assert (folder/left).exists()

def test_patient_leaves_other_streams_as_they_are(monkeypatch):
    for stream in (io.StringIO(), None):
        monkeypatch.setattr(sys, "stdout", stream)
        with patient():
            assert sys.stdout is stream
            print("x")
        assert sys.stdout is stream


# --- python -m unsaf -----------------------------------------------------------------------------------------------------------

def test_python_m_unsaf_is_the_command(tmp_path):
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    def run(*args): return subprocess.run([sys.executable, "-m", "unsaf", *args], capture_output=True, cwd=tmp_path, env=env, timeout=120)
    assert run("--version").stdout.decode() == f"unsaf {__version__}\n"
    wrong = run("report", "图片 ü")
    assert wrong.returncode == 2 and wrong.stderr.count(b"\n") == 1 and wrong.stderr.startswith(b"unsaf: ") and b"no such folder" in wrong.stderr


# --- odd paths and odd files, every command ------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def oddities(run_folder, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("odd")
    shutil.copytree(run_folder/"run", root/"run")
    shutil.copytree(run_folder/"фото", root/"pics")
    (root/"empty").touch()
    (root/"dir").mkdir()
    (root/"binary").write_bytes(bytes(range(256)) * 50)
    (root/"deep").write_text("[" * 100_000)
    (root/"table.csv").write_text("a,b\n1,2\n")
    (root/"latin.csv").write_bytes("é,ü\nß,1\n".encode("latin-1"))
    os.mkfifo(root/"pipe")
    (root/"loop").symlink_to("loop")
    for name, content in (("nothing", b""), ("random", os.urandom(5000))):
        (root/f"store {name}").mkdir()
        (root/f"store {name}"/"replies.sqlite").write_bytes(content)
    (root/"store folder"/"replies.sqlite").mkdir(parents=True)
    for name, content in {"text": b"{", "null": b"null", "list": b"[]", "number": b"7", "deep": b"[" * 100_000, "binary": bytes(range(256)), "empty": b"",
                          "dict": b"{}"}.items():
        (root/f"run {name}").mkdir()
        (root/f"run {name}"/"scores-oe.json").write_bytes(content)
        (root/f"run {name}"/"bench.json").write_bytes(content)
    return root

PATHS = ["nowhere", "empty", "dir", "binary", "deep", "table.csv", "latin.csv", "pipe", "loop", "empty/below", "/dev/null", "x" * 300, "x" * 5000,
         "a\nb", "a\0b",
         "s\udcff", "", "-", "~nouser"]
FOLDERS = ["store nothing", "store random", "store folder",      # to who reads neither store nor run they are like `dir`
           *(f"run {name}" for name in ("text", "null", "list", "number", "deep", "binary", "empty", "dict"))]

# @ stands for each of PATHS, @@ for each of FOLDERS, too
QUICK = """
assess --model replay:@@ --images pics
bench --model replay:run --images @
report @@
audit run --labels @
models @
distill export --data @ --out o
"""

SLOW = """
assess --model replay:run --images @
assess --model @ --images pics
assess --model replay:run --images pics --k 2 --store @@
compare run @@
report run --out @
report run --images @
audit @@
audit run --out @ --by-hand
bench --model replay:@@
bench --model replay:run --n 2 --benchmarks pope --store @@
bridge @ --model x
bridge qwen-vl --model @
distill data --teacher replay:run --images @ --n 2 --out taught
distill data --teacher replay:run --images pics --out @@
distill train --base @ --data dir --out o
distill train --base tiny-m --data @ --out o
distill evaluate --base replay:run --tuned @
distill evaluate --base replay:run --tuned x --taught @
reproduce @
reproduce table04 --dry-run --store @@
"""

@pytest.mark.parametrize("command", [*QUICK.strip().splitlines(), *(pytest.param(c, marks=pytest.mark.slow) for c in SLOW.strip().splitlines())])
def test_odd_paths_end_in_a_line(command, oddities, tmp_path, monkeypatch, capsys):
    "Whatever stands where a path is expected: an exit code, at most one line of ours that is not longer than a page, never another exception."
    shutil.copytree(oddities, tmp_path/"odd", symlinks=True, ignore=lambda *_: ["pipe"])
    os.mkfifo(tmp_path/"odd"/"pipe")
    monkeypatch.chdir(tmp_path/"odd")
    for odd in PATHS + FOLDERS * ("@@" in command):
        code = called(*(word.replace("@@", "@").replace("@", odd) for word in command.split()))
        said = capsys.readouterr().err
        ours = [line for line in said.splitlines() if line.startswith("unsaf: ")]
        assert code in (0, 2, 3, 4), odd
        assert len(ours) <= 1 and all(len(line) < 3000 for line in ours), (odd, ours)
        assert ours or code != 2 or said.startswith("Usage: "), (odd, said)

def test_a_file_without_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for odd in ("", ".", "a\0b"):
        with pytest.raises(UnsafError): write_file(odd, "x")

def test_a_device_a_pipe_and_a_link_stay_what_they_are(tmp_path):
    ours, theirs = os.openpty()
    device = Path(os.ttyname(theirs))
    write_file(device, "seen")
    assert os.read(ours, 9) == b"seen" and device.is_char_device()
    for handle in (ours, theirs): os.close(handle)
    os.mkfifo(tmp_path/"pipe")
    with pytest.raises(UnsafError, match="pipe"): write_file(tmp_path/"pipe", "x")              # nobody reads it, and nobody is waited for
    reader = os.open(tmp_path/"pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_file(tmp_path/"pipe", "x")
    assert os.read(reader, 9) == b"x" and (tmp_path/"pipe").is_fifo()
    os.close(reader)
    (tmp_path/"link").symlink_to("page.html")
    for text in ("new", "newer"): write_file(tmp_path/"link", text)
    assert (tmp_path/"link").is_symlink() and (tmp_path/"page.html").read_text() == "newer" and len(list(tmp_path.iterdir())) == 3

@pytest.mark.promise("exits")
def test_what_the_disk_says_is_one_line(monkeypatch, capsys):
    import unsaf.data.benchmarks as benchmarks
    def full(): raise OSError(errno.ENOSPC, "No space left on device", "/data/x")
    monkeypatch.setattr(benchmarks, "available", full)
    assert called("data") == 2 and capsys.readouterr().err.startswith("unsaf: /data/x: No space left on device; ")
    def memory(): raise MemoryError
    monkeypatch.setattr(benchmarks, "available", memory)
    assert called("data") == 2 and "not enough memory" in capsys.readouterr().err
    def interrupted(): raise KeyboardInterrupt
    monkeypatch.setattr(benchmarks, "available", interrupted)
    assert called("data") == 130 and capsys.readouterr().err.startswith("unsaf: stopped")
