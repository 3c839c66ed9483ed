"""Dicts: values under keys, for everything in an environment."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from protobuf import Oneof

from skerry import exception as exc
from skerry._client.blobs import MAX_INLINE_BYTES, digest_of, read_payload, upload_bytes
from skerry._client.direct import ask, direct, in_thread
from skerry._client.dual import dual_iterator
from skerry._gen.skerry.v1 import dict_pb as pb
from skerry._gen.skerry.v1.payload_pb import BlobRef, Payload
from skerry._names import new_id

from .ephemeral import Ephemeral
from .infos import DictInfo
from .named import Kind, Manager, Named, created_at
from .plain import decode, encode, encode_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from skerry._client.client import Client
    from skerry._gen.skerry.v1.payload_pb import PayloadFormat

_MAX_KEY_BYTES = 32 << 10
_MAX_VALUE_BYTES = 256 << 20
_MAX_UPDATE_BYTES = 32 << 20
_MAX_UPDATE_ENTRIES = 10_000
_MISSING: Any = object()


class Dict(Named):
    """Values under keys, shared by everything in an environment.

    ::

        counts = skerry.Dict.from_name("counts", create_if_missing=True)
        counts["a"] = 1
        print(counts["a"], counts.get("b", 0), "a" in counts)

    Keys and values are anything that can be pickled. Two keys are the same where their serialised bytes are. An entry goes seven days after
    it was last read or written. Nothing is kept here: each use asks the server, and a value that is changed in place is not written back.

    Each method has an ``.aio`` form: ``await counts.get.aio("a")``, ``await counts.put.aio("a", 1)``.
    """

    _kind = Kind("dict", "di")

    objects: Manager[Dict]
    """Makes, lists and deletes dicts."""

    @staticmethod
    def from_name(
        name: str,
        *,
        environment_name: str | None = None,
        create_if_missing: bool = False,
        client: Client | None = None,
    ) -> Dict:
        """Return a handle of the dict that has a name. The server is asked when it is first used, and NotFoundError raised then.

        Args:
            name: 1 to 64 letters, digits, '-', '_' or '.'.
            environment_name: default: the configured one.
            create_if_missing: make it where it is not there.
            client: default: the process's own.
        """
        return Dict._make(name=name, environment=environment_name, create=create_if_missing, client=client)

    @staticmethod
    def from_id(dict_id: str, client: Client | None = None) -> Dict:
        """Return a handle of the dict that has an id, "di-..."."""
        return Dict._of_id(dict_id, client)

    @staticmethod
    def ephemeral(client: Client | None = None, environment_name: str | None = None) -> Ephemeral[Dict]:
        """Return a dict without a name for a ``with`` or ``async with`` block. It goes with the block, or with this process."""
        return Ephemeral(Dict, client, environment_name)

    @direct
    async def info(self) -> DictInfo:
        """Return what the server knows of it. Raises NotFoundError."""
        info = await self._describe()
        return DictInfo(info.name or None, created_at(info), info.created_by)

    @direct
    async def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of a key, or the default where it has none.

        Raises DeserializationError, which names the key, for a value that can't be read here.
        """
        found = await self._get(key)
        return default if found is _MISSING else found

    @direct
    async def put(self, key: Any, value: Any, *, skip_if_exists: bool = False) -> bool:
        """Give a key its value.

        Args:
            key: the key.
            value: anything that can be pickled; at most 256 MiB then, or RequestSizeError is raised.
            skip_if_exists: leave the value that is there alone. Of many who do it at once, one gets True.

        Returns:
            False where ``skip_if_exists`` left a value alone.
        """
        client, dict_id = await self._ready()
        request = pb.PutDictEntryRequest(
            dict_id=dict_id,
            entry=await self._entry(client, key, value, "Dict.put"),
            only_if_missing=skip_if_exists,
            request_id=_request_id(),
        )
        return (await ask(client, lambda services: services.dicts.put_dict_entry(request))).created

    @direct
    async def update(self, other: Mapping[Any, Any] | None = None, /, **kwargs: Any) -> None:
        """Give many keys their values, all or none of them.

        At most 10,000 entries of together 32 MiB, or RequestSizeError is raised; values over 512 KiB don't count.
        """
        client, dict_id = await self._ready()
        values = {**dict(other or {}), **kwargs}
        if len(values) > _MAX_UPDATE_ENTRIES:
            raise exc.RequestSizeError(
                f"Dict.update request is too large: {len(values):,} entries; the most is {_MAX_UPDATE_ENTRIES:,} at a time"
            )
        request = pb.UpdateDictRequest(dict_id=dict_id)
        size = 0
        for key, value in values.items():
            entry = await self._entry(client, key, value, "Dict.update")
            size += _inline_size(entry.key) + _inline_size(entry.value)
            if size > _MAX_UPDATE_BYTES:
                raise exc.RequestSizeError("Dict.update request is too large: over 32 MiB; update fewer keys at a time")
            request.entries.append(entry)
        if values:
            await ask(client, lambda services: services.dicts.update_dict(request))

    @direct
    async def pop(self, key: Any, default: Any = _MISSING) -> Any:
        """Remove a key and return its value, which nobody else gets then.

        Raises KeyError where it has none and no default is given.
        """
        client, dict_id = await self._ready()
        request = pb.PopDictEntryRequest(dict_id=dict_id, key=_key(key), request_id=_request_id())
        value = (await ask(client, lambda services: services.dicts.pop_dict_entry(request))).value
        if value is not None:
            return await self._read(client, value, key)
        if default is _MISSING:
            raise KeyError(key)
        return default

    @direct
    async def contains(self, key: Any) -> bool:
        """Tell whether a key has a value."""
        client, dict_id = await self._ready()
        request = pb.HasDictEntryRequest(dict_id=dict_id, key=_key(key))
        return (await ask(client, lambda services: services.dicts.has_dict_entry(request))).found

    @direct
    async def len(self) -> int:
        """Return how many entries there are."""
        client, dict_id = await self._ready()
        request = pb.CountDictRequest(dict_id=dict_id)
        return (await ask(client, lambda services: services.dicts.count_dict(request))).count

    @direct
    async def clear(self) -> None:
        """Remove all entries."""
        client, dict_id = await self._ready()
        request = pb.ClearDictRequest(dict_id=dict_id)
        await ask(client, lambda services: services.dicts.clear_dict(request))

    @dual_iterator
    async def keys(self) -> AsyncIterator[Any]:
        """Iterate over the keys, in no order. What is there all the time comes; what is changed meanwhile may come twice."""
        async for _, entry in self._entries(keys_only=True):
            yield _read_key(entry)

    @dual_iterator
    async def values(self) -> AsyncIterator[Any]:
        """Iterate over the values, as :meth:`keys` does over the keys."""
        async for client, entry in self._entries():
            yield await self._read(client, entry.value, partial(_read_key, entry))

    @dual_iterator
    async def items(self) -> AsyncIterator[tuple[Any, Any]]:
        """Iterate over pairs of a key and its value, as :meth:`keys` does over the keys."""
        async for client, entry in self._entries():
            key = _read_key(entry)
            yield key, await self._read(client, entry.value, key)

    def __getitem__(self, key: Any) -> Any:
        found = self.get(key, _MISSING)
        if found is _MISSING:
            raise KeyError(key)
        return found

    def __setitem__(self, key: Any, value: Any) -> None:
        self.put(key, value)

    def __delitem__(self, key: Any) -> None:
        self.pop(key)

    def __contains__(self, key: Any) -> bool:
        return self.contains(key)

    # Inside the package.

    async def _get(self, key: Any) -> Any:
        client, dict_id = await self._ready()
        request = pb.GetDictEntryRequest(dict_id=dict_id, key=_key(key))
        value = (await ask(client, lambda services: services.dicts.get_dict_entry(request))).value
        return _MISSING if value is None else await self._read(client, value, key)

    async def _entry(self, client: Client, key: Any, value: Any, what: str) -> pb.DictEntry:
        format, data = encode(value, f"the value of the key {key!r}")  # noqa: A001 - the field's name
        if len(data) > _MAX_VALUE_BYTES:
            raise exc.RequestSizeError(
                f"{what} request is too large: the value of the key {key!r} takes {len(data):,} bytes; the most is 256 MiB"
            )
        return pb.DictEntry(key=_key(key), value=await _payload(client, format, data))

    async def _read(self, client: Client, value: Payload | None, key: Any) -> Any:
        assert value is not None  # noqa: S101 - the server sends one
        if value.content is not None and value.content.field == "inline":
            data = value.content.value
        else:
            data = await in_thread(read_payload, client, value)
        return decode(
            value.format, data, lambda: f"the value of the key {(key() if isinstance(key, partial) else key)!r}"
        )

    async def _entries(self, *, keys_only: bool = False) -> AsyncIterator[tuple[Client, pb.DictEntry]]:
        from skerry._sandbox.watching import stream_on

        client, dict_id = await self._ready()
        request = pb.ReadDictRequest(dict_id=dict_id, keys_only=keys_only)
        async for answer in stream_on(client, lambda: client.aio.dicts.read_dict(request)):
            for entry in answer.entries:
                yield client, entry
            request.after = answer.cursor


Dict.objects = Manager(Dict)


async def _payload(client: Client, format: PayloadFormat, data: bytes) -> Payload:  # noqa: A002 - the field's name
    if len(data) <= MAX_INLINE_BYTES:
        return Payload(format=format, content=Oneof("inline", data))
    blob = BlobRef(digest=digest_of(data), size=len(data))
    await in_thread(upload_bytes, client, blob, data)
    return Payload(format=format, content=Oneof("blob", blob))


def _key(key: Any) -> Payload:
    format, data = encode_key(key)  # noqa: A001 - the field's name
    if len(data) > _MAX_KEY_BYTES:
        raise exc.RequestSizeError(f"a key takes {len(data):,} bytes; the most is 32 KiB")
    return Payload(format=format, content=Oneof("inline", data))


def _read_key(entry: pb.DictEntry) -> Any:
    key = entry.key
    data = key.content.value if key is not None and key.content is not None and key.content.field == "inline" else b""
    assert key is not None  # noqa: S101 - the server sends one
    return decode(key.format, data, lambda: f"the key {data[:40]!r}")


def _inline_size(payload: Payload | None) -> int:
    if payload is None or payload.content is None or payload.content.field != "inline":
        return 0
    return len(payload.content.value)


def _request_id() -> str:
    return new_id("")[1:]
