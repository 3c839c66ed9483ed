"""What a daemon's sandboxes have on the host."""

from pathlib import Path

from e2e.daemon import Daemon
from e2e.host import left_on_host
from e2e.processes import running


def boxes(daemon: Daemon) -> list[str]:
    """All that there is of boxes: processes, mounts, control groups and files. Networks are no part of it: some are kept ready."""
    own = Path("/run/skerry", daemon.instance)
    found = [line for line in left_on_host(daemon) if "bx-" in line]
    found += [f"process {name}" for name in _programs(own)]
    found += [f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob(f"**/skerry_{daemon.instance}*/**/bx-*")]
    for folder in (own, daemon.data):
        found += [f"file {path}" for path in folder.rglob("bx-*")]
    return sorted(found)


def records(daemon: Daemon) -> int:
    """How many sandboxes the worker has on record: those that run, and those whose end the gateway is just writing down."""
    return len(list((daemon.data / "worker").rglob("sb-*.json")))


def networks(daemon: Daemon) -> int:
    """How many network namespaces there are."""
    return sum("nsfs" in line for line in left_on_host(daemon))


def resident_mib(pid: int | None) -> float:
    """How much memory a process holds."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"process {pid} has no resident memory")


def _programs(folder: Path) -> list[str]:
    """The programs of boxes that run. A builder's and the keeper's are none."""
    return [Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode() for pid in running(str(folder / "b") + "/")]
