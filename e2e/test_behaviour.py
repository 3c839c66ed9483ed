"""What sandboxes do, by the table that the TypeScript SDK is tested by as well: see e2e/behaviour/README.md."""

from collections.abc import Iterator
from typing import Any

import pytest

from e2e.behaviour.run import CASES, Driver
from e2e.client import sdk_of
from e2e.daemon import Daemon


@pytest.fixture(scope="module")
def driver(session_daemon: Daemon) -> Iterator[Driver]:
    """A sandbox for all cases."""
    session_daemon.start()
    with sdk_of(session_daemon):
        made = Driver()
        yield made
        made.sandbox.terminate()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_behaviour(driver: Driver, case: dict[str, Any]) -> None:
    assert [wrong for step in case["steps"] if (wrong := driver.check(step))] == []
