"""The way to what is served inside a sandbox or a sidecar."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from skerry.exception import ClientClosed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from connectrpc.errors import ConnectError

    from skerry._client.client import Client
    from skerry._client.transport import AioServices, Services
    from skerry.exception import Error

T = TypeVar("T")


class Inside:
    """The services of one sandbox or sidecar, until its handle is detached.

    Args:
        client: the connection.
        path: where they are on the server, "/sandboxes/sb-...".
    """

    def __init__(self, client: Client, path: str) -> None:
        self.client = client
        self.path = path
        self.detached = False
        self._services: Services | None = None
        self._sealed: dict[tuple[str, ...], str] = {}

    def check(self) -> None:
        """Raise ClientClosed once the handle is detached."""
        if self.detached:
            raise ClientClosed("Unable to perform operation on a detached sandbox")

    @property
    def services(self) -> Services:
        """The services for the calling thread."""
        if self._services is None:
            self._services = self.client.inside(self.path)
        return self._services

    @property
    def aio(self) -> AioServices:
        """The services for the event loop in the background."""
        return self.services.aio

    async def ask(
        self,
        rpc: Callable[[], Awaitable[T]],
        within: float | None = None,
        fault: Callable[[ConnectError], Error] | None = None,
    ) -> T:
        """Do an RPC that can safely be done twice, again while the server is away."""
        self.check()
        return await self.client.ask(rpc, within, fault)
