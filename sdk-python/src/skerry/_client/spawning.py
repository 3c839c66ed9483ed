"""Many spawned calls, or one of many inputs, of which the caller only waits until they are recorded.

At most a window of inputs is on its way to be recorded, so that memory stays bounded however many there are.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from skerry._gen.skerry.v1.call_pb import CallKind, Input
from skerry.exception import InvalidError

from .blobs import MAX_INLINE_BYTES, make_payload
from .outstanding import Call
from .serialization import serialize
from .waiting import Once

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from skerry.exception import Error

    from .client import Client
    from .single import Arguments

# How many inputs are on their way to be recorded at a time.
WINDOW = 256


class _Spawning(Call):
    """Inputs of one call that are on their way to be recorded."""

    __slots__ = ("changed", "error")

    def __init__(self, function_id: str) -> None:
        super().__init__(function_id, CallKind.SPAWN)
        self.changed = Once()
        self.error: Error | None = None

    def accept(self, indexes: list[int]) -> None:
        """Learn that inputs are recorded."""
        for index in indexes:
            self.unfinished.pop(index, None)
        self._notify()

    def fail(self, error: Error) -> None:
        """Learn that they are not."""
        self.error = error
        self._notify()

    def wait_below(self, bound: int) -> Once | None:
        """Return None once fewer inputs are on their way, else what to wait for. Raises what went wrong."""
        changed = self.changed
        if self.error is not None:
            raise self.error
        return changed if len(self.unfinished) >= bound else None

    def _notify(self) -> None:
        changed, self.changed = self.changed, Once()
        changed.set()


class Spawner:
    """Spawns what a user's iterators give: a call for each input, or one call of all.

    ``send`` and ``finish`` return what to wait for until they return None; ``end`` is called last, whatever happened.

    Args:
        client: where to run.
        function_id: what to run.
        name: the function's name, for messages.
        method: the method, where the function is a class.
        together: one call of all inputs.
    """

    def __init__(self, client: Client, function_id: str, name: str, method: str, *, together: bool) -> None:
        self._client = client
        self._function_id = function_id
        self._name = name
        self._method = method
        self._together = together
        self._count = 0
        self._calls: deque[_Spawning] = deque()

    def encode(self, arguments: Arguments) -> bytes:
        """Return the pickle of an input's arguments."""
        return serialize(arguments, self._what)

    def send(self, data: bytes) -> None:
        """Send an input on its way. Uploads a large one first."""
        payload = make_payload(self._client, data, self._what)
        if not self._together or not self._calls:
            self._calls.append(_Spawning(self._function_id))
        index = self._count if self._together else 0
        self._count += 1
        self._client.session.submit(self._calls[-1], [Input(index=index, args=payload, method=self._method)])

    def room(self) -> Once | None:
        """Return None once another input may be sent, else what to wait for. Raises what went wrong."""
        return self._wait(WINDOW)

    def rest(self) -> Once | None:
        """Return None once all inputs are recorded, else what to wait for. Raises what went wrong."""
        return self._wait(1)

    @property
    def call_id(self) -> str:
        """The id of the one call. Raises InvalidError where it would have no inputs."""
        if not self._count:
            raise InvalidError(f"{self._name}: a call needs at least one input")
        return self._calls[0].call_id

    def end(self) -> None:
        """Forget the calls."""
        for call in self._calls:
            self._client.session.release(call)

    @property
    def _what(self) -> str:
        return f"the arguments of {self._name}"

    def _wait(self, bound: int) -> Once | None:
        if self._together:
            return self._calls[0].wait_below(bound) if self._calls else None
        while self._calls and (len(self._calls) >= bound or not self._calls[0].unfinished):
            if (wait := self._calls[0].wait_below(1)) is not None:
                return wait
            self._client.session.release(self._calls.popleft())
        return None


def spawn_all(spawner: Spawner, inputs: Iterator[Arguments]) -> None:
    """Spawn inputs that are drawn in the caller's thread; returns when all are recorded.

    What an iterator raises is raised once the inputs drawn before it are recorded.
    """

    def settle() -> None:
        while (wait := spawner.rest()) is not None:
            wait.wait()

    try:
        for arguments in inputs:
            spawner.send(spawner.encode(arguments))
            while (wait := spawner.room()) is not None:
                wait.wait()
    except Exception:
        settle()
        raise
    else:
        settle()
    finally:
        spawner.end()


async def spawn_all_aio(spawner: Spawner, inputs: AsyncGenerator[Arguments, None]) -> None:
    """Do the same with inputs that are drawn in the caller's event loop."""
    import asyncio

    async def settle() -> None:
        while (wait := spawner.rest()) is not None:
            await wait.wait_aio()

    try:
        async for arguments in inputs:
            data = spawner.encode(arguments)
            if len(data) > MAX_INLINE_BYTES:
                await asyncio.to_thread(spawner.send, data)
            else:
                spawner.send(data)
            while (wait := spawner.room()) is not None:
                await wait.wait_aio()
    except Exception:
        await settle()
        raise
    else:
        await settle()
    finally:
        spawner.end()
        await inputs.aclose()
