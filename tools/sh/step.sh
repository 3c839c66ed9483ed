#!/bin/sh
# step.sh NAME TEXT COMMAND...: run a command quietly and show one line about it. Its output goes to .cache/log/NAME.log, whose end and
# path are shown when it fails. V=1 shows the output as it comes.
set -u
name=$1 text=$2
shift 2
log=.cache/log/$name.log
mkdir -p .cache/log
start=$(date +%s)
if [ "${V:-}" = 1 ]; then
	printf '  ..  %s\n' "$text"
	"$@"
	code=$?
else
	[ -t 1 ] && printf '  ..  %s' "$text"
	"$@" >"$log" 2>&1
	code=$?
	[ -t 1 ] && printf '\r\033[K'
fi
took=$(($(date +%s) - start))
if [ "$code" = 0 ]; then
	printf '  ok  %s' "$text"
	[ "$took" -gt 1 ] && printf ' (%s s)' "$took"
	printf '\n'
	exit 0
fi
printf '  !!  %s: exit code %s after %s s\n' "$text" "$code" "$took" >&2
if [ "${V:-}" != 1 ]; then
	tail -n 30 "$log" | sed 's/^/      /' >&2
	printf '      all of it: %s\n' "$log" >&2
fi
exit "$code"
