"""Section 8: cancellation and stops."""

import re
from collections.abc import Generator

import pytest
import skerry

from e2e.client import Client, client
from e2e.conformance.apps import cancelling
from e2e.conformance.conftest import Running
from e2e.conformance.lines import line
from e2e.daemon import SKERRY, Daemon


@pytest.fixture(autouse=True, scope="module")
def app(running: Running) -> skerry.App:
    with running(cancelling.app) as app:
        return app


@pytest.fixture
def logs(app: skerry.App, daemon: Daemon) -> Generator[Client]:
    """What the app prints from here on."""
    assert app.app_id is not None
    with client(daemon, [str(SKERRY), "app", "logs", app.app_id, "-f"]) as program:
        yield program


def _cancelled(call: "skerry.FunctionCall[str]") -> None:
    with pytest.raises(skerry.exception.RemoteError, match="cancel"):
        call.get(timeout=60)


@line("8 cancellation", "Non-concurrent sync: InputCancellation in the main thread; the container continues.")
def test_running_function_is_interrupted(logs: Client) -> None:
    call = cancelling.blocked.spawn(600)
    task = logs.until("sync waits").split()[-1]
    call.cancel()
    logs.until("sync saw InputCancellation")
    _cancelled(call)
    assert cancelling.blocked.remote(0) == task


@line("8 cancellation", "Non-concurrent async: task cancelled.")
def test_running_coroutine_is_cancelled(logs: Client) -> None:
    call = cancelling.awaiting.spawn(600)
    task = logs.until("async waits").split()[-1]
    call.cancel()
    logs.until("async saw CancelledError")
    _cancelled(call)
    assert cancelling.awaiting.remote(0) == task


@line("8 cancellation", "Concurrent async: only the matching task cancelled.")
def test_one_of_several_coroutines_is_cancelled() -> None:
    others = [cancelling.together.spawn(3) for _ in range(3)]
    call = cancelling.together.spawn(600)
    call.cancel()
    _cancelled(call)
    tasks = {other.get() for other in others}
    assert len(tasks) == 1


@line("8 cancellation", "Concurrent sync: the input is cancelled; the others still give their results.")
def test_one_of_several_threads_is_cancelled() -> None:
    others = [cancelling.threads.spawn(3) for _ in range(3)]
    call = cancelling.threads.spawn(600)
    call.cancel()
    _cancelled(call)
    assert all(other.get() for other in others)


@line("8 cancellation", "Queued inputs never begin.")
def test_waiting_inputs_never_begin(logs: Client) -> None:
    first = cancelling.blocked.spawn(600)
    logs.until("sync waits")
    waiting = [cancelling.blocked.spawn(600) for _ in range(5)]
    for call in [*waiting, first]:
        call.cancel()
    for call in [*waiting, first]:
        _cancelled(call)
    assert cancelling.blocked.remote(0)


@line("8 cancellation", "Cancellation after output sent is a no-op.")
def test_cancelling_what_has_ended() -> None:
    call = cancelling.blocked.spawn(0)
    task = call.get()
    call.cancel()
    assert call.get() == task


@line("8 cancellation", "Code that swallows InputCancellation: the input is given up and its container killed.")
def test_code_that_will_not_be_cancelled() -> None:
    call = cancelling.stubborn.spawn(600)
    list(cancelling.together.map([0.0]))
    call.cancel()
    _cancelled(call)
    assert cancelling.stubborn.remote(0.0) == "done"


@line("2 FunctionCall", "cancel(terminate_containers=True) also kills the containers running them.")
def test_cancel_with_containers(logs: Client) -> None:
    call = cancelling.blocked.spawn(600)
    task = logs.until("sync waits").split()[-1]
    call.cancel(terminate_containers=True)
    _cancelled(call)
    assert cancelling.blocked.remote(0) != task


@line("8 cancellation", "SIGINT to container (stop): sync input gets KeyboardInterrupt, no output; the input is rescheduled elsewhere.")
def test_stopped_container_gives_its_input_back(logs: Client, daemon: Daemon) -> None:
    call = cancelling.interrupted.spawn(600)
    found = re.search(r"interrupted waits in (\S+)", logs.until("interrupted waits"))
    assert found is not None
    daemon.skerry("container", "stop", found[1], "--yes")
    logs.until("saw KeyboardInterrupt")
    again = re.search(r"interrupted waits in (\S+)", logs.until("interrupted waits"))
    assert again is not None and again[1] != found[1]
    call.cancel()
    _cancelled(call)
