"""What a sandbox uses, and what happens to it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from skerry import exception as exc
from skerry._client.dual import dual_iterator
from skerry._client.feed import Ready
from skerry._gen.skerry.v1.sandbox_watch_pb import StreamSandboxEventsRequest, StreamSandboxMetricsRequest
from skerry._run.policies import duration

from .values import metrics, sandbox_event
from .watching import stream_on

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from skerry import types
    from skerry._client.client import Client

    from .inside import Inside


class Observing:
    """The part of a sandbox that is watched."""

    _client: Client
    _inside: Inside
    _sandbox_id: str

    @dual_iterator
    async def metrics(self, interval: float = 1.0) -> AsyncIterator[types.SandboxMetrics]:
        """Iterate over what it uses, at once and then as often as asked for, until it ends.

        Args:
            interval: seconds between measurements, 0.1 s to 1 h.
        """
        self._inside.check()
        if isinstance(interval, bool) or not 0.1 <= interval <= 3600:
            raise exc.InvalidError(f"interval {interval!r}: want seconds, from 0.1 to 3600")
        request = StreamSandboxMetricsRequest(sandbox_id=self._sandbox_id, interval=duration(interval))
        with contextlib.suppress(exc.ConflictError):  # it has ended
            async for response in stream_on(
                self._client, lambda: self._client.aio.sandbox_watch.stream_sandbox_metrics(request)
            ):
                yield metrics(response)

    @dual_iterator
    async def events(self) -> AsyncIterator[types.SandboxEvent | Ready]:
        """Iterate over what happens to it, what has happened already first, until it has ended."""
        self._inside.check()
        request = StreamSandboxEventsRequest(sandbox_id=self._sandbox_id)
        seen: set[tuple[Any, ...]] = set()
        async for response in stream_on(
            self._client, lambda: self._client.aio.sandbox_watch.stream_sandbox_events(request)
        ):
            if response.watching:
                yield Ready()
                continue
            event = sandbox_event(response)
            if (key := (event.type, event.time, event.object_id)) not in seen:
                seen.add(key)
                yield event
