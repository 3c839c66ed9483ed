"""One client in this process, for the daemon of all tests."""

import contextlib
from collections.abc import Callable, Generator, Iterator

import pytest
import skerry

from e2e.client import sdk_of
from e2e.daemon import Daemon

Running = Callable[[skerry.App], contextlib.AbstractContextManager[skerry.App]]


@pytest.fixture(scope="package")
def profile(session_daemon: Daemon) -> Iterator[dict[str, str]]:
    """The SDK in this process uses the daemon, with the settings that its first start has written."""
    session_daemon.start()
    with sdk_of(session_daemon) as settings:
        yield settings


@pytest.fixture(scope="package")
def connected(profile: dict[str, str]) -> None:
    """Has the SDK in this process use the daemon."""
    del profile


@pytest.fixture(autouse=True)
def reachable(daemon: Daemon, connected: None) -> None:
    """Every test here needs both."""
    del daemon, connected


@pytest.fixture(scope="module")
def running(connected: None, session_daemon: Daemon) -> Generator[Running]:
    """Runs an app for all tests of a module: ``running(app)``, as often as wanted."""
    del connected
    session_daemon.start()
    with contextlib.ExitStack() as stack:
        entered: set[int] = set()

        @contextlib.contextmanager
        def run(app: skerry.App) -> Generator[skerry.App]:
            if id(app) not in entered:
                entered.add(id(app))
                stack.enter_context(app.run())
            yield app

        yield run
