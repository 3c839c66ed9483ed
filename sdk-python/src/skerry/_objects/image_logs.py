"""``Image.logs``: what the build of an image said."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from skerry._gen.skerry.v1.image_pb import GetImageLogRequest
from skerry._twin import generator_twin
from skerry.exception import ExecutionError, LogsFetchError
from skerry.types import LogEntry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from skerry._gen.skerry.v1.image_pb import GetImageLogResponse

    from .image import Image

MAX_TAIL = 20_000


class ImageLogsManager:
    """What the last build of an image said, also of one that failed. Of steps that were in the cache there is nothing."""

    def __init__(self, image: Image) -> None:
        self._image = image

    @generator_twin
    def fetch(self, layers: int | None = 1) -> Iterator[LogEntry]:
        """Yield what the last layers said, oldest first.

        Args:
            layers: how many: calls of builder methods, the base being one as well; None: all.
        """
        yield from self._layers(layers)

    @fetch.native
    async def _fetch_aio(self, layers: int | None = 1) -> AsyncIterator[LogEntry]:
        import asyncio

        for entry in await asyncio.to_thread(self._layers, layers):
            yield entry

    @generator_twin
    def tail(self, entries: int = 100) -> Iterator[LogEntry]:
        """Yield the last entries, oldest first.

        Args:
            entries: how many, at most 20,000; LogsFetchError for more.
        """
        yield from self._last(entries)

    @tail.native
    async def _tail_aio(self, entries: int = 100) -> AsyncIterator[LogEntry]:
        import asyncio

        for entry in await asyncio.to_thread(self._last, entries):
            yield entry

    def _layers(self, layers: int | None) -> list[LogEntry]:
        if layers is not None and layers < 1:
            raise LogsFetchError(f"fetch({layers}): want 1 or more layers, or None for all")
        image_id, log = self._read()
        return entries_of(image_id, log, layers)

    def _last(self, entries: int) -> list[LogEntry]:
        if not 1 <= entries <= MAX_TAIL:
            raise LogsFetchError(f"tail({entries}): want 1 to {MAX_TAIL:,} entries; use fetch(None) for all")
        image_id, log = self._read()
        return entries_of(image_id, log, None)[-entries:]

    def _read(self) -> tuple[str, GetImageLogResponse]:
        from skerry._client.client import shared_client

        image_id = self._image._object_id or self._image._failed_id
        if image_id is None:
            raise ExecutionError("the image has not been built; its log is there once an app that uses it has run")
        client = shared_client()
        return image_id, client.call(lambda: client.images.get_image_log(GetImageLogRequest(image_id=image_id)))


def entries_of(image_id: str, log: GetImageLogResponse, layers: int | None) -> list[LogEntry]:
    """Return what the last layers of a build said; None: all."""
    steps = [(s.step.recipe_step if s.step is not None else 0, s) for s in log.steps]
    if layers is not None:
        kept = sorted({number for number, _ in steps})[-layers:]
        steps = [(number, s) for number, s in steps if number in kept]
    found: list[LogEntry] = []
    for _, step in steps:
        for line in step.lines:
            stamp: Any = line.time
            at = datetime.fromtimestamp(stamp.seconds + stamp.nanos / 1e9, timezone.utc)
            found.append(LogEntry(line.text + "\n", at, "stdout", image_id, ()))
    return found
