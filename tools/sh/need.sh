#!/bin/sh
# need.sh: say exactly what to do when this machine can't build and run Skerry. Prints nothing when it can.
set -u
stop() {
	printf 'skerry: %s\n' "$1" >&2
	printf '        %s\n' "$2" >&2
	exit 1
}
[ "$(uname -s)" = Linux ] || stop "$(uname -s) is not supported: containers need Linux" "use a Linux machine or a virtual machine"
case "$(uname -m)" in
x86_64 | aarch64) ;;
*) stop "processor $(uname -m) is not supported: gVisor runs on x86_64 and aarch64" "use such a machine" ;;
esac
[ "$(id -u)" = 0 ] || stop "you are not root: network namespaces, mounts and cgroups need it" "run: sudo make ${1:-run}"
command -v go >/dev/null || stop "no go in PATH" "install Go $(sed -n 's/^go //p' go.mod) or later: https://go.dev/doc/install"
if [ "${1:-run}" = test ]; then
	{ command -v node && command -v npm; } >/dev/null || stop "no node and npm in PATH" "install Node.js 20 or later: https://nodejs.org/en/download"
	node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' ||
		stop "node $(node --version) is too old" "install Node.js 20 or later: https://nodejs.org/en/download"
fi
tools/sh/python.sh >/dev/null || stop "no python 3.11 or later with venv in PATH" \
	"install it (Debian: apt-get install python3 python3-venv) or say where: make ${1:-run} PYTHON=/path/to/python3"
