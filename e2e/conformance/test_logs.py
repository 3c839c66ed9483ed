"""Section 21: logs."""

import datetime

import pytest
import skerry

from e2e.conformance.apps import logs
from e2e.conformance.conftest import Running
from e2e.conformance.lines import line
from e2e.daemon import Daemon


@pytest.fixture(autouse=True, scope="module")
def app(running: Running) -> skerry.App:
    with running(logs.app) as app:
        return app


def _of(call: "skerry.FunctionCall[None]") -> str:
    """All that a call has written, once it has ended."""
    return "".join(entry.message for entry in call.logs.stream(timeout=30))


@line("21 logs", "A call's stream ends when the call has finished, and has all that it wrote.")
def test_logs_of_a_call() -> None:
    first, second = logs.speak.spawn("first"), logs.speak.spawn("second")
    skerry.FunctionCall.gather(first, second)
    assert sorted(_of(first).splitlines()) == ["first on stderr", "first on stdout"]
    assert sorted(_of(second).splitlines()) == ["second on stderr", "second on stdout"]


@line("21 logs", "Source names stdout/stderr/system.")
def test_sources() -> None:
    call = logs.speak.spawn("source")
    call.get()
    by_source = {entry.source: entry.message.strip() for entry in call.logs.stream(timeout=30)}
    assert by_source == {"stdout": "source on stdout", "stderr": "source on stderr"}


@line("21 logs", "print without newline.")
def test_partial_line() -> None:
    call = logs.partial.spawn()
    call.get()
    assert "no newline at the end" in _of(call)


@line("21 logs", "Binary garbage.")
def test_binary_output() -> None:
    call = logs.binary.spawn()
    call.get()
    text = _of(call)
    assert text.startswith("before ") and text.endswith(" after\n")


@line("21 logs", "Long lines are whole.")
def test_long_lines(full: bool) -> None:
    size = (10 << 20) if full else (1 << 20)
    call = logs.long_line.spawn(size)
    call.get()
    text = _of(call)
    assert text.replace("\n", "") == "x" * size + "|end of the line"


@line("21 logs", "Ordered, never dropped silently.")
def test_many_lines(full: bool) -> None:
    count = 300_000 if full else 20_000
    call = logs.many.spawn(count)
    call.get()
    assert [entry.message for entry in call.logs.stream(timeout=60)] == [f"line {i:07d}\n" for i in range(count)]


@line("21 logs", "stdout/stderr captured by worker: child processes and writes past Python.")
def test_output_of_children() -> None:
    call = logs.child.spawn()
    call.get()
    assert _of(call).splitlines() == ["from a child process", "written past Python"]


@line("21 logs", "Output of inputs that share a container is told apart.")
def test_output_of_concurrent_inputs() -> None:
    calls = {name: logs.together.spawn(name) for name in ("a", "b", "c", "d")}
    skerry.FunctionCall.gather(*calls.values())
    for name, call in calls.items():
        assert _of(call).splitlines() == [f"{name} {i}" for i in range(20)]


@line("21 logs", "Filters: function, search, source; tail.")
def test_filters(app: skerry.App, daemon: Daemon) -> None:
    logs.speak.remote("needle")
    logs.other.remote("needle")
    assert app.app_id is not None
    command = ["app", "logs", app.app_id, "--search", "needle"]
    everything = daemon.skerry(*command).stdout
    assert "needle on stdout" in everything and "needle from the other function" in everything
    one = daemon.skerry(*command, "--function", logs.other.object_id).stdout
    assert "needle from the other function" in one and "needle on stdout" not in one
    errors = daemon.skerry(*command, "--source", "stderr")
    assert "needle on stderr" in errors.stderr and "needle on stdout" not in errors.stdout + errors.stderr
    assert len(daemon.skerry("app", "logs", app.app_id, "--tail", "1").stdout.splitlines()) == 1


@line("11 logs managers", "fetch(since=, until=), tail(entries).")
def test_fetch_and_tail(app: skerry.App) -> None:
    since = datetime.datetime.now(datetime.timezone.utc)
    logs.speak.remote("fetched")
    function = logs.speak
    assert any("fetched on stdout" in str(entry) for entry in function.logs.fetch(since=since))
    assert len(list(app.logs.tail(3))) == 3
    with pytest.raises(skerry.exception.Error):
        list(app.logs.tail(50_000))
