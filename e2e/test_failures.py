"""A failure of the user's code is a clear exception for its caller, and the next call works."""

import dataclasses

import pytest

from e2e.client import client, run_app
from e2e.daemon import Daemon


@dataclasses.dataclass(frozen=True)
class Failure:
    kind: str
    text: str
    cause: str
    seconds: float


def fail(daemon: Daemon, name: str) -> tuple[Failure, list[str]]:
    with client(daemon, run_app("failures", "--name", name)) as program:
        lines = program.finish()
    _, kind, text, cause, seconds = next(line for line in lines if line.startswith("failed|")).split("|")
    return Failure(kind, text, cause, float(seconds)), lines


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        # An exit is the runner's end, whatever asked for it; the text names the code.
        ("system_exit", "SystemExit|ExecutionError|RemoteError", ["4"]),
        ("recursion", "RecursionError", ["recursion"]),
        ("hard_exit", "ExecutionError|RemoteError", ["3"]),
        ("segfault", "ExecutionError|RemoteError", ["SIGSEGV|signal 11|segmentation fault"]),
        ("unpicklable", "ExecutionError|RemoteError|SerializationError", ["Unpicklable", "holds a lock"]),
        ("chained", "ValueError", ["no such key"]),
    ],
)
def test_failure_is_clear_and_the_next_call_works(daemon: Daemon, name: str, kind: str, words: list[str]) -> None:
    failure, lines = fail(daemon, name)
    assert failure.kind in kind.split("|")
    for alternatives in words:
        assert any(word.lower() in failure.text.lower() for word in alternatives.split("|")), failure
    assert "again|fine" in lines


def test_chained_cause_is_kept(daemon: Daemon) -> None:
    failure, _ = fail(daemon, "chained")
    assert failure.cause == "KeyError"


def test_out_of_memory_names_the_limit(daemon: Daemon) -> None:
    failure, _ = fail(daemon, "out_of_memory")
    assert "out of memory" in failure.text.lower()
    assert "256" in failure.text


def test_timeout_comes_within_a_second_of_the_limit(daemon: Daemon) -> None:
    failure, lines = fail(daemon, "too_long")
    assert failure.kind == "FunctionTimeoutError"
    assert 2 <= failure.seconds < 3
    assert "again|in time" in lines
