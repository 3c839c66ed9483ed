"""A small internet for sandboxes: a network namespace of the test that alone has its addresses. No packet to them leaves the machine."""

import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

from e2e.daemon import ROOT

# Two networks set apart for documentation, so nothing is there if a route is lost; a private address, and that of the clouds' metadata.
GATEWAY = "203.0.113.1"
PUBLIC = "203.0.113.10"
OTHER = "203.0.113.20"
PRIVATE = "10.254.78.2"
METADATA = "169.254.169.254"
ECHO_PORT = 18080
LOGIN = "user:correct-horse-battery"
NAMES = {
    "api.test": PUBLIC,
    "a.sub.test": PUBLIC,
    "sub.test": PUBLIC,
    "git.test": PUBLIC,
    "other.test": OTHER,
    "rebound.test": PRIVATE,
    "metadata.test": METADATA,
}
# What has an IPv6 address as well, which leads nowhere.
IPV6 = "2001:db8::10"

_numbers = itertools.count()


class World:
    """Its folder has the authority of its hosts' certificates, `ca.pem`, and the repository that git.test has, `repo.git`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def flags(self) -> tuple[str, ...]:
        """What a skerryd is started with whose containers are to live in it."""
        return ("--nameservers", PUBLIC, "--egress-roots", str(self.folder / "ca.pem"))


@contextlib.contextmanager
def world(folder: Path) -> Generator[World]:
    """A world with servers on all of its addresses; all of it is gone afterwards."""
    _certificates(folder)
    (folder / "hosts").write_text("".join(f"{name} {address} {IPV6 if name == 'api.test' else '-'}\n" for name, address in NAMES.items()))
    number = next(_numbers)
    space, link = f"skw{os.getpid()}-{number}", f"skw{os.getpid()}h{number}"
    with contextlib.ExitStack() as stack:
        _run("ip", "netns", "add", space)
        stack.callback(_run, "ip", "netns", "del", space)
        _run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space)
        stack.callback(_run, "ip", "link", "del", link)
        _run("ip", "address", "add", f"{GATEWAY}/24", "dev", link)
        _run("ip", "link", "set", link, "up")
        _run("ip", "-n", space, "link", "set", "lo", "up")
        _run("ip", "-n", space, "link", "set", "eth0", "up")
        for address in (PUBLIC, OTHER):
            _run("ip", "-n", space, "address", "add", f"{address}/24", "dev", "eth0")
        for address in (PRIVATE, METADATA):
            _run("ip", "-n", space, "address", "add", f"{address}/32", "dev", "eth0")
            _run("ip", "route", "add", f"{address}/32", "via", PUBLIC, "dev", link)
        # Back to containers, so that only rules, not missing routes, keep packets away.
        _run("ip", "-n", space, "route", "add", "default", "via", GATEWAY)
        for address in (PUBLIC, OTHER, PRIVATE, METADATA):
            route = _run("ip", "route", "get", address)
            assert f"dev {link}" in route, f"{address} would leave the machine: {route}"
        argv = ["ip", "netns", "exec", space, sys.executable, "-m", "e2e.sandboxes.outdoors", str(folder), LOGIN]
        with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as servers:
            try:
                assert servers.stdout is not None
                assert servers.stdout.readline() == "ready\n"
                yield World(folder)
            finally:
                servers.kill()


def _certificates(folder: Path) -> None:
    """Make an authority, and a certificate of it for all names."""
    folder.mkdir(parents=True, exist_ok=True)
    request = ("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    authority = ("-x509", "-days", "2", "-subj", "/CN=hosts of a test", "-addext", "keyUsage=critical,keyCertSign")
    _run(*request, *authority, "-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.pem")
    _run(*request, "-subj", "/CN=host", "-keyout", f"{folder}/key.pem", "-out", f"{folder}/host.csr")
    extensions = folder / "host.ext"
    extensions.write_text("subjectAltName=" + ",".join(f"DNS:{name}" for name in NAMES) + "\n")
    signing = ("-CA", f"{folder}/ca.pem", "-CAkey", f"{folder}/ca.key", "-CAcreateserial", "-days", "1", "-extfile", str(extensions))
    _run("openssl", "x509", "-req", "-in", f"{folder}/host.csr", *signing, "-out", f"{folder}/cert.pem")


def _run(*argv: str) -> str:
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
    return done.stdout
