"""Processes of the host that the tests look at: found by what they run, awaited without asking again and again."""

import contextlib
import os
import select
import signal
import time
from collections.abc import Generator, Iterable
from pathlib import Path


def running(*words: str) -> list[int]:
    """Processes whose command line has all the words, such as "runsc" and a container's id."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if line and all(word in line for word in words):
                found.append(int(entry.name))
    return found


class Watch:
    """Processes whose end can be awaited. A pid that is used again can't be mistaken: the kernel ties each descriptor to one process."""

    def __init__(self, descriptors: dict[int, int]) -> None:
        self._left = descriptors

    def wait(self, seconds: float) -> None:
        """Return when all have ended. Raises AssertionError with those that still run."""
        deadline = time.monotonic() + seconds
        poller = select.poll()
        for descriptor in self._left:
            poller.register(descriptor, select.POLLIN)
        while self._left:
            events = poller.poll(max(0.0, deadline - time.monotonic()) * 1000)
            assert events, f"processes {sorted(self._left.values())} still run after {seconds} s"
            for descriptor, _ in events:
                poller.unregister(descriptor)
                os.close(descriptor)
                del self._left[descriptor]

    def close(self) -> None:
        """Give back what is still held."""
        for descriptor in self._left:
            os.close(descriptor)
        self._left = {}


@contextlib.contextmanager
def watch(pids: Iterable[int]) -> Generator[Watch]:
    """Hold on to processes; those that have ended already count as ended."""
    descriptors: dict[int, int] = {}
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            descriptors[os.pidfd_open(pid)] = pid
    held = Watch(descriptors)
    try:
        yield held
    finally:
        held.close()


def kill(pids: Iterable[int], seconds: float = 120) -> None:
    """End processes as a power cut would; those that have ended already have. Raises AssertionError with those that still run."""
    pids = list(pids)
    with watch(pids) as gone:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        gone.wait(seconds)
