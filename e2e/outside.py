"""Hosts that containers may or may not reach: listeners in a network namespace of the test, with routes that end there."""

import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import Generator

# Addresses that only the test's namespace has. The first is a network set apart for documentation, so nothing is there if a route is lost.
PUBLIC = "198.51.100.2"
PRIVATE = "10.254.77.2"
METADATA = "169.254.169.254"
HOST = "198.51.100.1"
PORT = 18080

_numbers = itertools.count()

SERVER = """
import socket, sys
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
while True:
    connection, _ = server.accept()
    with connection:
        connection.sendall(b"reached")
"""


@contextlib.contextmanager
def outside() -> Generator[None]:
    """A namespace behind a veth pair with a listener on all its addresses, and one on the host's end. All gone afterwards."""
    # Each has a name of its own: the kernel takes its time to remove a namespace that is gone. The link goes first, and at once: its routes
    # would be in the way of the next one's.
    number = next(_numbers)
    space, link = f"skt{os.getpid()}-{number}", f"skt{os.getpid()}h{number}"
    with contextlib.ExitStack() as stack:
        _ip("netns", "add", space)
        stack.callback(_ip, "netns", "del", space)
        _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space)
        stack.callback(_ip, "link", "del", link)
        _ip("address", "add", f"{HOST}/24", "dev", link)
        _ip("link", "set", link, "up")
        _ip("-n", space, "link", "set", "lo", "up")
        _ip("-n", space, "link", "set", "eth0", "up")
        _ip("-n", space, "address", "add", f"{PUBLIC}/24", "dev", "eth0")
        for address in (PRIVATE, METADATA):
            _ip("-n", space, "address", "add", f"{address}/32", "dev", "eth0")
            _ip("route", "add", f"{address}/32", "via", PUBLIC, "dev", link)
        for address in (PUBLIC, PRIVATE, METADATA):
            route = _ip("route", "get", address)
            assert f"dev {link}" in route, f"{address} would leave the machine: {route}"
        stack.enter_context(_server("0.0.0.0", "ip", "netns", "exec", space))
        stack.enter_context(_server(HOST))
        yield


def _ip(*args: str) -> str:
    done = subprocess.run(["ip", *args], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(args)}: {done.stderr}"
    return done.stdout


@contextlib.contextmanager
def _server(address: str, *prefix: str) -> Generator[None]:
    argv = [*prefix, sys.executable, "-c", SERVER, address, str(PORT)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()
