"""The runner as a process, spoken to as the host does."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from conftest import CONTAINER, INPUT, SRC, START_FAILED, STOP
from skerry import exception


def test_value(host):
    host.ready("def f(x, y=1): return {'sum': x + y}")
    assert host.call(2, y=3) == {"sum": 5}
    assert host.call(2, index=7) == {"sum": 3}
    code, out, err = host.stop()
    assert (code, out, err) == (0, "", "")


def test_end_of_connection_ends_the_runner(host):
    host.ready("def f(): pass")
    host.conn.close()
    assert host.process.wait(30) == 0


def test_empty_arguments(host):
    host.ready("def f(): return None")
    host.send(INPUT, {"call": "fc-1", "index": 0, "format": 1})
    meta, value = host.output()
    assert 0 < meta.pop("elapsed_us") < 10_000_000
    assert meta == {"call": "fc-1", "index": 0, "status": 1, "format": 1}
    assert value is None


def test_handle_method_and_nested_name(host):
    host.ready("class Handle:\n def get_raw_f(self): return lambda: 'raw'\nclass A:\n  f = Handle()", qualname="A.f")
    assert host.call() == "raw"


def test_serialized(host):
    base = 40
    host.ready(serialized=lambda x: base + x)
    assert host.call(2) == 42


def test_large_serialized_and_arguments_and_result(host):
    data = bytes(range(256)) * 20_000
    host.ready(serialized=lambda x: (len(data), x))
    host.send_large(INPUT, {"call": "fc-1", "index": 0, "format": 1}, pickle.dumps(((data,), {}), 4))
    meta, value = host.output()
    assert meta["blob_size"] > len(data)
    assert value == (len(data), data)


def test_environment_of_user_code(host):
    (host.code / "json.py").write_text("SHADOW = True")  # a script's neighbours come before the library
    host.ready("""
import sys, os, json, skerry
from skerry._runner import context
def f():
    private = [k for k in os.environ if k in ("SKERRY_RUNNER_SOCKET", "SKERRY_CODE_DIR")]
    ids = skerry.current_input_id(), skerry.current_function_call_id(), tuple(context.current())
    main = hasattr(sys.modules["__main__"], "__file__")
    return sys.path[0], sys.path[-1], sys.argv, json.SHADOW, *ids, context.started["app_name"], main, private
""")
    ids = ("in-abc-3", "fc-abc")
    assert host.call(index=3) == (str(host.code), str(SRC), [""], True, *ids, ids, "app", False, [])


def test_lean_imports():
    program = """
import sys, site
before = set(sys.modules)
sys.path.insert(0, sys.argv[1])
import skerry._runner.main, skerry._runner.inputs, skerry._runner.loader
print(*sorted(m for m in set(sys.modules) - before if not m.startswith("skerry")))
"""
    out = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, str(SRC)], capture_output=True, text=True, check=True
    )
    heavy = {
        "re",
        "enum",
        "typing",
        "inspect",
        "asyncio",
        "socket",
        "json",
        "pickle",
        "dataclasses",
        "traceback",
        "importlib",
    }
    assert not heavy & set(out.stdout.split()), out.stdout


def test_streams_come_before_the_output(host):
    host.ready("import sys\ndef f():\n print('out', end='')\n print('err', file=sys.stderr, end='')")
    host.call()
    assert host.written() == ["out", "err"]


@pytest.mark.parametrize("spoil", ["sys.stdout.close()", "sys.stdout = None", "del sys.stdout"])
def test_spoiled_stream(host, spoil):
    host.ready(f"import sys\ndef f(): {spoil}")
    host.call()
    host.call() if "del" not in spoil and "close" not in spoil else None


def test_exception(host):
    host.ready("def f(x):\n    g(x)\ndef g(x):\n    raise ValueError('bad', x)")
    error, chain = host.fail(3)
    assert error["type"] == "builtins.ValueError"
    assert error["message"] == "('bad', 3)"
    assert "_runner" not in error["traceback"]
    assert "raise ValueError('bad', x)" in error["traceback"]
    assert isinstance(chain["exc"], ValueError)
    assert chain["exc"].args == ("bad", 3)
    user = f"<{CONTAINER}>:{host.code}/user.py"
    tb = chain["tb"]
    assert (tb["tb_lineno"], tb["tb_frame"]["f_code"]) == (2, {"co_filename": user, "co_name": "f"})
    assert (tb["tb_next"]["tb_lineno"], tb["tb_next"]["tb_next"]) == (4, None)
    assert chain["lines"] == {(user, 2): "    g(x)\n", (user, 4): "    raise ValueError('bad', x)\n"}
    _, _, err = host.stop()
    assert err == error["traceback"]


def test_causes(host):
    host.ready("""
class Odd(Exception):
    def __init__(self): self.lock = __import__("threading").Lock()
def f(case):
    try:
        try: raise Odd() if case == "odd" else KeyError("k")
        except Exception as e: raise TypeError("t") from e
    except Exception:
        raise OSError("o")
""")
    _, chain = host.fail("plain")
    assert isinstance(chain["exc"], OSError)
    assert (chain["cause"], chain["suppress_context"]) == (None, False)
    assert isinstance(chain["context"]["exc"], TypeError)
    assert chain["context"]["suppress_context"] is True
    assert isinstance(chain["context"]["cause"]["exc"], KeyError)
    _, chain = host.fail("odd")
    assert isinstance(chain["context"]["cause"]["exc"], exception.ExecutionError)
    assert "user.Odd" in str(chain["context"]["cause"]["exc"])


def test_chain_without_end(host):
    host.ready("""
def f():
    a, b = ValueError("a"), ValueError("b")
    a.__cause__, b.__cause__, a.__context__ = b, a, b
    for i in range(500):
        c = KeyError(i); c.__context__ = a; a = c
    raise a
""")
    error, chain = host.fail()
    assert error["type"] == "builtins.KeyError"
    assert chain is not None


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ("raise SystemExit(3)", "builtins.SystemExit", "3"),
        ("import sys; sys.exit()", "builtins.SystemExit", ""),
        ("raise StopIteration(1)", "builtins.StopIteration", "1"),
        ("g = lambda: g(); return g()", "builtins.RecursionError", "maximum recursion depth"),
        ("raise __import__('skerry').exception.InputCancellation('own')", "skerry.exception.InputCancellation", "own"),
        ("raise ValueError('\\ud800')", "builtins.ValueError", "\ud800"),
        ("raise ValueError('x' * 3_000_000)", "builtins.ValueError", "characters left out"),
    ],
)
def test_any_exception_fails_the_input_alone(host, body, kind, message):
    host.ready(f"def f(ok=False):\n if ok: return 'next'\n {body}")
    error, chain = host.fail()
    assert error["type"] == kind
    assert message in error["message"]
    assert chain is None or type(chain["exc"]).__name__ == kind.rpartition(".")[2]
    assert host.call(True) == "next"


def test_unpicklable_exception(host):
    host.ready("""
class Odd(Exception):
    def __reduce__(self): raise SystemExit("worse")
    def __str__(self): raise RuntimeError
def f(): raise Odd
""")
    error, chain = host.fail()
    assert chain is None
    assert error["type"] == "user.Odd"
    assert "RuntimeError" in error["message"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return __import__('threading').Lock()", "_thread.lock"),
        ("x = []\n for _ in range(100_000): x = [x]\n return x", "list"),
    ],
)
def test_unpicklable_result(host, body, message):
    host.ready(f"def f():\n {body}")
    error, chain = host.fail()
    assert isinstance(chain["exc"], exception.SerializationError)
    assert message in error["message"]


def test_result_by_value(host):
    host.ready("def f(): return lambda: 42")
    assert host.call()() == 42


def test_unreadable_arguments(host):
    host.ready("def f(x=0): return x")
    for data, kind, message in [
        (
            b"cno_such_module\nX\n.",
            exception.DeserializationError,
            "module 'no_such_module', which is not in the remote environment",
        ),
        (b"cos\nno_such_thing\n.", exception.DeserializationError, "versions of the library"),
        (b"nonsense", exception.DeserializationError, "can't be unpickled"),
    ]:
        host.send(INPUT, {"call": "fc-abc", "index": 0, "format": 1}, data)
        meta, chain = host.output()
        assert meta["status"] == 2
        assert type(chain["exc"]).__name__ == kind.__name__
        assert message in meta["error"]["message"]
    host.send(INPUT, {"call": "fc-abc", "index": 0, "format": 3}, b"")
    assert host.receive()[1]["error"]["type"] == "skerry.exception.DeserializationError"
    assert host.call(1) == 1


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ("import no_such", "builtins.ModuleNotFoundError", "no_such"),
        ("def g(): pass", "skerry.exception.ExecutionError", "has no 'f'"),
        ("f = 3", "skerry.exception.ExecutionError", "no function"),
        ("def f(:", "builtins.SyntaxError", ""),
        ("raise SystemExit(1)", "builtins.SystemExit", "1"),
    ],
)
def test_start_failed(host, source, kind, message):
    answer, meta, data = host.start(source)
    assert answer == START_FAILED
    assert meta["error"]["type"] == kind
    assert message in meta["error"]["message"]
    assert data
    assert host.process.wait(30) == 1
    assert kind.rpartition(".")[2] in host.written()[1]


def test_cancel(host):
    host.ready("""
import time
def f(t, keep=False):
    try:
        time.sleep(t)
    except BaseException:
        if keep: return 'kept'
        raise
    return t
""")
    host.give(1000)
    host.cancel()
    assert host.output()[0]["status"] == 3
    # One that is over by now, or not this one, hits nobody.
    host.cancel()
    assert host.call(0, index=1) == 0
    host.give(0.2, index=2)
    host.cancel(index=1)
    assert host.output()[1] == 0.2
    host.give(1000, True, index=3)
    host.cancel(index=3)
    meta, value = host.output()
    assert (meta["status"], value) in ((1, "kept"), (3, None))  # 3: it had not begun


def test_cancel_is_exact_under_races(host):
    host.ready("def f(i):\n for _ in range(2000): pass\n return i")
    for i in range(300):
        host.give(i, index=i)
        host.cancel(index=i)
        meta, value = host.output()
        assert meta["index"] == i
        assert meta["status"] == 3 or value == i
        host.give(i, index=i + 1000)  # the signal may come now
        meta, value = host.output()
        assert (meta["index"], meta["status"], value) == (i + 1000, 1, i)


def test_async(host):
    host.ready("""
import asyncio, skerry
loops = set()
async def f(x):
    loops.add(asyncio.get_running_loop())
    await asyncio.sleep(0 if x >= 0 else 1000)
    return x, len(loops), skerry.current_input_id()
""")
    assert host.call(1) == (1, 1, "in-abc-0")
    assert host.call(2, index=5) == (2, 1, "in-abc-5")
    host.give(-1)
    host.cancel()
    assert host.output()[0]["status"] == 3
    assert host.call(3) == (3, 1, "in-abc-0")
    assert host.stop() == (0, "", "")


def test_async_failure_and_exit(host):
    host.ready("import asyncio\nasync def f(e):\n await asyncio.sleep(0)\n if e: raise e\n return 1")
    for err in (ValueError("v"), SystemExit(3)):
        assert host.fail(err)[0]["type"] == f"builtins.{type(err).__name__}"
        assert host.call(None) == 1


def test_fork_and_spawn(host):
    host.ready("""
import multiprocessing, os
def square(x): return x * x
def f(how):
    if how == "return":
        pid = os.fork()
        return os.waitpid(pid, 0)[1] if pid else "the child's"
    with multiprocessing.get_context(how).Pool(1) as pool: return pool.map(square, [2, 3])
""")
    assert host.call("return") == 0
    assert host.call("fork") == [4, 9]
    assert host.call("spawn") == [4, 9]


def test_crash_ends_the_process(host):
    host.ready("import os\ndef f(): os._exit(3)")
    host.give()
    with pytest.raises(EOFError):
        host.receive()
    assert host.process.wait(30) == 3


def test_garbage_ends_the_runner(host):
    host.ready("def f(): pass")
    host.conn.sendall(b"\xff" * 64)
    assert host.process.wait(30) == 1
    assert "ProtocolError" in host.written()[1]


def test_stop_while_idle_runs_exit_handlers(host):
    host.ready("import atexit\natexit.register(print, 'bye')\ndef f(): pass")
    host.send(STOP, {})
    assert host.process.wait(30) == 0
    assert host.written() == ["bye\n", ""]
