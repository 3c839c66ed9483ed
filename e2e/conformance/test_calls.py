"""Sections 2 and 3: serialization and invocation."""

import asyncio
import builtins
from typing import Any

import pytest
import skerry

from e2e.conformance.apps import calls
from e2e.conformance.conftest import Running
from e2e.conformance.lines import line

pytestmark = pytest.mark.usefixtures("app")


@pytest.fixture(autouse=True, scope="module")
def app(running: Running) -> skerry.App:
    with running(calls.app) as app:
        return app


@line("2 serialization", "Input payload = serialize((args_tuple, kwargs_dict)).")
def test_arguments_arrive_as_they_were_given() -> None:
    given = ((1, "zwei", b"\0", None, [1.5], {"a": (2,)}), {"key": {3}})
    assert calls.echo.remote(*given[0], **given[1]) == given


@line("2 serialization", "Args/results aren't inspected/translated by the SDK (arbitrary __getattr__ objects safe).")
def test_arguments_are_not_looked_into() -> None:
    back = calls.proxied.remote(calls.Proxy(5))
    assert back.value == 5
    assert back.anything == "anything"


@line("2 serialization", "Modal objects embedded by persistent id; deserialised handles come back hydrated with the local client.")
def test_handles_travel() -> None:
    args, _ = calls.echo.remote(calls.double)
    assert args[0].remote(21) == 42


@line("2 serialization", "Unhydrated object: InvalidError.")
def test_handle_without_id_can_not_travel() -> None:
    with pytest.raises((skerry.exception.InvalidError, skerry.exception.SerializationError)):
        calls.echo.remote(calls.never)


@line("2 serialization", "Un-deserialisable arguments in a container fail that input only, container continues.")
def test_unreadable_argument_fails_its_input_alone() -> None:
    with pytest.raises((skerry.exception.DeserializationError, RuntimeError)):
        calls.take.remote(calls.Unloadable())
    assert calls.take.remote(1) == "taken"


@line("2 serialization", "Missing module in a result: ExecutionError.")
def test_result_of_a_missing_module_names_it() -> None:
    with pytest.raises((skerry.exception.ExecutionError, skerry.exception.DeserializationError), match="only_there"):
        calls.no_such_module.remote()


@line("2 sizes", "Inline up to a limit; larger: blob.")
@pytest.mark.parametrize("size", [100, (2 << 20) + 1])
def test_large_values_travel_both_ways(size: int) -> None:
    data = bytes(size)
    args, _ = calls.echo.remote(data)
    assert args == (data,)


@line("2 sizes", "Inline async payload up to 8 KiB; larger: blob.")
def test_large_values_of_spawned_calls_travel() -> None:
    assert calls.large.spawn(100_000).get() == bytes(100_000)


@line("3 invocation", "remote on generator: InvalidError.")
def test_remote_on_a_generator() -> None:
    with pytest.raises(skerry.exception.InvalidError, match="remote_gen"):
        calls.count.remote(3)


@line("3 invocation", "remote_gen on non-generator: InvalidError.")
def test_remote_gen_on_a_function() -> None:
    with pytest.raises(skerry.exception.InvalidError, match="generator"):
        list(calls.double.remote_gen(3))


@line("3 invocation", "map, spawn on generator: InvalidError.")
def test_map_and_spawn_on_a_generator() -> None:
    with pytest.raises(skerry.exception.InvalidError):
        list(calls.count.map([1]))
    with pytest.raises(skerry.exception.InvalidError):
        calls.count.spawn(1)


@line("3 invocation", "FunctionCall.get(timeout): at least one poll even for 0; timeout: builtin TimeoutError.")
def test_get_with_a_timeout() -> None:
    call = calls.sleep.spawn(30)
    with pytest.raises(builtins.TimeoutError):
        call.get(timeout=0)
    with pytest.raises(builtins.TimeoutError):
        call.get(timeout=0.2)
    call.cancel()


@line("3 invocation", "get(timeout=0) finds a result that is there.")
def test_get_without_waiting_finds_a_result() -> None:
    call = calls.double.spawn(4)
    assert call.get() == 8
    assert call.get(timeout=0) == 8


@line("3 invocation", "Doesn't clear output; repeatable.")
def test_get_is_repeatable_from_elsewhere() -> None:
    call = calls.double.spawn(8)
    assert [call.get(), call.get(), skerry.FunctionCall.from_id(call.object_id).get()] == [16, 16, 16]


@line("3 invocation", "gather cancels siblings on first exception: it waits no longer for them. The calls themselves go on.")
def test_gather_raises_the_first_error_and_does_not_wait_for_the_rest() -> None:
    slow = calls.sleep.spawn(600)
    with pytest.raises(ValueError, match="a value"):
        skerry.FunctionCall.gather(slow, calls.fail.spawn("value"))
    with pytest.raises(builtins.TimeoutError):
        slow.get(timeout=0)
    slow.cancel()
    with pytest.raises(skerry.exception.RemoteError, match="cancel"):
        slow.get(timeout=60)


@line("3 invocation", "gather returns results in the order of the calls.")
def test_gather_keeps_the_order() -> None:
    assert list(skerry.FunctionCall.gather(*[calls.double.spawn(x) for x in range(5)])) == [0, 2, 4, 6, 8]


@line("3 mapping", "Non-success with pickled data: raise the original exception.")
def test_exception_is_the_original_one() -> None:
    with pytest.raises(ValueError, match="a value") as caught:
        calls.fail.remote("value")
    assert caught.value.args == ("a value", 7)


@line("3 tracebacks", "Traceback = remote frames appended; filenames rewritten <ta-...>:/path.")
def test_traceback_shows_the_remote_frames() -> None:
    import traceback

    with pytest.raises(ValueError, match="a value") as caught:
        calls.fail.remote("value")
    text = "".join(traceback.format_exception(caught.value))
    assert "ta-" in text
    assert "in fail" in text


@line("7 runtime", "All BaseException subclasses incl. SystemExit are caught as failures; the container continues.")
@pytest.mark.parametrize("kind", ["exit", "base"])
def test_base_exceptions_are_failures_of_the_input(kind: str) -> None:
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - what it is depends on the kind
        calls.fail.remote(kind)
    assert not isinstance(caught.value, KeyboardInterrupt)
    assert calls.double.remote(1) == 2


@line("3 invocation", "None results are results.")
def test_none_is_a_result() -> None:
    assert calls.none.remote() is None
    assert calls.none.spawn().get() is None


@line("0 conventions", "Every wrapped callable has a blocking form and an .aio twin.")
def test_asynchronous_twins() -> None:
    async def main() -> tuple[int, int]:
        call = await calls.double.spawn.aio(3)
        return await calls.double.remote.aio(2), await call.get.aio()

    assert asyncio.run(main()) == (4, 6)


@line("7 runtime", "Context ids per input; is_local() is False only in a container; None outside.")
def test_context_of_an_input() -> None:
    call = calls.ids.spawn()
    input_id, call_id, local, task = call.get()
    assert input_id is not None and input_id.startswith("in-")
    assert call_id == call.object_id
    assert not local
    assert task.startswith("ta-")
    assert skerry.is_local()
    assert skerry.current_input_id() is None and skerry.current_function_call_id() is None


@line("7 runtime", "Calling sibling .remote() creates child inputs.")
def test_functions_call_functions() -> None:
    assert calls.call_echo.remote(5) == ((5,), {"inside": True})


@line("5 map", "map from inside a container.")
def test_functions_map_functions() -> None:
    assert calls.fan_out.remote(50) == [2 * x for x in range(50)]


@line("3 invocation", "spawn from inside a container; the call outlives its parent input.")
def test_functions_spawn_functions() -> None:
    assert skerry.FunctionCall.from_id(calls.spawn_double.remote(6)).get() == 12


@line("0 actors", "Containers authenticate by environment: no token in them.")
def test_container_has_no_token() -> None:
    assert calls.tokens.remote() == []


@line("1.1 options", "restrict_modal_access: container may not use the API.")
def test_restricted_container_can_not_call() -> None:
    with pytest.raises(skerry.exception.Error):
        calls.restricted.remote(1)


@line("3 invocation", "num_inputs of a spawned call.")
def test_number_of_inputs() -> None:
    assert calls.double.spawn(1).num_inputs() == 1


@line("2 FunctionCall", "get_call_graph: tree of inputs incl. children calls and statuses.")
def test_call_graph_shows_children() -> None:
    call = calls.call_echo.spawn(1)
    call.get()
    (root,) = call.get_call_graph()
    assert root.function_name.startswith("call_echo")
    assert [child.function_name for child in root.children] == ["echo"]
    assert root.children[0].status == root.status
    assert root.module_name == root.children[0].module_name == calls.__name__


@line("1 hydration", "Non-lazy used before app run: ExecutionError, 'has not been hydrated'.")
def test_function_of_an_app_that_does_not_run() -> None:
    with pytest.raises(skerry.exception.ExecutionError, match="has not been hydrated"):
        calls.never.remote()


@line("2 FunctionCall", "from_id is lazy; a call that there is not: NotFoundError at its use.")
def test_call_that_there_is_not() -> None:
    call = skerry.FunctionCall.from_id("fc-" + "0" * 22)
    with pytest.raises(skerry.exception.NotFoundError):
        call.get(timeout=10)


@line("2 FunctionCall", "iter yields the results in the order of the inputs; ValueError for a wrong range.")
def test_results_of_one_input_by_iter() -> None:
    call = calls.double.spawn(4)
    assert list(call.iter()) == [8]
    with pytest.raises(ValueError, match="range"):
        list(call.iter(start=2, end=5))


@line("2 FunctionCall", "get of an input that there is not is an error.")
def test_result_of_an_input_that_there_is_not() -> None:
    call = calls.double.spawn(4)
    call.get()
    with pytest.raises((IndexError, ValueError, skerry.exception.Error)):
        call.get(index=5, timeout=10)


@line("3 invocation", "One exception is raised by each get, also with a time limit.")
def test_exception_of_a_spawned_call() -> None:
    call = calls.fail.spawn("value")
    for _ in range(2):
        with pytest.raises(ValueError, match="a value"):
            call.get(timeout=60)


@line("1.1 options", "include_source=False: the source is not sent.")
def test_function_without_its_source() -> None:
    app = skerry.App("conformance-no-source", include_source=False)
    function: Any = app.function()(calls.bare)
    with app.run(), pytest.raises(ModuleNotFoundError):
        function.remote()


@line("2 Function", "local() runs the body here; a coroutine function gives a coroutine.")
def test_local() -> None:
    assert calls.double.local(4) == 8
    assert asyncio.run(calls.slow_double.local(4)) == 8
    assert calls.slow_double.remote(4) == 8
    assert calls.double.get_raw_f()(5) == 10
