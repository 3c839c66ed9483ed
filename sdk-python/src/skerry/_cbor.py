"""Values to bytes and back for callers of other languages: CBOR (RFC 8949), as docs/cbor.md describes it.

Only the standard library, and little of that at import: containers read and write it as well.
"""

from __future__ import annotations

import sys
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Read = Callable[[Any], Any]

_UINT, _NEGINT, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_FALSE, _TRUE, _NULL, _UNDEFINED = 20, 21, 22, 23

# Tags of RFC 8949 and of its registry.
_DATETIME, _EPOCH, _BIGNUM, _NEGATIVE_BIGNUM, _OBJECT, _UUID, _SET, _DATE = 0, 1, 2, 3, 27, 37, 258, 1004

_HALF, _SINGLE, _DOUBLE = Struct(">e"), Struct(">f"), Struct(">d")
_BREAK = object()
_MAX_CAUSES = 20


def dumps(value: Any) -> bytes:
    """Return the CBOR of a value. Raises TypeError for one that can't be told to another language, which it names."""
    out = bytearray()
    try:
        _write(out, value)
    except RecursionError:
        raise TypeError("it is nested too deep, or contains itself") from None
    return bytes(out)


def loads(data: bytes | bytearray | memoryview) -> Any:
    """Return the value of CBOR. Raises ValueError for what is none."""
    reader = _Reader(data)
    try:
        value = reader.read()
    except (IndexError, RecursionError):
        raise ValueError("the bytes end too early, or are nested too deep") from None
    if value is _BREAK or reader.at != len(data):
        raise ValueError(f"{len(data) - reader.at} bytes are left over")
    return value


def _write(out: bytearray, value: Any) -> None:
    if value is None:
        out.append(_SIMPLE << 5 | _NULL)
    elif value is True or value is False:
        out.append(_SIMPLE << 5 | (_TRUE if value else _FALSE))
    elif isinstance(value, str):
        data = value.encode()
        _head(out, _TEXT, len(data))
        out += data
    elif isinstance(value, int):
        _write_int(out, value)
    elif isinstance(value, float):
        out.append(_SIMPLE << 5 | 27)
        out += _DOUBLE.pack(value)
    elif isinstance(value, (list, tuple)):
        _write_array(out, value)  # pyright: ignore[reportUnknownArgumentType] - of anything
    elif isinstance(value, dict):
        _head(out, _MAP, len(value))  # pyright: ignore[reportUnknownArgumentType] - as above
        for key, item in value.items():  # pyright: ignore[reportUnknownVariableType] - as above
            _write(out, key)
            _write(out, item)
    elif isinstance(value, (bytes, bytearray, memoryview)):
        data = bytes(value)  # pyright: ignore[reportUnknownArgumentType] - as above
        _head(out, _BYTES, len(data))
        out += data
    else:
        _write_tagged(out, value)


def _write_array(out: bytearray, items: Any) -> None:
    _head(out, _ARRAY, len(items))
    for item in items:
        _write(out, item)


def _write_int(out: bytearray, value: int) -> None:
    number = value if value >= 0 else -1 - value
    if number < 1 << 64:
        _head(out, _UINT if value >= 0 else _NEGINT, number)
        return
    data = number.to_bytes((number.bit_length() + 7) // 8, "big")
    _head(out, _TAG, _BIGNUM if value >= 0 else _NEGATIVE_BIGNUM)
    _write(out, data)


def _write_tagged(out: bytearray, value: Any) -> None:
    if isinstance(value, (set, frozenset)):
        _head(out, _TAG, _SET)
        _write_array(out, value)
    elif isinstance(value, BaseException):
        _head(out, _TAG, _OBJECT)
        _write(out, ["Error", describe(value)])
    elif (moment := _moment(value)) is not None:
        _head(out, _TAG, moment[0])
        _write(out, moment[1])
    elif isinstance(value, getattr(sys.modules.get("uuid"), "UUID", ())):
        _head(out, _TAG, _UUID)
        _write(out, value.bytes)
    else:
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        raise TypeError(
            f"a value of the type {kind} can't be told to another language; send plain values, such as dicts and lists"
        )


def _moment(value: Any) -> tuple[int, str] | None:
    """Return the tag and the text of a date or time; None for anything else."""
    datetime: Any = sys.modules.get("datetime")
    if datetime is None:
        return None
    if isinstance(value, datetime.datetime):
        if value.tzinfo is None:
            raise TypeError(
                "a datetime without a time zone is no moment; use datetime.now(timezone.utc), or add tzinfo"
            )
        return _DATETIME, value.isoformat()
    return (_DATE, value.isoformat()) if isinstance(value, datetime.date) else None


def describe(err: BaseException, depth: int = 0) -> dict[str, Any]:
    """Return what another language can know of an exception: its type, text, traceback, and its cause in the same way."""
    import traceback

    try:
        text = str(err)
    except Exception as second:
        text = f"<the exception's text failed with {type(second).__name__}>"
    lines: Iterable[str] = traceback.format_exception(type(err), err, err.__traceback__, chain=False)
    described: dict[str, Any] = {
        "type": f"{type(err).__module__}.{type(err).__qualname__}",
        "message": text.encode("utf-8", "backslashreplace").decode(),
        "traceback": "".join(lines).encode("utf-8", "backslashreplace").decode(),
    }
    cause = err.__cause__ or (None if err.__suppress_context__ else err.__context__)
    if cause is not None and depth < _MAX_CAUSES:
        described["cause"] = describe(cause, depth + 1)
    return described


def _head(out: bytearray, major: int, number: int) -> None:
    if number < 24:
        out.append(major << 5 | number)
    elif number < 1 << 8:
        out += bytes((major << 5 | 24, number))
    elif number < 1 << 16:
        out.append(major << 5 | 25)
        out += number.to_bytes(2, "big")
    elif number < 1 << 32:
        out.append(major << 5 | 26)
        out += number.to_bytes(4, "big")
    else:
        out.append(major << 5 | 27)
        out += number.to_bytes(8, "big")


class _Reader:
    """Reads one value after the other. ``at`` is where it is."""

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._data = memoryview(data)
        self.at = 0

    def read(self) -> Any:
        """Return the next value; _BREAK at the end of something of indefinite length."""
        first = self._data[self.at]
        self.at += 1
        major, minor = first >> 5, first & 31
        if major == _SIMPLE:
            return self._simple(minor)
        if minor == 31:
            return self._indefinite(major)
        number = self._number(minor)
        if major == _UINT:
            return number
        if major == _NEGINT:
            return -1 - number
        if major == _BYTES:
            return bytes(self._take(number))
        if major == _TEXT:
            return str(self._take(number), "utf-8")
        if major == _ARRAY:
            return [self._item() for _ in range(self._count(number))]
        if major == _MAP:
            return dict(self._pair() for _ in range(self._count(number)))
        return self._tagged(number)

    def _number(self, minor: int) -> int:
        if minor < 24:
            return minor
        if minor > 27:
            raise ValueError(f"the length {minor} is reserved")
        return int.from_bytes(self._take(1 << (minor - 24)), "big")

    def _take(self, n: int) -> memoryview:
        end = self.at + n
        if end > len(self._data):
            raise IndexError
        taken = self._data[self.at : end]
        self.at = end
        return taken

    def _count(self, number: int) -> int:
        if number > len(self._data) - self.at:  # each takes a byte at least
            raise IndexError
        return number

    def _item(self) -> Any:
        value = self.read()
        if value is _BREAK:
            raise ValueError("an end where a value belongs")
        return value

    def _pair(self) -> tuple[Any, Any]:
        return _key(self._item()), self._item()

    def _simple(self, minor: int) -> Any:
        if minor in (_NULL, _UNDEFINED):
            return None
        if minor in (_FALSE, _TRUE):
            return minor == _TRUE
        if minor == 31:
            return _BREAK
        for length, kind in ((25, _HALF), (26, _SINGLE), (27, _DOUBLE)):
            if minor == length:
                return kind.unpack(self._take(kind.size))[0]
        raise ValueError(f"the simple value {minor} is not known")

    def _indefinite(self, major: int) -> Any:
        values: list[Any] = []
        while (value := self.read()) is not _BREAK:
            values.append((_key(value), self._item()) if major == _MAP else value)
        if major == _ARRAY:
            return values
        if major == _MAP:
            return dict(values)
        raise ValueError("a number or a text of indefinite length")

    def _tagged(self, tag: int) -> Any:
        reads: dict[int, Read] = {
            _DATETIME: _read_datetime,
            _EPOCH: _read_epoch,
            _BIGNUM: _read_bignum,
            _NEGATIVE_BIGNUM: lambda content: -1 - _read_bignum(content),
            _OBJECT: _read_object,
            _UUID: _read_uuid,
            _SET: lambda content: {_key(item) for item in content},
            _DATE: _read_date,
        }
        read = reads.get(tag)
        if read is None:
            raise ValueError(f"the tag {tag} is not known")
        content = self._item()
        try:
            return read(content)
        except (TypeError, KeyError, AttributeError) as err:
            raise ValueError(f"the tag {tag} stands before something else: {err}") from None


def _key(value: Any) -> Any:
    """Return a key of a dict, or a member of a set."""
    return tuple(_key(item) for item in value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType] - of anything


def _read_datetime(content: Any) -> Any:
    from datetime import datetime

    # Before 3.11 only "+00:00" is taken, and three or six digits.
    return datetime.fromisoformat(content.replace("Z", "+00:00"))


def _read_epoch(content: Any) -> Any:
    from datetime import datetime, timezone

    return datetime.fromtimestamp(content, timezone.utc)


def _read_date(content: Any) -> Any:
    from datetime import date

    return date.fromisoformat(content)


def _read_bignum(content: bytes) -> int:
    return int.from_bytes(content, "big")


def _read_uuid(content: bytes) -> Any:
    from uuid import UUID

    return UUID(bytes=content)


def _read_object(content: Any) -> Any:
    kind, fields = content
    if kind != "Error":
        raise ValueError(f"an object of the kind {kind!r} is not known")
    return _error(fields, 0)


def _error(fields: dict[str, Any], depth: int) -> Exception:
    err = _make_error(str(fields.get("type", "")), str(fields.get("message", "")))
    cause = fields.get("cause")
    if isinstance(cause, dict) and depth < _MAX_CAUSES:
        err.__cause__ = _error(cause, depth + 1)  # pyright: ignore[reportUnknownArgumentType] - as it came
    return err


def _make_error(name: str, message: str) -> Exception:
    """Return an exception of Python's own of that name, else a RemoteError that says the name."""
    import builtins

    cls = getattr(builtins, name.removeprefix("builtins."), None) if name.startswith("builtins.") else None
    if isinstance(cls, type) and issubclass(cls, Exception):
        try:
            return cls(message)
        except TypeError:  # one that wants more than a text
            pass
    from .exception import RemoteError

    return RemoteError(f"{name}: {message}" if name else message)
