#!/bin/sh
# python.sh: print the Python that the virtual environments are made with: $PYTHON, or the first of 3.11 or later in PATH that has venv.
set -u
for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3}; do
	if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
		command -v "$candidate"
		exit 0
	fi
done
exit 1
