"""Section 3, from inside containers: functions that call functions, with no token."""

import pytest
import skerry

from e2e.conformance.apps import inside
from e2e.conformance.conftest import Running
from e2e.conformance.lines import line


@pytest.fixture(autouse=True, scope="module")
def app(running: Running) -> skerry.App:
    with running(inside.app) as app:
        return app


@line("0 conventions", "Every wrapped callable has a blocking form and an .aio twin, in containers as well.")
def test_asynchronous_forms_in_a_container() -> None:
    doubled = [2 * x for x in range(300)]
    assert inside.everything_in_a_loop.remote(300) == {
        "remote": 600,
        "map": doubled,
        "items": list(range(300)),
        "get": 600,
        "many": doubled,
        "gather": [600, 0],
    }


@line("2 sizes", "Larger inputs: blob, from containers as well.")
def test_large_arguments_from_a_container() -> None:
    assert inside.upload.remote(3_000_000) == 3_000_000


@line("2 serialization", "Deserialised handles come back hydrated with the local client: calls in containers.")
def test_handles_as_arguments() -> None:
    assert inside.outcome_of.remote(inside.double.spawn(4)) == 8
    assert inside.call_it.remote(inside.double, 5) == 10


@line("3 mapping", "Non-success with pickled data: the original exception is raised, in containers as well.")
def test_exceptions_reach_the_calling_container() -> None:
    assert inside.catch.remote("from below") == "from below"


@line("3 invocation", "get(timeout=0) and cancel from containers.")
def test_cancelling_from_a_container() -> None:
    call_id = inside.cancel_one.remote()
    with pytest.raises(skerry.exception.RemoteError, match="cancel"):
        skerry.FunctionCall.from_id(call_id).get(timeout=60)


@line("5 map", "Lazy inputs and early breaks in containers.")
def test_leaving_early_in_a_container() -> None:
    assert inside.leave_early.remote() == [0, 0, 1, 2]


@line("2 FunctionCall", "get_call_graph from a container: its own call, still running, and what it has called.")
def test_graph_from_a_container() -> None:
    assert inside.graph_of_its_own.spawn().get() == ["graph_of_its_own", "PENDING", "double SUCCESS"]


@line("7 runtime", "Siblings get their ids from the app of the container; functions of another app in the same module have none there.")
def test_functions_of_another_app_in_the_module(app: skerry.App) -> None:
    *answers, refusal = inside.ask_both.remote()
    assert answers == ["here", "here", app.app_id, None]
    assert refusal is not None
    assert "'same' has not been hydrated" in refusal
