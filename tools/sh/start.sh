#!/bin/sh
# start.sh: start skerryd in the background unless one runs on the default data folder.
set -eu
pidfile=${SKERRY_DATA:-/var/lib/skerry}/skerryd.pid
if [ -s "$pidfile" ] && pid=$(cat "$pidfile") && kill -0 "$pid" 2>/dev/null; then
	case "$(readlink "/proc/$pid/exe")" in
	*' (deleted)') printf '  ok  skerryd runs as process %s, from an older build: make stop run takes this one\n' "$pid" ;;
	*) printf '  ok  skerryd runs as process %s\n' "$pid" ;;
	esac
	exit 0
fi
tools/sh/step.sh start 'skerryd up' bin/skerryd up --detach
