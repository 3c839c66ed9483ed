"""Queues: items that are taken in the order in which they were put, for everything in an environment."""

from __future__ import annotations

import contextlib
import queue
import time
import warnings
from typing import TYPE_CHECKING, Any

from skerry import exception as exc
from skerry._client.direct import aside, ask, direct, unless_used, waiting
from skerry._client.dual import dual_iterator
from skerry._gen.skerry.v1 import queue_pb as pb
from skerry._names import new_id
from skerry._run.policies import duration

from .ephemeral import Ephemeral
from .infos import QueueInfo
from .named import Kind, Manager, Named, created_at
from .plain import decode, encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from skerry._client.client import Client

_MAX_PARTITION_BYTES = 64
_MAX_ITEM_BYTES = 1 << 20
_MAX_ITEMS = 5000
_MAX_PUT_BYTES = 32 << 20
_MAX_TTL_SECONDS = 7 * 24 * 3600
# How long one request waits at the server: the wait goes on with the next one.
_WAIT_SECONDS = 50.0
# How long the server is tried to be told that what was taken is not wanted.
_GIVE_BACK_SECONDS = 2.0
_YEARS_SECONDS = 10 * 365 * 24 * 3600.0


class Queue(Named):
    """Items that are taken in the order in which they were put, shared by everything in an environment.

    ::

        jobs = skerry.Queue.from_name("jobs", create_if_missing=True)
        jobs.put({"id": 1})
        print(jobs.get())

    Items are anything that can be pickled. A partition is a queue of its own, named by up to 64 bytes; without one the default partition is
    meant. Each item is got once: by who waits longest. A ``get`` that is given up while it waits takes nothing; a process that dies after
    an item was sent to it takes the item with it. A partition is cleared once nothing was put into it for its time to live.

    A queue has up to 100,000 partitions with items, a partition up to 5,000 items of up to 1 MiB.

    Each method has an ``.aio`` form: ``await jobs.get.aio()``, ``await jobs.put.aio(1)``.
    """

    _kind = Kind("queue", "qu")

    objects: Manager[Queue]
    """Makes, lists and deletes queues."""

    @staticmethod
    def from_name(
        name: str,
        *,
        environment_name: str | None = None,
        create_if_missing: bool = False,
        client: Client | None = None,
    ) -> Queue:
        """Return a handle of the queue that has a name. The server is asked when it is first used, and NotFoundError raised then.

        Args:
            name: 1 to 64 letters, digits, '-', '_' or '.'.
            environment_name: default: the configured one.
            create_if_missing: make it where it is not there.
            client: default: the process's own.
        """
        return Queue._make(name=name, environment=environment_name, create=create_if_missing, client=client)

    @staticmethod
    def from_id(queue_id: str, client: Client | None = None) -> Queue:
        """Return a handle of the queue that has an id, "qu-..."."""
        return Queue._of_id(queue_id, client)

    @staticmethod
    def ephemeral(client: Client | None = None, environment_name: str | None = None) -> Ephemeral[Queue]:
        """Return a queue without a name for a ``with`` or ``async with`` block. It goes with the block, or with this process."""
        return Ephemeral(Queue, client, environment_name)

    @staticmethod
    def validate_partition_key(partition: str | None) -> bytes:
        """Return the key of a partition as the server gets it. Raises InvalidError unless it has 1 to 64 bytes."""
        if partition is None:
            return b""
        key = partition.encode()
        if not 1 <= len(key) <= _MAX_PARTITION_BYTES:
            raise exc.InvalidError(f"a partition key of {len(key)} bytes; want 1 to {_MAX_PARTITION_BYTES}")
        return key

    @direct
    async def info(self) -> QueueInfo:
        """Return what the server knows of it. Raises NotFoundError."""
        info = await self._describe()
        return QueueInfo(info.name or None, created_at(info), info.created_by)

    @direct
    async def put(
        self,
        v: Any,
        block: bool = True,
        timeout: float | None = None,
        *,
        partition: str | None = None,
        partition_ttl: int = 86400,
    ) -> None:
        """Put an item at the end.

        Args:
            v: anything that can be pickled; at most 1 MiB then, or RequestSizeError is raised.
            block: wait while the partition is full.
            timeout: most seconds to wait.
            partition: which queue of this queue; default: the one without a name.
            partition_ttl: seconds that the partition lives when nothing more is put into it, at most 7 days.

        Raises ``queue.Full`` if there is no room, or none in time.
        """
        await self._put([v], block, timeout, partition, partition_ttl, "Queue.put")

    @direct
    async def put_many(
        self,
        vs: Sequence[Any],
        block: bool = True,
        timeout: float | None = None,
        *,
        partition: str | None = None,
        partition_ttl: int = 86400,
    ) -> None:
        """Put several items at the end, all or none of them: nobody's come in between. The arguments are as in :meth:`put`.

        At most 5,000 items of together 32 MiB, or RequestSizeError is raised.
        """
        await self._put(list(vs), block, timeout, partition, partition_ttl, "Queue.put_many")

    @direct
    async def get(self, block: bool = True, timeout: float | None = None, *, partition: str | None = None) -> Any:
        """Take the first item and return it.

        Args:
            block: wait for an item; else None is returned where there is none.
            timeout: most seconds to wait; ``queue.Empty`` is raised then.
            partition: which queue of this queue; default: the one without a name.
        """
        items = await self._take(1, block, timeout, partition)
        return items[0] if items else None

    @direct
    async def get_many(
        self, n_values: int, block: bool = True, timeout: float | None = None, *, partition: str | None = None
    ) -> list[Any]:
        """Take up to so many items from the front and return them: those that are there, and at least one where it waits.

        The arguments are as in :meth:`get`. Without ``block`` the list may be empty.
        """
        if n_values < 1:
            raise exc.InvalidError(f"Queue.get_many: n_values is {n_values}; want 1 or more")
        return await self._take(min(n_values, _MAX_ITEMS), block, timeout, partition)

    @direct
    async def len(self, *, partition: str | None = None, total: bool = False) -> int:
        """Return how many items there are, in a partition or, with ``total``, in all of them."""
        if partition is not None and total:
            raise exc.InvalidError("Queue.len: either partition or total, not both")
        client, queue_id = await self._ready()
        request = pb.CountQueueRequest(queue_id=queue_id, partition=self.validate_partition_key(partition), total=total)
        return (await ask(client, lambda services: services.queues.count_queue(request))).count

    @direct
    async def clear(self, *, partition: str | None = None, all: bool = False) -> None:  # noqa: A002 - the reference's name
        """Remove all items of a partition or, with ``all``, of all partitions at once."""
        if partition is not None and all:
            raise exc.InvalidError("Queue.clear: either partition or all, not both")
        client, queue_id = await self._ready()
        request = pb.ClearQueueRequest(queue_id=queue_id, partition=self.validate_partition_key(partition), all=all)
        await ask(client, lambda services: services.queues.clear_queue(request))

    @dual_iterator
    async def iterate(self, *, partition: str | None = None, item_poll_timeout: float = 0.0) -> AsyncIterator[Any]:
        """Iterate over the items without taking them.

        Args:
            partition: which queue of this queue; default: the one without a name.
            item_poll_timeout: seconds to wait for the next item before the end.
        """
        from skerry._sandbox.watching import stream_on

        client, queue_id = await self._ready()
        request = pb.ReadQueueRequest(queue_id=queue_id, partition=self.validate_partition_key(partition))
        if item_poll_timeout > 0:
            request.wait = duration(min(item_poll_timeout, _YEARS_SECONDS))
        async for answer in stream_on(client, lambda: client.aio.queues.read_queue(request)):
            for item in answer.items:
                yield _read(item)
            request.after = answer.cursor

    # Inside the package.

    async def _put(
        self, values: list[Any], block: bool, timeout: float | None, partition: str | None, ttl: int, what: str
    ) -> None:
        _check_wait(what, block, timeout)
        request = pb.PutQueueItemsRequest(
            partition=self.validate_partition_key(partition), ttl=_ttl(ttl), request_id=_request_id()
        )
        if not values:
            return
        request.items.extend(_items(values, what))
        client, request.queue_id = await self._ready()

        async def put(seconds: float) -> bool:
            request.wait = duration(seconds)
            return not (await ask(client, lambda services: services.queues.put_queue_items(request))).full

        if not await _patiently(put, block, timeout):
            raise queue.Full

    async def _take(self, count: int, block: bool, timeout: float | None, partition: str | None) -> list[Any]:
        _check_wait("Queue.get", block, timeout)
        request = pb.TakeQueueItemsRequest(
            partition=self.validate_partition_key(partition), count=count, request_id=_request_id()
        )
        client, request.queue_id = await self._ready()

        async def take(seconds: float) -> list[pb.QueueItem]:
            request.wait = duration(seconds)
            return list((await ask(client, lambda services: services.queues.take_queue_items(request))).items)

        try:
            items = await _patiently(take, block, timeout)
        except BaseException as err:
            if not isinstance(err, Exception):  # Ctrl-C, or a cancelled task: the answer may be on its way
                await self._give_back(client, request)
            raise
        if not items and block:
            raise queue.Empty
        # Read first: what can't be read must not come back to its getter again and again.
        values = [_read(item) for item in items]
        if values:
            await unless_used(lambda: self._give_back(client, request))
        return values

    async def _give_back(self, client: Client, take: pb.TakeQueueItemsRequest) -> None:
        """Have others get what a request has taken that was given up."""
        request = pb.ReturnQueueItemsRequest(
            queue_id=take.queue_id, partition=take.partition, request_id=take.request_id
        )

        async def give() -> None:
            with contextlib.suppress(exc.Error):  # it is gone, or the server is away: then nobody gets them
                await ask(client, lambda services: services.queues.return_queue_items(request), _GIVE_BACK_SECONDS)

        await aside(give())


Queue.objects = Manager(Queue)


async def _patiently(attempt: Any, block: bool, timeout: float | None) -> Any:
    """Do a request until it brings something or the time is over: first without waiting, as most need no more."""
    result = await attempt(0.0)
    if result or not block or (timeout is not None and timeout <= 0):
        return result

    async def again() -> Any:
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _WAIT_SECONDS if end is None else min(end - time.monotonic(), _WAIT_SECONDS)
            if left <= 0:
                return None
            if found := await attempt(left):
                return found

    return await waiting(again())


def _check_wait(what: str, block: bool, timeout: float | None) -> None:
    if not block and timeout is not None:
        warnings.warn(f"{what}: timeout has no effect where block is False", stacklevel=6)
    if timeout is not None and timeout < 0:
        raise exc.InvalidError(f"{what}: timeout is {timeout}; want 0 or more seconds")


def _ttl(seconds: int) -> Any:
    if not 1 <= seconds <= _MAX_TTL_SECONDS:
        raise exc.InvalidError(f"partition_ttl is {seconds}; want 1 to {_MAX_TTL_SECONDS} seconds")
    return duration(float(seconds))


def _items(values: list[Any], what: str) -> list[pb.QueueItem]:
    if len(values) > _MAX_ITEMS:
        raise exc.RequestSizeError(f"{what} request is too large: {len(values):,} items; the most is {_MAX_ITEMS:,}")
    items: list[pb.QueueItem] = []
    size = 0
    for value in values:
        format, data = encode(value, "the item")  # noqa: A001 - the field's name
        if len(data) > _MAX_ITEM_BYTES:
            raise exc.RequestSizeError(
                f"{what} request is too large: an item takes {len(data):,} bytes; the most is 1 MiB"
            )
        size += len(data)
        items.append(pb.QueueItem(format=format, data=data))
    if size > _MAX_PUT_BYTES:
        raise exc.RequestSizeError(f"{what} request is too large: over 32 MiB; put fewer items at a time")
    return items


def _read(item: pb.QueueItem) -> Any:
    return decode(item.format, item.data, lambda: "an item of a queue")


def _request_id() -> str:
    return new_id("")[1:]
