#!/bin/sh
# generate.sh DIR: generate the Go, Python and TypeScript code of proto/ below DIR.
set -eu
.venv/bin/buf generate --output "$1"
.venv/bin/buf generate --template buf.gen.python.yaml --output "$1"
.venv/bin/buf generate --template buf.gen.typescript.yaml --output "$1"
