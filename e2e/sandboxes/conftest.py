"""Sandboxes of a test, which end with it."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
import skerry

from e2e.client import sdk_of
from e2e.daemon import Daemon


class Make(Protocol):
    """Makes a sandbox, which ends with the test."""

    def __call__(self, *args: str, **given: Any) -> skerry.Sandbox:
        """Do it; parameters are those of Sandbox.create."""
        ...


@pytest.fixture(scope="session")
def session_daemon() -> Iterator[Daemon]:
    """A daemon of these tests' own, which keeps no sandboxes ready: what there is of sandboxes is somebody's, or was left."""
    with tempfile.TemporaryDirectory(prefix="skerry-e2e-") as folder:
        daemon = Daemon(Path(folder))
        daemon.role = (*daemon.role, "--hot-sandboxes=-1")
        try:
            yield daemon
        finally:
            daemon.stop()


@pytest.fixture
def app(daemon: Daemon) -> Iterator[skerry.App]:
    """An app of the daemon's, in which this process is a client."""
    with sdk_of(daemon):
        yield skerry.App.lookup("sandboxes", create_if_missing=True)


@pytest.fixture
def make(daemon: Daemon, app: skerry.App) -> Iterator[Make]:
    """What makes sandboxes."""
    with contextlib.ExitStack() as ends:

        def create(*args: str, **given: Any) -> skerry.Sandbox:
            given.setdefault("timeout", 900)
            made = skerry.Sandbox.create(*args, app=app, **given)
            ends.callback(made.terminate, wait=True)
            return made

        yield create
        daemon.revive()
