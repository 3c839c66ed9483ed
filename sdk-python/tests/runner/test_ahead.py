"""Inputs that the host sends ahead of the outputs of those before them."""

from __future__ import annotations

import os

import pytest

from conftest import OUTPUT, WITHDRAW, WITHDRAWN

# The function waits where the test opens the other end of a pipe: "slow" says so that it has begun, and hears that it may end.
STEPS = """
import os, time
def f(t):
    if t == "slow": open("BEGAN", "w").close(); open("ENDS").close()
    elif t == "print": print("printed", end="")
    elif t == "exit": os._exit(3)
    elif t == "raise": raise ValueError("no")
    elif t == "large": return b"x" * 600_000
    elif t: time.sleep(t)
    return t
"""


def results(host, n):
    return [(meta["index"], meta["status"], value) for meta, value in (host.output() for _ in range(n))]


def test_outputs_come_together_and_in_order(host):
    host.ready(STEPS)
    host.give_ahead(*[0] * 30)
    host.conn.settimeout(30)
    assert results(host, 30) == [(i, 1, 0) for i in range(30)]
    host.give_ahead(0, "large", 0)
    assert [index for index, _, _ in results(host, 3)] == [0, 1, 2]


def test_what_is_printed_comes_before_the_outputs(host):
    host.ready(STEPS)
    host.give_ahead(0, "print", 0)
    host.output()
    assert host.written() == ["printed", ""]


def test_a_failure_in_the_middle(host):
    host.ready(STEPS)
    host.give_ahead(0, "raise", 0)
    assert [status for _, status, _ in results(host, 3)] == [1, 2, 1]


def test_an_input_that_is_not_short_sends_its_output_at_once(host):
    host.ready(STEPS)
    host.give_ahead(0.01, 1000)
    host.conn.settimeout(5)
    meta, value = host.output()
    assert value == 0.01
    assert 10_000 <= meta["elapsed_us"] < 5_000_000
    assert host.withdraw() == []


def steps(host, source=STEPS):
    """Start a runner and return the pipes that open when the input "slow" has begun, and that have it end."""
    began, ends = host.code / "began", host.code / "ends"
    os.mkfifo(began)
    os.mkfifo(ends)
    host.ready(source.replace("BEGAN", str(began)).replace("ENDS", str(ends)))
    return began, ends


def test_withdraw(host):
    began, ends = steps(host)
    host.give_ahead(0, 0, "slow", 1, 2)
    began.open().close()
    host.signal()  # with nothing to read yet
    host.send(WITHDRAW, {})
    host.signal()
    assert results(host, 2) == [(0, 1, 0), (1, 1, 0)]
    kind, meta, _ = host.receive()
    assert (kind, [one["index"] for one in meta["inputs"]]) == (WITHDRAWN, [3, 4])
    ends.open("w").close()
    assert results(host, 1) == [(2, 1, "slow")]
    assert host.withdraw() == []
    assert host.call(0) == 0


def test_withdraw_while_none_runs(host):
    host.ready(STEPS)
    assert host.withdraw() == []
    assert host.call(0) == 0


def test_cancel_ahead(host):
    began, _ = steps(host)
    host.give_ahead("slow", 0, 0)
    began.open().close()
    host.cancel(1)
    assert results(host, 1) == [(1, 3, None)]  # at once
    host.cancel(0)
    assert results(host, 2) == [(0, 3, None), (2, 1, 0)]


@pytest.mark.parametrize("signals", [1, 3])
def test_withdraw_is_exact_under_races(host, signals):
    """Whatever the moment, each input either has an output or is given back."""
    host.ready("def f(i):\n for _ in range(2000): pass\n return i")
    for _ in range(200):
        host.give_ahead(*range(20))
        host.send(WITHDRAW, {})
        for _ in range(signals):
            host.signal()
        seen: list[int] = []
        given_back: list[int] | None = None
        while given_back is None or len(seen) + len(given_back) < 20:
            kind, meta, _ = host.receive()
            if kind == OUTPUT:
                assert meta["status"] == 1
                seen.append(meta["index"])
            else:
                given_back = [one["index"] for one in meta["inputs"]]
        assert seen + given_back == list(range(20))
    assert host.call(7) == 7


def test_async_withdraw_and_cancel(host):
    began, _ = steps(
        host,
        """
import asyncio
async def f(t):
    if t:
        open("BEGAN", "w").close()
        await asyncio.sleep(1000)
    return t
""",
    )
    host.give_ahead(0, "slow", 0, 0)
    began.open().close()
    host.cancel(2)
    assert results(host, 2) == [(0, 1, 0), (2, 3, None)]
    assert host.withdraw() == [3]
    host.cancel(1)
    assert results(host, 1) == [(1, 3, None)]


def test_crash_with_several(host):
    host.ready(STEPS)
    host.give_ahead(0, 0, "exit", 0)
    with pytest.raises(EOFError):
        results(host, 3)
    assert host.process.wait(30) == 3


def test_a_child_gives_no_outputs_of_its_parent(host):
    host.ready("""
import os
def f(x):
    if not x: return x
    pid = os.fork()
    return os.waitpid(pid, 0)[1] if pid else "the child's"
""")
    host.give_ahead(0, 0, 1, 0)
    assert results(host, 4) == [(0, 1, 0), (1, 1, 0), (2, 1, 0), (3, 1, 0)]
