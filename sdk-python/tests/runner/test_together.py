"""Several inputs at a time, and batches."""

from __future__ import annotations

import pickle
import re
import time

import cloudpickle
import pytest

from conftest import BATCH, CANCEL, INPUT, LEAVING, OUTPUT, SLOTS, STOP, Host


def outputs(host: Host, n: int) -> dict[int, tuple[int, object]]:
    """Return the status and value, or the error's message, of n inputs by index."""
    found: dict[int, tuple[int, object]] = {}
    for _ in range(n):
        kind, meta, data = host.receive()
        assert kind == OUTPUT, (kind, meta)
        found[meta["index"]] = meta["status"], pickle.loads(data) if meta["status"] == 1 else meta["error"]["message"]
    return found


MEET = """
import threading
barrier = threading.Barrier(3)
def f(x):
    barrier.wait(30)
    return x, threading.current_thread() is threading.main_thread()
"""
MEET_ASYNC = """
import asyncio
n = 0
go = None
async def f(x):
    global n, go
    go = go or asyncio.Event()
    n += 1
    if n == 3: go.set()
    await go.wait()
    return x, False
"""


@pytest.mark.parametrize("source", [MEET, MEET_ASYNC])
def test_inputs_run_at_a_time(host, source):
    host.ready(source, max_inputs=3)
    for i in range(3):
        host.give(i, index=i)
    assert outputs(host, 3) == {i: (1, (i, False)) for i in range(3)}


WAIT = """
import time, skerry
def f(x):
    if x == 'ids': return tuple(skerry.current_input_id().split('-'))[-1]
    while True: time.sleep(0.01)
"""
WAIT_ASYNC = """
import asyncio, skerry
async def f(x):
    if x == 'ids': return skerry.current_input_id().split('-')[-1]
    await asyncio.sleep(600)
"""


@pytest.mark.parametrize("source", [WAIT, WAIT_ASYNC])
def test_one_of_several_is_cancelled(host, source):
    host.ready(source, max_inputs=4)
    host.give("wait", index=0)
    host.give("wait", index=1)
    host.give("ids", index=7)
    assert outputs(host, 1) == {7: (1, "7")}
    host.send(CANCEL, {"call": "fc-abc", "index": 1})
    assert outputs(host, 1)[1][0] == 3
    host.give("ids", index=8)
    assert outputs(host, 1) == {8: (1, "8")}


@pytest.mark.parametrize("source", [WAIT, WAIT_ASYNC])
def test_interrupt_ends_all_without_outputs(host, source):
    host.ready(source, max_inputs=4)
    host.give("wait", index=0)
    host.give("ids", index=1)
    assert outputs(host, 1) == {1: (1, "1")}
    host.send(STOP, {"interrupt": True})
    assert host.receive()[0] == LEAVING
    with pytest.raises(EOFError):
        host.receive()
    assert host.process.wait(30) == 0


def batch(host: Host, inputs: list[tuple[tuple, dict]]) -> None:
    host.send(BATCH, {"count": len(inputs)})
    for i, arguments in enumerate(inputs):
        host.send(INPUT, {"call": "fc-abc", "index": i, "format": 1}, cloudpickle.dumps(arguments, 4))


@pytest.mark.parametrize("max_inputs", [1, 3])
@pytest.mark.parametrize("define", ["def", "async def"])
def test_batch(host, max_inputs, define):
    host.ready(f"{define} f(a, b):\n    return [x + y for x, y in zip(a, b)]", batched=True, max_inputs=max_inputs)
    batch(host, [((1, 2), {}), ((3,), {"b": 4}), ((), {"a": 5, "b": 6})])
    assert outputs(host, 3) == {0: (1, 3), 1: (1, 7), 2: (1, 11)}


@pytest.mark.parametrize("max_inputs", [1, 3])
@pytest.mark.parametrize(
    ("body", "arguments", "words"),
    [
        ("return a", ((1, 2), {}), "takes 1 positional arguments, but one invocation in the batch has 2"),
        ("return a", ((1,), {"c": 2}), "unexpected keyword argument c"),
        ("return a", ((1,), {"a": 2}), "multiple values for argument a"),
        ("return a", ((), {}), "misses a"),
        ("return 'text'", ((1,), {}), "must be a list"),
        ("return []", ((1,), {}), "equal length"),
        ("raise ValueError('all of it')", ((1,), {}), "all of it"),
    ],
)
def test_wrong_batch(host, max_inputs, body, arguments, words):
    host.ready(f"def f(a):\n    {body}", batched=True, max_inputs=max_inputs)
    batch(host, [((0,), {}), arguments])
    found = outputs(host, 2)
    assert found[0] == found[1]
    assert found[0][0] == 2
    assert words in found[0][1]


def test_slots(host):
    host.ready(
        """
        from skerry._runner import control
        def f(n):
            control.set_local_input_concurrency(n)
            return control.get_local_input_concurrency()
        """,
        max_inputs=5,
    )
    host.give(2)
    kind, meta, _ = host.receive()
    assert (kind, meta) == (SLOTS, {"slots": 2})
    assert outputs(host, 1) == {0: (1, 2)}


def test_marks_tell_who_writes(host):
    host.ready(
        "import threading\nbarrier = threading.Barrier(2)\ndef f(x):\n    print('one', x)\n    barrier.wait(30)\n    print('two', x)",
        max_inputs=2,
    )
    host.give("a", index=0)
    host.give("b", index=1)
    outputs(host, 2)
    assert sorted(written(host)) == [
        ("fc-abc;0", "one a\n"),
        ("fc-abc;0", "two a\n"),
        ("fc-abc;1", "one b\n"),
        ("fc-abc;1", "two b\n"),
    ]


def test_what_an_input_leaves_is_its_own(host):
    host.ready(
        """
        import os, subprocess
        def f(x):
            if x == "child":
                subprocess.run(["sh", "-c", "echo from a child"], check=True)
                os.write(1, b"past Python\\n")
            else:
                print(x, end="")
        """
    )
    for index, given in enumerate(["unfinished", "child", "again"]):
        host.give(given, index=index)
        outputs(host, 1)
    assert written(host) == [
        ("fc-abc;0", "unfinished"),
        ("fc-abc;1", "from a child\n"),
        ("fc-abc;1", "past Python\n"),
        ("fc-abc;2", "again"),
    ]


def written(host) -> list[tuple[str, str]]:
    """What was written to standard output, by line and writer."""
    _, *parts = re.split("\x1b]7770;([^\a]*)\a", host.marked()[0])
    return [
        (who, line)
        for who, text in zip(parts[::2], parts[1::2], strict=True)
        for line in text.splitlines(keepends=True)
    ]


def test_a_hundred_coroutines_sleep_together(host):
    host.ready(
        """
        import asyncio, skerry
        running, most = 0, 0
        async def f(i):
            global running, most
            running += 1
            most = max(most, running)
            mine = skerry.current_input_id()
            await asyncio.sleep(1)
            assert skerry.current_input_id() == mine == f"in-abc-{i}"
            running -= 1
            return most
        """,
        max_inputs=100,
    )
    began = time.monotonic()
    for i in range(100):
        host.give(i, index=i)
    found = outputs(host, 100)
    assert time.monotonic() - began < 2
    assert found == dict.fromkeys(range(100), (1, 100))


def test_threads_have_contexts_of_their_own(host):
    host.ready(
        """
        import skerry, threading
        barrier = threading.Barrier(8)
        def f(i):
            barrier.wait(30)
            mine = skerry.current_input_id(), skerry.current_function_call_id()
            barrier.wait(30)
            assert mine == (skerry.current_input_id(), skerry.current_function_call_id())
            return mine
        """,
        max_inputs=8,
    )
    for i in range(8):
        host.give(i, index=i)
    assert outputs(host, 8) == {i: (1, (f"in-abc-{i}", "fc-abc")) for i in range(8)}
