#!/bin/sh
# runtime.sh LINK: make a folder with what every container gets at /__skerry (skerry-init, the SDK with the Python runner, and the
# pure-Python packages they need, compiled for each Python at hand) and let LINK point at it. Compiled files are not checked against their
# source, for containers see this folder read-only and every stat counts in a cold start. The folder is named by its content, and the two
# before it stay: containers that run have them mounted.
set -eu
link=$1
next=$(mktemp -d "$link-new-XXXXXX")
trap 'rm -rf "$next"' EXIT
mkdir "$next/py" "$next/run" "$next/mnt"
cp bin/skerry-init "$next/skerry-init"
(cd sdk-python/src && tar --exclude=__pycache__ -cf - skerry) | tar -C "$next/py" -xf -
site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
(cd "$site" && tar --exclude=__pycache__ -cf - cloudpickle protobuf connectrpc/__init__.py connectrpc/_version.py connectrpc/code.py connectrpc/errors.py typing_extensions.py tblib) | tar -C "$next/py" -xf -
# It asks the installed packages for its version, which takes a while and which containers don't have.
.venv/bin/python -c 'from importlib.metadata import version; print("__version__ =", repr(version("connectrpc")))' >"$next/py/connectrpc/_version.py"
for python in .venv/bin/python python3.10 python3.11 python3.12 python3.13 python3.14 /usr/bin/python3; do
	"$python" -c 'import compileall' 2>/dev/null || continue
	"$python" -m compileall -q --invalidation-mode unchecked-hash -s "$next" -p /__skerry "$next/py"
done
chmod -R a+rX "$next"
digest=$(cd "$next" && { find . -type d | LC_ALL=C sort; find . -type f | LC_ALL=C sort | xargs sha256sum; } | sha256sum | cut -c1-16)
folder=$link-$digest
[ -d "$folder" ] || mv "$next" "$folder"
[ -L "$link" ] || rm -rf "$link"
ln -sfn "$(basename "$folder")" "$link.new"
mv -T "$link.new" "$link"
touch "$folder"
find "$(dirname "$link")" -maxdepth 1 -name "$(basename "$link")-*" -printf '%T@ %p\n' | sort -rn | tail -n +4 | cut -d' ' -f2 | xargs -r rm -rf
