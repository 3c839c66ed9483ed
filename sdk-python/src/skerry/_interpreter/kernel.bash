# Runs pieces of bash for skerry-init, each in the shell that the ones before have left. Code comes at descriptor 3 and ends with a zero byte;
# its exit status goes to 4, with a zero byte behind. A piece is sourced, so that an interrupt returns from it and its variables stay.
trap 'return 130 2>/dev/null' INT
while IFS= read -r -d '' -u 3 __skerry_code; do
	. /dev/fd/9 9<<<"$__skerry_code" 3<&- 4>&-
	printf '%d\0' "$?" >&4
done
