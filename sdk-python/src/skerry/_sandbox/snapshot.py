"""States of sandboxes with their memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry._client.dual import dual
from skerry.exception import InvalidError

if TYPE_CHECKING:
    from typing_extensions import Self

    from skerry._client.client import Client


class SandboxSnapshot:
    """A sandbox as it was, with its memory: ``Sandbox._experimental_snapshot`` makes one, ``_experimental_from_snapshot`` restores it."""

    def __init__(self) -> None:
        raise TypeError("a snapshot comes of sandbox._experimental_snapshot() or SandboxSnapshot.from_id(id)")

    _client: Client | None
    _snapshot_id: str

    @classmethod
    def _made(cls, client: Client | None, snapshot_id: str) -> Self:
        snapshot = object.__new__(cls)
        snapshot._client, snapshot._snapshot_id = client, snapshot_id
        return snapshot

    @classmethod
    def from_id(cls, sandbox_snapshot_id: str, client: Client | None = None) -> Self:
        """Return the snapshot that has an id, "sn-...". Whether it exists shows when it is used."""
        if not isinstance(sandbox_snapshot_id, str) or not sandbox_snapshot_id.startswith("sn-"):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(f"SandboxSnapshot.from_id: want an id such as 'sn-...', got {sandbox_snapshot_id!r}")
        return cls._made(client, sandbox_snapshot_id)

    @property
    def object_id(self) -> str:
        """Its id, "sn-..."."""
        return self._snapshot_id

    @dual
    async def delete(self) -> None:
        """Forget the snapshot. Sandboxes that were restored from it run on. Raises NotFoundError."""
        from skerry._client.client import shared_client
        from skerry._gen.skerry.v1.snapshot_pb import DeleteSnapshotRequest

        client = self._client or shared_client()
        request = DeleteSnapshotRequest(snapshot_id=self._snapshot_id)
        await client.ask(lambda: client.aio.snapshots.delete_snapshot(request))

    def __repr__(self) -> str:
        return f"skerry.SandboxSnapshot.from_id({self._snapshot_id!r})"
