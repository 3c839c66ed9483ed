"""A map at the size that users are promised: every index exactly once, memory flat."""

from pathlib import Path

from e2e.client import client, run_app
from e2e.daemon import Daemon

# How much more a process may hold at the end of the map than at its first tenth, in MiB.
_SLACK = 150


def _resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"process {pid} has no resident memory")


def test_large_map_with_failures_and_killed_containers(daemon: Daemon, full: bool) -> None:
    # A killed container costs a start: the small size has fewer of them than inputs that fail.
    count, kills = (100_000, 1000) if full else (3_000, 6)
    pid = daemon.pid
    assert pid is not None
    with client(daemon, run_app("heavy", "--count", str(count), "--kills", str(kills))) as program:
        first = program.until("progress", seconds=1200)
        gateway = _resident_mib(pid)
        program.until("progress", times=8, seconds=3600)
        print(f"gateway: {gateway:.0f} MiB at a tenth, {_resident_mib(pid):.0f} MiB at nine tenths; {first}")
        assert _resident_mib(pid) - gateway < _SLACK
        end = program.until("complete", seconds=3600)
        assert float(end.rpartition("by ")[2].split()[0]) < _SLACK
        program.finish()
