"""Every way that something ends, and nothing is left behind."""

import contextlib
import re
import signal
from collections.abc import Generator

import pytest

from e2e.client import Client, client, run_app
from e2e.daemon import Daemon
from e2e.host import left_on_host
from e2e.processes import Watch, running, watch


@contextlib.contextmanager
def staying(daemon: Daemon, env: dict[str, str] | None = None) -> Generator[tuple[Client, Watch]]:
    """A client whose function runs, and the processes of that function's sandbox."""
    with client(daemon, run_app("stay"), env) as program:
        found = re.search(r"started in (\S+)", program.until("started in"))
        assert found is not None
        sandbox = running("runsc", found[1])
        assert sandbox, f"no runsc process of {found[1]}"
        with watch(sandbox) as gone:
            yield program, gone


def test_interrupt_stops_an_ephemeral_app(daemon: Daemon) -> None:
    with staying(daemon) as (program, gone):
        program.process.send_signal(signal.SIGINT)
        program.end(30)
        gone.wait(120)
    assert "Traceback" not in "\n".join(program.seen)


def test_app_of_a_vanished_client_is_stopped(daemon: Daemon) -> None:
    daemon.stop()
    daemon.start("--heartbeat-window", "4")
    try:
        with staying(daemon, {"SKERRY_HEARTBEAT_INTERVAL": "1"}) as (program, gone):
            program.process.kill()
            gone.wait(60)
    finally:
        daemon.stop()


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed and started and stopped"])
def test_nothing_is_left_on_the_host(daemon: Daemon, killed: bool) -> None:
    with staying(daemon) as (program, gone):
        assert left_on_host(daemon), "the probe sees nothing of a running instance"
        if killed:
            daemon.kill()
            daemon.start()
        daemon.stop()
        gone.wait(120)
        program.process.kill()
    assert left_on_host(daemon) == []
