"""Processes in sandboxes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from protobuf.wkt import Duration

from skerry._client.dual import dual
from skerry._gen.skerry.v1.container_pb import TerminalSize
from skerry._gen.skerry.v1.process_pb import ResizeTerminalRequest, SignalProcessRequest, WaitProcessRequest
from skerry.exception import ConflictError, InvalidError

from .kinds import StreamType
from .output import KILLED, Output
from .reader import StreamReader, unreadable
from .writer import StreamWriter

if TYPE_CHECKING:
    from .inside import Inside

T = TypeVar("T", str, bytes)

# How long the server lets one request wait.
_WAIT_SECONDS = 60


class ContainerProcess(Generic[T]):
    """A process in a sandbox: what ``Sandbox.exec`` returns. It goes on whatever becomes of this handle or of the connection.

    ::

        process = sandbox.exec("python", "-c", "print(6 * 7)")
        print(process.stdout.read(), process.wait())
    """

    def __init__(
        self,
        output: Output,
        *,
        text: bool,
        by_line: bool,
        kinds: tuple[StreamType, StreamType] = (StreamType.PIPE, StreamType.PIPE),
        fresh: bool = True,
    ) -> None:
        self._output = output
        self._inside: Inside = output.inside
        printed = StreamType.STDOUT in kinds
        self._lifeline = _Lifeline(output, printed=printed)
        self._streams = tuple(
            _stream(self._lifeline, number + 1, kind, text, by_line) for number, kind in enumerate(kinds)
        )
        self._stdin = StreamWriter(output.inside, output.process_id, fresh=fresh)

    def __repr__(self) -> str:
        return f"ContainerProcess(process_id={self.process_id!r})"

    @property
    def process_id(self) -> str:
        """Its id in the sandbox, for ``Sandbox.process``."""
        return self._output.process_id

    @property
    def pid(self) -> int:
        """Its PID in the sandbox; 0 where it is not known."""
        return self._output.pid

    @property
    def stdout(self) -> StreamReader[T]:
        """Standard output. With a terminal it has standard error as well."""
        return self._streams[0]

    @property
    def stderr(self) -> StreamReader[T]:
        """Standard error."""
        return self._streams[1]

    @property
    def stdin(self) -> StreamWriter:
        """Standard input."""
        return self._stdin

    @property
    def returncode(self) -> int:
        """The exit code, as ``wait`` returns it. Raises InvalidError until ``wait`` or ``poll`` has learnt it."""
        code = self._output.code
        if code is None:
            raise InvalidError("You must call wait() before accessing the returncode")
        return code

    @dual
    async def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        self._inside.check()
        return await self._ask(0)

    @dual
    async def wait(self) -> int:
        """Wait until the process has ended, and return its exit code.

        It is 128 + n where signal n ended the process, 137 where the sandbox's end did, and -1 where its timeout passed.
        """
        self._inside.check()
        output = self._output
        while output.code is None:
            changed = output.changed
            if output.code is not None or output.error is not None:
                break
            if output.is_drawn:
                await changed.wait_aio()
            else:
                await self._ask(_WAIT_SECONDS)
        if output.code is None and output.error is not None:
            raise output.error
        return self.returncode

    @dual
    async def signal(self, signum: int, *, group: bool = False) -> None:
        """Send a signal. One that has ended is no error.

        Args:
            signum: such as signal.SIGTERM.
            group: to all processes of its group.
        """
        self._inside.check()
        request = SignalProcessRequest(process_id=self.process_id, signal=int(signum), group=group)
        with contextlib.suppress(ConflictError):  # the sandbox has ended
            await self._inside.ask(lambda: self._inside.aio.processes.signal_process(request))

    @dual
    async def kill(self) -> None:
        """Kill the process and all of its group."""
        self._inside.check()
        request = SignalProcessRequest(process_id=self.process_id, signal=9, group=True)
        with contextlib.suppress(ConflictError):  # the sandbox has ended
            await self._inside.ask(lambda: self._inside.aio.processes.signal_process(request))

    @dual
    async def resize(self, rows: int, columns: int) -> None:
        """Tell the process's terminal how large it is. Raises ConflictError where it has none."""
        self._inside.check()
        request = ResizeTerminalRequest(process_id=self.process_id, size=TerminalSize(rows=rows, cols=columns))
        await self._inside.ask(lambda: self._inside.aio.processes.resize_terminal(request))

    def attach(self) -> int:
        """Join this process's terminal, or its standard streams, to the process until it ends. Returns the exit code."""
        from .attaching import attach

        return attach(self)

    async def _ask(self, seconds: int) -> int | None:
        output = self._output
        if output.code is None:
            request = WaitProcessRequest(process_id=self.process_id, limit=Duration(seconds=seconds))
            try:
                answer = await self._inside.ask(lambda: self._inside.aio.processes.wait_process(request))
            except ConflictError:
                # Its sandbox has ended, which kills what runs there.
                from skerry._gen.skerry.v1.process_pb import ProcessExited

                output.learn(ProcessExited(exit_code=KILLED, signal=9))
            else:
                if answer.exited is not None:
                    output.learn(answer.exited)
        return output.code


class _Lifeline:
    """What a process's handle and its streams have in common: once nobody has any of them, the process is not followed any more."""

    def __init__(self, output: Output, *, printed: bool) -> None:
        self.output = output
        self._printed = printed

    def __del__(self) -> None:
        if not self._printed:
            self.output.leave()


def _stream(lifeline: _Lifeline, descriptor: int, kind: StreamType, text: bool, by_line: bool) -> StreamReader[Any]:
    if kind is not StreamType.PIPE:
        refusal = unreadable("devnull" if kind is StreamType.DEVNULL else "stdout")
        return StreamReader(descriptor, None, refusal=refusal)
    return StreamReader(descriptor, lambda: lifeline.output.cursor(descriptor), text=text, by_line=by_line)


async def started(output: Output) -> None:
    """Wait until a process runs. Raises what keeps it from running."""
    output.draw()
    await output.started.wait_aio()
    if output.error is not None:
        raise output.error
