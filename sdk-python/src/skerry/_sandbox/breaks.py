"""What is a break of the connection, and how long it is mended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from skerry._client import faults
from skerry._client.background import check_cancelled

if TYPE_CHECKING:
    from collections.abc import Callable

    from connectrpc.errors import ConnectError

    from skerry._client.client import Client
    from skerry.exception import Error

# How often in a row something is tried again that may as well be an answer: the transport calls some breaks of streams internal errors.
_DOUBTFUL = 5


class Breaks:
    """A series of attempts at one stream.

    Args:
        client: the connection.
        fault: makes the exception of what is no break.
    """

    def __init__(self, client: Client, fault: Callable[[ConnectError], Error] = faults.from_connect) -> None:
        self._client = client
        self._fault = fault
        self._retries = client.retries()
        self._doubtful = 0

    def succeeded(self) -> None:
        """Note that the stream brings something."""
        self._retries.succeeded()
        self._doubtful = 0

    def wait(self, error: ConnectError) -> None:
        """Wait before the next attempt. Raises where there is to be none."""
        self._check(error)
        if not self._retries.wait(error):
            raise self._client._give_up(error.message) from None

    async def wait_aio(self, error: ConnectError) -> None:
        """Do the same in an event loop."""
        await check_cancelled()
        self._check(error)
        delay = self._retries.next_delay(error)
        if delay is None:
            raise self._client._give_up(error.message) from None
        await asyncio.sleep(delay)

    def _check(self, error: ConnectError) -> None:
        if faults.is_refused(error) or (error.code in faults.AWAY and not error.details):
            return
        self._doubtful += 1
        if error.details or not faults.is_broken(error) or self._doubtful > _DOUBTFUL:
            raise self._fault(error) from None
