"""The life of a sandbox: how it is waited for, ended, paused and described."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from protobuf.wkt import Duration

from skerry import exception as exc
from skerry._client.dual import dual
from skerry._gen.skerry.v1 import sandbox_pb as pb
from skerry._gen.skerry.v1.sandbox_info_pb import SandboxEndReason, SandboxState
from skerry._gen.skerry.v1.snapshot_pb import PauseSandboxRequest, ResumeSandboxRequest
from skerry._names import check_labels
from skerry._run.policies import duration

from .creation import MAX_LIFETIME
from .faults import timed_out
from .reloading import reload_volumes
from .values import sandbox_info

if TYPE_CHECKING:
    from skerry import types
    from skerry._client.client import Client
    from skerry._gen.skerry.v1.sandbox_info_pb import SandboxEnd, SandboxInfo

    from .inside import Inside

# How long the server lets one request wait.
WAIT_SECONDS = 60
_TIMEOUTS = frozenset({SandboxEndReason.TIMEOUT, SandboxEndReason.IDLE_TIMEOUT})


class Life:
    """The part of a sandbox that concerns its life."""

    _client: Client
    _inside: Inside
    _sandbox_id: str
    _info: SandboxInfo

    @property
    def object_id(self) -> str:
        """Its id, "sb-..."."""
        return self._sandbox_id

    @property
    def returncode(self) -> int | None:
        """The exit code as far as it is known here: 124 for a timeout, 137 where it was ended; None before ``wait`` or ``poll``."""
        return None if self._end is None else self._end.return_code

    @dual
    async def wait(self, raise_on_termination: bool = True) -> None:
        """Wait until the sandbox has ended.

        Args:
            raise_on_termination: False: return where somebody ended it.

        Raises SandboxTimeoutError where its timeout or idle_timeout passed, SandboxTerminatedError where somebody ended it, RemoteError
        where it could not be started, InternalFailure where its worker was lost. An exit code is no error: see ``returncode``.
        """
        await self._wait()
        end = self._end
        if end is None:
            return
        if end.reason in _TIMEOUTS:
            raise exc.SandboxTimeoutError(end.message or "the sandbox ran longer than its timeout")
        if end.reason == SandboxEndReason.TERMINATED and raise_on_termination:
            raise exc.SandboxTerminatedError(end.message or "the sandbox was terminated")
        if end.reason == SandboxEndReason.START_FAILED:
            raise exc.RemoteError(f"sandbox {self._sandbox_id} could not be started: {end.message}")
        if end.reason == SandboxEndReason.LOST:
            raise exc.InternalFailure(f"sandbox {self._sandbox_id} was lost: {end.message}")

    @dual
    async def poll(self) -> int | None:
        """Return the exit code, or None while the sandbox runs."""
        self._inside.check()
        if self._end is None:
            await self._look(0)
        return self.returncode

    @dual
    async def wait_until_ready(self, *, timeout: float = 300) -> None:
        """Wait until the readiness probe has succeeded.

        Args:
            timeout: most seconds to wait, more than 0.

        Raises skerry.exception.TimeoutError, ConflictError for a sandbox that has ended or has no probe.
        """
        self._inside.check()
        if isinstance(timeout, bool) or timeout <= 0:
            raise exc.InvalidError(f"timeout {timeout!r}: want seconds, more than 0")
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            request = pb.WaitSandboxReadyRequest(sandbox_id=self._sandbox_id, limit=duration(min(left, WAIT_SECONDS)))
            answer = await self._client.ask(
                lambda request=request: self._client.aio.sandboxes.wait_sandbox_ready(request)
            )
            if answer.ready:
                return
        raise exc.TimeoutError(f"sandbox {self._sandbox_id} was not ready within {timeout:g} s")

    @dual
    async def terminate(self, *, wait: bool = False) -> int | None:
        """End the sandbox. One that has ended is no error.

        Args:
            wait: return its exit code when it has ended; else None at once.
        """
        self._inside.check()
        request = pb.TerminateSandboxRequest(sandbox_id=self._sandbox_id, wait=wait)
        answer = await self._client.ask(lambda: self._client.aio.sandboxes.terminate_sandbox(request))
        self._learn(answer.sandbox)
        if not wait:
            return None
        await self._wait()
        return self.returncode

    def detach(self) -> None:
        """Have nothing more to do with the sandbox, which goes on: what is done with this handle from now on raises ClientClosed.

        What remains is ``wait``, ``returncode``, ``logs`` and ``object_id``.
        """
        self._inside.detached = True

    @dual
    async def pause(self, *, timeout: float = 55) -> None:
        """Keep the sandbox on its worker's disk, with its memory, and free all else; its timeout does not go on meanwhile.

        Whoever uses it next has it run on, :meth:`resume` as well. TCP connections are cut.

        Args:
            timeout: most seconds that it may take.

        Raises skerry.exception.TimeoutError, ConflictError for one that has ended, or can't be paused.
        """
        self._inside.check()
        request = PauseSandboxRequest(sandbox_id=self._sandbox_id, limit=duration(timeout))
        answer = await self._client.ask(
            lambda: self._client.aio.snapshots.pause_sandbox(request), fault=timed_out("pause")
        )
        self._learn(answer.sandbox)

    @dual
    async def resume(self) -> None:
        """Have a paused sandbox run on. Raises ConflictError for one that has ended, ResourceExhaustedError."""
        self._inside.check()
        request = ResumeSandboxRequest(sandbox_id=self._sandbox_id)
        answer = await self._client.ask(lambda: self._client.aio.snapshots.resume_sandbox(request))
        self._learn(answer.sandbox)

    @dual
    async def set_timeout(self, timeout: float) -> None:
        """Have the sandbox end so many seconds from now, at the latest; 1 s to 30 days. Raises ConflictError for one that has ended."""
        self._inside.check()
        if isinstance(timeout, bool) or not 1 <= timeout <= MAX_LIFETIME:
            raise exc.InvalidError(f"timeout {timeout!r}: want seconds, from 1 to {MAX_LIFETIME:,} (30 days)")
        request = pb.SetSandboxTimeoutRequest(sandbox_id=self._sandbox_id, timeout=duration(timeout))
        await self._client.ask(lambda: self._client.aio.sandboxes.set_sandbox_timeout(request))

    @dual
    async def info(self) -> types.SandboxInfo:
        """Return what the server knows of the sandbox."""
        self._inside.check()
        await self._look(0)
        return sandbox_info(self._info)

    @dual
    async def get_tags(self) -> dict[str, str]:
        """Return the tags."""
        self._inside.check()
        await self._look(0)
        return dict(self._info.tags)

    @dual
    async def set_tags(self, tags: dict[str, str], *, client: Client | None = None) -> None:
        """Replace the tags. Raises InvalidError for bad ones, ConflictError for a sandbox that has ended.

        Args:
            tags: at most 50; keys and values are 1 to 63 letters, digits, '.', '_' or '-'.
            client: deprecated.
        """
        self._inside.check()
        request = pb.SetSandboxTagsRequest(sandbox_id=self._sandbox_id, tags=check_labels("sandbox", tags))
        await self._client.ask(lambda: self._client.aio.sandboxes.set_sandbox_tags(request))

    @dual
    async def reload_volumes(self, *, timeout: int = 55) -> None:
        """Have the sandbox see what was committed to its volumes; what it has written is committed before.

        Args:
            timeout: seconds that it may take.

        Raises RuntimeError where files of a volume are open in the sandbox, and says which; TimeoutError.
        """
        self._inside.check()
        await reload_volumes(self._client, self._sandbox_id, timeout)

    # Inside the package.

    @property
    def _end(self) -> SandboxEnd | None:
        return self._info.end if self._info.state == SandboxState.ENDED else None

    def _learn(self, info: SandboxInfo | None) -> None:
        if info is not None:
            self._info = info

    async def _wait(self) -> None:
        while self._end is None:
            await self._look(WAIT_SECONDS)

    async def _look(self, seconds: int) -> Any:
        request = pb.WaitSandboxRequest(sandbox_id=self._sandbox_id, limit=Duration(seconds=seconds))
        answer = await self._client.ask(lambda: self._client.aio.sandboxes.wait_sandbox(request))
        self._learn(answer.sandbox)
