"""A map at the size that users are promised: every index exactly once, memory flat."""

import time
from pathlib import Path

from e2e.client import client, run_app
from e2e.daemon import Daemon

# How much more a process may hold in the second half of a map than in the first, in MiB. The gateway keeps the outputs of an hour, at
# most 200,000, on disk; where each is takes it some 300 bytes.
SLACK = 64


def test_large_map_with_failures_and_killed_containers(daemon: Daemon, full: bool) -> None:
    count = 100_000 if full else 2_000
    began = time.monotonic()
    with client(daemon, run_app("heavy", "--count", str(count))) as program:
        pids = {"gateway": daemon.pid, "client": program.process.pid}
        resident: dict[str, list[float]] = {name: [] for name in pids}
        for tenth in range(10):
            program.until(f"progress {count // 10 * tenth}", seconds=1800)
            for name, pid in pids.items():
                resident[name].append(_resident_mib(pid))
        program.until("complete", seconds=1800)
        program.finish()
    print(f"{count} inputs in {time.monotonic() - began:.0f} s; resident MiB at each tenth:")
    for name, series in resident.items():
        print(f"  {name}: " + " ".join(f"{mib:.0f}" for mib in series))
    for name, series in resident.items():
        assert max(series[5:]) - max(series[:5]) < SLACK, f"memory of {name} grows: {series}"


def _resident_mib(pid: int | None) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"process {pid} has no resident memory")
