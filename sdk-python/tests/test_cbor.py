"""Values for programs in other languages: docs/cbor.json has the bytes, which the TypeScript SDK's tests read as well."""

from __future__ import annotations

import json
import struct
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from skerry import _cbor
from skerry.exception import RemoteError

VECTORS = json.loads((Path(__file__).resolve().parents[2] / "docs/cbor.json").read_text())


def build(described: dict[str, Any]) -> Any:
    """Return the value that a vector describes."""
    ((kind, value),) = described.items()
    makers = {
        "null": lambda _: None,
        "bool": bool,
        "int": int,
        "float": float,
        "text": str,
        "bytes": bytes.fromhex,
        "list": lambda items: [build(item) for item in items],
        "set": lambda items: {build(item) for item in items},
        "map": lambda pairs: {build(key): build(item) for key, item in pairs},
        "moment": datetime.fromisoformat,
        "day": date.fromisoformat,
        "uuid": UUID,
    }
    return makers[kind](value)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_vectors(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["hex"])
    read = _cbor.loads(data)
    if "error" in vector["value"]:
        described = vector["value"]["error"]
        assert (f"builtins.{type(read).__name__}", read.args) == (described["type"], (described["message"],))
        assert isinstance(read.__cause__, KeyError)
        return
    value = build(vector["value"])
    assert (type(read), read) == (type(value), value)
    if "python" in vector.get("writes", ["python"]):
        assert _cbor.dumps(value).hex() == data.hex()


def test_tuples_are_lists_and_numbers_keep_their_kind() -> None:
    assert _cbor.loads(_cbor.dumps(((1, 2.0), True, bytearray(b"x"), memoryview(b"y")))) == [[1, 2.0], True, b"x", b"y"]
    assert [type(v) for v in _cbor.loads(_cbor.dumps([1, 1.0, True]))] == [int, float, bool]


def test_exceptions_tell_their_causes() -> None:
    class OwnError(Exception):
        pass

    try:
        try:
            raise OwnError("inside")
        except OwnError as err:
            raise ValueError("outside") from err
    except ValueError as err:
        read = _cbor.loads(_cbor.dumps(err))
        described = _cbor.describe(err)
    assert isinstance(read, ValueError)
    assert str(read) == "outside"
    assert isinstance(read.__cause__, RemoteError)
    assert str(read.__cause__).endswith("OwnError: inside")
    assert "raise ValueError" in described["traceback"]


@pytest.mark.parametrize("value", [object(), print, 1j, {"a": object()}, datetime(2026, 1, 1)])  # noqa: DTZ001 - as users write it
def test_what_other_languages_lack_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        _cbor.dumps(value)


def test_what_contains_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(TypeError, match="contains itself"):
        _cbor.dumps(endless)


@pytest.mark.parametrize(
    "data",
    [
        "",
        "18",
        "5b7fffffffffffffff",
        "9b7fffffffffffffff",
        "bb00000000ffffffff",
        "81",
        "ff",
        "9f",
        "1c",
        "f8ff",
        "d9ffff01",
        "c001",
        "0000",
        "d81b8161",
        "62ff",
    ],
)
def test_damaged_bytes_are_refused(data: str) -> None:
    with pytest.raises(ValueError):
        _cbor.loads(bytes.fromhex(data))


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ValueError, match="too deep"):
        _cbor.loads(b"\x81" * 100_000 + b"\x00")


def test_moments_have_their_zone() -> None:
    assert _cbor.loads(_cbor.dumps(datetime(2026, 1, 2, 3, 4, 5, 6, timezone.utc))) == datetime(
        2026, 1, 2, 3, 4, 5, 6, timezone.utc
    )


def test_floats_are_doubles() -> None:
    assert _cbor.dumps(0.1) == b"\xfb" + struct.pack(">d", 0.1)
