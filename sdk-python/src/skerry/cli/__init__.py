"""The command line ``skerry``."""

from __future__ import annotations

import sys


def main(arguments: list[str] | None = None) -> None:
    """Run a command and end the process: 0 done, 1 an error, 2 a command that makes no sense, 130 interrupted."""
    from .root import run_command

    sys.exit(run_command(sys.argv[1:] if arguments is None else arguments))
