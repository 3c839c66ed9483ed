#!/bin/sh
# test.sh TARGET...: make each target in turn, whatever the others give, then say how long each took and how many passed.
set -u
passed=0 failed=0 table=
for target in "$@"; do
	printf '== %s\n' "$target"
	start=$(date +%s)
	if make "$target"; then
		passed=$((passed + 1)) result=ok
	else
		failed=$((failed + 1)) result=FAILED
	fi
	table="$table$(printf '   %-12s %-7s %4s s' "$target" "$result" $(($(date +%s) - start)))
"
done
printf '== stages\n%sstages: %s passed, %s failed\n' "$table" "$passed" "$failed"
[ "$failed" = 0 ]
