#!/bin/sh
# checkgenerate.sh: generate into a folder of its own and compare, so that a dirty tree neither hides a difference nor makes one.
set -eu
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
tools/sh/generate.sh "$fresh"
for dir in internal/gen sdk-python/src/skerry/_gen sdk-ts/src/gen; do
	diff -rq --exclude=__pycache__ "$fresh/$dir" "$dir" || {
		echo "$dir is not what proto/ gives: run make generate and commit the result"
		exit 1
	}
done
