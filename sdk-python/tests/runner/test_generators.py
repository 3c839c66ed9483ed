"""Generators in the runner."""

from __future__ import annotations

import pickle
import signal

import pytest

from conftest import CANCEL, ITEM, OUTPUT, Host


def read(host: Host) -> tuple[list[object], dict]:
    """Return the items and the meta of the output that ends them."""
    items: list[object] = []
    while True:
        kind, meta, data = host.receive()
        if kind == OUTPUT:
            return items, meta
        assert kind == ITEM
        assert meta["number"] == len(items) + 1
        items.append(pickle.loads(data))


def test_items_in_order_and_their_number(host):
    host.ready("def f(n):\n    yield from range(n)", generator=True)
    host.give(5000)
    items, meta = read(host)
    assert items == list(range(5000))
    assert (meta["status"], meta["items"]) == (1, 5000)


def test_items_before_an_exception(host):
    host.ready("def f(n):\n    yield from range(n)\n    raise ValueError('no more')", generator=True)
    host.give(3)
    items, meta = read(host)
    assert items == [0, 1, 2]
    assert meta["status"] == 2
    assert meta["error"]["message"] == "no more"


def test_an_item_does_not_wait_for_the_next(host, tmp_path):
    gate = tmp_path / "gate"
    host.ready(
        f"import os, time\ndef f():\n    yield 1\n    yield 2\n    while not os.path.exists({str(gate)!r}): time.sleep(0.01)\n    yield 3",
        generator=True,
    )
    host.give()
    assert [pickle.loads(host.receive()[2]) for _ in range(2)] == [1, 2]
    gate.touch()
    assert pickle.loads(host.receive()[2]) == 3


def test_asynchronous_generator(host):
    host.ready(
        "import asyncio\nasync def f(n):\n    for i in range(n):\n        await asyncio.sleep(0)\n        yield i",
        generator=True,
    )
    host.give(10)
    assert read(host)[0] == list(range(10))


def test_what_is_no_generator(host):
    host.ready("def f():\n    return 5", generator=True)
    host.give()
    items, meta = read(host)
    assert items == []
    assert meta["error"]["type"] == "skerry.exception.InvalidError"


def test_function_that_returns_a_generator(host):
    host.ready("def f():\n    return (i for i in range(3))")
    host.give()
    meta, _ = host.output()
    assert "is_generator=True" in meta["error"]["message"]


def test_cancelled_generator_is_closed(host):
    host.ready(
        """
        import time
        def f():
            try:
                while True:
                    yield 1
                    time.sleep(0.01)
            finally:
                print('closed')
        """,
        generator=True,
    )
    host.give()
    assert host.receive()[0] == ITEM
    host.send(CANCEL, {"call": "fc-abc", "index": 0})
    host.process.send_signal(signal.SIGUSR1)
    _, meta = read_rest(host)
    assert meta["status"] == 3
    assert "closed" in host.written()[0]


def read_rest(host: Host) -> tuple[int, dict]:
    items = 0
    while True:
        kind, meta, _ = host.receive()
        if kind == OUTPUT:
            return items, meta
        items += 1


def test_large_items(host):
    host.ready("def f(sizes):\n    for n in sizes:\n        yield bytes(n)", generator=True)
    host.give([10, 2_000_000, 3])
    kind, meta, _ = host.receive()
    assert (kind, meta["number"]) == (ITEM, 1)
    kind, meta, data = host.receive()
    assert (kind, meta["number"], data) == (ITEM, 2, b"")
    left = meta["blob_size"]
    while left:
        left -= len(host.receive()[2])
    assert host.receive()[1]["number"] == 3


CLOSED = """
import asyncio, time
{define} f(how):
    try:
        yield 1
        if how == "fail": raise ValueError("of the generator")
        {wait}
    finally:
        print("closed", flush=True)
"""


@pytest.mark.parametrize("max_inputs", [1, 3])
@pytest.mark.parametrize(
    ("define", "wait"),
    [("def", "for _ in range(60_000): time.sleep(0.01)"), ("async def", "await asyncio.sleep(600)")],
)
@pytest.mark.parametrize(("how", "status"), [("fail", 2), ("wait", 3)])
def test_generator_is_closed_whatever_ends_it(host, define, wait, how, status, max_inputs):
    host.ready(CLOSED.format(define=define, wait=wait), generator=True, max_inputs=max_inputs)
    host.give(how)
    kind, meta, data = host.receive()
    assert (kind, meta["number"], pickle.loads(data)) == (ITEM, 1, 1)
    if how == "wait":
        host.cancel()
    _, meta = read_rest(host)
    assert meta["status"] == status
    assert host.written()[0] == "closed\n"
