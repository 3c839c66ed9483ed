"""The class that a sandbox is handled by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skerry import exception as exc
from skerry._client.dual import dual
from skerry._gen.skerry.v1 import sandbox_pb as pb
from skerry._names import check_name

from .deprecated import Deprecated
from .execution import Executing
from .finding import Finding
from .inside import Inside
from .interpreting import Interpreting
from .life import Life
from .main_output import SandboxLogsManager, main_output
from .making import Making
from .observing import Observing
from .reaching import Reaching
from .secrets import SecretKeeper
from .snapshots import Snapshots
from .writer import StreamWriter

if TYPE_CHECKING:
    from skerry._client.client import Client
    from skerry._gen.skerry.v1.sandbox_info_pb import SandboxInfo

    from .git import SandboxGit
    from .reader import StreamReader
    from .sidecars import SidecarManager


class Sandbox(Deprecated, Observing, Snapshots, Reaching, Life, Interpreting, Executing, Finding, Making):
    """A computer of one's own, made in milliseconds, for code that nobody trusts.

    ::

        app = skerry.App.lookup("agents", create_if_missing=True)
        sandbox = skerry.Sandbox.create(app=app)
        process = sandbox.exec("python", "-c", "print(6 * 7)")
        print(process.stdout.read(), process.wait())
        sandbox.terminate()

    It has processes (:meth:`exec`), files (:attr:`filesystem`), ports (:meth:`tunnel`), code that keeps its state (:attr:`run_code`),
    snapshots and forks. It ends when its command does, after its timeout, or by :meth:`terminate`; not with the program that made it.
    """

    def __init__(self) -> None:
        raise exc.InvalidError("make a sandbox with skerry.Sandbox.create(app=app)")

    @classmethod
    def _made(cls, client: Client, info: SandboxInfo | None) -> Sandbox:
        assert info is not None  # noqa: S101 - the protocol says so
        sandbox: Sandbox = object.__new__(cls)
        sandbox._client = client
        sandbox._info = info
        sandbox._sandbox_id = info.sandbox_id
        sandbox._inside = Inside(client, f"/sandboxes/{info.sandbox_id}")
        sandbox._keeper = SecretKeeper(sandbox._inside, info.sandbox_id, info.app_id)
        sandbox._tunnels = None
        sandbox._streams = {}
        return sandbox

    _streams: dict[int, Any]

    def __repr__(self) -> str:
        return f"skerry.Sandbox.from_id({self._sandbox_id!r})"

    # What it has.

    @property
    def stdin(self) -> StreamWriter:
        """Standard input of its command."""
        if 0 not in self._streams:
            self._streams[0] = StreamWriter(self._inside, "main", fresh=False)
        return self._streams[0]

    @property
    def stdout(self) -> StreamReader[str]:
        """Standard output of its command, by lines. This handle reads it once; another one from the beginning again."""
        return self._stream(1)

    @property
    def stderr(self) -> StreamReader[str]:
        """Standard error of its command, by lines."""
        return self._stream(2)

    @property
    def logs(self) -> SandboxLogsManager:
        """What its command wrote, with its times."""
        return SandboxLogsManager(self._client, self._sandbox_id)

    @property
    def git(self) -> SandboxGit:
        """Git in it."""
        from .git import SandboxGit

        return SandboxGit(self)

    @property
    def _experimental_sidecars(self) -> SidecarManager:
        """Its sidecars."""
        from .sidecars import SidecarManager

        return SidecarManager(self)

    @dual
    async def _experimental_set_name(self, name: str) -> None:
        """Give the running sandbox a name. Raises AlreadyExistsError, ConflictError."""
        self._inside.check()
        request = pb.SetSandboxNameRequest(sandbox_id=self._sandbox_id, name=check_name("sandbox", name))
        await self._client.ask(lambda: self._client.aio.sandboxes.set_sandbox_name(request))

    def _stream(self, descriptor: int) -> StreamReader[str]:
        self._inside.check()
        if descriptor not in self._streams:
            self._streams[descriptor] = main_output(self._client, self._sandbox_id, descriptor)
        return self._streams[descriptor]
