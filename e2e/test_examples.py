"""Each example prints what its expected.txt says, run as its first line says."""

from pathlib import Path

import pytest

from e2e.client import client
from e2e.daemon import Daemon
from examples.check import EXAMPLES, command, missing


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example_prints_what_it_says(daemon: Daemon, example: Path) -> None:
    with client(daemon, command(example), cwd=example) as program:
        output = "\n".join(program.finish(600))
    assert missing(example, output) == [], output


def test_every_example_says_what_it_prints() -> None:
    folders = {path for path in EXAMPLES[0].parent.iterdir() if path.is_dir() and path.name[:1].isdigit()}
    assert folders == set(EXAMPLES)
