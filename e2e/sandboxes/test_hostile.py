"""Code inside that means harm: it harms itself alone, and whoever uses the sandbox reads what happened."""

import contextlib
import socket
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
import skerry
from skerry.exception import ConflictError, Error, InternalFailure, InvalidError, SandboxFilesystemError

from e2e.daemon import Daemon

from .conftest import Make
from .remains import boxes

# Neighbours answer in some hundredths of a second; this is for a machine that does much else.
NEIGHBOUR_SECONDS = 60


@contextlib.contextmanager
def _unharmed(daemon: Daemon, make: Make) -> Generator[skerry.Sandbox]:
    """A neighbour that answers before and after; skerryd still runs."""
    neighbour = make()
    _answer(neighbour)
    yield neighbour
    print(f"a neighbour answers in {_answer(neighbour) * 1000:.0f} ms")
    assert daemon.pid is not None


def _answer(neighbour: skerry.Sandbox) -> float:
    began = time.monotonic()
    assert neighbour.exec("echo", "here").stdout.read() == "here\n"
    took = time.monotonic() - began
    assert took < NEIGHBOUR_SECONDS
    return took


def _say(sandbox: skerry.Sandbox, command: str) -> str:
    process = sandbox.exec("sh", "-c", f"{{ {command}; }} 2>&1")
    return process.stdout.read()


def test_fork_bomb(daemon: Daemon, make: Make) -> None:
    with _unharmed(daemon, make) as neighbour:
        sandbox = make()
        bomb = sandbox.exec("sh", "-c", "bomb() { bomb | bomb & }; bomb; sleep 3", timeout=60)
        _answer(neighbour)
        with contextlib.suppress(Error):  # the sandbox may have ended of it
            bomb.wait()
        _answer(neighbour)
        sandbox.terminate(wait=True)


def test_memory_of_a_process(daemon: Daemon, make: Make) -> None:
    with _unharmed(daemon, make):
        sandbox = make(memory=(128, 256))
        process = sandbox.exec("python3", "-c", "kept = []\nwhile True: kept.append(b'x' * 10_000_000)")
        assert process.wait() == 137


def test_memory_of_files(daemon: Daemon, make: Make) -> None:
    with _unharmed(daemon, make):
        sandbox = make(memory=(128, 256))
        process = sandbox.exec("sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M count=900")
        assert process.wait() == 137
        sandbox.wait(raise_on_termination=False)
        info = sandbox.info()
        assert info.end_reason == "out_of_memory"
        assert "limit 256 MiB" in (info.end_message or "")
        with pytest.raises(ConflictError, match="limit 256 MiB; raise its memory"):
            sandbox.exec("true")


def test_disk(daemon: Daemon, make: Make) -> None:
    with _unharmed(daemon, make):
        sandbox = make(ephemeral_disk=100)
        assert "No space left on device" in _say(sandbox, "dd if=/dev/zero of=/big bs=1M count=300")
        with pytest.raises(SandboxFilesystemError, match="no space left"):
            sandbox.filesystem.write_bytes(bytes(20 << 20), "/more")
        assert _say(sandbox, "rm /big; echo again > /small; cat /small") == "again\n"


def test_what_is_ours_inside_is_read_only(make: Make) -> None:
    sandbox = make()
    for path in ("/__skerry/x", "/__skerry/run/x", "/etc/hosts", "/etc/resolv.conf", "/__skerry/skerry-init"):
        assert "Read-only file system" in _say(sandbox, f"echo x > {path}"), path
    for command in ("rm -f /__skerry/run/guest.sock", "ln -sf /etc/passwd /__skerry/run/guest.sock", "umount /__skerry/run"):
        assert _say(sandbox, f"{command} && echo done").find("done") < 0, command
    assert "Permission denied" in _say(sandbox, "cat /proc/1/environ")
    assert _say(sandbox, "echo still") == "still\n"


def test_init_killed_from_inside(daemon: Daemon, make: Make) -> None:
    with _unharmed(daemon, make):
        sandbox = make()
        assert sandbox.exec("sh", "-c", "kill -9 1; kill -9 -1; sleep 60").wait() == 137
        with pytest.raises(InternalFailure, match="ended without a report"):
            sandbox.wait()
        assert sandbox.info().end_reason == "lost"
        with pytest.raises(ConflictError, match="ended without a report"):
            sandbox.exec("true")


FLOOD = """
import os, socket
held = []
for number in range(int(os.environ["COUNT"])):
    agent = socket.socket(socket.AF_UNIX)
    agent.settimeout(10)
    try:
        agent.connect("/__skerry/run/guest.sock")
        agent.send(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n" if number % 2 else os.urandom(4000))
    except OSError as err:
        continue
    held.append(agent)
print("flooded", flush=True)
input()
"""


def test_a_fake_agent_on_the_socket(daemon: Daemon, make: Make, full: bool) -> None:
    with _unharmed(daemon, make) as neighbour:
        sandbox = make()
        flood = sandbox.exec("python3", "-c", FLOOD, env={"COUNT": "3000" if full else "300"}, bufsize=1)
        assert next(iter(flood.stdout)) == "flooded\n"
        _answer(neighbour)
        # The one that answers is still init.
        assert _say(sandbox, "echo real") == "real\n"
        # Also after the worker has come back, which takes links of all that dial.
        daemon.kill()
        daemon.start()
        assert _say(sandbox, "echo real") == "real\n"
        flood.kill()
        assert _answer(neighbour) < NEIGHBOUR_SECONDS
        sandbox.terminate(wait=True)


def test_endless_output(daemon: Daemon, make: Make) -> None:
    before = boxes(daemon)
    with _unharmed(daemon, make) as neighbour:
        sandbox = make("yes")
        process = sandbox.exec("yes", "of an exec")
        for number, part in enumerate(process.stdout):
            assert set(part) <= set("of an exec\n")
            if number == 50:
                break
        _answer(neighbour)
        process.kill()
        assert process.wait() == 137
        sandbox.terminate(wait=True)
    neighbour.terminate(wait=True)
    assert boxes(daemon) == before


def test_huge_arguments_and_environments(make: Make) -> None:
    sandbox = make()
    with pytest.raises(InvalidError, match="the most is 65,536"):
        sandbox.exec("echo", "x" * 70_000)
    with pytest.raises(InvalidError, match="larger than 128 KiB"):
        sandbox.exec("true", env={"HUGE": "x" * 200_000})
    assert _say(sandbox, "echo still") == "still\n"


@pytest.mark.parametrize("path", ["/../../../../../../../work/escaped", "/root/link/escaped"])
def test_paths_that_lead_out_stay_inside(make: Make, path: str) -> None:
    sandbox = make()
    files = sandbox.filesystem
    _say(sandbox, "mkdir -p /work; ln -s ../../../../../../.. /root/link")
    calls: list[Callable[[], object]] = [
        lambda: files.write_text("inside", path),
        lambda: files.read_text(path),
        lambda: files.stat(path),
        lambda: files.move(path, path + ".moved"),
        lambda: files.copy_to_local(path + ".moved", "/dev/null/none"),
        lambda: files.make_directory(path),
        lambda: files.list_files(path),
        lambda: files.remove(path, recursive=True),
    ]
    for call in calls:
        with contextlib.suppress(SandboxFilesystemError, OSError):
            call()
    assert _say(sandbox, "find / -xdev -name 'escaped*' -type f").strip().endswith("escaped.moved")
    # The machine's own root has nothing of it.
    for name in ("escaped", "escaped.moved"):
        assert not Path("/", name).exists()
        assert not Path("/work", name).exists()


SERVER = """
import asyncio
async def main():
    async def hold(reader, writer):
        writer.write(b"here"); await reader.read(); writer.close()
    server = await asyncio.start_server(hold, "", 8000, backlog=10000)
    print("listens", flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


def test_neighbours_of_many_connections(daemon: Daemon, make: Make, full: bool) -> None:
    count = 10_000 if full else 500
    with _unharmed(daemon, make) as neighbour, contextlib.ExitStack() as held:
        sandbox = make(unencrypted_ports=[8000])
        server = sandbox.exec("python3", "-c", SERVER, bufsize=1)
        assert next(iter(server.stdout)) == "listens\n"
        address = sandbox.tunnels()[8000].tcp_socket
        reached = 0
        for number in range(count):
            try:
                connection = held.enter_context(socket.create_connection(address, timeout=60))
                reached += connection.recv(4) == b"here"
            except OSError as err:
                print(f"connection {number}: {err}")
                break
            if number % (count // 5) == 0:
                _answer(neighbour)
        print(f"{reached} of {count} connections were held at once")
        assert reached >= min(count, 500)
        assert _say(sandbox, "echo still") == "still\n"
