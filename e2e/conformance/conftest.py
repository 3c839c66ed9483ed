"""One client in this process, for the daemon of all tests."""

import contextlib
from collections.abc import Callable, Generator, Iterator

import pytest
import skerry
import tomllib

from e2e.daemon import Daemon

Running = Callable[[skerry.App], contextlib.AbstractContextManager[skerry.App]]


@pytest.fixture(scope="session")
def profile(session_daemon: Daemon) -> dict[str, str]:
    """The settings that the daemon's first start has written."""
    session_daemon.start()
    return tomllib.loads((session_daemon.home / ".skerry.toml").read_text())["local"]


@pytest.fixture(scope="session")
def connected(profile: dict[str, str]) -> Iterator[None]:
    """Has the SDK in this process use the daemon."""
    with pytest.MonkeyPatch.context() as patch:
        for key in ("server_url", "token_id", "token_secret"):
            patch.setenv(f"SKERRY_{key.upper()}", profile[key])
        yield


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
