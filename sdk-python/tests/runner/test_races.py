"""What the host says at the moment at which something ends, begins, or is being said."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from conftest import BATCH, CANCEL, INPUT, ITEM, OUTPUT, OUTPUT_DATA, Host


@pytest.fixture
def told(host: Host) -> Path:
    """A pipe that user code opens to say that it runs."""
    path = host.code / "told"
    os.mkfifo(path)
    return path


def read_large(host: Host, meta: dict[str, Any]) -> bytes:
    """Return a payload whose first frame has been read."""
    data = b""
    while len(data) < meta["blob_size"]:
        kind, _, part = host.receive()
        assert kind == OUTPUT_DATA
        data += part
    return data


def test_cancelled_before_its_task_has_begun(host: Host, told: Path):
    """An asynchronous input is answered for, though nothing of it ever runs."""
    held = host.code / "held"
    os.mkfifo(held)
    methods = [{"name": "wait", "generator": False}, {"name": "tell", "generator": False}]
    host.ready(
        f"""
        import skerry
        app = skerry.App("app")
        @app.cls()
        class C:
            @skerry.method()
            async def wait(self, held):
                if held: open({str(held)!r}).close()  # and the loop with it
                return held
            @skerry.method()
            def tell(self): open({str(told)!r}, "w").close()
        """,
        qualname="C",
        max_inputs=4,
        **{"class": {"methods": methods, "parameters": [], "constructor": ""}},
    )
    for index, (method, args) in enumerate([("wait", (True,)), ("wait", (False,)), ("tell", ())]):
        meta = {"call": "fc-abc", "index": index, "format": 1, "method": method}
        if method == "tell":
            host.send(CANCEL, {"call": "fc-abc", "index": 1})
        host.send(INPUT, meta, cloudpickle.dumps((args, {}), 4))
    told.open().close()  # so the cancellation has been read
    held.open("w").close()
    assert {meta["index"]: meta["status"] for meta, _ in (host.output() for _ in range(3))} == {0: 1, 1: 3, 2: 1}
    host.send(
        INPUT, {"call": "fc-abc", "index": 3, "format": 1, "method": "wait"}, cloudpickle.dumps(((False,), {}), 4)
    )
    assert host.output()[0]["status"] == 1


def test_cancelled_while_its_batch_answers(host: Host, told: Path):
    """An input of a batch has one output, whenever it is cancelled."""
    host.ready(
        f"""
        def f(size):
            if size == [0]: open({str(told)!r}, "w").close()
            return [bytes(n) for n in size]
        """,
        batched=True,
        max_inputs=2,
    )
    host.send(BATCH, {"count": 2})
    host.give(3_000_000, index=0)
    host.give(3_000_000, index=1)
    kind, meta, _ = host.receive()
    assert (kind, meta["index"]) == (OUTPUT, 0)
    host.send(CANCEL, {"call": "fc-abc", "index": 0})  # its output is on its way
    host.send(BATCH, {"count": 1})
    host.give(0, index=2)
    told.open().close()
    read_large(host, meta)
    assert {m["index"]: m["status"] for m, _ in (host.output() for _ in range(2))} == {1: 1, 2: 1}
    host.send(BATCH, {"count": 1})
    host.give(1, index=3)
    assert host.output()[0]["index"] == 3


def test_cancelled_while_an_item_goes_out(host: Host, told: Path):
    """A large item goes out as a whole."""
    host.ready(
        f"""
        def f(size):
            if not size: open({str(told)!r}, "w").close()
            yield bytes(size)
        """,
        generator=True,
        max_inputs=2,
    )
    host.give(5_000_000, index=0)
    kind, meta, _ = host.receive()
    assert (kind, meta["number"]) == (ITEM, 1)
    host.send(CANCEL, {"call": "fc-abc", "index": 0})
    host.give(0, index=1)
    told.open().close()
    assert len(read_large(host, meta)) > 5_000_000  # as a pickle
    seen: dict[int, int] = {}
    while len(seen) < 2:
        kind, meta, _ = host.receive()
        if kind == OUTPUT:
            seen[meta["index"]] = meta["status"]
        else:
            assert (kind, meta["index"]) == (ITEM, 1)
    assert seen == {0: 3, 1: 1}


def test_printed_in_the_middle_of_a_print():
    """A signal's handler prints what it has to say behind what it has interrupted, and neither is there twice."""
    from skerry._runner.streams import MarkedBuffer

    class Interrupted(MarkedBuffer):
        handled = False

        def _put(self, data: bytes | bytearray) -> None:
            if not self.handled:
                self.handled = True
                self.flush()
                self.write(b"handler's\n")
            super()._put(data)

    reader, writer = os.pipe()
    try:
        buffer = Interrupted(writer, "<test>")
        buffer.write(b"its own\n")
        buffer.write(b"more\n")
        assert os.read(reader, 1000) == b"its own\nhandler's\nmore\n"
    finally:
        os.close(reader)
        os.close(writer)
