"""One skerryd serves all tests: a test that ends it finds it started again by the next that asks."""

import os
import signal
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from e2e.daemon import Daemon

# A shell's background job ignores Ctrl-C, and programs that it starts inherit that: those of the tests are to hear it wherever they run.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def session_daemon() -> Generator[Daemon]:
    """The daemon of all tests, not yet started; stopped after the last."""
    with tempfile.TemporaryDirectory(prefix="skerry-e2e-") as folder:
        daemon = Daemon(Path(folder))
        try:
            yield daemon
        finally:
            daemon.stop()


@pytest.fixture
def daemon(session_daemon: Daemon) -> Daemon:
    """A running daemon."""
    session_daemon.start()
    return session_daemon


@pytest.fixture(scope="session")
def full() -> bool:
    """Whether to run at the sizes that are promised to users."""
    return os.environ.get("SKERRY_TEST_FULL") == "1"
