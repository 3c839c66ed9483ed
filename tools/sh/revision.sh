#!/bin/sh
# revision.sh REV: build another revision of this repository in .cache/revision/COMMIT, for comparisons, and print that folder. Only what
# is missing there is made; the pinned binaries are taken from here where that revision pins the same.
set -eu
commit=$(git rev-parse --short=12 --verify "$1^{commit}")
tree=.cache/revision/$commit
if [ ! -d "$tree" ]; then
	new=$tree.new
	rm -rf "$new"
	mkdir -p "$new/bin"
	git archive "$commit" | tar -C "$new" -xf -
	for name in runsc buildkitd; do
		if cmp -s "tools/$name/go.sum" "$new/tools/$name/go.sum" && cmp -s "tools/$name/go.mod" "$new/tools/$name/go.mod"; then
			cp "bin/$name" "$new/bin/$name"
		fi
	done
	mv "$new" "$tree"
fi
make --no-print-directory -C "$tree" build base >&2
printf '%s\n' "$tree"
