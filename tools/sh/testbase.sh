#!/bin/sh
# testbase.sh FILE: copy the prepared base image's EROFS file to FILE, where tests that need a root file system look for it.
set -eu
mkdir -p "$(dirname "$1")"
bin/skerryd base export --erofs "$1.next"
mv "$1.next" "$1"
