"""Arguments and results of every size up to the promised one."""

import pytest

from e2e.client import client, run_app
from e2e.daemon import Daemon

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@pytest.mark.parametrize("size", [0, 512 * KIB - 64, 512 * KIB + 1, 8 * MIB])
def test_payload_comes_back(daemon: Daemon, size: int) -> None:
    echo(daemon, size)


def test_largest_payload_comes_back(daemon: Daemon, full: bool) -> None:
    echo(daemon, GIB - MIB if full else 32 * MIB)


def echo(daemon: Daemon, size: int) -> None:
    with client(daemon, run_app("payloads", "--size", str(size))) as program:
        program.finish(900)
    assert f"echoed {size}" in program.seen
