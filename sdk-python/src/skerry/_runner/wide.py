"""Runs several inputs at a time: coroutines as tasks of one event loop in the main thread, all else in threads."""

from __future__ import annotations

import os
import threading
from _signal import SIG_IGN, SIGINT, SIGUSR1, pthread_kill, signal  # pyright: ignore - the C module, without enum around it
from queue import SimpleQueue
from time import monotonic

from . import context, outcome, wire
from .outcome import CANCELLED, ERROR_CANCELLED, FAILURE, SUCCESS, ends_container, failed, head, item_head
from .streams import flush as flush_streams
from .target import check_awaitable, check_value, detach_terminal
from .values import dump_result, load_arguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import Task
    from typing import Any

    from .outcome import Key
    from .target import Target

    _Input = tuple[dict[str, Any], bytes | bytearray]

# How long threads that were interrupted may take before the exit hooks run all the same.
_INTERRUPT_GRACE = 0.5


class _Run:
    """An invocation on its way: of one input, or of a batch. `wanted` are those that are not cancelled."""

    def __init__(self, inputs: list[_Input]) -> None:
        self.inputs = inputs
        self.keys: list[Key] = [(meta["call"], meta["index"]) for meta, _ in inputs]
        self.formats: list[int] = [meta["format"] for meta, _ in inputs]
        self.wanted: set[Key] = set(self.keys)
        self.cancelled = False
        self.thread: int | None = None  # while user code runs in one
        self.task: Task[Any] | None = None
        self.began = monotonic()


class Inputs:
    """The runner once the function is loaded."""

    def __init__(self, channel: wire.Channel, target: Target, start: dict[str, Any]) -> None:
        from skerry.exception import InputCancellation

        self.slots = self.most = start["max_inputs"]
        self._channel = channel
        self._target = target
        self._container_id = start["container_id"]
        self._batched = start["batched"]
        self._cancellation = InputCancellation
        self._write = threading.Lock()
        self._lock = threading.Lock()  # of the runs, and of interrupting threads
        self._runs: set[_Run] = set()
        self._idle = threading.Condition(self._lock)
        self._work: SimpleQueue[_Run] = SimpleQueue()
        self._threads = 0
        self._waiting = 0  # threads without work
        self._stopping = False
        self._loop: Any = None  # where any of the calls is asynchronous
        self._ended: Any = None  # a future of the loop: there are no more frames
        self._main = threading.get_ident()
        self._forked = False
        os.register_at_fork(after_in_child=self._after_fork)

    def active(self) -> int:
        """Return how many inputs, or batches, run."""
        return len(self._runs)

    def tell_slots(self, n: int) -> None:
        """Tell the host how many inputs are taken at a time."""
        with self._write:
            self._channel.send(wire.SLOTS, f'{{"slots":{n}}}')

    def serve(self) -> bool:
        """Run inputs until the host stops the runner or closes the connection. Return whether they were interrupted."""
        signal(SIGUSR1, SIG_IGN)  # frames are read as they come
        if self._target.asynchronous():
            self._target.loop().run(self._serve_async())
        else:
            try:
                self._read()
            except KeyboardInterrupt:
                self._stopping = True
        with self._idle:
            self._idle.wait_for(lambda: not self._runs, _INTERRUPT_GRACE if self._stopping else None)
        return self._stopping

    async def _serve_async(self) -> None:
        import asyncio

        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()

        def read() -> None:
            failure: BaseException | None = None
            try:
                self._read()
            except BaseException as err:
                failure = err
            self._loop.call_soon_threadsafe(self._end, failure)

        threading.Thread(target=read, name="skerry frames", daemon=True).start()
        await self._ended
        tasks = [run.task for run in list(self._runs) if run.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=_INTERRUPT_GRACE if self._stopping else None)

    def _end(self, failure: BaseException | None = None) -> None:
        if self._ended.done():
            return
        if failure is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(failure)

    def _read(self) -> None:
        while True:
            frame = self._channel.read()
            if frame is None:
                return
            kind, meta, data = frame
            if kind == wire.INPUT:
                self._begin(_Run([(meta, data)]))
            elif kind == wire.BATCH:
                self._begin(_Run([self._read_input() for _ in range(meta["count"])]))
            elif kind == wire.CANCEL:
                self._cancel((meta["call"], meta["index"]), meta.get("reason") == "timeout")
            elif kind == wire.STOP:
                if meta.get("interrupt"):
                    self._interrupt()
                return
            elif kind != wire.WITHDRAW:
                raise wire.ProtocolError(f"a frame of kind {kind} where an input belongs")

    def _read_input(self) -> _Input:
        frame = self._channel.read()
        if frame is None or frame[0] != wire.INPUT:
            raise wire.ProtocolError("a batch has fewer inputs than it said")
        return frame[1], frame[2]

    def _begin(self, run: _Run) -> None:
        with self._lock:
            self._runs.add(run)
        if self._loop is not None and self._is_async(run):
            self._loop.call_soon_threadsafe(self._begin_task, run)
            return
        with self._lock:
            more = self._waiting == 0 and self._threads < self.most
            if more:
                self._threads += 1
            else:
                self._waiting -= 1
        self._work.put(run)
        if more:
            threading.Thread(target=self._work_off, name=f"skerry input {self._threads}", daemon=True).start()

    def _is_async(self, run: _Run) -> bool:
        from .target import Target

        method = run.inputs[0][0].get("method", "")
        try:
            function, generator = self._target.find(method)
        except Exception:
            return False  # it fails where it runs
        return Target({"": (function, generator)}).asynchronous()

    # In threads.

    def _work_off(self) -> None:
        while True:
            run = self._work.get()
            self._run_in_thread(run)
            with self._lock:
                self._waiting += 1

    def _run_in_thread(self, run: _Run) -> None:
        token = context.enter(*run.keys[0], alone=False)
        outputs: list[tuple[int, str, bytes]] = []
        try:
            try:
                self._open_to_interruption(run)
                outputs = self._call(run)
            finally:
                # From here on no exception is raised in this thread from outside.
                with self._lock:
                    run.thread = None
        except BaseException as err:
            outputs = self._failed(run, err)
        context.leave(token)
        self._finish(run, outputs)

    def _open_to_interruption(self, run: _Run) -> None:
        """Let exceptions be raised in this thread from here on. Raises what should have been raised before."""
        with self._lock:
            if run.cancelled:
                raise self._cancellation("Input was cancelled by user")
            run.thread = threading.get_ident()

    def _call(self, run: _Run) -> list[tuple[int, str, bytes]]:
        function, generator = self._target.find(run.inputs[0][0].get("method", ""))
        if self._batched:
            from .batch import merge, split

            value = function(**merge(function, self._arguments(run)))
            return [
                outcome.success(v, f) for v, f in zip(split(function, value, len(run.keys)), run.formats, strict=True)
            ]
        args, kwargs = self._arguments(run)[0]
        value = function(*args, **kwargs)
        if generator:
            return [(SUCCESS, f'"items":{self._generate(run, value)}', b"")]
        check_awaitable(value)
        if hasattr(value, "__await__"):
            import asyncio

            value = asyncio.run(_awaited(value))
        check_value(value, False)
        return [outcome.success(value, run.formats[0])]

    def _arguments(self, run: _Run) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        return [load_arguments(data, meta["format"]) for meta, data in run.inputs]

    def _generate(self, run: _Run, value: Any) -> int:
        check_value(value, True)
        number = 0
        try:
            for item in value:
                number += 1
                data = dump_result(item, run.formats[0])
                with self._lock:
                    run.thread = None  # a frame is sent as a whole
                self._send_item(run, number, data)
                self._open_to_interruption(run)
        finally:
            close = getattr(value, "close", None)
            if close is not None:
                close()
        return number

    # In tasks.

    def _begin_task(self, run: _Run) -> None:
        token = context.enter(*run.keys[0], alone=False)
        run.task = task = self._loop.create_task(self._run_in_task(run))
        context.leave(token)
        if run.cancelled:
            self._loop.call_soon(task.cancel)  # not at once: what is cancelled before it begins never answers

    async def _run_in_task(self, run: _Run) -> None:
        try:
            outputs = await self._call_async(run)
        except BaseException as err:
            outputs = self._failed(run, err)
        self._finish(run, outputs)

    async def _call_async(self, run: _Run) -> list[tuple[int, str, bytes]]:
        if run.cancelled:  # before there was a task
            raise self._cancellation("Input was cancelled by user")
        function, generator = self._target.find(run.inputs[0][0].get("method", ""))
        if self._batched:
            from .batch import merge, split

            value = await function(**merge(function, self._arguments(run)))
            return [
                outcome.success(v, f) for v, f in zip(split(function, value, len(run.keys)), run.formats, strict=True)
            ]
        args, kwargs = self._arguments(run)[0]
        value = function(*args, **kwargs)
        if hasattr(value, "__await__"):
            value = await value
        if not generator:
            check_value(value, False)
            return [outcome.success(value, run.formats[0])]
        check_value(value, True)
        number = 0
        try:
            async for item in value:
                number += 1
                self._send_item(run, number, dump_result(item, run.formats[0]))
        finally:
            close = getattr(value, "aclose", None)
            if close is not None:
                await close()
        return [(SUCCESS, f'"items":{number}', b"")]

    # Of both.

    def _send_item(self, run: _Run, number: int, data: bytes) -> None:
        with self._write:
            self._channel.send(wire.ITEM, item_head(run.keys[0], number, wire.payload_meta(data, run.formats[0])), data)

    def _failed(self, run: _Run, err: BaseException) -> list[tuple[int, str, bytes]]:
        if run.cancelled:  # whatever user code made of it
            return [(CANCELLED, ERROR_CANCELLED, b"")] * len(run.keys)
        if ends_container(err):
            self._end_container(err)
            return [(CANCELLED, ERROR_CANCELLED, b"")] * len(run.keys)
        return [(FAILURE, members, data) for members, data in failed(err, self._container_id, run.formats)]

    def _end_container(self, err: BaseException) -> None:
        """Have all inputs end, and ``serve`` return."""
        outcome.say_end(err)
        self._interrupt()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._end)
        else:
            pthread_kill(self._main, SIGINT)

    def _finish(self, run: _Run, outputs: list[tuple[int, str, bytes]]) -> None:
        """Answer for those of the inputs that have no answer."""
        flush_streams()
        if self._forked:
            os._exit(0 if outputs[0][0] == SUCCESS else 1)
        elapsed = monotonic() - run.began
        with self._lock:
            wanted, run.wanted = run.wanted, set()  # from here on none of them can be cancelled
        try:
            if not self._stopping:
                with self._write:
                    for key, (status, members, result) in zip(run.keys, outputs, strict=True):
                        if key in wanted:
                            self._channel.send(wire.OUTPUT, head(key, status, elapsed, members), result)
        finally:
            with self._idle:
                self._runs.discard(run)
                if not self._runs:
                    detach_terminal()
                self._idle.notify_all()

    def _cancel(self, key: Key, whole: bool) -> None:
        with self._lock:
            run = next((run for run in self._runs if key in run.wanted), None)
            if run is None:
                return  # it has just ended
            alone = whole or len(run.wanted) == 1
            if alone:
                run.cancelled = True
                self._raise_in(run, self._cancellation)
            else:
                run.wanted.discard(key)
        if not alone:
            with self._write:
                self._channel.send(wire.OUTPUT, head(key, CANCELLED, 0, ERROR_CANCELLED))

    def _interrupt(self) -> None:
        self._stopping = True
        with self._lock:
            for run in self._runs:
                run.cancelled = True
                self._raise_in(run, KeyboardInterrupt)

    def _raise_in(self, run: _Run, kind: type[BaseException]) -> None:
        """Interrupt what runs. The lock is held, so that a thread is in user code if it says so."""
        if run.task is not None:
            self._loop.call_soon_threadsafe(run.task.cancel)
        elif run.thread is not None:
            import ctypes

            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(run.thread), ctypes.py_object(kind))

    def _after_fork(self) -> None:
        # A child that user code forks must neither answer for its parent nor hold the connection open.
        # The locks may have been another thread's, which is not in the child.
        self._forked = True
        self._lock, self._write = threading.Lock(), threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._channel.close()


async def _awaited(value: Any) -> Any:
    return await value
