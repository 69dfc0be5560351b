#!/bin/sh
# Installs the Python package into an environment of its own, and runs the script.
# Usage: run.sh [OUTPUT_FOLDER]   PYTHON is the interpreter, 3.11 or later; PYTHON_ENV an environment that has the package.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-"$here/out"}
if [ -z "${PYTHON_ENV:-}" ]; then
    PYTHON_ENV="$out/venv"
    "${PYTHON:-python3}" -m venv "$PYTHON_ENV"
    "$PYTHON_ENV/bin/python" -m pip install --quiet "$here/../../python"
fi
"$PYTHON_ENV/bin/python" "$here/digits.py"
