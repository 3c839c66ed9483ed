"""Processes of sandboxes and their streams, against the services that skerry-init has in sandboxes, run natively."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import skerry
from skerry import exception as exc
from skerry._sandbox import output
from skerry.stream_type import StreamType

MIB = 1 << 20


def python(code: str) -> tuple[str, ...]:
    return sys.executable, "-c", code


def test_argv_is_exact_and_output_is_whole(sandbox):
    arguments = ["a b", "", "'\"$HOME`x`\\", "ünï\n"]
    process = sandbox.exec(*python("import sys, json; print(json.dumps(sys.argv[1:]))"), *arguments)
    assert json.loads(process.stdout.read()) == arguments
    assert (process.stderr.read(), process.wait(), process.returncode, process.poll()) == ("", 0, 0, 0)


def test_create_exec_read_and_wait_cost_two_requests(server, sandbox):
    before = server.order()["inside"]
    process = sandbox.exec("echo", "hello")
    assert (process.stdout.read(), process.wait(), process.stdout.read()) == ("hello\n", 0, "hello\n")
    assert server.order()["inside"] == before + 1


def test_exit_codes(sandbox):
    assert sandbox.exec("sh", "-c", "exit 7").wait() == 7
    assert sandbox.exec("sh", "-c", "kill -TERM $$").wait() == 128 + signal.SIGTERM
    slow = sandbox.exec("sleep", "60", timeout=0.2)
    assert (slow.stdout.read(), slow.wait(), slow.poll()) == ("", -1, -1)
    process = sandbox.exec("sleep", "60")
    with pytest.raises(exc.InvalidError, match="wait"):
        _ = process.returncode
    assert process.poll() is None
    process.signal(signal.SIGINT)
    assert process.wait() == 130
    process.kill()


def test_environment_workdir_and_secrets(server, sandbox, tmp_path):
    secret = skerry.Secret.from_dict({"TOKEN": "s3cret", "BOTH": "secret"})
    for _ in range(2):
        process = sandbox.exec(
            "sh",
            "-c",
            "echo $TOKEN $BOTH $EXTRA $PLACE ${NONE-unset}; pwd",
            env={"EXTRA": "x", "BOTH": "env", "NONE": None},
            secrets=[secret],
            workdir=str(tmp_path),
        )
        assert process.stdout.read() == f"s3cret env x here unset\n{tmp_path}\n"
    happened = server.order()
    assert (len(happened["secrets"]), happened["sealed"]) == (1, 1)


@pytest.mark.parametrize(
    ("kind", "args", "options"),
    [
        (exc.InvalidError, (), {}),
        (exc.InvalidError, ("true", 3), {}),
        (exc.InvalidError, ("x" * 65_537,), {}),
        (exc.InvalidError, ("true",), {"workdir": "here"}),
        (exc.InvalidError, ("true",), {"timeout": 0}),
        (exc.InvalidError, ("true",), {"stdout": "pipe"}),
        (exc.InvalidError, ("true",), {"env": {"A B": "c"}}),
        (ValueError, ("true",), {"bufsize": 1, "text": False}),
        (ValueError, ("true",), {"bufsize": 7}),
        (exc.NotFoundError, ("no-such-program",), {}),
        (exc.NotFoundError, ("true",), {"workdir": "/no/such/directory"}),
    ],
)
def test_what_can_not_be_run(sandbox, kind, args, options):
    with pytest.raises(kind):
        sandbox.exec(*args, **options)


def test_text_is_strict_and_characters_may_be_cut(sandbox):
    code = "import sys, time; o = sys.stdout.buffer\nfor b in 'é€😀'.encode():\n o.write(bytes([b])); o.flush(); time.sleep(.01)"
    process = sandbox.exec(*python(code))
    assert "".join(process.stdout) == process.stdout.read() == "é€😀"
    broken = sandbox.exec("printf", r"a\377b")
    with pytest.raises(UnicodeDecodeError):
        broken.stdout.read()
    assert sandbox.exec("printf", r"a\377b", text=False).stdout.read() == b"a\xffb"


def test_lines(sandbox):
    process = sandbox.exec("printf", r"one\n\ntwo\nlast", bufsize=1)
    assert list(process.stdout) == ["one\n", "\n", "two\n", "last"]
    assert process.stdout.file_descriptor == 1
    assert [next(process.stdout), next(process.stdout)] == ["one\n", "\n"]


def test_stream_types(sandbox, capfd):
    process = sandbox.exec("sh", "-c", "echo out; echo err >&2", stdout=StreamType.DEVNULL, stderr=StreamType.STDOUT)
    assert process.wait() == 0
    assert capfd.readouterr().out == "err\n"
    with pytest.raises(ValueError, match="DEVNULL"):
        process.stdout.read()
    with pytest.raises(exc.InvalidError, match="STDOUT"):
        list(process.stderr)


def test_stdin(sandbox):
    process = sandbox.exec("cat")
    process.stdin.write("héllo ")
    process.stdin.write(b"you")
    process.stdin.drain()
    process.stdin.write_eof()
    process.stdin.drain()
    process.stdin.drain()
    assert (process.stdout.read(), process.wait()) == ("héllo you", 0)
    with pytest.raises(ValueError, match="closed"):
        process.stdin.write("more")
    with pytest.raises(TypeError):
        sandbox.exec("cat").stdin.write(3)
    with pytest.raises(BufferError):
        sandbox.exec("cat").stdin.write(bytes(17 * MIB))


def test_stdin_survives_breaks(server, sandbox):
    size = 9 * MIB
    process = sandbox.exec("wc", "-c")
    for start in range(0, size, MIB):
        process.stdin.write(bytes(min(MIB, size - start)))
        server.order(break_inside=1 if start % (3 * MIB) == 0 else 0)
        process.stdin.drain()
    process.stdin.write_eof()
    process.stdin.drain()
    assert int(process.stdout.read()) == size


def test_output_survives_breaks(server, sandbox):
    code = "import sys\nfor n in range(200_000): print(n)"
    server.order(break_inside=2)
    process = sandbox.exec(*python(code))
    server.order(break_inside=3)
    seen = []
    for place, line in enumerate(sandbox.process(process.process_id, bufsize=1).stdout):
        seen.append(line)
        if place in (10, 50_000, 120_000):
            server.order(break_inside=4, away=2)
    assert seen == [f"{n}\n" for n in range(200_000)]
    assert process.stdout.read() == "".join(seen)
    assert process.wait() == 0


def test_what_nobody_reads_is_not_kept_here(sandbox):
    code = f"import sys; sys.stdout.write('x' * {8 * MIB}); print('end')"
    process = sandbox.exec(*python(code))
    assert process.wait() == 0
    assert sum(kept.in_memory for kept in process._output._kept) < 2 * output.MAX_WAITING
    assert len(process.stdout.read()) == 8 * MIB + 4


def test_one_stream_is_read_while_the_other_waits(sandbox):
    code = f"import sys\nfor n in range(16): sys.stderr.write('e' * {MIB}); sys.stdout.write('o' * {MIB})"
    process = sandbox.exec(*python(code))
    assert len(process.stdout.read()) == 16 * MIB
    assert sum(kept.in_memory for kept in process._output._kept) < 3 * output.MAX_WAITING
    assert len(process.stderr.read()) == 16 * MIB


def test_a_reader_that_stops_does_not_hold_up_who_waits(sandbox):
    process = sandbox.exec("yes")
    reader = iter(process.stdout)
    next(reader)
    while sum(kept.in_memory for kept in process._output._kept) <= output.MAX_WAITING:
        process._output.changed.wait(1)
    process.kill()
    assert process.wait() == 128 + signal.SIGKILL
    del reader


def test_a_loop_that_is_left_holds_nothing_up(sandbox):
    process = sandbox.exec(*python(f"import sys\nfor n in range(8): sys.stdout.write('x' * {MIB})"))
    for _piece in process.stdout:
        break
    assert process.wait() == 0
    next(process.stdout)
    assert len(process.stdout.read()) <= 8 * MIB


def test_reattaching(sandbox):
    process = sandbox.exec("sh", "-c", "echo one; read x; echo $x")
    assert next(iter(process.stdout)) == "one\n"
    again = sandbox.process(process.process_id)
    again.stdin.write("two\n")
    again.stdin.drain()
    assert (again.wait(), again.stdout.read()) == (0, "one\ntwo\n")
    assert sandbox.process(process.process_id, stdout_offset=4).stdout.read() == "two\n"
    infos = {info.process_id: info for info in sandbox.processes()}
    info = infos[process.process_id]
    assert (info.returncode, info.stdout_size, info.args[0], info.pid) == (0, 8, "sh", process.pid)
    with pytest.raises(exc.NotFoundError):
        sandbox.process("nothing").poll()


def test_terminal(sandbox):
    process = sandbox.exec("sh", "-c", "stty size; echo err >&2; read line; stty size; echo $TERM", pty=True)
    reading = iter(process.stdout)
    seen = ""
    while "err" not in seen:
        seen += next(reading)
    process.resize(40, 120)
    process.stdin.write("\r")
    process.stdin.drain()
    seen += "".join(reading)
    assert "24 80" in seen
    assert "40 120" in seen
    assert "xterm-256color" in seen


def test_the_end_of_a_sandbox_is_that_of_its_processes(server, sandbox):
    process = sandbox.exec("sleep", "600")
    other = sandbox.exec("sleep", "600")
    server.order(end={"sandbox": sandbox.object_id, "reason": 4, "code": 137}, break_inside=0)
    process._output.leave()
    assert process.wait() == 137
    assert process.stdout.read() == ""
    with pytest.raises(exc.ConflictError):
        sandbox.exec("true")
    skerry.Sandbox.create(app=_app(sandbox)).process(other.process_id).kill()


def _app(sandbox):
    app = skerry.App("same")
    app._app_id = sandbox._info.app_id
    return app


def test_detached(sandbox):
    process = sandbox.exec("sh", "-c", "echo hi; sleep 600")
    sandbox.detach()
    for operation in (
        lambda: sandbox.exec("true"),
        sandbox.poll,
        sandbox.terminate,
        lambda: sandbox.stdout,
        sandbox.tunnels,
        process.stdout.read,
        process.poll,
        lambda: process.stdin.write("x"),
        sandbox.processes,
    ):
        with pytest.raises(exc.ClientClosed, match="detached"):
            operation()
    assert sandbox.returncode is None
    sandbox.detach()
    again = skerry.Sandbox.from_id(sandbox.object_id)
    again.process(process.process_id).kill()


def test_asynchronously(sandbox):
    async def many() -> list[tuple[str, int]]:
        async def one(n: int) -> tuple[str, int]:
            process = await sandbox.exec.aio("sh", "-c", f"sleep 0.3; echo {n}; exit {n}")
            text = await process.stdout.read.aio()
            return text, await process.wait.aio()

        return await asyncio.gather(*(one(n) for n in range(30)))

    began = time.monotonic()
    assert asyncio.run(many()) == [(f"{n}\n", n) for n in range(30)]
    assert time.monotonic() - began < 30

    async def lines() -> list[str]:
        process = await sandbox.exec.aio("printf", r"a\nb\n", bufsize=1)
        return [line async for line in process.stdout]

    assert asyncio.run(lines()) == ["a\n", "b\n"]


def test_waiting_can_be_given_up(sandbox):
    process = sandbox.exec("sleep", "600")

    async def give_up() -> None:
        await asyncio.wait_for(process.wait.aio(), 0.2)

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(give_up())

    threading.Timer(0.3, lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        process.wait()
    process.kill()
    assert process.wait() == 137


def test_a_process_that_nobody_has_is_followed_no_more(sandbox):
    process = sandbox.exec("sleep", "600")
    followed = process._output
    process_id = process.process_id
    del process
    gc.collect()
    while followed.is_drawn:
        changed = followed.changed
        assert not followed.is_drawn or changed.wait(10)
    sandbox.process(process_id).kill()


def test_the_interpreter_ends_with_streams_open(server, running_app, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, skerry\n"
        "app = skerry.App('x'); app._app_id = sys.argv[1]\n"
        "sandbox = skerry.Sandbox.create(app=app)\n"
        "process = sandbox.exec('sh', '-c', 'while :; do echo x; sleep 0.01; done')\n"
        "print(next(iter(process.stdout)), end='')\n"
        "sandbox.exec('sleep', '600')\n"
    )
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, program, running_app.app_id],
            env={**os.environ, **server.env},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout[:2], done.stderr) == (0, "x\n", "")
