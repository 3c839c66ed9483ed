"""Output of containers over connections that break, and what terminals and pipes show of it."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from protobuf.wkt import Timestamp

from skerry import exception as exc
from skerry._gen.skerry.v1.log_pb import LogEntry, LogSource, StreamLogsRequest
from skerry._run.logs import follow
from skerry._run.terminal import TerminalDisplay


def entry(seconds: float, text: str, container: str = "ta-1", source: LogSource = LogSource.STDOUT, **more) -> LogEntry:
    whole = int(seconds)
    time = Timestamp(seconds=whole, nanos=round((seconds - whole) * 1e9))
    return LogEntry(
        time=time, text=text, container_id=container, source=source, function_id="fu-1", function_name="f", **more
    )


class Connection:
    """In place of a client: has the output of an app, of which each connection brings some before it breaks."""

    def __init__(self, output: list[LogEntry], lengths: list[int | None]) -> None:
        self.output = output
        self.lengths = lengths
        self.requests: list[tuple[float, int]] = []
        self.logs = SimpleNamespace(stream_logs=self._stream_logs)

    def stream(self, rpc):
        return rpc()

    def _stream_logs(self, request: StreamLogsRequest, *, timeout_ms: int):
        assert timeout_ms > 0
        since = 0.0 if request.since is None else request.since.seconds + request.since.nanos / 1e9
        self.requests.append((since, request.tail))
        wanted = [e for e in self.output if e.time is not None and e.time.seconds + e.time.nanos / 1e9 >= since]
        length = self.lengths.pop(0)
        yield SimpleNamespace(entries=wanted[:length])
        if length is not None:
            raise exc.ServiceError("broken")


def read(connection: Connection, **request) -> list[str]:
    wanted = StreamLogsRequest(app="ap-1", **request)
    return [e.text for e in follow(connection, wanted, threading.Event())]  # pyright: ignore[reportArgumentType]


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr("skerry._run.logs._RETRY_DELAY", 0)


def test_output_goes_on_after_a_break_without_gaps_or_repetition():
    output = [entry(100 + i, f"{i}\n") for i in range(20)]
    connection = Connection(output, [8, 2, 9, None])
    assert read(connection, follow=True, tail=5) == [f"{i}\n" for i in range(20)]
    assert connection.requests[0] == (0, 5)
    assert all(since > 100 and tail == 0 for since, tail in connection.requests[1:])


def test_what_arrives_late_by_its_time_is_not_lost():
    output = [entry(100.0, "a\n"), entry(102.0, "b\n"), entry(101.5, "c\n", "ta-2"), entry(102.0, "b\n", "ta-2")]
    assert read(Connection(output, [2, 1, None]), follow=True) == ["a\n", "b\n", "c\n", "b\n"]


def test_breaks_before_anything_came():
    connection = Connection([entry(1, "a\n")], [0, 0, None])
    assert read(connection, tail=7) == ["a\n"]
    assert connection.requests == [(0, 7)] * 3


def test_a_request_that_does_not_follow_gives_up():
    with pytest.raises(exc.ServiceError):
        read(Connection([], [0] * 11))


def shown(capfd, *entries: LogEntry, **options) -> tuple[str, str]:
    display = TerminalDisplay(**options)
    for e in entries:
        display.log_entry(e)
    display.close()
    return capfd.readouterr()


def test_streams_are_kept_apart(capfd):
    entries = [
        entry(1, f"{source.name}\n", source=source) for source in (LogSource.STDOUT, LogSource.STDERR, LogSource.SYSTEM)
    ]
    assert shown(capfd, *entries) == ("f | STDOUT\n", "f | STDERR\nf | SYSTEM\n")


def test_last_pieces_without_a_newline_are_lines(capfd):
    assert shown(capfd, entry(1, "no newline"), entry(2, "next\n"))[0] == "f | no newline\nf | next\n"


def test_long_lines_come_in_pieces_and_are_shown_whole(capfd):
    piece, ending = "x" * (64 << 10), "y" * 10 + "\n"
    out, _ = shown(
        capfd,
        entry(1, piece, "ta-1"),
        entry(2, "other\n", "ta-2"),
        entry(3, piece, "ta-1"),
        entry(4, ending, "ta-1"),
        entry(5, piece, "ta-1"),  # the end is missing
    )
    assert out == f"f | other\nf | {piece}{piece}{ending}f | {piece}\n"


def test_markup_and_control_characters_of_users_are_text(capfd):
    assert shown(capfd, entry(1, "[bold]x[/bold] [1, 2]\n"))[0] == "f | [bold]x[/bold] [1, 2]\n"


def test_ids_and_timestamps(capfd, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    out, _ = shown(
        capfd, entry(0, "x\n", call_id="fc-1"), timestamps=True, ids=["function_id", "call_id", "container_id"]
    )
    assert out.endswith(" fu-1 fc-1 ta-1 f | x\n")
    assert out.startswith("19")


def test_nothing_is_shown_while_a_container_has_the_terminal(capfd):
    display = TerminalDisplay()
    with display.lent():
        display.log_entry(entry(1, "held back\n"))
        with display.status("working"):
            assert capfd.readouterr().out == ""
    assert capfd.readouterr().out == "f | held back\n"
    display.close()
