"""Images whose contents are not on the worker: what is read is fetched, and no more, whatever happens to where it is fetched from."""

import contextlib
import json
import os
import signal
import statistics
from collections.abc import Generator
from pathlib import Path

import pytest

from e2e.apps.lazy import block
from e2e.client import Client, client
from e2e.fleet import Fleet
from e2e.host import left_on_host
from e2e.lazy import LARGE, PYTHON, SMALL, call, cold, deploy, program, received
from e2e.processes import running, watch

MIB = 1 << 20


class Lazy:
    """The fleet, the worker of the large image, and how many MiB its large file has."""

    def __init__(self, fleet: Fleet, mib: int) -> None:
        self.fleet = fleet
        self.mib = mib
        self.worker = fleet.workers[1]
        self.sizes = deploy(fleet, mib)

    def stored(self, number: int) -> Path:
        """The file of a block's chunk in the blob store."""
        return self.fleet.gateway.data / "blobs/sha256" / block(number)[:2] / block(number)

    def cached(self, number: int) -> Path:
        """That on the worker."""
        return self.worker.data / "worker/cache/chunks" / block(number)

    @contextlib.contextmanager
    def reading(self, gate: int, first: int, count: int) -> Generator[Client]:
        """A container that tries to read a block again and again until it is given back, and then others."""
        self._taken = self.stored(gate), self.stored(gate).read_bytes()
        self.stored(gate).unlink()
        log = self.worker.data / "worker/keeper.log"
        log.touch()
        # What the keeper says from here on.
        tail = ["tail", f"--bytes=+{log.stat().st_size + 1}", "--follow=name", str(log)]
        with client(self.worker, tail) as lines, client(self.fleet.gateway, program("read_blocks", gate, first, count)) as reader:
            reader.until("begun")
            lines.until(block(gate))
            yield reader

    def give_back(self) -> None:
        """Put the block for which a container waits into the blob store."""
        file, content = self._taken
        file.write_bytes(content)

    def log(self) -> str:
        """The end of the log of the worker's keeper."""
        return "\n".join((self.worker.data / "worker/keeper.log").read_text(errors="replace").splitlines()[-200:])

    def read(self, number: int) -> str:
        """What a container of the large image reads as a block: its digest, or the error."""
        return call(self.fleet, "read_block", number)[0]


@pytest.fixture(scope="module")
def shared(full: bool) -> Generator[Lazy]:
    """All of this file shares one fleet."""
    with Fleet.temporary([SMALL, LARGE]) as fleet:
        yield Lazy(fleet, 5000 if full else 400)


@pytest.fixture
def lazy(shared: Lazy) -> Lazy:
    """The fleet, all of which runs."""
    for daemon in (shared.fleet.gateway, *shared.fleet.workers):
        daemon.start()
    return shared


def test_a_large_image_starts_like_a_small_one(lazy: Lazy, full: bool) -> None:
    small_bytes, large_bytes = (size // MIB for size in lazy.sizes)
    assert 30 < small_bytes < 64, "the small image is not one of about 50 MB"
    assert large_bytes > lazy.mib
    small_worker, large_worker = lazy.fleet.workers
    seconds: dict[str, list[float]] = {"start_small": [], "start_large": []}
    for _ in range(5 if full else 1):
        for name, worker in (("start_small", small_worker), ("start_large", large_worker)):
            taken, fetched = cold(lazy.fleet, worker, name)
            print(f"{name} with nothing on the worker: {taken:.2f} s, {fetched / MIB:.0f} MiB fetched")
            seconds[name].append(taken)
            assert fetched < 120 * MIB
    small, large = (statistics.median(seconds[name]) for name in ("start_small", "start_large"))
    print(f"{small_bytes} MiB: {small:.2f} s; {large_bytes} MiB: {large:.2f} s; {large / small:.2f} times as long")
    if full:  # a single start says little of speed
        assert large <= 1.5 * small

    lazy.worker.command("down")
    lazy.worker.start()
    before = received(lazy.worker)
    _, warm = call(lazy.fleet, "start_large")
    fetched = received(lazy.worker) - before
    print(f"after a restart of the worker {warm:.2f} s; {fetched / MIB:.1f} MiB fetched")
    assert fetched < 8 * MIB


def test_damaged_and_missing_chunks_in_the_blob_store(lazy: Lazy) -> None:
    damaged, missing, far = 50, 100, 150
    kept = lazy.stored(missing).read_bytes()
    _flip(lazy.stored(damaged))
    lazy.stored(missing).unlink()
    assert lazy.read(damaged) == "OSError 5"
    assert lazy.read(missing) == "OSError 5"
    assert lazy.read(far) == block(far), "others are not read any more"
    log = lazy.log()
    for number in (damaged, missing):
        assert any("read of an image failed" in line and block(number) in line for line in log.splitlines()), log
    _flip(lazy.stored(damaged))
    lazy.stored(missing).write_bytes(kept)
    for number in (damaged, missing):
        assert lazy.read(number) == block(number), "what is right again is not read"


def test_damaged_and_missing_chunks_on_the_worker(lazy: Lazy) -> None:
    damaged, missing = 200, 250
    for number in (damaged, missing):
        assert lazy.read(number) == block(number)
    # The kernel keeps what it has read of a mount.
    lazy.worker.command("down")
    _flip(lazy.cached(damaged))
    lazy.worker.start()
    # The keeper begins when it is first needed, and knows from then on what it has.
    assert lazy.read(210) == block(210)
    lazy.cached(missing).unlink()
    for number in (damaged, missing):
        assert lazy.read(number) == block(number)
        assert lazy.cached(number).read_bytes() == lazy.stored(number).read_bytes()
    log = lazy.log()
    for number in (damaged, missing):
        assert any("a cached chunk is damaged and is fetched again" in line and block(number) in line for line in log.splitlines()), log


def test_a_gateway_that_does_not_answer_while_a_container_reads(lazy: Lazy) -> None:
    with lazy.reading(300, 310, 80) as reader:
        pid = lazy.fleet.gateway.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        lazy.give_back()
        os.kill(pid, signal.SIGCONT)
        outcomes = _outcomes(reader)
    # It met the missing chunk before the gateway stopped. Where the link was given up, its input was run again from its beginning.
    assert outcomes["right"] == 81
    assert set(outcomes) <= {"right", "OSError 5"}


def test_a_gateway_that_is_killed_while_a_container_reads(lazy: Lazy) -> None:
    with lazy.reading(20, 30, 80) as reader:
        lazy.fleet.gateway.kill()
        lazy.give_back()
        lazy.fleet.gateway.start()
        outcomes = _outcomes(reader)
    # A container ends with the link to its gateway, and its input is run again: in all that it reads nothing is wrong.
    assert outcomes["right"] == 81
    assert set(outcomes) <= {"right", "OSError 5"}


def test_a_worker_that_is_killed_while_a_container_waits_for_contents(lazy: Lazy) -> None:
    worker, gateway = lazy.worker, lazy.fleet.gateway
    with lazy.reading(180, 0, 0):
        pid = gateway.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        with watch(running("runsc", f"/run/skerry/{worker.instance}")) as sandboxes:
            worker.kill()
            os.kill(pid, signal.SIGCONT)
            lazy.give_back()
            worker.start()
            # One that waited for a file system that nobody serves could not be killed.
            sandboxes.wait(60)
    assert lazy.read(180) == block(180)
    worker.command("down")
    assert left_on_host(worker) == []


def _sandbox(lazy: Lazy, *args: str) -> list[str]:
    """The lines that a program with a sandbox of the large image prints."""
    argv = [PYTHON, "-m", "e2e.apps.lazy_sandbox", *args]
    with client(lazy.fleet.gateway, argv, env={"LAZY_MIB": str(lazy.mib)}) as program:
        return program.finish()


def test_a_sandbox_reads_on_over_a_worker_that_is_killed(lazy: Lazy) -> None:
    sandbox, process = _sandbox(lazy, "open")[-1].split()[1:]
    reader, *first = _sandbox(lazy, "read", sandbox, process, "0", "200", "201")
    assert first == [f"said {block(200)}", f"said {block(201)}"]
    fetched = received(lazy.worker)
    lazy.worker.kill()
    lazy.worker.start()
    # The same process, and parts of the file that nobody has read before.
    numbers = [str(number) for number in (201, *range(280, 292))]
    again = _sandbox(lazy, "read", sandbox, process, "2", *numbers)
    assert again == [reader, *first, *(f"said {block(int(number))}" for number in numbers)]
    assert received(lazy.worker) - fetched > MIB, "nothing of what was read has come from the gateway"
    _sandbox(lazy, "end", sandbox)
    lazy.worker.command("down")
    assert left_on_host(lazy.worker) == []


def _outcomes(reader: Client) -> dict[str, int]:
    """What came of the blocks that a container has read."""
    line = reader.until("done ")
    reader.finish()
    return json.loads(line.removeprefix("done "))


def _flip(file: Path) -> None:
    """Change a byte; doing it twice brings the right one back."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
