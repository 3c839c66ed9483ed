#!/bin/sh
# venv.sh DIR: make a virtual environment with the Python that python.sh finds.
set -eu
python=$(tools/sh/python.sh)
"$python" -m venv "$1"
"$1/bin/python" -m pip --disable-pip-version-check --version
