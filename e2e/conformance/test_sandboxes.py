"""Section 20, and section 8 of the interface: sandboxes. What each operation does in detail is in e2e/behaviour."""

import asyncio
import json
import signal
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest
import skerry
from skerry import exception as exc
from skerry.stream_type import StreamType
from skerry.types import FileWatchEventType

from e2e.conformance.lines import line

MIB = 1 << 20


@pytest.fixture(scope="module")
def app(connected: None) -> skerry.App:
    """A deployed app."""
    del connected
    return skerry.App.lookup("conformance-sandboxes", create_if_missing=True)


@pytest.fixture(scope="module")
def sandbox(app: skerry.App) -> Iterator[skerry.Sandbox]:
    """A sandbox for all tests that leave it as it is."""
    made = skerry.Sandbox.create(app=app, timeout=900)
    yield made
    made.terminate()


@line("20 sandboxes", "Without an app: InvalidError; with one that does not run: ValueError.")
@line("20 sandboxes", "timeout is 300 by default; the image is debian_slim.")
def test_creation(app: skerry.App) -> None:
    with pytest.raises(exc.InvalidError):
        skerry.Sandbox.create()
    with pytest.raises(ValueError, match="initialized"):
        skerry.Sandbox.create(app=skerry.App("idle"))
    made = skerry.Sandbox.create(app=app)
    info = made.info()
    assert info.created_at is not None
    assert info.expires_at is not None
    assert timedelta(seconds=299) <= info.expires_at - info.created_at <= timedelta(seconds=301)
    assert "debian" in made.exec("cat", "/etc/os-release").stdout.read()
    made.terminate()


@line("20 sandboxes", "The ends: exit, timeout (124), terminate (137); wait raises for a timeout, and for terminate unless told not to.")
@line("20 sandboxes", "An exit code raises nothing; returncode is None until it was asked for.")
@line("8 Sandbox", "wait, poll, returncode, terminate(wait=True).")
def test_ends(app: skerry.App) -> None:
    made = skerry.Sandbox.create("sh", "-c", "exit 3", app=app)
    assert made.returncode is None
    made.wait()
    assert (made.returncode, made.poll()) == (3, 3)
    late = skerry.Sandbox.create(app=app, timeout=1)
    with pytest.raises(exc.SandboxTimeoutError):
        late.wait()
    assert late.returncode == 124
    ended = skerry.Sandbox.create(app=app)
    assert ended.poll() is None
    assert ended.terminate(wait=True) == 137
    with pytest.raises(exc.SandboxTerminatedError):
        ended.wait()
    ended.wait(raise_on_termination=False)
    assert skerry.Sandbox.from_id(ended.object_id).returncode == 137
    with pytest.raises(exc.ConflictError):
        ended.exec("true")


@line("20 sandboxes", "idle_timeout: nobody uses it. A process of exec is use.")
def test_idle_timeout(app: skerry.App) -> None:
    made = skerry.Sandbox.create(app=app, idle_timeout=1)
    made.exec("sleep", "2").wait()
    with pytest.raises(exc.SandboxTimeoutError):
        made.wait()
    assert made.returncode == 124


@line("20 sandboxes", "Standard streams of the command are text by line; a handle reads them once, a fresh one from the beginning.")
@line("8 Sandbox", "stdin, stdout, stderr; logs: fetch and tail.")
def test_standard_streams(app: skerry.App) -> None:
    made = skerry.Sandbox.create("sh", "-c", "echo one; echo two; echo bad >&2; sed 's/^/got /'", app=app)
    made.stdin.write("input\n")
    made.stdin.drain()
    made.stdin.write_eof()
    made.stdin.drain()
    assert list(made.stdout) == ["one\n", "two\n", "got input\n"]
    assert (made.stdout.read(), made.stderr.read()) == ("", "bad\n")
    made.wait()
    again = skerry.Sandbox.from_id(made.object_id)
    assert again.stdout.read() == "one\ntwo\ngot input\n"
    assert [entry.message for entry in again.logs.tail(1, source="stderr")] == ["bad\n"]
    since = datetime.now(timezone.utc) - timedelta(minutes=10)
    assert len(list(again.logs.fetch(since=since, source="stdout"))) == 3


@line("20 sandboxes", "exec: arguments are exact; env over the sandbox's, None is left out; workdir is absolute.")
@line("20 sandboxes", "exec: each read and each loop has the whole output again.")
@line("20 sandboxes", "exec: text is strict UTF-8, characters may be cut; bufsize=1 gives lines, also a last one that has no end.")
@line("20 sandboxes", "exec: bufsize=1 with text=False is a ValueError.")
@line("8 Sandbox", "exec(...): stdout, stderr, timeout, workdir, env, secrets, text, bufsize, pty.")
def test_exec(sandbox: skerry.Sandbox) -> None:
    arguments = ["a b", "", "$HOME", "'\"\\", "ü\n"]
    process = sandbox.exec("python3", "-c", "import json, sys; print(json.dumps(sys.argv[1:]))", *arguments)
    assert json.loads(process.stdout.read()) == json.loads("".join(process.stdout)) == arguments
    environment = {"A": "1", "B": None}
    assert sandbox.exec("sh", "-c", "echo $A ${B-none}; pwd", env=environment, workdir="/tmp").stdout.read() == "1 none\n/tmp\n"
    with pytest.raises(exc.InvalidError):
        sandbox.exec("true", workdir="tmp")
    with pytest.raises(UnicodeDecodeError):
        sandbox.exec("printf", r"\377").stdout.read()
    assert sandbox.exec("printf", r"\377", text=False).stdout.read() == b"\xff"
    assert list(sandbox.exec("printf", r"a\nb", bufsize=1).stdout) == ["a\n", "b"]
    with pytest.raises(ValueError, match="text"):
        sandbox.exec("true", text=False, bufsize=1)


@line("20 sandboxes", "exec: killed by signal n is 128 + n; a timeout ends the stream quietly and is -1.")
@line("8 Sandbox", "ContainerProcess: wait, poll, returncode (InvalidError until it is known), stdin, attach.")
def test_ends_of_processes(sandbox: skerry.Sandbox) -> None:
    assert sandbox.exec("sh", "-c", "kill -TERM $$").wait() == 128 + signal.SIGTERM
    slow = sandbox.exec("sh", "-c", "echo begun; sleep 600", timeout=0.5)
    assert (slow.stdout.read(), slow.wait(), slow.returncode) == ("begun\n", -1, -1)
    process = sandbox.exec("cat")
    with pytest.raises(exc.InvalidError):
        _ = process.returncode
    assert process.poll() is None
    process.stdin.write(b"bytes ")
    process.stdin.write("and text")
    process.stdin.write_eof()
    process.stdin.drain()
    assert (process.stdout.read(), process.wait()) == ("bytes and text", 0)
    with pytest.raises(ValueError, match="closed"):
        process.stdin.write("more")


@line("20 sandboxes", "StreamType: DEVNULL can't be read (ValueError), STDOUT prints here (InvalidError); a terminal merges the streams.")
def test_kinds_of_streams(sandbox: skerry.Sandbox, capfd: pytest.CaptureFixture[str]) -> None:
    process = sandbox.exec("sh", "-c", "echo out; echo err >&2", stdout=StreamType.STDOUT, stderr=StreamType.DEVNULL)
    assert process.wait() == 0
    assert capfd.readouterr().out == "out\n"
    with pytest.raises(exc.InvalidError):
        process.stdout.read()
    with pytest.raises(ValueError, match="DEVNULL"):
        process.stderr.read()
    terminal = sandbox.exec("sh", "-c", "echo out; echo err >&2", pty=True)
    assert (terminal.stdout.read(), terminal.stderr.read()) == ("out\r\nerr\r\n", "")


@line("20 sandboxes", "After detach: ClientClosed, but for returncode, wait and logs.")
@line("8 Sandbox", "detach().")
def test_detached(app: skerry.App) -> None:
    made = skerry.Sandbox.create("sh", "-c", "echo said", app=app)
    made.detach()
    for operation in (lambda: made.exec("true"), made.poll, made.terminate, made.get_tags, made.tunnels, lambda: made.filesystem.stat("/")):
        with pytest.raises(exc.ClientClosed):
            operation()
    made.wait()
    assert made.returncode == 0
    assert [entry.message for entry in made.logs.tail()] == ["said\n"]


@line("20 sandboxes", "A name is unique among the running ones of an app, and free again after the end.")
@line("20 sandboxes", "list: running ones only, newest first; tags must all match. set_tags replaces.")
@line("8 Sandbox", "from_name, from_id, list, get_tags, set_tags.")
def test_names_and_tags(app: skerry.App) -> None:
    first = skerry.Sandbox.create(app=app, name="only", tags={"kind": "named", "n": "1"})
    with pytest.raises(exc.AlreadyExistsError):
        skerry.Sandbox.create(app=app, name="only")
    second = skerry.Sandbox.create(app=app, tags={"kind": "named", "n": "2"})
    assert skerry.Sandbox.from_name("conformance-sandboxes", "only").object_id == first.object_id
    named = [each.object_id for each in skerry.Sandbox.list(app_id=app.app_id, tags={"kind": "named"})]
    assert named == [second.object_id, first.object_id]
    assert [each.object_id for each in skerry.Sandbox.list(tags={"kind": "named", "n": "2"})] == [second.object_id]
    second.set_tags({"other": "x"})
    assert second.get_tags() == {"other": "x"}
    first.terminate(wait=True)
    with pytest.raises(exc.NotFoundError):
        skerry.Sandbox.from_name("conformance-sandboxes", "only")
    skerry.Sandbox.create(app=app, name="only").terminate()
    second.terminate()
    with pytest.raises(exc.NotFoundError):
        skerry.Sandbox.from_id("sb-" + "0" * 22)


@line("20 sandboxes", "Readiness: the probe's success; TimeoutError; ConflictError for one that has ended or has no probe.")
@line("8 Sandbox", "wait_until_ready(timeout); Probe.with_tcp, Probe.with_exec.")
def test_readiness(app: skerry.App, sandbox: skerry.Sandbox) -> None:
    made = skerry.Sandbox.create(app=app, readiness_probe=skerry.Probe.with_exec("test", "-e", "/ready", interval_ms=50))
    with pytest.raises(exc.TimeoutError):
        made.wait_until_ready(timeout=0.5)
    made.filesystem.write_text("", "/ready")
    made.wait_until_ready()
    made.terminate(wait=True)
    with pytest.raises(exc.ConflictError):
        made.wait_until_ready()
    with pytest.raises(exc.ConflictError):
        sandbox.wait_until_ready()


@line("8 Sandbox", "filesystem: text and bytes, list_files, stat, make_directory, remove, copies both ways; kinds of errors.")
@line("8 Sandbox", "filesystem.watch: a rename is Modify with both paths; it ends after timeout.")
def test_files(sandbox: skerry.Sandbox) -> None:
    files = sandbox.filesystem
    files.write_bytes(b"\0" * MIB, "/c/large")
    assert (len(files.read_bytes("/c/large")), files.stat("/c/large").size) == (MIB, MIB)
    with files.watch("/c") as events:
        sandbox.exec("mv", "/c/large", "/c/moved").wait()
        renamed = next(event for event in events if event.type is FileWatchEventType.Modify and len(event.paths) == 2)
        assert renamed.paths == ["/c/large", "/c/moved"]
    assert list(files.watch("/c", timeout=0.3)) == []
    assert [file.name for file in files.list_files("/c")] == ["moved"]
    with pytest.raises(exc.SandboxFilesystemDirectoryNotEmptyError):
        files.remove("/c")
    files.remove("/c", recursive=True)
    with pytest.raises(exc.SandboxFilesystemNotFoundError):
        files.read_text("/c/moved")
    with pytest.raises(exc.InvalidError):
        files.read_text("c")


@line("20 sandboxes", "Tunnels are as the ports that were named; connect tokens let requests through, and their metadata is a header.")
@line("8 Sandbox", "tunnels(timeout), create_connect_token(user_metadata, port); Tunnel.url, tls_socket, tcp_socket.")
def test_tunnels(app: skerry.App) -> None:
    server = (
        "from http.server import *\nclass H(BaseHTTPRequestHandler):\n def do_GET(self):\n"
        "  self.send_response(200); self.end_headers(); self.wfile.write(str(self.headers['X-Skerry-User-Metadata']).encode())\n"
        "HTTPServer(('', 8080), H).serve_forever()"
    )
    probe = skerry.Probe.with_tcp(8080)
    made = skerry.Sandbox.create("python3", "-c", server, app=app, encrypted_ports=[8080], unencrypted_ports=[2222], readiness_probe=probe)
    made.wait_until_ready()
    tunnels = made.tunnels()
    assert set(tunnels) == {8080, 2222}
    assert urllib.request.urlopen(tunnels[8080].url, timeout=30).read() == b"None"
    assert tunnels[2222].tcp_socket[1] > 0
    with pytest.raises(exc.InvalidError):
        _ = tunnels[8080].tcp_socket
    access = made.create_connect_token(user_metadata={"user": 1})
    request = urllib.request.Request(access.url, headers={"Authorization": f"Bearer {access.token}"})
    assert json.loads(urllib.request.urlopen(request, timeout=30).read()) == {"user": 1}
    made.terminate()


@line("20 sandboxes", "Network access: open, blocked, or allow-lists; [] is nothing. It changes while the sandbox runs.")
@line("8 Sandbox", "_experimental_set_outbound_network_policy(...).")
def test_network(app: skerry.App) -> None:
    code = "import socket\ntry: socket.create_connection(('1.1.1.1', 443), 2); print('open')\nexcept OSError: print('closed')"
    made = skerry.Sandbox.create(app=app, outbound_cidr_allowlist=[])
    assert made.exec("python3", "-c", code).stdout.read() == "closed\n"
    made._experimental_set_outbound_network_policy(outbound_cidr_allowlist=["10.255.0.0/16"])  # pyright: ignore[reportPrivateUsage]
    assert made.exec("python3", "-c", code).stdout.read() == "closed\n"
    made.terminate()
    with pytest.raises(exc.InvalidError):
        skerry.Sandbox.create(app=app, block_network=True, encrypted_ports=[80])


@line("8 Sandbox", "Every operation has an .aio.")
def test_asynchronously(app: skerry.App) -> None:
    async def one(number: int) -> str:
        made = await skerry.Sandbox.create.aio(app=app)
        process = await made.exec.aio("echo", str(number))
        said = await process.stdout.read.aio()
        assert await process.wait.aio() == 0
        await made.filesystem.write_text.aio(said, "/said")
        again = await made.filesystem.read_text.aio("/said")
        await made.terminate.aio()
        return again

    async def several() -> list[str]:
        return await asyncio.gather(*(one(number) for number in range(5)))

    assert asyncio.run(several()) == [f"{number}\n" for number in range(5)]
