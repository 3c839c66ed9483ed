"""How processes are started in a sandbox or a sidecar."""

from __future__ import annotations

import codecs
import sys
import uuid
from typing import TYPE_CHECKING, Any

from skerry._client.dual import dual
from skerry._gen.skerry.v1.container_pb import TerminalSize
from skerry._gen.skerry.v1.process_pb import ListProcessesRequest, StartProcessRequest
from skerry._names import check_variables
from skerry._objects.options import check_secrets
from skerry._run.policies import duration
from skerry.exception import InvalidError

from .files import SandboxFilesystem
from .kinds import StreamType
from .output import Output
from .process import ContainerProcess, started

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skerry._objects.secret import Secret

    from .inside import Inside
    from .output import Sink
    from .secrets import SecretKeeper

MAX_ARGV_BYTES = 65_536
_TERMINAL = TerminalSize(rows=24, cols=80)
_TERMINAL_ENV = {"TERM": "xterm-256color"}


class Executing:
    """The part of a sandbox, or of a sidecar, that runs processes."""

    _inside: Inside
    _keeper: SecretKeeper

    @property
    def filesystem(self) -> SandboxFilesystem:
        """Its files."""
        return SandboxFilesystem(self._inside)

    @dual
    async def exec(
        self,
        *args: str,
        stdout: StreamType = StreamType.PIPE,
        stderr: StreamType = StreamType.PIPE,
        timeout: float | None = None,
        workdir: str | None = None,
        env: dict[str, str | None] | None = None,
        secrets: Sequence[Secret] | None = None,
        text: bool = True,
        bufsize: int = -1,
        pty: bool = False,
        user: str | None = None,
        pty_info: object = None,
    ) -> ContainerProcess[Any]:
        """Start a process and return a handle of it; it runs beside the sandbox's own command.

        Args:
            args: program and arguments, exactly as the program gets them; no shell is involved. At most 65,536 bytes in all.
            stdout: ``StreamType.PIPE``, ``DEVNULL`` or ``STDOUT``.
            stderr: likewise; with STDOUT it is printed to standard output.
            timeout: seconds until it and its group are killed; then ``wait()`` returns -1.
            workdir: absolute; default: the sandbox's.
            env: more environment variables; those that are None are left out.
            secrets: secrets that become environment variables; later ones win, and ``env`` wins over them.
            text: streams are text, in UTF-8; False: bytes.
            bufsize: 1: loops over streams get whole lines; -1: pieces as they come.
            pty: give it a terminal, of 24 lines with 80 columns until ``resize()``; standard error is then in standard output.
            user: run as this user, a name or number of the sandbox's; default: root.
            pty_info: deprecated; use ``pty=True``.

        Raises NotFoundError where the program or the directory does not exist, ConflictError for a sandbox that has ended, InvalidError,
        ValueError, ClientClosed.
        """
        self._inside.check()
        check_argv(args, "exec")
        if not args:
            raise InvalidError("exec needs a program to run")
        if bufsize == 1 and not text:
            raise ValueError("line-buffering is only supported when text=True")
        if bufsize not in (1, -1):
            raise ValueError(f"bufsize {bufsize!r}: want 1 for lines or -1 for pieces as they come")
        request = StartProcessRequest(
            process_id=uuid.uuid4().hex,
            argv=list(args),
            env=check_variables("exec env", env or {}),
            workdir=check_workdir(workdir),
            stdin=True,
            discard_stdout=_is_discarded("stdout", stdout),
            discard_stderr=_is_discarded("stderr", stderr),
            user=user or "",
        )
        if pty or pty_info is not None:
            request.pty = _TERMINAL
            request.env = {**_TERMINAL_ENV, **request.env}
        if timeout is not None:
            if isinstance(timeout, bool) or timeout <= 0:
                raise InvalidError(f"timeout {timeout!r}: want seconds, more than 0")
            request.timeout = duration(timeout)
        if secrets:
            request.environment_ids = [await self._keeper.seal(check_secrets(secrets))]
        sinks = (_sink(stdout, text), _sink(stderr, text))
        output = Output(self._inside, request.process_id, request, sinks=sinks)
        await started(output)
        return ContainerProcess(output, text=text, by_line=bufsize == 1, kinds=(stdout, stderr))

    @dual
    async def processes(self, *, all: bool = False) -> list[Any]:  # noqa: A002 - what it is called in ps as well
        """List processes, oldest first.

        Args:
            all: every process of the sandbox's system, also those that others started: a list of
                :class:`skerry.types.SystemProcessInfo`. Default: those that ``exec`` started, also of other handles, and the sandbox's
                own command: a list of :class:`skerry.types.ProcessInfo`.
        """
        from .values import process_info, system_process_info

        self._inside.check()
        request = ListProcessesRequest(all=all)
        answer = await self._inside.ask(lambda: self._inside.aio.processes.list_processes(request))
        if all:
            return [system_process_info(each) for each in answer.system]
        return [process_info(each) for each in answer.processes]

    def process(
        self,
        process_id: str,
        *,
        stdout_offset: int = 0,
        stderr_offset: int = 0,
        text: bool = True,
        bufsize: int = -1,
    ) -> ContainerProcess[Any]:
        """Return a handle of a process that runs, or has run, such as one that another program started.

        Args:
            process_id: as ``processes()`` and ``ContainerProcess.process_id`` have it; "main" is the sandbox's own command.
            stdout_offset: where its standard output is read from, in bytes; what is no longer kept is passed over.
            stderr_offset: likewise.
            text: as in ``exec``.
            bufsize: as in ``exec``.
        """
        self._inside.check()
        if min(stdout_offset, stderr_offset) < 0:
            raise InvalidError("an offset is 0 or more")
        output = Output(self._inside, process_id, offsets=(stdout_offset, stderr_offset))
        return ContainerProcess(output, text=text, by_line=bufsize == 1, fresh=False)


def check_argv(args: Sequence[Any], what: str) -> None:
    """Raise InvalidError for arguments that can't be a command."""
    for arg in args:
        if not isinstance(arg, str):
            raise InvalidError(f"{what}: all arguments must be str, got {type(arg).__name__}")
        if "\0" in arg:
            raise InvalidError(f"{what}: arguments can't contain a NUL character")
    size = sum(len(arg.encode("utf-8", "surrogateescape")) for arg in args)
    if size > MAX_ARGV_BYTES:
        raise InvalidError(f"{what}: the arguments take {size:,} bytes; the most is {MAX_ARGV_BYTES:,}")


def check_workdir(workdir: str | None) -> str:
    """Return a working directory, "" for None. Raises InvalidError unless it is absolute."""
    if workdir is not None and not workdir.startswith("/"):
        raise InvalidError(f"workdir must be an absolute path, got: {workdir}")
    return workdir or ""


def _is_discarded(name: str, kind: StreamType) -> bool:
    if not isinstance(kind, StreamType):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidError(f"{name} must be a StreamType, got {type(kind).__name__}")
    return kind is StreamType.DEVNULL


def _sink(kind: StreamType, text: bool) -> Sink | None:
    """Return what takes the output; None: readers do."""
    if kind is StreamType.PIPE:
        return None
    if kind is StreamType.DEVNULL:
        return lambda _data: None
    decoder = codecs.getincrementaldecoder("utf-8")("replace") if text else None

    def show(data: bytes) -> None:
        if decoder is not None:
            sys.stdout.write(decoder.decode(data))
        else:
            sys.stdout.buffer.write(data)
        sys.stdout.flush()

    return show
