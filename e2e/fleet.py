"""A gateway and workers as processes of their own, each in a network namespace of its own: the links between them are real."""

import contextlib
import itertools
import os
import subprocess
import tempfile
from collections.abc import Generator
from pathlib import Path

from e2e.daemon import Daemon

_PORT = 7070
_RANGE = "10.99.7"
_numbers = itertools.count()


class Fleet:
    """A gateway, which is also where clients run, and its workers. The names of its network namespaces begin with `mark`."""

    def __init__(self, mark: str, gateway: Daemon, workers: list[Daemon]) -> None:
        self.mark = mark
        self.gateway = gateway
        self.workers = workers

    @classmethod
    @contextlib.contextmanager
    def temporary(cls, labels: list[str]) -> Generator["Fleet"]:
        """A running fleet with a worker for each entry of labels ("region=eu,cloud=lab"); all of it is gone afterwards."""
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skerry-fleet-")))
            mark = f"e2e{os.getpid()}-{next(_numbers)}"
            spaces = stack.enter_context(_namespaces(mark, len(labels) + 1))
            role = ("gateway", "--listen", f"{_RANGE}.1:{_PORT}", "--insecure")
            gateway = Daemon(folder / "gateway", role, _inside(spaces[0]))
            stack.callback(gateway.stop)
            gateway.start()
            workers: list[Daemon] = []
            for i, text in enumerate(labels):
                home = folder / f"worker{i}"
                token = folder / f"worker{i}.token"
                token.write_text(gateway.command("token", "new", "--role", "worker", "--name", f"worker{i}"))
                role = ("worker", "--gateway", f"http://{_RANGE}.1:{_PORT}", "--token-file", str(token), "--labels", text)
                worker = Daemon(home, role, _inside(spaces[i + 1]))
                stack.callback(worker.stop)
                worker.start()
                workers.append(worker)
            # A killed worker gives back what it has left when it starts again, and for that it wants a gateway.
            stack.callback(gateway.revive)
            yield cls(mark, gateway, workers)


def _inside(space: str) -> tuple[str, ...]:
    # Not `ip netns exec`, which hides the control groups behind a /sys of its own.
    return ("nsenter", f"--net=/run/netns/{space}")


@contextlib.contextmanager
def _namespaces(mark: str, count: int) -> Generator[list[str]]:
    """Namespaces that share a bridge and reach nothing else: the n-th has the n-th address of the range."""
    with contextlib.ExitStack() as stack:
        # The bridge is in a namespace too, so that the host's own network stays as it is.
        switch = f"{mark}-switch"
        stack.enter_context(_namespace(switch))
        _ip("-n", switch, "link", "add", "br0", "type", "bridge")
        _ip("-n", switch, "link", "set", "br0", "up")
        names: list[str] = []
        for i in range(1, count + 1):
            name = f"{mark}-{i}"
            stack.enter_context(_namespace(name))
            _ip("-n", switch, "link", "add", f"p{i}", "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("-n", switch, "link", "set", f"p{i}", "master", "br0", "up")
            _ip("-n", name, "address", "add", f"{_RANGE}.{i}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "route", "add", "default", "via", f"{_RANGE}.1")
            names.append(name)
        yield names


@contextlib.contextmanager
def _namespace(name: str) -> Generator[None]:
    _ip("netns", "add", name)
    try:
        yield
    finally:
        _ip("netns", "delete", name)


def _ip(*args: str) -> None:
    done = subprocess.run(["ip", *args], text=True, capture_output=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(args)}: {done.stderr}"
