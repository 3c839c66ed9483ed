"""Section 9: concurrency and batching."""

import time

import pytest
import skerry

from e2e.conformance.apps import together
from e2e.conformance.conftest import Running
from e2e.conformance.lines import line


@pytest.fixture(autouse=True, scope="module")
def app(running: Running) -> skerry.App:
    with running(together.app) as app:
        return app


@line("9 concurrency", "async functions: tasks on one loop; 100 inputs sleeping 1 s in one container finish in under 2 s.")
def test_a_hundred_sleepers_in_one_container() -> None:
    list(together.sleep_async.map([0.0]))  # the container is there
    began = time.monotonic()
    results = list(together.sleep_async.map([1.0] * 100))
    # One after the other they would take 100 s; `make bench` holds the time against the promise.
    assert time.monotonic() - began < 10
    assert len({task for task, _ in results}) == 1
    assert max(asleep for _, asleep in results) == 100


@line("9 concurrency", "sync: thread pool of max_inputs threads, user code off the main thread.")
def test_threads() -> None:
    results = list(together.sleep_sync.map([0.2] * 30))
    assert len({task for task, _ in results}) == 1
    assert not any(main for _, main in results)


@line("9 concurrency", "max_inputs inputs are in the container at a time.")
def test_inputs_meet_in_one_instance() -> None:
    assert list(together.Together().meet.starmap([() for _ in range(10)])) == [1] * 10


@line("7 runtime", "Context ids are contextvars per input.")
def test_context_of_concurrent_inputs() -> None:
    pairs = list(together.own_context.map([0.3, 0.1, 0.2, 0.0]))
    assert all(before == after for before, after in pairs)
    assert len({before for before, _ in pairs}) == 4


@line("9 batching", "Full batches are sent at once.")
def test_full_batches() -> None:
    assert list(together.sizes.map(range(8))) == [(x, 4) for x in range(8)]


@line("9 batching", "A batch that is not full goes after wait_ms.")
def test_batch_that_is_not_full() -> None:
    together.sizes.remote(5)  # the container is there
    began = time.monotonic()
    assert together.sizes.remote(5) == (5, 1)
    assert time.monotonic() - began >= 1


@line("9 batching", "Each parameter becomes a list in input order; positional or keyword.")
def test_parameters_of_a_batch() -> None:
    calls = [together.add.spawn(1, 2), together.add.spawn(3, b=4), together.add.spawn(a=5, b=6)]
    assert [call.get() for call in calls] == [3, 7, 11]


@line("9 batching", "Every input must supply exactly all params.")
def test_wrong_arguments_of_a_batch() -> None:
    with pytest.raises(skerry.exception.InvalidError, match="takes 2 positional arguments, but one invocation in the batch has 3"):
        together.add.remote(1, 2, 3)
    with pytest.raises(skerry.exception.InvalidError, match="unexpected keyword argument c"):
        together.add.remote(1, 2, c=3)
    with pytest.raises(skerry.exception.InvalidError, match="multiple values for argument a"):
        together.add.remote(1, a=2)


@line("9 batching", "Any exception fails the whole batch with the same exception.")
def test_exception_of_a_batch() -> None:
    results = list(together.bad.map(["raise", "raise"], return_exceptions=True))
    assert [(type(r), str(r)) for r in results] == [(ValueError, "of the whole batch")] * 2


@line("9 batching", "Return must be a list of equal length.")
def test_wrong_results_of_a_batch() -> None:
    with pytest.raises(skerry.exception.InvalidError, match="must be a list"):
        together.bad.remote("text")
    with pytest.raises(skerry.exception.InvalidError, match="equal length"):
        together.bad.remote("long")


@line("9 batching", "Works with methods.")
def test_batched_method() -> None:
    assert list(together.Batcher(factor=2).times.map(range(20))) == [2 * x for x in range(20)]


@line("9 batching", "Works with @concurrent: several batches at once.")
def test_concurrent_batches() -> None:
    list(together.both.map([0.0]))
    began = time.monotonic()
    tasks = list(together.both.map([1.0] * 4))
    assert time.monotonic() - began < 1.9
    assert len(set(tasks)) == 1
