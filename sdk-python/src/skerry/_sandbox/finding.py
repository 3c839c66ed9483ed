"""How sandboxes are found, and ended by the many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skerry import exception as exc
from skerry._client.client import shared_client
from skerry._client.dual import static_dual, static_dual_iterator
from skerry._gen.skerry.v1 import sandbox_pb as pb
from skerry._names import check_labels, check_name, new_id
from skerry._run.policies import duration
from skerry.config import config

from .values import sandbox_info

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from skerry import types
    from skerry._client.client import Client
    from skerry._gen.skerry.v1.sandbox_info_pb import SandboxInfo

    from .sandbox import Sandbox
    from .snapshot import SandboxSnapshot

_INHERIT: Any = object()


class Finding:
    """The part of :class:`Sandbox` that finds what is there."""

    @static_dual
    @staticmethod
    async def from_id(sandbox_id: str, client: Client | None = None) -> Sandbox:
        """Return the sandbox that has an id, "sb-..."; one that ended within the last 7 days as well. Raises NotFoundError."""
        if not isinstance(sandbox_id, str) or not sandbox_id.startswith("sb-"):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise exc.InvalidError(f"Sandbox.from_id: want an id such as 'sb-...', got {sandbox_id!r}")
        return await _find(client or shared_client(), pb.GetSandboxRequest(sandbox_id=sandbox_id))

    @static_dual
    @staticmethod
    async def from_name(
        app_name: str, name: str, *, environment_name: str | None = None, client: Client | None = None
    ) -> Sandbox:
        """Return the running sandbox of a deployed app that has a name. Raises NotFoundError."""
        request = pb.GetSandboxRequest(
            app_name=check_name("app", app_name),
            name=check_name("sandbox", name),
            environment=environment_name or config.environment,
        )
        return await _find(client or shared_client(), request)

    @static_dual_iterator
    @staticmethod
    async def list(
        *,
        app_id: str | None = None,
        tags: dict[str, str] | None = None,
        client: Client | None = None,
        owner: str | None = None,
        include_ended: bool = False,
        environment_name: str | None = None,
    ) -> AsyncIterator[Sandbox]:
        """Iterate over running sandboxes, newest first.

        Args:
            app_id: only those of this app.
            tags: only those that have all of these.
            client: default: the process's own.
            owner: only those of this owner.
            include_ended: also those that have ended within the last 7 days.
            environment_name: default: the configured one.
        """
        known = client or shared_client()
        request = pb.ListSandboxesRequest(
            app_id=app_id or "",
            tags=check_labels("sandbox", tags or {}),
            environment=environment_name or config.environment,
            include_ended=include_ended,
            owner=owner or "",
        )
        while True:
            answer = await known.ask(lambda: known.aio.sandboxes.list_sandboxes(request))
            for info in answer.sandboxes:
                yield _made(known, info)
            if not answer.more or not answer.sandboxes:
                return
            request.created_before = answer.sandboxes[-1].created_at

    @static_dual
    @staticmethod
    async def prune(
        *,
        owner: str | None = None,
        tags: dict[str, str] | None = None,
        app_id: str | None = None,
        older_than: float | None = None,
        idle_for: float | None = None,
        all: bool = False,  # noqa: A002 - what it means
        dry_run: bool = False,
        environment_name: str | None = None,
        client: Client | None = None,
    ) -> Sequence[types.SandboxInfo]:
        """End sandboxes that nobody needs any more, and return which those were.

        Args:
            owner: only those of this owner.
            tags: only those that have all of these.
            app_id: only those of this app.
            older_than: only those created so many seconds ago or longer.
            idle_for: only those that nobody has used for so many seconds.
            all: without owner, tags and app_id: else one of these is needed.
            dry_run: only say which.
            environment_name: default: the configured one.
            client: default: the process's own.
        """
        if not (owner or tags or app_id or all):
            raise exc.InvalidError("Sandbox.prune needs owner, tags or app_id; all=True is for all sandboxes")
        known = client or shared_client()
        request = pb.PruneSandboxesRequest(
            owner=owner or "",
            tags=check_labels("sandbox", tags or {}),
            app_id=app_id or "",
            environment=environment_name or config.environment,
            all=all,
            dry_run=dry_run,
        )
        if older_than is not None:
            request.older_than = duration(older_than)
        if idle_for is not None:
            request.idle_for = duration(idle_for)
        answer = await known.ask(lambda: known.aio.sandboxes.prune_sandboxes(request))
        return [sandbox_info(info) for info in answer.sandboxes]

    _experimental_from_name = from_name
    _experimental_list = list  # noqa: A003 - the method's name

    @static_dual
    @staticmethod
    async def _experimental_from_snapshot(
        snapshot: SandboxSnapshot, client: Client | None = None, *, name: str | None = _INHERIT
    ) -> Sandbox:
        """Make a sandbox from a snapshot: it goes on from there.

        Args:
            snapshot: what ``_experimental_snapshot`` returned, or ``SandboxSnapshot.from_id``.
            client: default: the process's own.
            name: its name; None: none. Default: that of the sandbox that the snapshot was made of.

        Raises NotFoundError, AlreadyExistsError, ResourceExhaustedError.
        """
        from skerry._gen.skerry.v1.snapshot_pb import RestoreSandboxRequest

        known = client or snapshot._client or shared_client()
        inherit = name is _INHERIT
        request = RestoreSandboxRequest(
            snapshot_id=snapshot.object_id,
            sandbox_id=new_id("sb"),
            name="" if inherit or name is None else check_name("sandbox", name),
            inherit_name=inherit,
        )
        answer = await known.ask(lambda: known.aio.snapshots.restore_sandbox(request))
        return _made(known, answer.sandbox)


async def _find(client: Client, request: pb.GetSandboxRequest) -> Sandbox:
    return _made(client, (await client.ask(lambda: client.aio.sandboxes.get_sandbox(request))).sandbox)


def _made(client: Client, info: SandboxInfo | None) -> Sandbox:
    from .sandbox import Sandbox

    return Sandbox._made(client, info)
