"""Further containers in a sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protobuf.wkt import Duration

from skerry import exception as exc
from skerry._client.dual import dual
from skerry._gen.skerry.v1 import sidecar_pb as pb
from skerry._gen.skerry.v1.sandbox_definition_pb import SandboxDefinition
from skerry._gen.skerry.v1.sandbox_info_pb import SandboxEndReason, SandboxState
from skerry._names import check_name, check_variables, new_id
from skerry._objects.bucket import CloudBucketMount
from skerry._objects.options import check_secrets
from skerry._objects.volumes import check_volumes, volume_messages
from skerry._twin import twin

from .execution import Executing, check_argv, check_workdir
from .inside import Inside
from .main_output import SandboxLogsManager
from .reloading import reload_volumes
from .secrets import SecretKeeper, secret_ids

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from skerry._objects.image import Image
    from skerry._objects.secret import Secret
    from skerry._volume.volume import Volume

    from .sandbox import Sandbox

_WAIT_SECONDS = 60


class SidecarManager:
    """The sidecars of a sandbox: ``sandbox._experimental_sidecars``.

    A sidecar is a container with an image, files and processes of its own, in the sandbox's network and within its limits. It ends with the
    sandbox, and each has as much disk as the sandbox. Up to 16 run at a time. While any runs, the sandbox can't be forked, paused or kept
    with its memory: ConflictError.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    @twin
    def create(
        self,
        *args: str,
        name: str,
        image: Image,
        env: dict[str, str | None] | None = None,
        secrets: Sequence[Secret] | None = None,
        workdir: str | None = None,
        volumes: Mapping[str, Volume | CloudBucketMount] | None = None,
        outbound_cidr_allowlist: Sequence[str] | None = None,
        outbound_domain_allowlist: Sequence[str] | None = None,
        pty: bool = False,
    ) -> SidecarContainer:
        """Start a sidecar.

        Args:
            args: its command; default: the image's.
            name: unique in the sandbox, not "main".
            image: built if need be.
            env: environment variables.
            secrets: secrets that become environment variables.
            workdir: absolute.
            volumes: :class:`skerry.Volume` objects that are mounted, by absolute path. One that the sandbox has mounted as well, the
                same part of it, is one for both: each sees at once what the other writes.
            outbound_cidr_allowlist: not available: a sidecar shares the network of its sandbox, and its policy.
            outbound_domain_allowlist: likewise.
            pty: give its command a terminal.

        Raises InvalidError, AlreadyExistsError, ConflictError for a sandbox that does not run, ResourceExhaustedError for more than 16.
        """
        from skerry._client import background

        definition = _definition(args, name, env, workdir, pty)
        mounted = check_volumes(volumes)
        if any(isinstance(each, CloudBucketMount) for each in mounted.values()):
            raise exc.UnimplementedError(
                "a CloudBucketMount in a sidecar is not available in this version of skerry; mount it in the sandbox"
            )
        if outbound_cidr_allowlist is not None or outbound_domain_allowlist is not None:
            raise exc.UnimplementedError(
                "a sidecar has the network of its sandbox: give the allowlists to Sandbox.create or Sandbox.set_network_policy"
            )
        self._load(image, definition)
        return background.run(self._create(name, definition, check_secrets(secrets), mounted))

    def _load(self, image: Image, definition: SandboxDefinition) -> None:
        from .creation import load_image

        image_id, mounts = load_image(self._sandbox._client, self._sandbox._info.app_id, image)
        definition.image_id, definition.mounts = image_id, mounts

    async def _create(
        self, name: str, definition: SandboxDefinition, secrets: list[Secret], volumes: Mapping[str, Any]
    ) -> SidecarContainer:
        sandbox = self._sandbox
        sandbox._inside.check()
        definition.volume_mounts = await volume_messages(volumes)
        if secrets:
            definition.secret_ids = await secret_ids(sandbox._client, sandbox._info.app_id, secrets)
        request = pb.CreateSidecarRequest(
            sandbox_id=sandbox.object_id, sidecar_id=new_id("sc"), name=name, definition=definition
        )
        answer = await sandbox._client.ask(lambda: sandbox._client.aio.sidecars.create_sidecar(request))
        return SidecarContainer(sandbox, answer.sidecar or pb.SidecarInfo())

    @dual
    async def get(self, *, name: str, include_terminated: bool = False) -> SidecarContainer:
        """Return the sidecar that has a name. Raises NotFoundError.

        Args:
            name: its name.
            include_terminated: also one that has ended.
        """
        for sidecar in await self._list(include_terminated):
            if sidecar.name == name:
                return sidecar
        raise exc.NotFoundError(f"sandbox {self._sandbox.object_id} has no sidecar {name!r}")

    @dual
    async def list(self, include_terminated: bool = False) -> Sequence[SidecarContainer]:
        """Return the sidecars, oldest first.

        Args:
            include_terminated: also those that have ended.
        """
        return await self._list(include_terminated)

    async def _list(self, include_ended: bool) -> Sequence[SidecarContainer]:
        sandbox = self._sandbox
        sandbox._inside.check()
        request = pb.ListSidecarsRequest(sandbox_id=sandbox.object_id, include_ended=include_ended)
        answer = await sandbox._client.ask(lambda: sandbox._client.aio.sidecars.list_sidecars(request))
        # The newest of each name last: an ended one may have had a name that another has now.
        return [SidecarContainer(sandbox, sidecar) for sidecar in answer.sidecars]


class SidecarContainer(Executing):
    """A sidecar. It runs processes and has files as a sandbox does."""

    def __init__(self, sandbox: Sandbox, info: pb.SidecarInfo) -> None:
        self._sandbox = sandbox
        self._info = info
        self._inside = _SidecarInside(sandbox, info.name)
        self._keeper = SecretKeeper(self._inside, sandbox.object_id, sandbox._info.app_id)

    def __repr__(self) -> str:
        return f"SidecarContainer({self.name!r}, object_id={self.object_id!r})"

    @property
    def object_id(self) -> str:
        """Its id, "sc-..."."""
        return self._info.sidecar_id

    @property
    def name(self) -> str:
        """Its name."""
        return self._info.name

    @property
    def logs(self) -> SandboxLogsManager:
        """What its command wrote, with its times."""
        return SandboxLogsManager(self._sandbox._client, self.object_id, self._sandbox._info.app_id)

    @property
    def returncode(self) -> int | None:
        """The exit code as far as it is known here."""
        end = self._info.end
        return end.return_code if self._info.state == SandboxState.ENDED and end is not None else None

    @dual
    async def wait(self, raise_on_termination: bool = True) -> int | None:
        """Wait until it has ended, and return its exit code.

        Args:
            raise_on_termination: False: return where somebody ended it, instead of raising SandboxTerminatedError.
        """
        while self.returncode is None:
            await self._look(_WAIT_SECONDS)
        end = self._info.end
        if end is not None and end.reason == SandboxEndReason.TERMINATED and raise_on_termination:
            raise exc.SandboxTerminatedError(end.message or "the sidecar was terminated")
        if end is not None and end.reason == SandboxEndReason.START_FAILED:
            raise exc.RemoteError(f"sidecar {self.name!r} could not be started: {end.message}")
        return self.returncode

    @dual
    async def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        if self.returncode is None:
            await self._look(0)
        return self.returncode

    @dual
    async def terminate(self, *, wait: bool = False) -> int | None:
        """End it. One that has ended is no error.

        Args:
            wait: return its exit code when it has ended; else None at once.
        """
        self._inside.check()
        sandbox = self._sandbox
        request = pb.TerminateSidecarRequest(sandbox_id=sandbox.object_id, name=self.name, wait=wait)
        answer = await sandbox._client.ask(lambda: sandbox._client.aio.sidecars.terminate_sidecar(request))
        self._info = answer.sidecar or self._info
        if not wait:
            return None
        while self.returncode is None:
            await self._look(_WAIT_SECONDS)
        return self.returncode

    @dual
    async def reload_volumes(self, *, timeout: int = 55) -> None:
        """Have it see what was committed to its volumes; what it has written is committed before.

        Args:
            timeout: seconds that it may take.

        Raises RuntimeError where files of a volume are open, in it or in another container that sees the same mount, and says which;
        TimeoutError.
        """
        self._inside.check()
        await reload_volumes(self._sandbox._client, self._sandbox.object_id, timeout, self.name)

    async def _look(self, seconds: int) -> None:
        self._inside.check()
        sandbox = self._sandbox
        request = pb.WaitSidecarRequest(sandbox_id=sandbox.object_id, name=self.name, limit=Duration(seconds=seconds))
        answer = await sandbox._client.ask(lambda: sandbox._client.aio.sidecars.wait_sidecar(request))
        self._info = answer.sidecar or self._info


class _SidecarInside(Inside):
    """What is served inside a sidecar, as long as the sandbox's handle is attached."""

    def __init__(self, sandbox: Sandbox, name: str) -> None:
        super().__init__(sandbox._client, f"{sandbox._inside.path}/sidecars/{name}")
        self._sandbox = sandbox

    def check(self) -> None:
        self._sandbox._inside.check()


def _definition(
    args: tuple[str, ...], name: str, env: dict[str, str | None] | None, workdir: str | None, pty: bool
) -> SandboxDefinition:
    if check_name("sidecar", name) == "main":
        raise exc.InvalidError("sidecar name 'main' is reserved")
    check_argv(args, "sidecar")
    return SandboxDefinition(
        argv=list(args), env=check_variables("sidecar env", env or {}), workdir=check_workdir(workdir), pty=pty
    )
