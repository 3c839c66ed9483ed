#!/bin/sh
# start.sh: start skerryd in the background unless one runs on the default data folder.
set -eu
pidfile=${SKERRY_DATA:-/var/lib/skerry}/skerryd.pid
# A number that a killed skerryd has left may be another program's by now.
if [ -s "$pidfile" ] && pid=$(cat "$pidfile") && program=$(readlink "/proc/$pid/exe") && [ "${program##*/skerryd}" != "$program" ]; then
	case "$program" in
	*' (deleted)') printf '  ok  skerryd runs as process %s, from an older build: make stop run takes this one\n' "$pid" ;;
	*) printf '  ok  skerryd runs as process %s\n' "$pid" ;;
	esac
	exit 0
fi
tools/sh/step.sh start 'skerryd up' bin/skerryd up --detach
