"""Section 10: parameters and options of classes and functions, of running apps and deployed ones."""

import asyncio
from collections.abc import Generator
from typing import Any

import pytest
import skerry

from e2e.conformance.apps import options
from e2e.conformance.conftest import Running
from e2e.conformance.lines import line
from e2e.daemon import Daemon

NAME = "conformance-options"


@pytest.fixture(autouse=True, scope="module")
def app(running: Running) -> skerry.App:
    with running(options.app) as app:
        return app


@pytest.fixture(scope="module")
def deployed(session_daemon: Daemon, app: skerry.App) -> Generator[str]:
    """The same app, deployed."""
    del app
    again = skerry.App(NAME)
    again.include(options.app)
    again.deploy()
    yield NAME
    session_daemon.skerry("app", "stop", NAME, "--yes")


@line("1 App", "Secrets of the app come first; the function's own win.")
def test_secrets_of_the_app() -> None:
    seen = options.variables.remote()
    assert (seen["OF_APP"], seen["BOTH"], seen["A"]) == ("app", "function", "definition")


@line("10 classes", "with_options: a new handle with containers of its own; the definition's stays as it is.")
def test_options_of_a_function() -> None:
    changed = options.variables.with_options(env={"A": "changed"})
    plain, other = options.variables.remote(), changed.remote()
    assert (plain["A"], other["A"]) == ("definition", "changed")
    assert plain["SKERRY_TASK_ID"] != other["SKERRY_TASK_ID"]
    assert changed.remote()["SKERRY_TASK_ID"] == other["SKERRY_TASK_ID"]


@line("10 classes", "Options stack: later values win, None and empty ones can't unset; secrets replace the whole list.")
def test_options_stack() -> None:
    first = options.variables.with_options(env={"A": "1"}, max_containers=1)
    assert first.with_options(env=None, memory=256).remote()["A"] == "1"
    second = first.with_options(env={"B": "2"}).remote()
    assert (second["A"], second["B"]) == (None, "2")


@line("10 classes", "Equal options and parameters are one pool.")
def test_equal_options_share_containers() -> None:
    tasks = {options.variables.with_options(memory=200, timeout=77).remote()["SKERRY_TASK_ID"] for _ in range(2)}
    assert len(tasks) == 1


@line("2 Function", "with_options(timeout=): another time limit.")
def test_timeout_of_options() -> None:
    with pytest.raises(skerry.exception.FunctionTimeoutError):
        options.sleep.with_options(timeout=1).remote(600)


@line("2 Function", "with_options: what it does not know is refused at once; what is not yet, too.")
def test_unknown_options() -> None:
    with pytest.raises(TypeError, match="colour"):
        options.sleep.with_options(colour="red")  # pyright: ignore[reportCallIssue]
    with pytest.raises(skerry.exception.UnimplementedError, match="gpu"):
        options.sleep.with_options(gpu="T4")


@line("2 Function", "with_concurrency: several inputs at a time in one container.")
def test_concurrency_of_a_handle() -> None:
    tasks = set(options.sleep.with_concurrency(max_inputs=4).map([0.3] * 4))
    assert len(tasks) == 1


@line("2 Function", "with_batching: batches of another size.")
def test_batching_of_a_handle() -> None:
    assert list(options.sizes.with_batching(max_batch_size=4, wait_ms=5000).map(range(4))) == [4] * 4


@line("2 Function", "update_autoscaler: bounds until the next deployment, None leaves them; InvalidError on a method.")
def test_update_autoscaler_of_a_function() -> None:
    first = options.sleep.update_autoscaler(max_containers=3, scaledown_window=40)
    assert (first.max_containers, first.scaledown_window) == (3, 40)
    second = options.sleep.update_autoscaler(buffer_containers=1)
    assert (second.max_containers, second.buffer_containers) == (3, 1)
    options.sleep.update_autoscaler(buffer_containers=0)
    with pytest.raises(skerry.exception.InvalidError, match="method"):
        options.Kept().own.update_autoscaler(max_containers=1)


@line("2 Function", "get_current_stats: backlog, runners, running inputs, headroom.")
def test_current_stats() -> None:
    options.variables.remote()
    stats = options.variables.get_current_stats()
    assert (stats.backlog, stats.num_running_inputs) == (0, 0)
    assert stats.num_total_runners >= 1


@line("10 classes", "bool is taken for int.")
def test_bool_for_int() -> None:
    assert options.Kept(number=True).own.remote() == (1, "other")


@line("10 classes", "init=False: no parameter; unset without a default it is an AttributeError.")
def test_parameter_that_is_not_given() -> None:
    kept: Any = options.Kept
    with pytest.raises(skerry.exception.InvalidError, match="later"):
        kept(later="x")
    assert options.Kept().unset.remote().startswith("AttributeError")


@line("10 classes", "Inheritance: methods and typed parameters of base classes.")
def test_inherited_parameters() -> None:
    child: Any = options.Child
    assert child(inherited=5, own="mine").both.remote() == (5, "mine")
    assert child().of_parent.remote() == 3


@line("3 cls", "Attributes of a local class fall through to a real local instance.")
def test_attributes_of_a_local_instance() -> None:
    kept: Any = options.Kept(number=9)
    assert kept.number == 9
    assert kept.other == "other"


@line("10 classes", ".local() of an asynchronous method is a coroutine, before which only __aenter__ or __enter__ runs.")
def test_local_asynchronous_method() -> None:
    kept: Any = options.Kept(number=4)
    assert asyncio.run(kept.here.local()) == (4, ["__aenter__"])


@line("10 classes", ".local() runs __enter__ and all enter hooks; in containers only these hooks run.")
def test_context_manager_of_a_class() -> None:
    kept: Any = options.Kept(number=4)
    assert kept.entered_by.local() == ["__enter__", "enter"]
    assert kept.entered_by.remote() == ["enter"]
    kept = options.Kept(number=5)
    assert asyncio.run(kept.here.remote.aio()) == (5, ["enter"])


@line("6 generators", "A variant of a generator that was looked up is one: remote_gen, not remote.")
def test_variant_of_a_deployed_generator(deployed: str) -> None:
    counting = skerry.Function.from_name(deployed, "counting")
    assert list(counting.with_options(timeout=60).remote_gen(3)) == [0, 1, 2]
    with pytest.raises(skerry.exception.InvalidError, match="remote_gen"):
        counting.with_options(timeout=60).remote(3)


@line("10 classes", "Cls.from_name: methods, parameters and options of a deployed class.")
def test_deployed_class(deployed: str) -> None:
    kept: Any = skerry.Cls.from_name(deployed, "Kept")
    assert kept(number=7).own.remote() == (7, "other")
    assert list(kept().own.starmap([(), ()])) == [(1, "other")] * 2
    assert kept.with_options(env={"A": "changed"})().variables.remote()["A"] == "changed"


@line("10 classes", "Parameters of a deployed class are checked by its definition.")
def test_wrong_parameters_of_a_deployed_class(deployed: str) -> None:
    kept: Any = skerry.Cls.from_name(deployed, "Kept")
    with pytest.raises(TypeError, match="Expected int, got str"):
        kept(number="7").own.remote()
    with pytest.raises(skerry.exception.InvalidError, match="nothing"):
        kept(nothing=1).own.remote()


@line("3 cls", "An unknown attribute of a class that was looked up: NotFoundError.")
def test_unknown_method_of_a_deployed_class(deployed: str) -> None:
    kept: Any = skerry.Cls.from_name(deployed, "Kept")
    with pytest.raises(skerry.exception.NotFoundError, match="no_such_method"):
        kept().no_such_method.remote()
    with pytest.raises(skerry.exception.NotFoundError):
        skerry.Cls.from_name(deployed, "NoSuchClass")().anything.remote()


@line("2 Function", "local() of a function that was looked up: ExecutionError.")
def test_local_call_of_a_deployed_function(deployed: str) -> None:
    function = skerry.Function.from_name(deployed, "sleep")
    with pytest.raises(skerry.exception.ExecutionError, match="looked up"):
        function.local(1)
    with pytest.raises(skerry.exception.ExecutionError, match="looked up"):
        function.get_raw_f()


@line("12 apps", "Overrides of the autoscaler end with the next deployment.")
def test_deployment_resets_the_autoscaler(deployed: str) -> None:
    function = skerry.Function.from_name(deployed, "sleep")
    assert function.update_autoscaler(max_containers=7).max_containers == 7
    again = skerry.App(NAME, tags={"version": "2"})
    again.include(options.app)
    again.deploy()
    assert skerry.Function.from_name(deployed, "sleep").update_autoscaler().max_containers == 1


@line("0 conventions", "Handles as context: async with app.run().")
def test_asynchronous_run() -> None:
    app = skerry.App("conformance-async-run")

    def one() -> int:
        return 1

    function = app.function(serialized=True, name="one")(one)

    results: list[int] = []

    async def main() -> None:
        async with app.run():
            results.append(await function.remote.aio())

    asyncio.run(main())
    assert results == [1]
