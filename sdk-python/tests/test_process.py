"""The SDK in a process: what importing costs, forks, and the twins of methods."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

import skerry
from skerry import exception as exc
from skerry._client.waiting import Once
from skerry._twin import static_twin, twin

DEFINE = """
import sys
import skerry
from skerry import App, Image, Secret
app = App("x", secrets=[Secret.from_dict({"A": "b"})])
image = Image.debian_slim().pip_install("numpy").env({"A": "b"}).add_local_dir("x", "/x", ignore=["*.pyc"])
@app.function(image=image)
def f(x): return x
@app.local_entrypoint()
def main(): pass
assert f.local(1) == 1
print(*sorted(name for name in sys.modules if "." not in name))
"""


def test_defining_an_app_imports_little():
    run = lambda code: set(  # noqa: E731
        subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    bare = run("import sys; print(*sorted(name for name in sys.modules if '.' not in name))")
    heavy = {
        "asyncio",
        "connectrpc",
        "protobuf",
        "pyqwest",
        "rich",
        "typer",
        "cloudpickle",
        "tblib",
        "typing",
        "re",
        "inspect",
        "threading",
    }
    assert (run(DEFINE) - bare) & heavy == set()


FORK = """
import os, sys
import skerry

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # whole: two processes write

echo = skerry.Function.from_name("demo", "echo")
if "early" in sys.argv:
    say(echo.remote(1))
child = os.fork()
try:
    say(echo.remote(2))
except skerry.Error as err:
    say(type(err).__name__, err)
if child:
    os.waitpid(child, 0)
"""


def fork(server, *arguments):
    command = [sys.executable, "-c", FORK, *arguments]
    done = subprocess.run(
        command, env={**os.environ, **server.env}, capture_output=True, text=True, check=True, timeout=20
    )
    return sorted(done.stdout.splitlines())


def test_fork_before_the_first_call_gives_two_clients(server):
    assert fork(server) == ["((2,), {})"] * 2


def test_fork_after_the_first_call_is_a_clear_error_in_the_child(server):
    first, second, error = fork(server, "early")
    assert (first, second) == ("((1,), {})", "((2,), {})")
    assert error.startswith("ClientClosed")
    assert "spawn" in error


def test_container_without_access_says_so(server, monkeypatch):
    for key in server.env:
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("SKERRY_IS_REMOTE", "1")
    monkeypatch.setenv("SKERRY_CONNECT_TIMEOUT", "0.1")
    with pytest.raises(exc.ConnectionError, match="no access"):
        skerry.Function.from_name("demo", "echo").remote(1)


class Thing:
    @twin
    def double(self, x: int) -> int:
        """Doubles."""
        return 2 * x

    @twin
    def slow(self) -> str:
        return "blocking"

    @slow.native
    async def _slow(self) -> str:
        return "native"

    @static_twin
    @staticmethod
    def make(x: int) -> int:
        """Makes."""
        return x


def test_twins():
    thing = Thing()
    assert (thing.double(2), thing.slow(), Thing.make(3)) == (4, "blocking", 3)

    async def main():
        return await thing.double.aio(2), await thing.slow.aio(), await Thing.make.aio(3)

    assert asyncio.run(main()) == (4, "native", 3)
    assert (Thing.double.__doc__, Thing.make.__doc__) == ("Doubles.", "Makes.")
    assert "double" in repr(thing.double)


def test_blocking_twins_warn_in_a_loop(monkeypatch):
    async def main():
        return Thing().double(2)

    with pytest.warns(exc.AsyncUsageWarning, match=r"await Thing\.double\.aio") as caught:
        asyncio.run(main())
    assert caught[0].filename == __file__
    monkeypatch.setenv("SKERRY_ASYNC_WARNINGS", "false")
    assert asyncio.run(main()) == 4


def test_once():
    once = Once()
    heard = []
    once.on_done(lambda: heard.append(1))
    assert not once.wait(0.01)
    once.set()
    once.set()
    once.on_done(lambda: heard.append(2))
    assert (once.wait(), once.wait(0), once.done) == (True, True, True)
    assert heard == [1, 2]

    async def main():
        later = Once()
        assert not await later.wait_aio(0.01)
        asyncio.get_running_loop().call_later(0.01, later.set)
        return await later.wait_aio()

    assert asyncio.run(main())


def test_ending_in_the_middle_of_loops(server):
    server.order(function="fu-echo", hold_index=5)
    server.order(function="fu-numbers", items=1_000_000)
    program = """
import skerry
results = iter(skerry.Function.from_name("demo", "echo").map(range(1000)))
items = iter(skerry.Function.from_name("demo", "numbers").remote_gen())
print(next(results), next(items))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **server.env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "((0,), {}) 0\n", "")


# A thread that Python does not know of, as the transport's are, and which lets go of the interpreter for long while it wakes the loop.
LATE = """
import _thread, sys, time
from skerry._client import background

loop = background.loop()
wake, inside = loop._write_to_self, _thread.allocate_lock()
inside.acquire()

def late():
    wake()
    if _thread.get_ident() == reporter:
        inside.release()
        time.sleep(0.3)
        print("left", flush=True)

def report():
    global reporter
    reporter = _thread.get_ident()
    loop.call_soon_threadsafe(int)

loop._write_to_self = late
_thread.start_new_thread(report, ())
inside.acquire()
"""


def test_the_end_waits_for_threads_that_call_the_loop():
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "left\n", "")
