"""How long a server that does not answer is tried."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from . import faults

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from connectrpc.errors import ConnectError

    from skerry.exception import Error

_FIRST_DELAY = 0.02
_LONGEST_DELAY = 0.5


class Patience:
    """How long a server is tried, and what is raised then. Shared by all connections of a client.

    Args:
        first: seconds for a server that was never reached.
        later: seconds for one that was.
        give_up: makes the exception from the last error's text.
    """

    def __init__(self, first: float, later: float, give_up: Callable[[str], Error]) -> None:
        self.reached = False
        self._first = first
        self._later = later
        self._give_up = give_up

    def retries(self, closing: threading.Event, within: float | None = None) -> Retries:
        """Begin a series of attempts, which ends early once ``closing`` is set, or after ``within`` seconds if that is less."""
        return Retries(self, closing, within)

    @property
    def seconds(self) -> float:
        """How long to try from now on."""
        return self._later if self.reached else self._first

    def error(self, reason: str) -> Error:
        """Return what to raise when the time is over."""
        return self._give_up(reason)


class Retries:
    """One series of attempts with growing delays."""

    def __init__(self, patience: Patience, closing: threading.Event, within: float | None) -> None:
        self._patience = patience
        self._closing = closing
        self._within = within
        self.succeeded()

    def succeeded(self) -> None:
        """Begin anew: the server answered."""
        self._since: float | None = None
        self._delay = _FIRST_DELAY

    def next_delay(self, error: ConnectError) -> float | None:
        """Return the seconds to wait before the next attempt. None if the time is over."""
        now = time.monotonic()
        if not faults.is_refused(error):
            self._patience.reached = True
        self._since = self._since or now
        seconds = self._patience.seconds if self._within is None else min(self._within, self._patience.seconds)
        delay = self._delay
        if now + delay - self._since > seconds:
            return None
        self._delay = min(delay * 2, _LONGEST_DELAY)
        return delay

    def wait(self, error: ConnectError) -> bool:
        """Wait before the next attempt. False if the time is over."""
        delay = self.next_delay(error)
        if delay is None:
            return False
        self._closing.wait(delay)
        return True
