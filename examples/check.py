"""Runs examples and compares what they print with their expected.txt.

The first line of expected.txt is the command, after "$ "; each other line is a regular expression that a line of the output must match.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

EXAMPLES = sorted(path.parent for path in Path(__file__).resolve().parent.glob("[0-9]*/expected.txt"))


def command(example: Path) -> list[str]:
    """Return the words of an example's command, to be run in its folder."""
    return shlex.split(_lines(example)[0].removeprefix("$ "))


def missing(example: Path, output: str) -> list[str]:
    """Return the patterns that no line of an example's output matches."""
    printed = output.splitlines()
    return [line for line in _lines(example)[1:] if not any(re.fullmatch(line, text) for text in printed)]


def _lines(example: Path) -> list[str]:
    return [line for line in (example / "expected.txt").read_text().splitlines() if line]


def main() -> int:
    """Run the examples named on the command line, or all. Returns how many failed."""
    failed = 0
    for example in [path for path in EXAMPLES if not sys.argv[1:] or path.name in sys.argv[1:]]:
        done = subprocess.run(command(example), cwd=example, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        lacking = missing(example, done.stdout)
        good = done.returncode == 0 and not lacking
        failed += not good
        print(f"{'ok  ' if good else 'FAIL'} {example.name}")
        if not good:
            print(f"exit code {done.returncode}; missing: {lacking}\n{done.stdout}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
