"`make demo` installs little, twice is once, and uv hears of every mirror that pip is set to."
import importlib.util, os, re, shlex, subprocess, sys
from pathlib import Path
import pytest

root = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("pip_settings", root/"tools"/"pip_settings.py")
pip_settings = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pip_settings)
OURS = ("PIP_", "UV_", "SSL_C", "HTTP_P", "HTTPS_P")
BARE = {k: v for k, v in os.environ.items() if not k.upper().startswith(OURS)}


def heard(tmp_path, config="", **variables) -> dict[str, str]:
    "What a shell exports for uv, given a file of pip's settings and variables."
    (tmp_path/"pip.conf").write_text(config)
    said = subprocess.run([sys.executable, str(root/"tools"/"pip_settings.py")], capture_output=True, text=True, check=True,
                          env={**BARE, "PIP_CONFIG_FILE": str(tmp_path/"pip.conf"), **variables}).stdout
    return dict(shlex.split(line.removeprefix("export "))[0].split("=", 1) for line in said.splitlines() if line)


def test_mirrors_of_a_file(tmp_path):
    found = heard(tmp_path, """
[global]
index-url = https://one.invalid/simple
extra-index-url = https://two.invalid/a
    file:///three
find-links = /x
    /y
timeout = 90
trusted-host = one.invalid
[install]
index-url = https://u:p%40@four.invalid/simple
no-index = false
constraint = /c.txt
""")
    assert {k: found[k] for k in found if k.startswith("UV_")} == {
        "UV_DEFAULT_INDEX": "https://u:p%40@four.invalid/simple", "UV_INDEX": "https://two.invalid/a file:///three", "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "/x,/y", "UV_HTTP_TIMEOUT": "90", "UV_INSECURE_HOST": "one.invalid", "UV_CONSTRAINT": "/c.txt"}


def test_variables_go_before_files_and_those_of_uv_before_all(tmp_path):
    config = "[global]\nindex-url = https://one.invalid/simple\nfind-links = /x\n"
    assert heard(tmp_path, config, PIP_INDEX_URL="https://two.invalid/simple")["UV_DEFAULT_INDEX"] == "https://two.invalid/simple"
    found = heard(tmp_path, config, UV_DEFAULT_INDEX="https://three.invalid", PIP_EXTRA_INDEX_URL="https://two.invalid", PIP_PROXY="http://p.invalid:1")
    assert not {"UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_STRATEGY"} & set(found)
    assert found["UV_FIND_LINKS"] == "/x" and found["HTTPS_PROXY"] == "http://p.invalid:1"
    assert heard(tmp_path, PIP_NO_INDEX="1", PIP_FIND_LINKS="a b")["no_index"] == "--no-index"


@pytest.mark.parametrize("value", ["it's; rm -r x", "$(date) `date`", "a\\b \"c\""])
def test_a_shell_runs_nothing_of_it(value):
    line = f"export UV_INDEX={shlex.quote(pip_settings.for_uv({'extra-index-url': value}, {})['UV_INDEX'])}"
    assert subprocess.run(["sh", "-c", f'{line}; printf %s "$UV_INDEX"'], capture_output=True, text=True, check=True).stdout == value


def test_without_settings_uv_is_left_alone(): assert pip_settings.for_uv({}, {}) == {}


def make(folder, *words): return subprocess.run(["make", "-n", "-C", str(folder), *words], capture_output=True, text=True, check=True).stdout


@pytest.mark.promise("demo")
def test_the_demo_waits_for_its_part_alone_and_a_second_call_does_nothing(tmp_path):
    for name in ("Makefile", "settings.ini", "setup.py", "constraints.txt", "tools/setup.sh"):
        (tmp_path/name).parent.mkdir(exist_ok=True)
        (tmp_path/name).write_bytes((root/name).read_bytes())
    (tmp_path/".venv").mkdir()
    assert re.findall(r"setup\.sh.*", make(tmp_path, "demo")) == ["setup.sh demo"] and re.findall(r"setup\.sh.*", make(tmp_path, "test")) == ["setup.sh"]
    (tmp_path/".venv"/".demo").touch()
    assert "setup.sh" not in make(tmp_path, "demo") and re.findall(r"setup\.sh.*", make(tmp_path, "setup")) == ["setup.sh"]
    (tmp_path/".venv"/".ready").touch()
    assert "setup.sh" not in make(tmp_path, "setup", "demo", "test")


def test_no_host_is_written_into_the_set_up():
    for name in ("Makefile", "constraints.txt", "tools/setup.sh", "tools/pip_settings.py"): assert "://" not in (root/name).read_text(), name


def test_setup_is_one_script_of_the_plain_shell():
    subprocess.run(["sh", "-n", str(root/"tools"/"setup.sh")], check=True)
    wrong = subprocess.run(["sh", str(root/"tools"/"setup.sh"), "demos"], capture_output=True, text=True)
    assert wrong.returncode == 2 and wrong.stderr == "usage: setup.sh [demo]\n"


def test_every_extra_that_a_message_names_can_be_installed():
    named = {n for p in (root/"unsaf").rglob("*.py") for n in re.findall(r"unsaf\[(\w+)\]", p.read_text("utf-8"))}
    there = set(re.findall(r"^(\w+)_requirements", (root/"settings.ini").read_text("utf-8"), re.M)) | {"all"}
    assert "train" in named and named <= there, named - there
    assert "'probes'" in (root/"setup.py").read_text("utf-8")
