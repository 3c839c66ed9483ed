"""Section 19, and section 9 of the interface: dicts and queues."""

import asyncio
import pickle
import queue
import threading
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import skerry
from skerry import exception as exc
from skerry import types

from e2e.conformance.apps import storage
from e2e.conformance.conftest import Running
from e2e.conformance.lines import line


class Point:
    """What only pickle can write."""

    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and other.x == self.x

    def __hash__(self) -> int:
        return hash(self.x)


@line("1 hydration", "Named objects are lazy handles; create_if_missing makes them, a lookup of none is NotFoundError.")
@line("1 hydration", "After hydration handles have an id; from_id gives the same object.")
def test_handles_are_lazy() -> None:
    missing = skerry.Dict.from_name("conformance-missing")
    assert repr(missing) == "skerry.Dict.from_name('conformance-missing')"
    assert not missing.is_hydrated
    with pytest.raises(exc.ExecutionError):
        _ = missing.object_id
    with pytest.raises(exc.NotFoundError):
        missing.get("a")
    made = skerry.Dict.from_name("conformance-made", create_if_missing=True)
    made["a"] = 1
    assert made.object_id.startswith("di-")
    assert skerry.Dict.from_id(made.object_id)["a"] == 1
    assert pickle.loads(pickle.dumps(made))["a"] == 1
    assert skerry.Dict.from_id(made.object_id).hydrate().name == "conformance-made"
    with pytest.raises(exc.InvalidError):
        skerry.Dict.from_id("qu-0123456789012345678901")
    with pytest.raises(exc.InvalidError):
        skerry.Queue.from_name("no/slash")


@line("0 conventions", "objects.create: AlreadyExistsError unless allow_existing; delete: NotFoundError unless allow_missing.")
@line("0 conventions", "objects.list: newest first, max_objects, created_before; a negative max is InvalidError.")
@line("1 hydration", "List RPCs page by created_at, newest first.")
def test_managers() -> None:
    names = [f"conformance-listed-{n}" for n in range(120)]
    for manager in (skerry.Dict.objects, skerry.Queue.objects):
        for name in names:
            manager.create(name, allow_existing=True)
        with pytest.raises(exc.AlreadyExistsError):
            manager.create(names[0])
        listed = [handle.name for handle in manager.list()]
        assert [name for name in listed if name in names] == names[::-1]
        newest = manager.list(max_objects=3)
        assert [handle.name for handle in newest] == listed[:3]
        before = newest[2].info().created_at
        assert [handle.name for handle in manager.list(created_before=before, max_objects=2)] == listed[3:5]
        assert manager.list(created_before=before.isoformat(), max_objects=1)[0].name == listed[3]
        assert manager.list(max_objects=0) == []
        with pytest.raises(exc.InvalidError):
            manager.list(max_objects=-1)
        for name in names:
            manager.delete(name)
        manager.delete(names[0], allow_missing=True)
        with pytest.raises(exc.NotFoundError):
            manager.delete(names[0])


@line("0 conventions", "ephemeral(): an anonymous object for a with or async with block, kept by a heartbeat, gone after it.")
def test_ephemeral_objects() -> None:
    with skerry.Dict.ephemeral() as entries:
        entries["a"] = 1
        assert entries.name is None
        assert entries["a"] == 1
    with pytest.raises(exc.NotFoundError):
        entries.get("a")

    async def use() -> Any:
        async with skerry.Queue.ephemeral() as jobs:
            await jobs.put.aio(1)
            return await jobs.get.aio()

    assert asyncio.run(use()) == 1


@line("9 storage", "Dict: get with default, put, update, pop, contains, len, clear, item syntax with KeyError.")
def test_dict() -> None:
    with skerry.Dict.ephemeral() as entries:
        assert entries.put("a", 1)
        assert entries.get("a") == 1
        assert entries.get("b") is None
        assert entries.get("b", 7) == 7
        entries.update({"b": 2, ("t", 1): Point(3)}, c=None)
        assert entries.len() == 4
        assert entries[("t", 1)] == Point(3)
        assert entries.get("c", "default") is None
        assert "b" in entries
        assert not entries.contains("z")
        assert entries.pop("b") == 2
        assert entries.pop("b", "gone") == "gone"
        for missing in (lambda: entries.pop("b"), lambda: entries["b"], lambda: entries.__delitem__("b")):
            with pytest.raises(KeyError):
                missing()
        entries["a"] = [1]
        entries["a"].append(2)
        assert entries["a"] == [1]  # a changed value is not written back
        del entries["a"]
        entries.clear()
        assert entries.len() == 0


@line("19 dict", "DictUpdate(if_not_exists) returns the created flag: put(skip_if_exists=True).")
def test_one_of_many_is_first() -> None:
    with skerry.Dict.ephemeral() as entries:
        firsts: list[bool] = []

        def claim() -> None:
            firsts.append(entries.put("lock", threading.get_ident(), skip_if_exists=True))

        threads = [threading.Thread(target=claim) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(firsts) == [False] * 9 + [True]


@line("19 dict", "Keys are compared by their serialised bytes.")
def test_keys() -> None:
    keys = [1, 1.0, True, "1", b"1", None, (1,), Point(1), 1 << 70, frozenset({1}), "\ud800"]
    with skerry.Dict.ephemeral() as entries:
        entries.update({number: str(number) for number in range(3)})
        for number, key in enumerate(keys):
            entries[key] = number
        assert [entries[key] for key in keys] == list(range(len(keys)))
        assert entries.len() == len(keys) + 2
        assert Point(1) in set(entries.keys())


@line("19 dict", "DictContents streams keys, values and items.")
def test_contents() -> None:
    with skerry.Dict.ephemeral() as entries:
        wanted = {f"key {n}": "x" * n for n in range(3000)}
        entries.update(wanted)
        assert set(entries.keys()) == set(wanted)
        assert sorted(entries.values()) == sorted(wanted.values())
        assert dict(entries.items()) == wanted

        async def collect() -> dict[Any, Any]:
            return {key: value async for key, value in entries.items.aio()}

        assert asyncio.run(collect()) == wanted


@line(
    "19 dict",
    "A request that is too large is a RequestSizeError.",
    differs="at 256 MiB a value, 32 KiB a key, 10,000 entries or 32 MiB an update",
)
def test_sizes() -> None:
    with skerry.Dict.ephemeral() as entries:
        entries["large"] = bytes(5_000_000)
        assert entries["large"] == bytes(5_000_000)
        with pytest.raises(exc.RequestSizeError, match=r"Dict\.update request is too large"):
            entries.update({n: n for n in range(10_001)})
        with pytest.raises(exc.RequestSizeError, match=r"Dict\.update request is too large"):
            entries.update({n: bytes(500_000) for n in range(70)})
        with pytest.raises(exc.RequestSizeError):
            entries["x" * 40_000] = 1
        assert entries.len() == 1


@line("9 storage", "Dict: what can't be deserialised is a DeserializationError that names the key.")
def test_values_that_can_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with skerry.Dict.ephemeral() as entries:
        monkeypatch.setattr(Point, "__module__", "a_module_that_is_not_there")
        monkeypatch.setitem(__import__("sys").modules, "a_module_that_is_not_there", __import__("types").SimpleNamespace(Point=Point))
        entries["the key"] = Point(1)
        monkeypatch.undo()
        with pytest.raises(exc.DeserializationError, match=r"'the key'.*a_module_that_is_not_there"):
            entries.get("the key")


@line("9 storage", "info() of dicts and queues: name, created_at, created_by.")
def test_info() -> None:
    made = skerry.Queue.from_name("conformance-info", create_if_missing=True)
    info = made.info()
    assert isinstance(info, types.QueueInfo)
    assert info.name == "conformance-info"
    assert info.created_by == "admin"
    assert abs(datetime.now(timezone.utc) - info.created_at) < timedelta(minutes=10)


@line("9 storage", "Queue: put, put_many, get, get_many, len, clear; partitions of 1 to 64 bytes are queues of their own.")
@line("19 queue", "The default partition is separate from named ones.")
def test_queue() -> None:
    with skerry.Queue.ephemeral() as jobs:
        jobs.put(1)
        jobs.put_many([2, Point(3)])
        jobs.put_many([])
        jobs.put("other", partition="p" * 64)
        assert jobs.len() == 3
        assert jobs.len(partition="p" * 64) == 1
        assert jobs.len(total=True) == 4
        assert jobs.get() == 1
        assert jobs.get_many(10) == [2, Point(3)]
        assert jobs.get(partition="p" * 64) == "other"
        jobs.put_many([1, 2])
        jobs.put(3, partition="a")
        jobs.clear()
        assert (jobs.len(), jobs.len(total=True)) == (0, 1)
        jobs.clear(all=True)
        assert jobs.len(total=True) == 0
        for refused in (
            lambda: jobs.put(1, partition=""),
            lambda: jobs.get(partition="ä" * 33),
            lambda: jobs.len(partition="a", total=True),
            lambda: jobs.clear(partition="a", all=True),
            lambda: jobs.put(1, partition_ttl=0),
            lambda: jobs.get_many(0),
        ):
            with pytest.raises(exc.InvalidError):
                refused()
        assert skerry.Queue.validate_partition_key("ä") == b"\xc3\xa4"


@line("19 queue", "Blocking get: waits; after the timeout queue.Empty. Without block: None, or an empty list.")
@line("19 queue", "get_many may return fewer than n, and at least one where it blocks.")
@line("9 storage", "Queue: a timeout with block=False is warned about.")
def test_waiting_for_items() -> None:
    with skerry.Queue.ephemeral() as jobs:
        assert jobs.get(block=False) is None
        assert jobs.get_many(3, block=False) == []
        with pytest.raises(queue.Empty):
            jobs.get(timeout=0.01)
        with pytest.raises(queue.Empty):
            jobs.get_many(2, timeout=0)
        with pytest.warns(UserWarning, match="no effect"):
            jobs.get(block=False, timeout=1)
        got: list[Any] = []
        waiting = threading.Thread(target=lambda: got.extend(jobs.get_many(5)))
        waiting.start()
        jobs.put("late")
        waiting.join(60)
        assert got == ["late"]

        async def cancelled() -> int:
            task = asyncio.create_task(jobs.get.aio())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await jobs.put.aio(1)
            return await jobs.len.aio()

        assert asyncio.run(cancelled()) == 1


@line(
    "19 queue",
    "RESOURCE_EXHAUSTED: block waits until the timeout, then queue.Full; without block it is Full at once.",
    differs="it waits at the server, and is told at once",
)
@line("9 storage", "Queue limits: 5,000 items a partition, 1 MiB an item.")
def test_full_queues() -> None:
    with skerry.Queue.ephemeral() as jobs:
        jobs.put_many(list(range(5000)))
        with pytest.raises(queue.Full):
            jobs.put(1, block=False)
        with pytest.raises(queue.Full):
            jobs.put(1, timeout=0.01)
        waiting = threading.Thread(target=lambda: jobs.put("last"))
        waiting.start()
        assert jobs.get() == 0
        waiting.join(60)
        assert jobs.len() == 5000
        with pytest.raises(exc.RequestSizeError):
            jobs.put_many(list(range(5001)), partition="other")
        with pytest.raises(exc.RequestSizeError):
            jobs.put(bytes(1 << 20))
        jobs.put(bytes((1 << 20) - 100), partition="large")
        assert len(jobs.get(partition="large")) == (1 << 20) - 100


@line("19 queue", "iterate reads items without taking them; each new item resets item_poll_timeout.")
def test_iterating() -> None:
    with skerry.Queue.ephemeral() as jobs:
        jobs.put_many(list(range(2500)))
        assert list(jobs.iterate()) == list(range(2500))
        assert jobs.len() == 2500
        seen: list[Any] = []
        for item in jobs.iterate(item_poll_timeout=60):
            seen.append(item)
            if item == 2499:
                jobs.put("late")
            if item == "late":
                break
        assert len(seen) == 2501

        async def collect() -> list[Any]:
            return [item async for item in jobs.iterate.aio(item_poll_timeout=0.01)]

        assert len(asyncio.run(collect())) == 2501


@line("9 storage", "Dicts and queues in containers: the handle of a module, and handles as arguments.")
def test_from_containers(running: Running) -> None:
    with running(storage.app):
        assert storage.remember.remote("a", {"n": 1}) == ({"n": 1}, True, [{"n": 1}, {"n": 1}], False)
        assert storage.results["a"] == {"n": 1}
        with skerry.Queue.ephemeral() as jobs, skerry.Queue.ephemeral() as done:
            call = storage.work.spawn(jobs, done, 20)
            for n in range(20):
                jobs.put(n)
            assert sorted(done.get() for _ in range(20)) == [2 * n for n in range(20)]
            assert call.get() == 20
            jobs.put_many([1, 2, 3])
            assert storage.work_in_a_loop.remote(jobs) == [1, 2, 3, "mine"]
        assert storage.elsewhere.remote() == "not found"
