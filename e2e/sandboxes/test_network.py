"""What sandboxes reach and what they don't, tried from inside with real sockets, in a world that the test has made."""

import base64
import contextlib
import hashlib
import json
import socket
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import skerry
from skerry.exception import Error

from e2e.client import sdk_of
from e2e.daemon import Daemon

from .world import GATEWAY, IPV6, LOGIN, METADATA, OTHER, PRIVATE, PUBLIC, World, world

# Tries what its argument lists, all at once, and prints what came of each: text, or "" where nothing was reached.
PROBE = """
import concurrent.futures, json, socket, ssl, struct, sys
def echo(address, port=18080):
    with socket.create_connection((address, port), 5) as s:
        s.sendall(b"x")
        return s.recv(1).decode()
def ask(s, host):
    s.sendall(f"GET / HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n".encode())
    data = b"".join(iter(lambda: s.recv(4096), b"")).decode()
    return data.rsplit("\\r\\n", 1)[1].split()[0] if " 200 " in data.split("\\r\\n")[0] else ""
def http(address, host):
    with socket.create_connection((address, 80), 5) as s:
        return ask(s, host)
def https(address, name):
    context = ssl._create_unverified_context()
    with context.wrap_socket(socket.create_connection((address, 443), 5), server_hostname=name or None) as s:
        return ask(s, name or address)
def names(name):
    return " ".join(sorted({found[4][0] for found in socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)}))
def resolver(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(3)
        s.connect((address, 53))
        s.send(struct.pack(">6H", 7, 256, 1, 0, 0, 0) + b"\\3api\\4test\\0" + struct.pack(">2H", 1, 1))
        return "answers" if s.recv(512)[:2] == b"\\0\\7" else ""
def quic(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(3)
        s.connect((address, 443))
        s.send(b"x")
        s.recv(1)
        return "answers"
def attempt(probe):
    try: return globals()[probe[0]](*probe[1:])
    except OSError: return ""
probes = json.loads(sys.argv[1])
with concurrent.futures.ThreadPoolExecutor(len(probes)) as pool: print(json.dumps(list(pool.map(attempt, probes))))
"""
Probe = tuple[Any, ...]


class Outdoors:
    """A daemon whose containers live in a world."""

    def __init__(self, daemon: Daemon, there: World, git: skerry.Image) -> None:
        self.daemon = daemon
        self.world = there
        self.git = git


@pytest.fixture(scope="module")
def outdoors() -> Iterator[Outdoors]:
    """All of it. The image with Git is built before, for packages are not of that world."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skerry-e2e-")))
        daemon = Daemon(folder)
        stack.callback(daemon.stop)
        daemon.start()
        stack.enter_context(sdk_of(daemon))
        app = skerry.App.lookup("network", create_if_missing=True)
        git = skerry.Image.debian_slim().apt_install("git").build(app)
        skerry.Image.debian_slim().build(app)
        daemon.stop()
        there = stack.enter_context(world(folder / "world"))
        daemon.role = (*daemon.role, *there.flags)
        daemon.start()
        yield Outdoors(daemon, there, git)


@pytest.fixture
def place(outdoors: Outdoors) -> Iterator[Callable[..., skerry.Sandbox]]:
    """What makes sandboxes in the world, which have the probe."""
    app = skerry.App.lookup("network", create_if_missing=True)
    with contextlib.ExitStack() as ends:

        def make(**given: Any) -> skerry.Sandbox:
            made = skerry.Sandbox.create(app=app, timeout=900, **given)
            ends.callback(made.terminate, wait=True)
            made.filesystem.write_text(PROBE, "/probe.py")
            return made

        yield make
        outdoors.daemon.revive()


def _try(sandbox: skerry.Sandbox, **probes: Probe) -> dict[str, str]:
    process = sandbox.exec("python3", "/probe.py", json.dumps(list(probes.values())))
    said = process.stdout.read()
    assert process.wait() == 0, process.stderr.read()
    return dict(zip(probes, json.loads(said), strict=True))


def _check(sandbox: skerry.Sandbox, wanted: dict[str, tuple[Probe, str]]) -> None:
    found = _try(sandbox, **{what: probe for what, (probe, _) in wanted.items()})
    assert found == {what: answer for what, (_, answer) in wanted.items()}


# What no policy opens.
CLOSED: dict[str, tuple[Probe, str]] = {
    "private": (("echo", PRIVATE), ""),
    "metadata": (("http", METADATA, METADATA), ""),
    "host": (("echo", GATEWAY), ""),
    "ipv6": (("echo", IPV6), ""),
    "ipv6 loopback of the host": (("echo", "::1"), ""),
}


def test_open(place: Callable[..., skerry.Sandbox]) -> None:
    _check(
        place(),
        {
            "by address": (("echo", PUBLIC), "x"),
            "http": (("http", PUBLIC, "api.test"), PUBLIC),
            "https": (("https", OTHER, "other.test"), OTHER),
            "names of both families": (("names", "api.test"), f"{IPV6} {PUBLIC}"),
            "a name that leads to IPv4 in the end": (("http", "api.test", "api.test"), PUBLIC),
            "no such name": (("names", "none.test"), ""),
            "another's name server": (("resolver", PUBLIC), "answers"),
            **CLOSED,
        },
    )


@pytest.mark.parametrize("given", [{"block_network": True}, {"outbound_cidr_allowlist": []}, {"outbound_domain_allowlist": []}])
def test_nothing(place: Callable[..., skerry.Sandbox], given: dict[str, Any]) -> None:
    _check(
        place(**given),
        {
            "by address": (("echo", PUBLIC), ""),
            "http": (("http", PUBLIC, "api.test"), ""),
            "https": (("https", PUBLIC, "api.test"), ""),
            "names": (("names", "api.test"), ""),
            "another's name server": (("resolver", PUBLIC), ""),
            **CLOSED,
        },
    )


def test_ranges(place: Callable[..., skerry.Sandbox]) -> None:
    _check(
        place(outbound_cidr_allowlist=[f"{PUBLIC}/32", "2001:db8::/32", f"{METADATA}/32"]),
        {
            "listed": (("echo", PUBLIC), "x"),
            "listed, http": (("http", PUBLIC, "whatever.test"), PUBLIC),
            "listed, https": (("https", PUBLIC, "whatever.test"), PUBLIC),
            "not listed": (("echo", OTHER), ""),
            "not listed, http": (("http", OTHER, "api.test"), ""),
            "not listed, https": (("https", OTHER, "api.test"), ""),
            "names": (("names", "api.test"), ""),
            **CLOSED,
        },
    )


def test_domains(place: Callable[..., skerry.Sandbox]) -> None:
    sandbox = place(outbound_domain_allowlist=["api.test", "*.sub.test", "rebound.test", "metadata.test"])
    _check(
        sandbox,
        {
            "an address nobody has asked for": (("echo", PUBLIC), ""),
            "no name, by the address of one": (("https", PUBLIC, ""), ""),
            "an address as the name": (("http", PUBLIC, PUBLIC), ""),
            "another's name server": (("resolver", PUBLIC), ""),
            "quic": (("quic", PUBLIC), ""),
            **CLOSED,
        },
    )
    _check(
        sandbox,
        {
            "listed": (("names", "api.test"), f"{IPV6} {PUBLIC}"),
            "below a wildcard": (("https", "a.sub.test", "a.sub.test"), PUBLIC),
            "the wildcard's own name": (("names", "sub.test"), ""),
            "not listed": (("names", "other.test"), ""),
            "https": (("https", "api.test", "api.test"), PUBLIC),
            "http": (("http", "api.test", "api.test"), PUBLIC),
            # What counts is the name, which leads to its own host whatever address it is sent to.
            "a listed name at another's address": (("https", OTHER, "api.test"), PUBLIC),
            "http likewise": (("http", OTHER, "api.test"), PUBLIC),
            "another's name at a listed one's address": (("https", PUBLIC, "other.test"), ""),
            "http of that": (("http", PUBLIC, "other.test"), ""),
            "another's address": (("echo", OTHER), ""),
            "a name that leads to a private address": (("https", PUBLIC, "rebound.test"), ""),
            "a name that leads to the metadata": (("http", PUBLIC, "metadata.test"), ""),
            **CLOSED,
        },
    )
    # Other ports are open at the addresses that a listed name has, once it was asked for.
    _check(sandbox, {"learned": (("echo", PUBLIC), "x"), "not learned": (("echo", OTHER), "")})


TALK = """
import socket, sys
held = {}
for line in sys.stdin:
    address = line.strip()
    try:
        if address not in held:
            held[address] = socket.create_connection((address, 18080), 5)
        held[address].sendall(b"x")
        said = held[address].recv(1).decode()
    except OSError:
        said = ""
    print(said or "cut", flush=True)
"""


def test_changes_while_it_runs(place: Callable[..., skerry.Sandbox], outdoors: Outdoors) -> None:
    sandbox = place()
    held = sandbox.exec("python3", "-c", TALK, bufsize=1)
    answers = iter(held.stdout)

    def say(address: str) -> str:
        held.stdin.write(f"{address}\n")
        held.stdin.drain()
        return next(answers).strip()

    assert [say(PUBLIC), say(OTHER)] == ["x", "x"]
    sandbox.set_network_policy(outbound_cidr_allowlist=[f"{PUBLIC}/32"])
    assert [say(PUBLIC), say(OTHER)] == ["x", "cut"]
    _check(
        sandbox, {"new, listed": (("echo", PUBLIC), "x"), "new, not listed": (("echo", OTHER), ""), "names": (("names", "api.test"), "")}
    )
    # It holds over a worker that is killed, as does the connection.
    outdoors.daemon.kill()
    outdoors.daemon.start()
    assert say(PUBLIC) == "x"
    _check(sandbox, {"new, listed": (("echo", PUBLIC), "x"), "new, not listed": (("echo", OTHER), "")})
    sandbox.set_network_policy(outbound_domain_allowlist=["other.test"])
    assert say(PUBLIC) == "cut"
    _check(sandbox, {"https": (("https", OTHER, "other.test"), OTHER), "of before": (("https", PUBLIC, "api.test"), "")})
    sandbox.set_network_policy(block_network=True)
    blocked: dict[str, tuple[Probe, str]] = {"blocked": (("https", OTHER, "other.test"), ""), "names": (("names", "other.test"), "")}
    _check(sandbox, blocked)
    # That it was kept on the disk meanwhile makes no difference.
    sandbox.pause()
    sandbox.resume()
    _check(sandbox, blocked)
    sandbox.set_network_policy()
    _check(sandbox, {"open again": (("echo", OTHER), "x"), "names": (("names", "other.test"), OTHER)})


def _visit(url: str, source: str) -> bool:
    """Whether a port answers a visitor with an address."""
    done = subprocess.run(["curl", "--silent", "--fail", "--max-time", "30", "--interface", source, url], check=False)
    return done.returncode == 0


def test_visitors(place: Callable[..., skerry.Sandbox]) -> None:
    given = {"encrypted_ports": [8000], "unencrypted_ports": [8001]}
    sandbox = place(inbound_cidr_allowlist=["127.0.0.2/32", "192.0.2.0/24"], **given)
    serve = "import http.server as h; print('listens', flush=True); h.HTTPServer(('', {}), h.SimpleHTTPRequestHandler).serve_forever()"
    for port in (8000, 8001):
        server = sandbox.exec("python3", "-c", serve.format(port), bufsize=1)
        assert next(iter(server.stdout)) == "listens\n"
    tunnels = sandbox.tunnels()
    assert _visit(tunnels[8000].url, "127.0.0.2")
    assert not _visit(tunnels[8000].url, "127.0.0.1")
    host, port = tunnels[8001].tcp_socket
    for source, reached in (("127.0.0.2", True), ("127.0.0.3", False)):
        with socket.create_connection((host, port), 30, source_address=(source, 0)) as visitor:
            got = b""
            with contextlib.suppress(ConnectionError):
                visitor.sendall(b"GET / HTTP/1.0\r\n\r\n")
                got = visitor.recv(64)
            # Who is refused and asks as for a page is told so.
            assert (b" 200 " in got) == reached, got
    credentials = sandbox.create_connect_token(port=8000)
    request = urllib.request.Request(credentials.url, headers={"Authorization": f"Bearer {credentials.token}"})
    with pytest.raises(OSError, match=r"403|reset|refused"):
        urllib.request.urlopen(request, timeout=30)
    # Who is let in stays as it is while what the sandbox may reach is changed.
    sandbox.set_network_policy(block_network=True)
    sandbox.set_network_policy()
    assert not _visit(tunnels[8000].url, "127.0.0.1")
    assert _visit(tunnels[8000].url, "127.0.0.2")


KEY = "value-that-stays-outside"
FETCH = """
import os, sys, urllib.request
request = urllib.request.Request(sys.argv[1], headers={"Authorization": "Bearer " + os.environ["API_KEY"]})
try:
    print(urllib.request.urlopen(request, timeout=20).read().decode().split()[2])
except urllib.error.HTTPError as err:
    print(err.code)
"""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _fetch(sandbox: skerry.Sandbox, url: str) -> str:
    process = sandbox.exec("python3", "-c", FETCH, url)
    return process.stdout.read().strip() or process.stderr.read()


def _found_inside(sandbox: skerry.Sandbox, value: str) -> str:
    """Where in a sandbox a value is to be found: files, and environments of processes."""
    # The pattern is put together inside, so that the search does not find itself.
    search = f"needle={value[:5]}; needle=${{needle}}{value[5:]}; grep -rl --devices=skip -e $needle / --exclude-dir=proc --exclude-dir=sys"
    process = sandbox.exec("sh", "-c", f"{{ {search}; grep -l -e $needle /proc/[0-9]*/environ; }} 2>/dev/null")
    return process.stdout.read()


def test_secrets_that_never_enter(place: Callable[..., skerry.Sandbox], outdoors: Outdoors) -> None:
    secret = skerry.EgressSecret("API_KEY", KEY, hosts=["api.test"])
    sandbox = place(egress_secrets=[secret], outbound_domain_allowlist=["api.test", "other.test"])
    placeholder = sandbox.exec("printenv", "API_KEY").stdout.read().strip()
    assert placeholder
    assert KEY not in placeholder
    for restarted in (False, True):
        if restarted:
            outdoors.daemon.kill()
            outdoors.daemon.start()
        _settle(sandbox)
        assert _fetch(sandbox, "https://api.test/") == _digest(f"Bearer {KEY}")
        # Others get what the sandbox has.
        assert "CERTIFICATE_VERIFY_FAILED" in _fetch(sandbox, "https://other.test/")
        assert _fetch(sandbox, "http://api.test/") == _digest(f"Bearer {placeholder}")
        assert _found_inside(sandbox, KEY) == ""
    assert _found_inside(sandbox, placeholder) != "", "the search finds nothing at all"


def _settle(sandbox: skerry.Sandbox) -> None:
    """Wait: until the gateway has given a worker that came back its values again, requests are answered 502: docs/networking.md."""
    loop = 'while [ $(python3 -c "$1" https://api.test/) = 502 ]; do sleep 0.2; done'
    assert sandbox.exec("sh", "-c", loop, "sh", FETCH, timeout=60).wait() == 0


def test_git_with_credentials_that_never_enter(place: Callable[..., skerry.Sandbox], outdoors: Outdoors) -> None:
    repository = outdoors.world.folder / "repo.git"

    def git(*args: str) -> str:
        identity = ("-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "safe.directory=*")
        return subprocess.run(["git", *identity, *args], check=True, capture_output=True, text=True).stdout

    git("init", "--quiet", "--bare", "--initial-branch=main", str(repository))
    git("-C", str(repository), "config", "http.receivepack", "true")
    with tempfile.TemporaryDirectory() as work:
        git("clone", "--quiet", str(repository), work)
        Path(work, "first").write_text("first\n")
        git("-C", work, "add", ".")
        git("-C", work, "commit", "--quiet", "--message", "first")
        git("-C", work, "push", "--quiet", "origin", "HEAD:main")
    login = base64.b64encode(LOGIN.encode()).decode()
    secret = skerry.EgressSecret("GIT_LOGIN", login, hosts=["git.test"], header="Authorization", format="Basic {}")
    without = place(image=outdoors.git, outbound_domain_allowlist=["git.test"])
    with pytest.raises(Error):
        without.git.clone("https://git.test/repo.git", "/work")
    sandbox = place(image=outdoors.git, egress_secrets=[secret], outbound_domain_allowlist=["git.test"])
    sandbox.git.clone("https://git.test/repo.git", "/work")
    assert sandbox.filesystem.read_text("/work/first") == "first\n"
    for number, restarted in enumerate((False, True)):
        if restarted:
            outdoors.daemon.kill()
            outdoors.daemon.start()
        sandbox.filesystem.write_text("second\n", f"/work/second{number}")
        sandbox.git.add("/work")
        commit = sandbox.git.commit("/work", f"second {number}", author="agent", email="agent@example.com")
        loop = "until git -C /work ls-remote >/dev/null 2>/tmp/said || ! grep -q 502 /tmp/said; do sleep 0.2; done"
        assert sandbox.exec("sh", "-c", loop, timeout=60).wait() == 0
        sandbox.git.push("/work")
        assert git("-C", str(repository), "rev-parse", "main").strip() == commit
        for value in (login, LOGIN.partition(":")[2]):
            assert _found_inside(sandbox, value) == ""
