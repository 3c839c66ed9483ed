"""A fleet whose workers fetch what they read of an image: what bench and tests ask of it."""

import json
import shutil
import subprocess
from pathlib import Path

from e2e.daemon import SKERRY, Daemon
from e2e.fleet import Fleet

PYTHON = str(SKERRY.parent / "python")
SMALL, LARGE = "region=eu-west,cloud=lab", "region=us-east,cloud=lab"
"""The labels of the worker for the small image, and of that for the large one."""


def deploy(fleet: Fleet, mib: int) -> tuple[int, int]:
    """Build the images, the large one with a file of so many MiB, and deploy the app. Returns the sizes of both in bytes."""
    gateway = fleet.gateway
    argv = [*gateway.prefix, str(SKERRY), "deploy", "e2e/apps/lazy.py"]
    _run(argv, gateway, {"LAZY_MIB": str(mib)})
    lines = (gateway.data / "skerryd.log").read_text().splitlines()
    sizes = sorted(json.loads(line)["bytes"] for line in lines if '"image built"' in line)
    return sizes[0], sizes[-1]


def program(name: str, *args: int) -> list[str]:
    """The command that calls a deployed function."""
    return [PYTHON, "e2e/apps/lazy.py", name, *map(str, args)]


def call(fleet: Fleet, name: str, *args: int) -> tuple[str, float]:
    """What a deployed function returns, and how long the call took in seconds."""
    line = _run([*fleet.gateway.prefix, *program(name, *args)], fleet.gateway, {}).splitlines()[-1]
    result, _, taken = line.partition(" after ")
    return result, float(taken.removesuffix(" s"))


def cold(fleet: Fleet, worker: Daemon, name: str) -> tuple[float, int]:
    """How long a call takes where the worker has nothing of any image, in seconds, and the bytes that it fetched for it."""
    worker.command("down")
    shutil.rmtree(worker.data / "worker/cache")
    worker.start()
    before = received(worker)
    _, taken = call(fleet, name)
    return taken, received(worker) - before


def _run(argv: list[str], gateway: Daemon, env: dict[str, str]) -> str:
    done = subprocess.run(argv, env={**gateway.env, **env}, cwd=gateway.tree, text=True, capture_output=True, timeout=1800, check=False)
    assert done.returncode == 0, f"{argv}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}\n{gateway.log()}"
    return done.stdout


def received(worker: Daemon) -> int:
    """Bytes that have come to a worker from the gateway."""
    for line in Path(f"/proc/{worker.pid}/net/dev").read_text().splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == "eth0":
            return int(counters.split()[0])
    raise AssertionError("the worker has no network of its own")
