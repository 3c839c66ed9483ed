"""Section 6: generators."""

import asyncio
from typing import Any

import pytest
import skerry

from e2e.client import client
from e2e.conformance.apps import generators
from e2e.conformance.conftest import Running
from e2e.conformance.lines import line
from e2e.daemon import SKERRY, Daemon


@pytest.fixture(autouse=True, scope="module")
def app(running: Running) -> skerry.App:
    with running(generators.app) as app:
        return app


@line("6 generators", "Items are streamed in order; the client stops when items_total is reached.")
@pytest.mark.parametrize("n", [0, 1, 5000])
def test_items_in_order(n: int) -> None:
    assert list(generators.numbers.remote_gen(n)) == list(range(n))


@line("6 generators", "Both sync and async generators.")
def test_asynchronous_generator() -> None:
    assert list(generators.async_numbers.remote_gen(100)) == list(range(100))


@line("6 generators", "remote_gen.aio")
def test_asynchronous_reader() -> None:
    async def main() -> list[int]:
        return [x async for x in generators.numbers.remote_gen.aio(10)]

    assert asyncio.run(main()) == list(range(10))


@line("6 generators", "Items already yielded are delivered before a raised exception.")
def test_items_before_an_exception_arrive() -> None:
    seen: list[int] = []
    with pytest.raises(ValueError, match="after the items"):
        seen.extend(generators.fails_after.remote_gen(500))
    assert seen == list(range(500))


@line("6 generators", "Large item: blob.")
def test_large_items() -> None:
    sizes = [10, 3 << 20, 0, 600_000, 1]
    assert [len(item) for item in generators.sized.remote_gen(sizes)] == sizes


@line("6 generators", "Items arrive while the generator runs.")
def test_items_come_as_they_are_yielded(daemon: Daemon) -> None:
    items = iter(generators.slowly.remote_gen())
    task = next(items)
    daemon.skerry("container", "exec", task, "--", "touch", "/tmp/gate")
    assert next(items) == "done"


@line("6 generators", "Non-generator function returning a generator: InvalidError hint is_generator=True.")
def test_function_that_returns_a_generator() -> None:
    with pytest.raises(skerry.exception.InvalidError, match="is_generator=True"):
        generators.returns_generator.remote(3)


@line("6 generators", "is_generator=True forces generator semantics.")
def test_declared_generator() -> None:
    assert list(generators.declared.remote_gen(3)) == [0, 1, 2]


@line("6 generators", "Generator function returning other: InvalidError.")
def test_declared_generator_that_is_none() -> None:
    with pytest.raises(skerry.exception.InvalidError, match="generator"):
        list(generators.declared_wrongly.remote_gen())


@line("6 generators", "Generators inside containers.")
def test_container_reads_a_generator() -> None:
    assert generators.sum_of.remote(2000) == sum(range(2000))


@line("6 generators", "Generator items go on over a gateway restart, each once.")
def test_items_over_a_killed_daemon(daemon: Daemon) -> None:
    seen: list[int] = []
    for x in generators.numbers.remote_gen(3000):
        seen.append(x)
        if len(seen) == 100:
            daemon.kill()
            daemon.start()
    assert seen == list(range(3000))


@line(
    "6 generators",
    "Closing the client's iterator early.",
    differs="the remote generator is cancelled, and its clean-up runs; the reference lets it run on unless it is cancelled",
)
@line("6 generators", "A generator that is cancelled is closed: its clean-up code runs.")
def test_leaving_early(app: skerry.App, daemon: Daemon) -> None:
    assert app.app_id is not None
    with client(daemon, [str(SKERRY), "app", "logs", app.app_id, "-f"]) as logs:
        items: Any = generators.cleaned.remote_gen()
        assert next(iter(items)) == 1
        items.close()
        logs.until("the generator was closed")


@line("6 generators", "An asynchronous generator is closed when it fails or is cancelled.")
def test_leaving_an_asynchronous_generator_early(app: skerry.App, daemon: Daemon) -> None:
    assert app.app_id is not None
    with client(daemon, [str(SKERRY), "app", "logs", app.app_id, "-f"]) as logs:
        items: Any = generators.cleaned_async.remote_gen()
        assert next(iter(items)) == 1
        items.close()
        logs.until("the asynchronous generator was closed")


@line("6 generators", "None and empty values are items.")
def test_items_of_any_value() -> None:
    assert list(generators.odd_values.remote_gen()) == [None, 0, "", [], None]
