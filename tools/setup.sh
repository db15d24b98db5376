#!/bin/sh
# A virtual environment in .venv: `setup.sh demo` installs what the demo uses, `setup.sh` all that the tests and notebooks do.
# uv does it, over the indexes that pip is set to; where uv cannot be had or fails, pip does.
set -eu
cd "$(dirname "$0")/.."

case ${1:-all} in
    demo) what='.[hf]' whom='the demo' ;;
    all) what='.[all,cluster,dev]' whom='tests, notebooks and all models' ;;
    *) echo "usage: setup.sh [demo]" >&2; exit 2 ;;
esac
venv=.venv/bin/python
log=.venv/setup.log

python=${PYTHON:-}
if [ -z "$python" ]; then
    for p in python3.11 python3.12 python3.13 python3; do
        if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then python=$p; break; fi
    done
fi
[ -n "$python" ] || { echo "unsaf needs Python 3.11 or newer: install it, or name it with PYTHON=/path/to/python make setup" >&2; exit 2; }

echo "installing unsaf for $whom ..."
export PIP_DISABLE_PIP_VERSION_CHECK=1
[ -x $venv ] || "$python" -m venv --without-pip .venv
: > $log

# uv: that of this machine, or one that the pip of `python` puts into .venv, or that of .venv
uv=$(command -v uv || true)
[ -n "$uv" ] || [ ! -x .venv/bin/uv ] || uv=.venv/bin/uv
if [ -z "$uv" ]; then
    "$python" -m pip --python $venv install -q --no-compile -c constraints.txt uv >> $log 2>&1 ||
        { $venv -m ensurepip && $venv -m pip install -q --no-compile -c constraints.txt uv; } >> $log 2>&1 || true
    [ ! -x .venv/bin/uv ] || uv=.venv/bin/uv
fi

with_uv() {
    [ -n "$uv" ] || return 1
    no_index=
    settings=$("$python" tools/pip_settings.py 2>> $log) && eval "$settings"
    export UV_CONSTRAINT="constraints.txt ${UV_CONSTRAINT:-}"      # beside -c, uv forgets those of the environment
    # the smallest torch that serves this machine, where the index that has it can be reached
    if [ -z "${UV_TORCH_BACKEND:-}" ] && ! $venv -c 'import importlib.metadata as m; m.version("torch")' 2> /dev/null &&
        UV_HTTP_TIMEOUT=5 UV_HTTP_CONNECT_TIMEOUT=3 UV_HTTP_RETRIES=0 \
            "$uv" pip install -q --dry-run --no-deps --python $venv --torch-backend=auto $no_index torch >> $log 2>&1
    then export UV_TORCH_BACKEND=auto; fi
    "$uv" pip install -q --python $venv $no_index pip -e "$what" >> $log 2>&1
}

with_pip() {
    echo "without uv (why: $log); this takes some minutes ..."
    $venv -m pip --version > /dev/null 2>&1 || $venv -m ensurepip >> $log 2>&1 ||
        { echo "neither uv nor pip can be had: install pip or python3-venv for $python" >&2; exit 2; }
    $venv -m pip install -q --no-compile -c constraints.txt -e "$what"
}

with_uv || with_pip

# Where Python is told to write no bytecode, each start would compile all anew: here it is done once, for what is imported,
# which is a quarter of what lies there. Elsewhere the first import does it.
if [ "${1:-all}" = all ] && [ -n "${NO_BYTECODE:-${PYTHONDONTWRITEBYTECODE:-}}" ]; then
    unset PYTHONDONTWRITEBYTECODE
    $venv -c 'import pytest, hypothesis, nbdev.test, papermill, ipykernel, jupytext, sklearn.metrics, datasets, openai, fastapi, uvicorn, ray' >> $log 2>&1 &
    $venv -c 'import unsaf, scipy.stats, seaborn, peft, trl, torchmetrics; unsaf.load("tiny-m")' >> $log 2>&1 || true
    wait $! || true
fi
