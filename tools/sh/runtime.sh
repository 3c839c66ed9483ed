#!/bin/sh
# runtime.sh DIR: fill DIR with what every container gets at /__skerry: skerry-init, the SDK with the Python runner, and the pure-Python
# packages they need, compiled for each Python at hand. Compiled files are not checked against their source, for containers see this
# folder read-only and every stat counts in a cold start.
set -eu
dir=$1
next=$dir.next
rm -rf "$next"
mkdir -p "$next/py" "$next/run"
cp bin/skerry-init "$next/skerry-init"
(cd sdk-python/src && tar --exclude=__pycache__ -cf - skerry) | tar -C "$next/py" -xf -
site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
(cd "$site" && tar --exclude=__pycache__ -cf - cloudpickle) | tar -C "$next/py" -xf -
for python in .venv/bin/python python3.10 python3.11 python3.12 python3.13 python3.14 /usr/bin/python3; do
	"$python" -c 'import compileall' 2>/dev/null || continue
	"$python" -m compileall -q --invalidation-mode unchecked-hash -s "$next" -p /__skerry "$next/py"
done
chmod -R a+rX "$next"
rm -rf "$dir"
mv "$next" "$dir"
