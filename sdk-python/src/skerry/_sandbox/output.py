"""Output of a process on its way here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from protobuf import Oneof

from skerry import exception as exc
from skerry._client import background
from skerry._client.background import check_cancelled
from skerry._client.waiting import Once
from skerry._gen.skerry.v1.process_pb import FollowProcessRequest

from .backlog import Backlog
from .breaks import Breaks

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from typing import TypeAlias

    from skerry._gen.skerry.v1.process_pb import ProcessEvent, ProcessExited, ProcessOutput, StartProcessRequest

    from .inside import Inside

    Sink: TypeAlias = Callable[[bytes], None]

logger = logging.getLogger("skerry")

# How much output of a process waits here for who reads it. Beyond, the stream is left; reading goes on at the offset.
MAX_WAITING = 1 << 20
_READ_BYTES = 256 << 10
_NAMES = ("standard output", "standard error")
KILLED = 137


class Output:
    """What one process writes and how it ends.

    A coroutine in the background draws its frames. It leaves the stream when nobody reads and there is more than is kept here; who reads on
    has it drawn again from where it was left. So it is over lost connections as well.

    Args:
        inside: where the process is.
        process_id: its id.
        start: what starts it; None: it runs already.
        offsets: where to begin in standard output and standard error.
        sinks: what takes the bytes of either instead of readers.
    """

    def __init__(
        self,
        inside: Inside,
        process_id: str,
        start: StartProcessRequest | None = None,
        offsets: tuple[int, int] = (0, 0),
        sinks: tuple[Sink | None, Sink | None] = (None, None),
    ) -> None:
        self.inside = inside
        self.process_id = process_id
        self.pid = 0
        self.exited: ProcessExited | None = None
        self.started = Once()
        if start is None:
            self.started.set()
        self._start = start
        # Where the kept bytes begin in all that was written: what was lost on the way is passed over.
        self._bases = list(offsets)
        self._sinks = sinks
        self._kept = (Backlog(), Backlog())
        self._cursors: tuple[list[Cursor], list[Cursor]] = ([], [])
        self._lock = threading.Lock()
        self._changed = Once()
        self._room: asyncio.Event | None = None
        self._drawing = False
        self._held = False
        self._task: Future[None] | None = None
        self._whole = False
        self.error: exc.Error | None = None

    @property
    def changed(self) -> Once:
        """What happens when anything does. To be read before what is looked for."""
        return self._changed

    @property
    def is_drawn(self) -> bool:
        """Whether its end will come by itself: not while what has come waits for its reader."""
        return self._drawing and not self._held

    @property
    def code(self) -> int | None:
        """The exit code; None where it is not known. -1 where its timeout passed."""
        if self.exited is None:
            return None
        return -1 if self.exited.timed_out else self.exited.exit_code

    def draw(self) -> None:
        """Have its frames drawn, unless they are."""
        with self._lock:
            if not self._drawing and not self._whole and self.error is None:
                self._drawing = True
                self._task = background.submit(self._draw())

    def leave(self) -> None:
        """Draw nothing more."""
        if self._task is not None:
            self._task.cancel()

    def learn(self, exited: ProcessExited) -> None:
        """Note how it ended."""
        if self.exited is None:
            self.exited = exited
        self._notify()

    def cursor(self, descriptor: int) -> Cursor:
        """Return a place in standard output (1) or standard error (2), at its beginning."""
        self.inside.check()
        number = descriptor - 1
        cursor = Cursor(self, number)
        with self._lock:
            # What is not kept here any more is asked for once again.
            old = self._kept[number].start > 0
            if not old:
                self._cursors[number].append(cursor)
        return Output._again(self, number) if old else cursor

    def _again(self, number: int) -> Cursor:
        def nowhere(_data: bytes) -> None:
            """Take what the other stream brings."""

        sinks = (None, nowhere) if number == 0 else (nowhere, None)
        return Output(self.inside, self.process_id, sinks=sinks).cursor(number + 1)

    def take(self, cursor: Cursor) -> bytes | Once | None:
        """Return what is next for a cursor, or what to wait for, or None at the end. Raises what went wrong."""
        changed = self._changed
        kept = self._kept[cursor.number]
        with self._lock:
            data = kept.read(cursor.offset, _READ_BYTES) if cursor.offset < kept.end else b""
            if data:
                cursor.offset += len(data)
                self._trim()
        if data:
            if self._room is not None:
                background.loop().call_soon_threadsafe(self._room.set)
            return data
        if self._whole:
            return None
        if self.error is not None:
            raise self.error
        self.draw()
        return changed

    def release(self, cursor: Cursor) -> None:
        """Note that somebody reads no more."""
        with self._lock:
            if cursor in self._cursors[cursor.number]:
                self._cursors[cursor.number].remove(cursor)
        if self._room is not None:
            with contextlib.suppress(RuntimeError):  # the process ends
                background.loop().call_soon_threadsafe(self._room.set)

    # In the background.

    async def _draw(self) -> None:
        self._room = asyncio.Event()
        breaks = Breaks(self.inside.client)
        try:
            while not await self._draw_once(breaks):
                pass
        except exc.Error as err:
            self.error = err
        finally:
            self._drawing = False
            self.started.set()
            self._notify()

    async def _draw_once(self, breaks: Breaks) -> bool:
        """Draw one stream. True if it is not to be opened again."""
        try:
            async with contextlib.aclosing(self._frames()) as frames:
                async for response in frames:
                    breaks.succeeded()
                    if self._deliver(response.event):
                        return True
                    while self._is_full():
                        if not self._is_read():
                            return True
                        self._room.clear()  # pyright: ignore[reportOptionalMemberAccess] - set by who calls this
                        if self._is_full() and self._is_read():
                            await self._hold(self._room)
            raise ConnectError(Code.UNAVAILABLE, "the stream ended before the process did")  # noqa: TRY301 - as any other break
        except ConnectError as err:
            await check_cancelled()
            if self.started.done and err.code is Code.FAILED_PRECONDITION:
                self._gone()
                return True
            await breaks.wait_aio(err)
            return False

    async def _hold(self, room: asyncio.Event | None) -> None:
        """Wait until there is room. Who waits for the end of the process has to ask for it meanwhile."""
        self._held = True
        self._notify()
        try:
            await room.wait()  # pyright: ignore[reportOptionalMemberAccess] - as above
        finally:
            self._held = False

    def _frames(self) -> Any:
        self.inside.check()
        processes = self.inside.aio.processes
        if not self.started.done:
            return processes.start_process(self._start)
        request = FollowProcessRequest(
            process_id=self.process_id,
            stdout_offset=self._bases[0] + self._kept[0].end,
            stderr_offset=self._bases[1] + self._kept[1].end,
        )
        return processes.follow_process(request)

    def _deliver(self, event: ProcessEvent | None) -> bool:
        """Take a frame. True if it is the last."""
        match event.event if event is not None else None:
            case Oneof(field="started", value=started):
                self.pid = started.pid
                self.started.set()
            case Oneof(field="output", value=output):
                self._add(output)
            case Oneof(field="exited", value=exited):
                self._whole = True
                self.learn(exited)
                return True
            case _:
                return False
        self._notify()
        return False

    def _add(self, output: ProcessOutput) -> None:
        pieces = ((output.stdout, output.stdout_offset), (output.stderr, output.stderr_offset))
        for number, (data, offset) in enumerate(pieces):
            if not data:
                continue
            kept = self._kept[number]
            expected = self._bases[number] + kept.end
            if offset > expected:
                self._bases[number] += offset - expected
                logger.warning(
                    "process %s: %d bytes of %s are no longer kept", self.process_id, offset - expected, _NAMES[number]
                )
            fresh = data[max(expected - offset, 0) :]
            if (sink := self._sinks[number]) is not None:
                sink(fresh)
                kept.skip(len(fresh))
                continue
            with self._lock:
                kept.append(fresh)
                self._trim()

    def _trim(self) -> None:
        """Have no more in memory than may wait: what was read goes, what nobody reads while somebody reads the other stream to a file."""
        if sum(kept.in_memory for kept in self._kept) <= MAX_WAITING:
            return
        for kept, cursors in zip(self._kept, self._cursors, strict=True):
            if cursors:
                kept.drop(min(cursor.offset for cursor in cursors))
        if any(self._cursors):
            for kept, cursors in zip(self._kept, self._cursors, strict=True):
                if not cursors and kept.in_memory > MAX_WAITING // 2:
                    kept.spill()

    def _is_full(self) -> bool:
        return sum(kept.in_memory for kept in self._kept) > MAX_WAITING

    def _is_read(self) -> bool:
        return any(self._cursors)

    def _gone(self) -> None:
        """Note that its sandbox has ended, which kills what runs there."""
        from skerry._gen.skerry.v1.process_pb import ProcessExited

        self._whole = True
        self.learn(ProcessExited(exit_code=KILLED, signal=9))

    def _notify(self) -> None:
        changed, self._changed = self._changed, Once()
        changed.set()


class Cursor:
    """A place in one stream of a process. It counts as a reader until it is closed."""

    def __init__(self, output: Output, number: int) -> None:
        self.number = number
        self.offset = 0
        self._output = output

    def take(self) -> bytes | Once | None:
        """Return the next bytes, or what to wait for, or None at the end."""
        self._output.inside.check()
        return self._output.take(self)

    def close(self) -> None:
        """Read no more."""
        self._output.release(self)
