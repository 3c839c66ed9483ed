"""Dicts and queues, of a gateway alone, that is killed in the middle of everything."""

import asyncio
import json
import random
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import skerry

from e2e.client import client, profile_of
from e2e.daemon import Daemon

GETTERS = 20
PUTTERS = 10


@pytest.fixture(scope="module")
def gateway() -> Iterator[Daemon]:
    """A gateway without workers or builders."""
    with tempfile.TemporaryDirectory(prefix="skerry-e2e-") as folder:
        daemon = Daemon(Path(folder))
        daemon.role = ("gateway", "--listen", daemon.address, "--external-builders")
        daemon.start()
        try:
            yield daemon
        finally:
            daemon.stop()


@pytest.fixture
def connection(gateway: Daemon) -> Iterator[skerry.Client]:
    """A client of it."""
    gateway.start()
    with skerry.Client(**profile_of(gateway)) as made:
        yield made


class Tally:
    """What was got, with a moment to wait for."""

    def __init__(self, marks: list[int]) -> None:
        self.got: list[list[int]] = []
        self.count = 0
        self.marks = {mark: threading.Event() for mark in marks}
        self._lock = threading.Lock()

    def add(self, items: list[int]) -> None:
        with self._lock:
            self.got.append(items)
            before = self.count
            self.count += len(items)
            for mark, event in self.marks.items():
                if before < mark <= self.count:
                    event.set()


def test_each_item_is_got_once_over_killed_gateways(gateway: Daemon, connection: skerry.Client, full: bool) -> None:
    total = 100_000 if full else 6_000
    share = total // PUTTERS
    kills = [total // 4, total // 2]
    tally = Tally([*kills, total])
    errors: list[BaseException] = []
    with skerry.Queue.ephemeral(client=connection) as queue:

        def put(number: int) -> None:
            dice = random.Random(number)
            values = list(range(number * share, (number + 1) * share))
            while values:
                n = dice.choice([1, 1, 10, 100])
                queue.put_many(values[:n])
                del values[:n]

        def get(number: int) -> None:
            dice = random.Random(number)
            while -1 not in (items := [queue.get()] if dice.random() < 0.5 else queue.get_many(dice.choice([2, 30]))):
                tally.add(items)
            if rest := [item for item in items if item != -1]:
                tally.add(rest)
            for _ in range(items.count(-1) - 1):  # what was meant for others
                queue.put(-1)

        def guarded(work: object, number: int) -> threading.Thread:
            def run() -> None:
                try:
                    assert callable(work)
                    work(number)
                except BaseException as err:  # noqa: BLE001 - the test shows it
                    errors.append(err)
                    for event in tally.marks.values():
                        event.set()

            thread = threading.Thread(target=run, daemon=True)
            thread.start()
            return thread

        getters = [guarded(get, n) for n in range(GETTERS)]
        putters = [guarded(put, n) for n in range(PUTTERS)]
        for mark in kills:
            assert tally.marks[mark].wait(600)
            gateway.kill()
            gateway.start()
        for thread in putters:
            thread.join(600)
        assert tally.marks[total].wait(600)
        queue.put_many([-1] * GETTERS)
        for thread in getters:
            thread.join(60)
        assert not errors, errors
        assert sorted(item for items in tally.got for item in items) == list(range(total))
        assert queue.len() == 0


def test_a_get_that_is_given_up_takes_nothing(connection: skerry.Client) -> None:
    count = 200
    with skerry.Queue.ephemeral(connection) as q:

        async def give_up() -> list[int]:
            kept: list[int] = []
            for n in range(count):
                getter = asyncio.create_task(q.get.aio(timeout=60))
                await asyncio.sleep(0)
                await q.put.aio(n)
                for _ in range(random.randrange(4)):  # any moment will do: before, while and after it is served
                    await asyncio.sleep(0)
                getter.cancel()
                try:
                    kept.append(await getter)
                except asyncio.CancelledError:
                    continue
            return kept

        got = asyncio.run(give_up())
        # What a cancelled one was served comes back in its own time.
        got += [q.get(timeout=60) for _ in range(count - len(got))]
        assert sorted(got) == list(range(count))
        assert q.len() == 0


@pytest.mark.parametrize("size", [40, 3000])
def test_changes_of_many_are_all_or_nothing_over_killed_gateways(gateway: Daemon, connection: skerry.Client, full: bool, size: int) -> None:
    """The process that changes them is killed as well, so that nobody finishes what it began."""
    dice = random.Random(size)
    state = skerry.Dict.from_name("whole", create_if_missing=True, client=connection)
    log = skerry.Queue.from_name("whole", create_if_missing=True, client=connection)
    state.clear()
    log.clear()
    version = 0
    for _ in range(20 if full else 4):
        ahead = dice.randrange(1, 4)
        with client(gateway, [sys.executable, "e2e/apps/storage_writer.py", str(size), str(version)]) as program:
            program.until(f"version {version + ahead} begins" if dice.random() < 0.7 else "clear")
            # Somewhere in what comes next: how far depends on the machine, and any place will do.
            threading.Event().wait(dice.random() * 0.05)
            gateway.kill()
            program.process.kill()
        gateway.start()
        entries = dict(state.items())
        assert len(entries) in (0, size)
        versions = {value.split()[0] for value in entries.values()}
        assert len(versions) <= 1, versions
        items = list(log.iterate())
        assert len(items) % size == 0
        for start in range(0, len(items), size):
            batch = items[start : start + size]
            assert [part for _, part in batch] == list(range(size))
            assert len({of for of, _ in batch}) == 1
        log.clear()
        version += ahead + 1


def test_what_is_stored_is_there_after_a_kill(gateway: Daemon, connection: skerry.Client) -> None:
    large = random.Random(1).randbytes(3_000_000)
    with skerry.Dict.ephemeral(client=connection) as entries, skerry.Queue.ephemeral(client=connection) as queue:
        entries.update({"large": large, ("a", 1): {1, 2}, "n": 5})
        assert entries.pop("n") == 5
        queue.put_many([large[:1_000_000], "second"], partition="p")
        queue.put("default")
        gateway.kill()
        gateway.start()
        assert entries["large"] == large
        assert entries[("a", 1)] == {1, 2}
        assert entries.len() == 2
        assert queue.get(partition="p") == large[:1_000_000]
        gateway.kill()
        gateway.start()
        assert queue.get_many(5, partition="p") == ["second"]
        assert queue.len(total=True) == 1


def test_commands(gateway: Daemon, connection: skerry.Client) -> None:
    gateway.skerry("dict", "create", "shown")
    assert "already" in gateway.skerry("dict", "create", "shown", check=False).stderr
    skerry.Dict.from_name("shown", client=connection).update({"a": 1, ("t",): "x"})
    assert gateway.skerry("dict", "get", "shown", "a").stdout == "1\n"
    entries = json.loads(gateway.skerry("dict", "items", "shown", "--all", "--json", "--repr").stdout)
    assert sorted(entry["key"] for entry in entries) == ["'a'", "('t',)"]
    gateway.skerry("dict", "clear", "shown", "-y")
    gateway.skerry("dict", "delete", "shown", "-y")
    gateway.skerry("queue", "create", "shown")
    queue = skerry.Queue.from_name("shown", client=connection)
    queue.put_many([1, "two"])
    queue.put(3, partition="p")
    (row,) = (row for row in json.loads(gateway.skerry("queue", "list", "--json").stdout) if row["name"] == "shown")
    assert (row["partitions"], row["total_size"], row["created_by"]) == (2, 3, "admin")
    assert gateway.skerry("queue", "peek", "shown", "5").stdout == "1\ntwo\n"
    assert gateway.skerry("queue", "len", "shown", "--total").stdout == "3\n"
    gateway.skerry("queue", "clear", "shown", "-p", "p", "-y")
    assert queue.len(total=True) == 2
    gateway.skerry("queue", "delete", "shown", "-y")
    assert gateway.skerry("queue", "delete", "shown", "-y", check=False).returncode == 1
