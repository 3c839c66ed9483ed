"""Very many small files, and a very large one, written in one container and read in another; and what that takes of memory."""

import itertools
import time
from pathlib import Path

import pytest
import skerry

from e2e.daemon import Daemon
from e2e.processes import running

# What skerryd and the process that serves volumes may come to hold in MiB. Caches have 350 of the latter's; the rest is the two mounts'.
SERVER_MIB, VOLUMES_MIB = 700, 1200

WRITE_MANY = """
import os, sys
for folder in range(100):
    os.makedirs(f"/data/many/{folder:02}")
for i in range(int(sys.argv[1])):
    with open(f"/data/many/{i % 100:02}/{i}.txt", "w") as file:
        file.write(f"file {i}\\n")
"""
READ_MANY = """
import os, sys, time
began = time.monotonic()
found = [os.path.join(top, name) for top, _, names in os.walk("/data/many") for name in names]
assert len(found) == int(sys.argv[1]), len(found)
listed = time.monotonic()
for path in found:
    number = int(os.path.basename(path)[:-4])
    with open(path) as file:
        text = file.read()
    assert text == f"file {number}\\n" and path == f"/data/many/{number % 100:02}/{number}.txt", (path, text)
print(f"listed {listed - began:.1f} s, read {time.monotonic() - listed:.1f} s")
"""
WRITE_LARGE = """
import hashlib, sys
with open("/data/large", "wb") as file:
    for i in range(int(sys.argv[1])):
        file.write(hashlib.shake_128(str(i).encode()).digest(1 << 20))
"""
READ_LARGE = """
import hashlib, sys
with open("/data/large", "rb") as file:
    for i in range(int(sys.argv[1])):
        assert file.read(1 << 20) == hashlib.shake_128(str(i).encode()).digest(1 << 20), i
    assert file.read() == b""
"""


class Peaks:
    """The most memory that skerryd and the process that serves volumes have held since this was made."""

    def __init__(self, daemon: Daemon) -> None:
        [volumes] = running(" volumes {", str(daemon.data))
        assert daemon.pid is not None
        self._pids = {"skerryd": daemon.pid, "volumes": volumes}
        for pid in self._pids.values():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def mib(self) -> dict[str, int]:
        """In MiB, by process."""
        found: dict[str, int] = {}
        for name, pid in self._pids.items():
            [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM:")]
            found[name] = int(line.split()[1]) // 1024
        return found


def _run(sandbox: skerry.Sandbox, program: str, size: int) -> str:
    process = sandbox.exec("python3", "-c", program, str(size))
    said, failed = process.stdout.read(), process.stderr.read()
    assert process.wait() == 0, failed
    return said.strip()


@pytest.fixture
def app(reachable: None) -> skerry.App:
    """An app for sandboxes."""
    del reachable
    return skerry.App.lookup("volume-sizes", create_if_missing=True)


def _moved(app: skerry.App, daemon: Daemon, write: str, read: str, size: int) -> None:
    """Write in one sandbox, commit, and read in another that was there before."""
    with skerry.Volume.ephemeral() as volume:
        writer, reader = (skerry.Sandbox.create(app=app, volumes={"/data": volume}, timeout=3600) for _ in range(2))
        try:
            peaks = Peaks(daemon)
            times = [time.monotonic()]
            _run(writer, write, size)
            times.append(time.monotonic())
            writer.reload_volumes(timeout=600)
            times.append(time.monotonic())
            reader.reload_volumes(timeout=600)
            times.append(time.monotonic())
            said = _run(reader, read, size)
            times.append(time.monotonic())
        finally:
            writer.terminate(wait=True)
            reader.terminate(wait=True)
        written, committed, reloaded, was_read = (after - before for before, after in itertools.pairwise(times))
        print(f"\n{size}: write {written:.1f} s, commit {committed:.1f} s, reload {reloaded:.1f} s, read {was_read:.1f} s {said}")
        held = peaks.mib()
        print(f"most memory in MiB: {held}")
        assert held["skerryd"] < SERVER_MIB
        assert held["volumes"] < VOLUMES_MIB


def test_many_files_of_a_container(app: skerry.App, daemon: Daemon, full: bool) -> None:
    _moved(app, daemon, WRITE_MANY, READ_MANY, 100_000 if full else 3_000)


def test_a_large_file_of_a_container(app: skerry.App, daemon: Daemon, full: bool) -> None:
    _moved(app, daemon, WRITE_LARGE, READ_LARGE, 5_120 if full else 100)
