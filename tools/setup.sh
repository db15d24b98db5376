#!/bin/sh
# A virtual environment in .venv with everything that the demo and the tests need.
set -eu
cd "$(dirname "$0")/.."

python=${PYTHON:-}
if [ -z "$python" ]; then
    for p in python3.11 python3.12 python3.13 python3; do
        if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then python=$p; break; fi
    done
fi
[ -n "$python" ] || { echo "unsaf needs Python 3.11 or newer: install it, or name it with PYTHON=/path/to/python make setup" >&2; exit 2; }

[ -x .venv/bin/python ] || "$python" -m venv .venv
pip="env PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip install -q -c constraints.txt"
torch=$(grep '^torch==' constraints.txt)

# The smallest torch that serves this machine: uv knows which build that is. Where its index cannot be reached, pip decides.
if ! .venv/bin/python -c 'import torch' >/dev/null 2>&1; then
    echo "installing $torch ..."
    $pip uv || true
    if ! UV_HTTP_TIMEOUT=30 .venv/bin/uv pip install -q --python .venv/bin/python --torch-backend=auto "$torch" >/dev/null 2>&1; then
        $pip "$torch"
    fi
fi
echo "installing unsaf and its tools ..."
$pip -e '.[all,cluster,dev]'
