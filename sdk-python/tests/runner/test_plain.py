"""Inputs of callers in other languages: arguments and outcomes are CBOR."""

from __future__ import annotations

import base64
import pickle
from typing import Any

import pytest

from conftest import BATCH, INPUT, ITEM, OUTPUT, OUTPUT_DATA, Host
from skerry import _cbor


def give(host: Host, *args: Any, index: int = 0, format_: int = 2, **kwargs: Any) -> None:
    data = _cbor.dumps([args, kwargs]) if format_ == 2 else pickle.dumps((args, kwargs), 4)
    host.send(INPUT, {"call": "fc-abc", "index": index, "format": format_}, data)


def value_of(meta: dict[str, Any], data: bytes) -> Any:
    if meta["status"] == 1:
        return _cbor.loads(data) if meta["format"] == 2 else pickle.loads(data)
    return meta["error"]["message"]


@pytest.mark.parametrize("max_inputs", [1, 2])
def test_each_output_has_the_format_of_its_input(host, max_inputs):
    host.ready("def f(x, *, y=0): return [x, y, (1, 2)]", max_inputs=max_inputs)
    give(host, 1, y=2)
    kind, meta, data = host.receive()
    assert (kind, meta["format"], _cbor.loads(data)) == (OUTPUT, 2, [1, 2, [1, 2]])
    give(host, 1, format_=1)
    kind, meta, data = host.receive()
    assert (kind, meta["format"], pickle.loads(data)) == (OUTPUT, 1, [1, 0, (1, 2)])


@pytest.mark.parametrize("max_inputs", [1, 2])
def test_generators_yield_in_it(host, max_inputs):
    host.ready("def f(n): yield from range(n)", generator=True, max_inputs=max_inputs)
    give(host, 2)
    for number in (1, 2):
        kind, meta, data = host.receive()
        assert (kind, meta["number"], meta["format"], _cbor.loads(data)) == (ITEM, number, 2, number - 1)
    assert host.receive()[0] == OUTPUT


@pytest.mark.parametrize("max_inputs", [1, 2])
def test_a_batch_may_mix_formats(host, max_inputs):
    host.ready("def f(x): return [2 * v for v in x] if 0 not in x else 1 / 0", batched=True, max_inputs=max_inputs)
    for first in (1, 0):
        host.send(BATCH, {"count": 2})
        give(host, first, index=0)
        give(host, 2, index=1, format_=1)
        got = {}
        for _ in range(2):
            _, meta, data = host.receive()
            got[meta["index"]] = meta["format"], value_of(meta, data)
        if first:
            assert got == {0: (2, 2), 1: (1, 4)}
        else:
            assert got == {0: (2, "division by zero"), 1: (1, "division by zero")}


def test_large_results_are_announced(host):
    host.ready("def f(n): return bytes(n)")
    give(host, 1 << 20)
    kind, meta, data = host.receive()
    assert (kind, meta["format"], data) == (OUTPUT, 2, b"")
    while len(data) < meta["blob_size"]:
        kind, _, part = host.receive()
        assert kind == OUTPUT_DATA
        data += part
    assert _cbor.loads(data) == bytes(1 << 20)


def test_exceptions_are_described_with_their_causes(host):
    host.ready(
        """
        def f():
            try: {}["a"]
            except KeyError as err: raise ValueError("no a") from err
        """
    )
    give(host)
    _, meta, data = host.receive()
    assert (meta["status"], meta["format"], meta["error"]["type"]) == (2, 2, "builtins.ValueError")
    failed = _cbor.loads(data)
    assert isinstance(failed, ValueError)
    assert isinstance(failed.__cause__, KeyError)


def test_results_that_other_languages_lack_fail(host):
    host.ready("def f(): return object()")
    give(host)
    _, meta, _ = host.receive()
    assert (meta["status"], meta["error"]["type"]) == (2, "skerry.exception.SerializationError")
    assert "object" in meta["error"]["message"]


@pytest.mark.parametrize("data", [b"\xa0", b"\x82\x80", b"\x82\x80\x01", b"\x01"])
def test_damaged_arguments_fail_that_input_alone(host, data):
    host.ready("def f(): return 1")
    host.send(INPUT, {"call": "fc-abc", "index": 0, "format": 2}, data)
    _, meta, _ = host.receive()
    assert (meta["status"], meta["error"]["type"]) == (2, "skerry.exception.DeserializationError")
    give(host)
    assert value_of(*host.receive()[1:]) == 1


def test_constructors_take_it(host):
    source = """
    import skerry
    class C:
        def __init__(self, a, b=0): self.made = [a, b]
        @skerry.method()
        def m(self): return self.made
    """
    constructor = base64.b64encode(_cbor.dumps([[1], {"b": 2}])).decode()
    methods = {"methods": [{"name": "m", "generator": False}], "parameters": [], "constructor": constructor}
    host.ready(source, qualname="C", **{"class": methods})
    host.send(INPUT, {"call": "fc-abc", "index": 0, "format": 2, "method": "m"}, _cbor.dumps([[], {}]))
    assert value_of(*host.receive()[1:]) == [1, 2]
