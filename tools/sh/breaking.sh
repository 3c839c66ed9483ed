#!/bin/sh
# breaking.sh: compare proto/ with the commit that this branch left the main branch at ($BUF_AGAINST names another). On the main branch
# itself that is the commit before.
set -eu
git rev-parse --verify --quiet HEAD^ >/dev/null || {
	echo "the first commit has nothing to break"
	exit 0
}
against=${BUF_AGAINST:-}
if [ -z "$against" ]; then
	against=$(git merge-base HEAD origin/main 2>/dev/null || true)
	[ -n "$against" ] && [ "$against" != "$(git rev-parse HEAD)" ] || against=$(git rev-parse HEAD^)
fi
echo "against $against"
.venv/bin/buf breaking --against ".git#ref=$against"
