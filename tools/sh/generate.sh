#!/bin/sh
# generate.sh DIR: generate the Go and Python code of proto/ below DIR.
set -eu
.venv/bin/buf generate --output "$1"
.venv/bin/buf generate --template buf.gen.python.yaml --output "$1"
