"""Volumes over kills of the server, with many files and large ones, and with many who write."""

import collections
import hashlib
import io
import os
import random
import sys
import threading
from pathlib import Path

import pytest
import skerry
from skerry.types import FileEntryType

from e2e.client import client
from e2e.daemon import Daemon


def _folders(volume: skerry.Volume) -> dict[str, int]:
    """How many files there are in each folder at the top, all of one version."""
    counts: collections.Counter[str] = collections.Counter()
    for entry in volume.iterdir("/"):
        if entry.type == FileEntryType.FILE:
            counts[entry.path.partition("/")[0]] += 1
    return dict(counts)


def test_changes_are_all_or_nothing_over_kills_of_the_server(daemon: Daemon, full: bool) -> None:
    rounds, files, kills = (40, 300, 20) if full else (8, 150, 4)
    name = "e2e-kills"
    chance = random.Random(5)
    volume = skerry.Volume.from_name(name, create_if_missing=True)
    volume.hydrate()
    program = [sys.executable, str(Path(__file__).with_name("upload.py")), name, str(rounds), str(files)]
    with client(daemon, program) as changing:
        # A copy is removed after the next one was made.
        steps = [
            f"{what} {number - back}"
            for number in range(rounds)
            for what, back in (("uploaded", 0), ("copied", 0), ("removed", 1))
            if number >= back
        ]
        for step in sorted(chance.sample(range(len(steps) - 2), kills)):
            changing.until(steps[step])
            # Somewhere in the next change: where exactly is up to what the machine does besides.
            threading.Event().wait(chance.random() / 20)
            daemon.kill()
            daemon.start()
            found = _folders(volume)
            assert all(count == files for count in found.values()), f"after {steps[step]!r}: {found}"
        changing.until("complete", seconds=600)
        changing.finish()
    found = _folders(volume)
    assert found == {**{f"round-{number}": files for number in range(rounds)}, f"copy-{rounds - 1}": files}
    # Each change was applied once, however often it was sent.
    reasons = collections.Counter(each.reason for each in volume.history())
    assert reasons == {"create": 1, "upload": rounds, "copy": rounds, "remove": rounds - 1}
    assert b"".join(volume.read_file("round-1/3/3")) == b"1 3\n" * 200
    skerry.Volume.objects.delete(name)


def test_many_small_files(full: bool, tmp_path: Path, reachable: None) -> None:
    del reachable
    count = 100_000 if full else 10_000
    for number in range(count):
        folder = tmp_path / f"{number % 100:02}"
        if number < 100:
            folder.mkdir()
        (folder / f"{number}.txt").write_text(f"file {number}\n")
    with skerry.Volume.ephemeral() as volume:
        with volume.batch_upload() as batch:
            batch.put_directory(tmp_path, "/all")
        assert sum(entry.type == FileEntryType.FILE for entry in volume.iterdir("all")) == count
        # One change more touches little: it is there at once, and nothing else has changed.
        volume.copy_files(["all"], "again", recursive=True)
        with volume.batch_upload(force=True) as batch:
            batch.put_file(io.BytesIO(b"other\n"), "again/07/7.txt")
        assert b"".join(volume.read_file("again/07/7.txt")) == b"other\n"
        assert b"".join(volume.read_file("all/07/7.txt")) == b"file 7\n"
        assert volume.history()[0].num_files == 2 * count


def test_a_large_file(full: bool, tmp_path: Path, reachable: None) -> None:
    del reachable
    size = (5 << 30) if full else (200 << 20)
    written = hashlib.sha256()
    with (tmp_path / "large").open("wb") as file:
        for number in range(size >> 20):
            block = hashlib.shake_128(str(number).encode()).digest(1 << 20)
            written.update(block)
            file.write(block)
    with skerry.Volume.ephemeral() as volume:
        with volume.batch_upload() as batch:
            batch.put_file(tmp_path / "large", "large")
        read = hashlib.sha256()
        for part in volume.read_file("large"):
            read.update(part)
        assert read.digest() == written.digest()
        # A changed byte sends one chunk, and the rest is known.
        with (tmp_path / "large").open("r+b") as file:
            file.seek(size // 2)
            file.write(b"changed")
        with volume.batch_upload(force=True) as batch:
            batch.put_file(tmp_path / "large", "large")
        assert volume.listdir("large")[0].size == size


@pytest.mark.parametrize("writers", [8])
def test_writers_merge(writers: int, reachable: None) -> None:
    del reachable
    failed: list[BaseException] = []
    with skerry.Volume.ephemeral() as volume:

        def write(writer: int) -> None:
            try:
                for number in range(5):
                    with volume.batch_upload(force=True) as batch:
                        batch.put_file(io.BytesIO(os.urandom(2000)), f"{writer}/{number}")
                        batch.put_file(io.BytesIO(f"{writer} {number}".encode() * 1000), "same")
            except BaseException as err:
                failed.append(err)
                raise

        threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed
        files = [entry.path for entry in volume.iterdir("/") if entry.type == FileEntryType.FILE]
        assert files == [*sorted([f"{writer}/{number}" for writer in range(writers) for number in range(5)]), "same"]
        # The last writer's, whole.
        content = b"".join(volume.read_file("same"))
        assert content == content[: len(content) // 1000] * 1000
        assert len(volume.history()) == 1 + 5 * writers
