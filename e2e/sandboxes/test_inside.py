"""Sandboxes that code in functions opens."""

import json

from e2e.client import run_app
from e2e.daemon import Daemon

from .remains import boxes


def test_sandboxes_made_inside_functions(daemon: Daemon) -> None:
    shown = daemon.skerry(*run_app("sandboxes_inside")[1:]).stdout
    [line] = [line for line in shown.splitlines() if line.startswith("found ")]
    assert json.loads(line.removeprefix("found ")) == {
        "stdout": "typed\nof the function\n",
        "code": 3,
        "file": True,
        "listed": True,
        "main": "begun\n",
        "ran": "42",
        "again": "again\n",
        "ended": 137,
        "still listed": False,
        "together": [f"{number}\n" for number in range(5)],
    }
    assert boxes(daemon) == []
