"""From the import of user code to the end of the process: hooks, stops, and what ends a container."""

from __future__ import annotations

import signal
import socket

import pytest

from conftest import LEAVING, READY, START_FAILED, STOP, Host

CLASS = {"methods": [{"name": "m", "generator": False}], "parameters": [], "constructor": ""}

HOOKS = """
import asyncio, threading, skerry
assert threading.current_thread() is threading.main_thread()
app = skerry.App("app")
class Base:
    size: int = skerry.parameter(default=1)
    @skerry.enter()
    async def base(self):
        self.loop = asyncio.get_running_loop()
        self.told = ["base", self.size]
        return "ignored"
    @skerry.enter()
    def replaced(self): self.told.append("never")
    @skerry.exit()
    def bye(self): print("base leaves")
@app.cls()
class C(Base):
    size: int = skerry.parameter(default=1)
    @skerry.enter()
    def own(self): self.told.append("own")
    @skerry.enter()
    def replaced(self): self.told.append("replaced")
    @skerry.method()
    async def m(self): return self.told, asyncio.get_running_loop() is self.loop
    @skerry.exit()
    async def late(self): print("own leaves", asyncio.get_running_loop() is self.loop)
"""


def test_hooks_in_order_on_one_loop(host):
    parameters = [{"name": "size", "type": 2, "value": 7}]
    host.ready(HOOKS, qualname="C", **{"class": {**CLASS, "parameters": parameters}})
    host.send(2, {"call": "fc-abc", "index": 0, "format": 1, "method": "m"})
    assert host.output()[1] == (["base", 7, "replaced", "own"], True)
    assert host.stop() == (0, "base leaves\nown leaves True\n", "")


SMALL = """
import skerry, time
app = skerry.App("app")
@app.cls()
class C:
    @skerry.enter()
    def enter(self):
        print("enters")
        {enter}
    @skerry.method()
    def m(self):
        {body}
    @skerry.exit()
    def fails(self): raise ValueError("of the first exit hook")
    @skerry.exit()
    def leave(self): print("leaves")
"""


def ready(host: Host, body: str, enter: str = "pass", **options) -> Host:
    return host.ready(SMALL.format(enter=enter, body=body), qualname="C", **{"class": CLASS}, **options)


def give(host: Host, index: int = 0) -> None:
    host.send(2, {"call": "fc-abc", "index": index, "format": 1, "method": "m"})


def test_failing_exit_hook_is_reported_and_the_next_one_runs(host):
    ready(host, "return 1")
    code, out, err = host.stop()
    assert (code, out) == (0, "enters\nleaves\n")
    assert "of the first exit hook" in err


@pytest.mark.parametrize("max_inputs", [1, 2])
def test_idle_threads_of_the_event_loop_are_not_named(host, max_inputs):
    host.ready("import asyncio\nasync def f(): return await asyncio.to_thread(lambda: 1)", max_inputs=max_inputs)
    host.send(2, {"call": "fc-abc", "index": 0, "format": 1})
    assert host.output()[1] == 1
    assert host.stop() == (0, "", "")


def test_exit_hook_that_takes_an_exception_gets_none(host):
    """As hooks of older programs do, which are written like ``__exit__``."""
    source = SMALL.format(enter="pass", body="pass").replace("def leave(self)", "def leave(self, kind, error, trace=1)")
    source = source.replace("def fails(self): raise ValueError('of the first exit hook')", "")
    source += """
    @skerry.exit()
    async def late(self, kind, error, trace): print(kind, error, trace)
"""
    host.ready(source, qualname="C", **{"class": CLASS})
    code, out, err = host.stop()
    assert (code, out) == (0, "enters\nNone None None\n")
    assert "missing 2 required positional arguments: 'kind' and 'error'" in err


def test_exit_hooks_run_when_the_host_is_gone(host):
    ready(host, "return 1")
    host.conn.shutdown(socket.SHUT_WR)
    assert host.process.wait(30) == 0
    assert host.written()[0] == "enters\nleaves\n"


@pytest.mark.parametrize("max_inputs", [1, 2])
def test_exit_hooks_run_after_an_interrupt(host, max_inputs):
    ready(host, "print('runs', flush=True)\n        for _ in range(60_000): time.sleep(0.01)", max_inputs=max_inputs)
    give(host)
    host.send(STOP, {"interrupt": True})
    host.signal()
    assert host.receive()[0] == LEAVING
    host.process.send_signal(signal.SIGINT)  # which hooks do not notice
    assert host.process.wait(30) == 0
    out, err = host.written()
    assert out.endswith("leaves\n")
    assert "KeyboardInterrupt" not in err


def test_no_exit_hook_where_enter_failed(host):
    source = SMALL.format(enter="raise LookupError('of the hook')", body="pass")
    kind, meta, data = host.start(source, qualname="C", **{"class": CLASS})
    assert kind == START_FAILED
    assert meta["error"]["type"] == "builtins.LookupError"
    assert "in enter" in meta["error"]["traceback"]
    assert data
    assert host.process.wait(30) == 1
    assert host.written()[0] == "enters\n"


def test_interrupt_before_there_is_anything_to_run(host):
    """A host that needs the container no more ends it so. Nobody is to see a traceback of the runner's own for that."""
    host.launch()
    host.process.send_signal(signal.SIGINT)
    assert host.process.wait(30) == -signal.SIGINT
    assert host.written() == ["", ""]


def test_interrupt_while_hooks_run(host, tmp_path):
    gate = tmp_path / "gate"
    enter = f"open({str(gate)!r}, 'w').close()\n        signal.raise_signal(signal.SIGINT)\n        time.sleep(60)"
    source = "import signal\n" + SMALL.format(enter=enter, body="pass")
    kind, meta, _ = host.start(source, qualname="C", **{"class": CLASS})
    assert (kind, meta["error"]["type"]) == (START_FAILED, "builtins.KeyboardInterrupt")
    assert host.process.wait(30) == 1
    assert gate.exists()
    assert host.written() == ["enters\n", ""]


@pytest.mark.parametrize("kind", ["KeyboardInterrupt", "GeneratorExit"])
@pytest.mark.parametrize("max_inputs", [1, 2])
@pytest.mark.parametrize("define", ["def", "async def"])
def test_what_ends_the_container(host, kind, max_inputs, define):
    host.ready(f"{define} f(): raise {kind}", max_inputs=max_inputs)
    host.give()
    assert host.receive()[0] == LEAVING
    with pytest.raises(EOFError):
        host.receive()
    assert host.process.wait(30) == 0
    assert host.written()[1] == f"{kind}: the container ends, and its inputs run again in another one\n"


def test_simulated_preemption(host):
    ready(host, "skerry.exception.simulate_preemption(1)\n        time.sleep(60)")
    give(host)
    assert host.receive()[0] == LEAVING
    assert host.process.wait(30) == 0
    assert host.written()[0] == "enters\nleaves\n"


def test_hooks_may_set_the_number_of_inputs(host):
    enter = "c = skerry.experimental\n        c.set_local_input_concurrency(2)\n        self.seen = c.get_local_input_concurrency()"
    source = "import skerry.experimental\n" + SMALL.format(enter=enter, body="return self.seen")
    assert host.start(source, qualname="C", **{"class": CLASS}, max_inputs=5)[0] == READY
    assert host.receive()[1] == {"slots": 2}
    give(host)
    assert host.output()[1] == 2


@pytest.mark.parametrize("body", ["return g()", "return (x for x in [])"])
def test_what_a_function_may_not_return(host, body):
    host.ready(f"async def g(): return 1\ndef f():\n    {body}")
    error, _ = host.fail()
    assert error["type"] == "skerry.exception.InvalidError"


@pytest.mark.parametrize("max_inputs", [1, 2])
def test_fork_while_inputs_run(host, max_inputs):
    host.ready(
        "import os\ndef f():\n    pid = os.fork()\n    return os.waitpid(pid, 0)[1] if pid else 'the child'",
        max_inputs=max_inputs,
    )
    assert host.call() == 0
