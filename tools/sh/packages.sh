#!/bin/sh
# packages.sh NAME...: install the Debian packages that are missing. The package lists are fetched only when something is.
set -eu
missing=
for name in "$@"; do
	state=$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null || true)
	[ "$state" = installed ] || missing="$missing $name"
done
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null; then
	printf 'skerry: no apt-get here: install what these Debian packages hold by hand:%s\n' "$missing" >&2
	exit 1
fi
printf 'installing%s\n' "$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update
# shellcheck disable=SC2086 # a list of names
apt-get install -y --no-install-recommends $missing
