"""Streams of what happens, over broken connections."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from connectrpc.errors import ConnectError

from skerry._client import faults
from skerry._client.feed import Ready
from skerry._gen.skerry.v1.filesystem_pb import WatchFilesResponse
from skerry._run.policies import duration

from .breaks import Breaks
from .faults import file_fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from skerry._client.client import Client
    from skerry._gen.skerry.v1.filesystem_pb import WatchFilesRequest
    from skerry.exception import Error

    from .inside import Inside


async def watch(
    inside: Inside, request: WatchFilesRequest, timeout: float | None
) -> AsyncIterator[WatchFilesResponse | Ready]:
    """Yield Ready, then what happens to files. After a break comes one event without a kind, for what may have been missed."""
    end = None if timeout is None else time.monotonic() + timeout
    begun = False

    def stream() -> Any:
        inside.check()
        if end is not None:
            request.timeout = duration(max(end - time.monotonic(), 0.001))
        return inside.aio.files.watch_files(request)

    async for response in stream_on(inside.client, stream, file_fault):
        if not response.watching:
            yield response
        elif begun:
            yield WatchFilesResponse(paths=[request.path])
        else:
            begun = True
            yield Ready()


async def stream_on(
    client: Client, open_stream: Callable[[], Any], fault: Callable[[ConnectError], Error] = faults.from_connect
) -> AsyncIterator[Any]:
    """Yield what a stream brings, opened again after a break, until the server ends it. Raises what is no break."""
    breaks = Breaks(client, fault)
    while True:
        try:
            async with contextlib.aclosing(open_stream()) as responses:
                async for response in responses:
                    breaks.succeeded()
                    yield response
        except ConnectError as err:
            await breaks.wait_aio(err)
        else:
            return
