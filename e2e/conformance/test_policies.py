"""Section 4: retries and time limits."""

import builtins

import pytest
import skerry

from e2e.conformance.apps import policies
from e2e.conformance.conftest import Running
from e2e.conformance.lines import line


@pytest.fixture(autouse=True, scope="module")
def app(running: Running) -> skerry.App:
    with running(policies.app) as app:
        return app


@line("4 retries", "Total attempts = N+1; exceptions from earlier attempts aren't surfaced.")
def test_third_attempt_of_three_is_the_result() -> None:
    assert policies.third_time.remote() % 3 == 0


@line("4 retries", "Spawned calls are retried as well.")
def test_spawned_call_is_retried() -> None:
    assert policies.third_time.spawn().get() % 3 == 0


@line("4 retries", "Maps are retried.")
def test_map_is_retried() -> None:
    assert list(policies.third_try.map(range(4))) == [3, 3, 3, 3]


@line("4 retries", "The last failure is raised.")
def test_last_failure_is_raised() -> None:
    with pytest.raises(ValueError, match="attempt 2"):
        policies.never_works.remote()


@line("4 retries", "Delay initial*coef^(k-1).")
def test_delays_grow() -> None:
    first, second, third = policies.backoff.remote()
    assert second - first >= 0.2
    assert third - second >= 0.4


@line("4 timeouts", "timeout applies per attempt; expiry kills the input: FunctionTimeoutError.")
def test_input_past_its_timeout() -> None:
    with pytest.raises(skerry.exception.FunctionTimeoutError):
        policies.too_long.remote()


@line("4 retries", "Retried incl.: FAILURE, TIMEOUT.")
def test_timeouts_are_retried() -> None:
    with pytest.raises(skerry.exception.FunctionTimeoutError):
        policies.too_long_twice.remote()


@line("4 retries", "Cancelled inputs never retried.")
def test_cancelled_input_is_not_retried() -> None:
    call = policies.interrupted.spawn()
    call.cancel()
    with pytest.raises(skerry.exception.RemoteError, match="cancel"):
        call.get(timeout=60)


@line("4 retries", "A container that user code ends is a failure, retried and then raised.")
def test_container_that_ends_itself() -> None:
    with pytest.raises(skerry.exception.Error, match="3"):
        policies.dies.remote(3)


@line("1.1 options", "single_use_containers: container exits after 1 input.")
def test_single_use_containers() -> None:
    tasks = [policies.once.remote() for _ in range(3)]
    assert len(set(tasks)) == 3


@line("4 retries", "retries=N: one second between attempts.")
def test_delay_of_a_number_of_retries() -> None:
    first, second = policies.constant.remote()
    assert 1.0 <= second - first < 5


@line(
    "4 retries",
    "max_delay bounds the delay.",
    differs="it holds for all calls; the reference does not apply it where its client retries",
)
def test_longest_delay() -> None:
    first, second, third = policies.capped.remote()
    assert second - first >= 1.0
    assert 1.0 <= third - second < 8


@line("4 timeouts", "After an input that took too long the next one is run.")
def test_input_after_a_timeout() -> None:
    with pytest.raises(skerry.exception.FunctionTimeoutError, match="2"):
        policies.sleeps.remote(600)
    assert policies.sleeps.remote(0).startswith("ta-")


@line("1.1 options", "region and cloud: only workers with such a label.")
def test_region_without_workers() -> None:
    call = policies.placed.spawn()
    with pytest.raises(builtins.TimeoutError):
        call.get(timeout=1)
    call.cancel()
    with pytest.raises(skerry.exception.RemoteError, match="cancel"):
        call.get(timeout=60)
