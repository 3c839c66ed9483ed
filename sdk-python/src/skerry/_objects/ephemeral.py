"""Objects that live while a ``with`` block lasts."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from skerry import exception as exc
from skerry._client.direct import direct, drive
from skerry._gen.skerry.v1.object_pb import ObjectCreation

from .named import Named, environment_of, own_client

if TYPE_CHECKING:
    from types import TracebackType

    from skerry._client.client import Client

# The server drops an ephemeral object that nothing was heard of for two minutes.
_HEARTBEAT_SECONDS = 30.0
# How long the end of an ephemeral object is tried to be told; the server finds out by itself later.
_DELETE_SECONDS = 5.0

logger = logging.getLogger("skerry")

N = TypeVar("N", bound=Named)


class Ephemeral(Generic[N]):
    """An object without a name that lives while a ``with`` or ``async with`` block lasts."""

    def __init__(self, cls: type[N], client: Client | None, environment_name: str | None) -> None:
        self._cls = cls
        self._given = client
        self._environment = environment_name
        self._made: N | None = None
        self._left = threading.Event()

    @direct
    async def _enter(self) -> N:
        client = own_client(self._given)
        answer = await self._cls._kind.ask(
            client, "get", environment=environment_of(self._environment), creation=ObjectCreation.EPHEMERAL
        )
        self._made = made = self._cls._of_info(answer.info, client)
        threading.Thread(target=self._beat, args=(client, made.object_id), name="skerry-heartbeat", daemon=True).start()
        return made

    @direct
    async def _leave(self) -> None:
        self._left.set()
        made = self._made
        if made is None or made._client is None:
            return
        kind = self._cls._kind
        try:
            await kind.ask(made._client, "delete", _DELETE_SECONDS, **kind.identity(made.object_id))
        except exc.Error as err:
            # It goes by itself once its heartbeat is missed; what the block has raised is what the user has to see.
            logger.warning("%s %s could not be deleted: %s", kind.noun, made.object_id, err)

    def _beat(self, client: Client, object_id: str) -> None:
        kind = self._cls._kind
        while not self._left.wait(_HEARTBEAT_SECONDS):
            try:
                drive(kind.ask(client, "keep", **kind.identity(object_id)))
            except (exc.NotFoundError, exc.ClientClosed):
                return
            except exc.Error as err:
                logger.warning("heartbeat of %s %s: %s", kind.noun, object_id, err)

    def __enter__(self) -> N:
        return self._enter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    async def __aenter__(self) -> N:
        return await self._enter.aio()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave.aio()
