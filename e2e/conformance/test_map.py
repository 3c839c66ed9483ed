"""Section 5: map."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import skerry

from e2e.conformance.apps import maps
from e2e.conformance.conftest import Running
from e2e.conformance.lines import line


@pytest.fixture(autouse=True, scope="module")
def app(running: Running) -> skerry.App:
    with running(maps.app) as app:
        return app


@line("5 map", "Inputs zipped from iterators; shortest iterator ends.")
def test_iterators_are_zipped() -> None:
    assert list(maps.power.map([2, 3, 4], iter([3, 2]))) == [8, 9]


@line("5 map", "kwargs constant for all.")
def test_keyword_arguments() -> None:
    assert list(maps.power.map([1, 2], [1, 1], kwargs={"plus": 10})) == [11, 12]


@line("5 map", "starmap: each element unpacked as *args.")
def test_starmap() -> None:
    assert list(maps.power.starmap([(2, 2), (3, 3)])) == [4, 27]


@line("5 map", "Ordered by default; None results preserved.")
def test_order_and_none() -> None:
    assert list(maps.slow.map([0.3, 0.0, 0.1])) == [0.3, 0.0, 0.1]
    assert list(maps.nothing.map(range(3))) == [None, None, None]


@line("5 map", "Unordered: emit on arrival.")
def test_unordered_results_come_as_they_finish() -> None:
    list(maps.slow.map([0.0]))  # a container is there
    assert next(iter(maps.slow.map([5.0, 0.0], order_outputs=False))) == 0.0


@line("5 map", "Failure without return_exceptions is raised and ends the iteration.")
def test_first_exception_is_raised() -> None:
    with pytest.raises(ValueError, match="odd"):
        list(maps.odd_fails.map(range(6)))


@line("5 map", "With return_exceptions the exception object is in its slot, unwrapped.")
def test_exceptions_as_results() -> None:
    results = list(maps.odd_fails.map(range(4), return_exceptions=True))
    assert results[0] == 0 and results[2] == 2
    assert [(type(r), str(r)) for r in results[1::2]] == [(ValueError, "odd 1"), (ValueError, "odd 3")]


@line("5 map", "Exceptions raised by the input iterator propagate to the consumer.")
def test_failing_input_iterator() -> None:
    def inputs() -> Iterator[int]:
        yield 1
        raise KeyError("from the inputs")

    with pytest.raises(KeyError, match="from the inputs"):
        list(maps.square.map(inputs()))


@line("5 map", "Inputs consumed lazily in background, with backpressure.")
def test_inputs_are_drawn_lazily() -> None:
    drawn = 0

    def inputs() -> Iterator[int]:
        nonlocal drawn
        while True:  # endless: only a lazy reader comes back from it
            yield drawn
            drawn += 1

    results = iter(maps.square.map(inputs()))
    assert [next(results) for _ in range(10)] == [x * x for x in range(10)]
    assert drawn < 5000


@line("5 map", "Empty input: no calls produced, returns immediately.")
def test_empty_input() -> None:
    assert list(maps.square.map([])) == []


@line("5 map", "for_each = unordered map; ignore_exceptions = return_exceptions.")
def test_for_each() -> None:
    maps.square.for_each(range(3))
    maps.odd_fails.for_each(range(3), ignore_exceptions=True)
    with pytest.raises(ValueError, match="odd 1"):
        maps.odd_fails.for_each(range(3))


@line("5 map", "Sync or async input iterators; .aio.")
def test_asynchronous_map() -> None:
    async def inputs() -> AsyncIterator[int]:
        for x in range(5):
            yield x

    async def main() -> list[int]:
        return [result async for result in maps.square.map.aio(inputs())]

    assert asyncio.run(main()) == [0, 1, 4, 9, 16]


@line("0 conventions", "Blocking map inside a running loop: InvalidError naming the .aio form.")
def test_blocking_map_in_a_loop() -> None:
    async def main() -> None:
        with pytest.raises(skerry.exception.InvalidError, match="aio"):
            list(maps.square.map([1]))

    asyncio.run(main())


@line("5 map", "Early break of the iterator cancels background work.")
def test_break_cancels_the_rest() -> None:
    results = iter(maps.slow.map([0.0] + [600.0] * 30, order_outputs=False))
    assert next(results) == 0.0
    results.close()  # type: ignore[attr-defined] # pyright: ignore
    # Were the others still running, all 60 slots would be taken by them.
    assert list(maps.slow.map([0.0] * 60)) == [0.0] * 60


@line("2 Function", "spawn_map: one independent async call per input, returns when all enqueued; no result handle.")
def test_spawn_map() -> None:
    assert maps.square.spawn_map(range(20)) is None


@line("2 Function", "experimental_spawn_map: one multi-input FunctionCall; iter, num_inputs, get(index=).")
def test_experimental_spawn_map() -> None:
    call = maps.square.experimental_spawn_map(range(5))
    assert call.num_inputs() == 5
    assert call.get(index=3) == 9
    assert list(call.iter()) == [0, 1, 4, 9, 16]
    assert list(call.iter(start=1, end=3)) == [1, 4]
    with pytest.raises(ValueError, match=r"\d"):
        list(call.iter(start=3, end=1))


@line("5 map", "100,000 inputs, every index once.")
def test_many_inputs(full: bool) -> None:
    count = 100_000 if full else 5_000
    assert sum(maps.square.map(range(count), order_outputs=False)) == sum(x * x for x in range(count))
