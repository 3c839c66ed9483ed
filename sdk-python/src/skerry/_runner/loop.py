"""Runs inputs, one at a time and in order."""

from __future__ import annotations

import json
import signal
import sys

from . import frames, values
from .context import Context, variable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task
    from collections.abc import Awaitable, Callable
    from types import FrameType
    from typing import Any

SUCCESS, FAILURE, CANCELLED = 1, 2, 3


class Runner:
    """One container's runner. Its life is serve(); all happens on the main thread, where user code expects to be."""

    def __init__(self, connection: frames.Connection) -> None:
        self._conn = connection
        self._container_id = ""
        self._function: Callable[..., Any] | None = None
        self._loop: AbstractEventLoop | None = None
        self._task: Task[Any] | None = None
        self._running: tuple[str, int] | None = None
        self._cancelled = False
        self._stopping = False

    def serve(self) -> None:
        """Load the function and run inputs until the host says stop or goes away."""
        if not self._start():
            return
        signal.signal(signal.SIGUSR1, self._interrupted)
        while not self._stopping and (frame := self._conn.read()) is not None:
            self._handle(*frame)
        if self._loop is not None:
            self._loop.close()

    def _start(self) -> bool:
        frame = self._conn.read()
        if frame is None:
            return False
        kind, meta, data = frame
        if kind != frames.START:
            raise ValueError(f"frame of kind {kind} before the start")
        self._container_id = meta["container_id"]
        try:
            self._function = self._load(meta, data)
        except BaseException as err:
            self._flush()
            words, pickled = self._describe(err)
            words_only = len(pickled) > frames.MAX_DATA
            failed = {"error": words} if words_only or not pickled else {"error": words, "format": values.PICKLE}
            self._conn.write(frames.START_FAILED, json.dumps(failed).encode(), b"" if words_only else pickled)
            return False
        self._flush()
        self._conn.write(frames.READY, b"{}")
        return True

    def _load(self, meta: frames.Meta, data: bytes | bytearray) -> Callable[..., Any]:
        from . import loading

        if not meta.get("has_serialized"):
            return loading.load(meta["module"], meta["qualname"])
        if size := meta.get("blob_size"):
            data = self._conn.read_data(frames.INPUT_DATA, size)
        return loading.unwrap(values.load_function(data))

    def _handle(self, kind: int, meta: frames.Meta, data: bytes | bytearray) -> None:
        if kind == frames.INPUT:
            if size := meta.get("blob_size"):
                data = self._conn.read_data(frames.INPUT_DATA, size)
            self._run(meta["call"], meta["index"], meta.get("format", values.PICKLE), data)
        elif kind == frames.STOP:
            self._stopping = True
        elif kind != frames.CANCEL:  # a cancel that came when its input had just ended
            raise ValueError(f"frame of kind {kind} is unknown")

    def _run(self, call: str, index: int, form: int, data: bytes | bytearray) -> None:
        token = variable.set(Context(call, index))
        self._cancelled = False
        result = b""
        failure: BaseException | None = None
        try:
            args, kwargs = values.load_arguments(data, form)
            # From here to the finally a cancel interrupts.
            self._running = (call, index)
            try:
                value = self._function(*args, **kwargs)  # type: ignore[misc] # set before any input is read
                if hasattr(value, "__await__"):
                    value = self._await(value)
            finally:
                self._running = None
            del args, kwargs
            result = values.dump(value)
        except BaseException as err:
            failure = err
        finally:
            variable.reset(token)
        self._flush()
        if failure is None:
            self._succeed(call, index, result)
        else:
            self._fail(call, index, failure)

    def _await(self, value: Awaitable[Any]) -> Any:
        import asyncio

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)

        async def wait() -> Any:
            return await value

        self._task = self._loop.create_task(wait())
        try:
            return self._loop.run_until_complete(self._task)
        finally:
            self._task = None

    def _succeed(self, call: str, index: int, result: bytes) -> None:
        if len(result) <= frames.MAX_INLINE:
            # Ids are letters, digits and dashes: no JSON encoder is needed on the way that every input takes.
            meta = b'{"call":"%b","index":%d,"status":1,"format":1}' % (call.encode(), index)
            self._conn.write(frames.OUTPUT, meta, result)
            return
        large = {"call": call, "index": index, "status": SUCCESS, "format": values.PICKLE, "blob_size": len(result)}
        self._conn.write(frames.OUTPUT, json.dumps(large).encode())
        self._conn.write_data(frames.OUTPUT_DATA, result)

    def _fail(self, call: str, index: int, failure: BaseException) -> None:
        meta: frames.Meta = {"call": call, "index": index, "status": FAILURE}
        if self._cancelled:
            meta["status"] = CANCELLED
            meta["error"] = {"type": "", "message": "the input was cancelled", "traceback": ""}
            self._conn.write(frames.OUTPUT, json.dumps(meta).encode())
            return
        meta["error"], pickled = self._describe(failure)
        if pickled:
            meta["format"] = values.PICKLE
        if len(pickled) > frames.MAX_INLINE:
            meta["blob_size"] = len(pickled)
        self._conn.write(frames.OUTPUT, json.dumps(meta).encode(), b"" if "blob_size" in meta else pickled)
        if "blob_size" in meta:
            self._conn.write_data(frames.OUTPUT_DATA, pickled)

    def _describe(self, failure: BaseException) -> tuple[dict[str, str], bytes]:
        from .failures import describe

        return describe(failure, self._container_id)

    def _interrupted(self, _signum: int, _frame: FrameType | None) -> None:
        """Cancel the running input, if that is the one the host means: the signal may come late, the frame tells."""
        if self._running is None:
            return
        while (frame := self._conn.read_waiting()) is not None:
            kind, meta, _ = frame
            if kind == frames.STOP:
                self._stopping = True
            if kind == frames.CANCEL and (meta["call"], meta["index"]) == self._running:
                self._cancelled = True
        if not self._cancelled:
            return
        if self._task is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)
            return
        from skerry.exception import InputCancellation

        raise InputCancellation("Input was cancelled by user")

    @staticmethod
    def _flush() -> None:
        # What the user printed is to be seen before the result that it led to.
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (AttributeError, OSError, ValueError):  # user code closed or replaced it
                continue
