"""Values of dicts and queues: CBOR where they mean the same in every language, so that programs in others can read them; else pickles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from skerry import _cbor
from skerry._client.serialization import deserialize, deserialize_plain, serialize
from skerry._gen.skerry.v1.payload_pb import PayloadFormat
from skerry.exception import DeserializationError

if TYPE_CHECKING:
    from collections.abc import Callable

# Types whose values come back from CBOR exactly as they were.
_SCALARS = frozenset({type(None), bool, int, float, str, bytes})
# How many parts a value is looked through for others: a pickle of a large one is made many times faster.
_MOST_PARTS = 1000


def encode(value: Any, what: str) -> tuple[PayloadFormat, bytes]:
    """Return the format and the bytes of a value.

    Plain ones, which are None, bool, int, float, str, bytes, and lists and dicts of these with text for keys, are CBOR; those with over
    1,000 parts and all others are pickles. Raises SerializationError, which names ``what``.
    """
    if type(value) in _SCALARS or _is_plain(value, [_MOST_PARTS], set()):
        try:
            return PayloadFormat.CBOR, _cbor.dumps(value)
        except UnicodeEncodeError:
            pass  # half a surrogate pair is no text elsewhere
    return PayloadFormat.PICKLE, serialize(value, what)


def encode_key(key: Any) -> tuple[PayloadFormat, bytes]:
    """Return the format and the bytes of a key: CBOR for None, bool, int, float, str and bytes, else a pickle."""
    if type(key) in _SCALARS:
        try:
            return PayloadFormat.CBOR, _cbor.dumps(key)
        except UnicodeEncodeError:
            pass
    return PayloadFormat.PICKLE, serialize(key, f"the key {_clip(key)}")


def decode(format: PayloadFormat, data: bytes | bytearray | memoryview, what: Callable[[], str]) -> Any:  # noqa: A002 - the field's name
    """Return the value. Raises DeserializationError, which names what it is."""
    if format == PayloadFormat.CBOR:
        return deserialize_plain(data, what())
    if format == PayloadFormat.PICKLE:
        return deserialize(data, what())
    raise DeserializationError(f"{what()} has the unknown format {int(format)}; a newer version of skerry may read it")


def _is_plain(value: Any, room: list[int], seen: set[int]) -> bool:
    kind = cast("type[object]", type(value))
    if kind is list:
        parts = value
    elif kind is dict:
        if not all(type(key) is str for key in value):
            return False
        parts = value.values()
    else:
        return kind in _SCALARS
    room[0] -= len(value)
    if room[0] < 0 or id(value) in seen:  # what is there twice would come back as two
        return False
    seen.add(id(value))
    return all(type(part) in _SCALARS or _is_plain(part, room, seen) for part in parts)


def _clip(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "..."
