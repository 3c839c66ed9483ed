"""Sections 7 and 10: classes, their life, parameters and options."""

import pickle
from typing import Any

import pytest
import skerry

from e2e.client import client
from e2e.conformance.apps import classes
from e2e.conformance.conftest import Running
from e2e.conformance.lines import line
from e2e.daemon import SKERRY, Daemon


@pytest.fixture(autouse=True, scope="module")
def app(running: Running) -> skerry.App:
    with running(classes.app) as app:
        return app


@line("10 classes", "Local class instance reachable remotely as self; state lives in the container.")
def test_methods_share_the_instance() -> None:
    counter = classes.Counter(start=100, name="state")
    assert counter.add.remote(1) == 101
    assert counter.asynchronous.remote(5) == 106


@line("7 runtime", "Hook order: definition order inside a class; sync and async on one instance.")
def test_enter_hooks_run_in_order() -> None:
    _, start, name, events = classes.Counter().where.remote()
    assert (start, name, events) == (10, "counter", ["begin", "continue"])


@line("7 runtime", "Base first; an override takes its base's slot.")
def test_enter_hooks_of_base_classes() -> None:
    assert classes.Derived().inherited.remote() == ["base", "derived overridden", "derived"]


@line("10 classes", "Defaults applied before serialising so explicit == default share a pool.")
def test_explicit_default_shares_the_container() -> None:
    assert classes.Counter().where.remote()[0] == classes.Counter(start=10, name="counter").where.remote()[0]


@line("10 classes", "Each distinct parameter set is a pool of its own.")
def test_other_parameters_have_other_containers() -> None:
    first, second = classes.Counter(start=1).where.remote(), classes.Counter(start=2).where.remote()
    assert first[0] != second[0]
    assert (first[1], second[1]) == (1, 2)


@line("10 classes", "Types str/int/bytes/bool.")
def test_types_of_parameters() -> None:
    instance = classes.Required(text="ä\0", flag=True, data=b"\xff\x00")
    assert instance.all.remote() == ("ä\0", True, b"\xff\x00")


@line("10 classes", "Missing: error naming it; extra: error; type mismatch: TypeError; positional: InvalidError.")
@pytest.mark.parametrize(
    ("args", "kwargs", "error", "words"),
    [
        ((), {}, Exception, "text"),
        ((), {"text": "a", "other": 1}, Exception, "other"),
        ((), {"text": 5}, TypeError, "str"),
        (("a",), {}, skerry.exception.InvalidError, "positional|keyword"),
    ],
)
def test_wrong_parameters(args: tuple[Any, ...], kwargs: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        classes.Required(*args, **kwargs).all.remote()


@line("10 classes", "Legacy __init__: pickled (args, kwargs).")
def test_constructor_of_its_own() -> None:
    assert classes.Constructed(1, b=[2, 3]).get.remote() == 6


@line("10 classes", "self.method() runs inline; self.method.remote() targets same params.")
def test_methods_call_methods() -> None:
    counter = classes.Counter(start=7)
    assert counter.add_twice.remote(1) == 9
    assert counter.remote_where.remote()[1] == 7


@line("10 classes", "Undecorated methods callable locally only.")
def test_undecorated_methods() -> None:
    assert classes.Counter(start=4).calls_undecorated.remote() == 8
    assert classes.Counter(start=4).undecorated() == 8


@line("10 classes", ".local() creates the real instance once and runs its hooks once.")
def test_local() -> None:
    counter = classes.Counter(start=1)
    assert counter.add.local(1) == 2
    assert counter.add.local(1) == 3


@line("6 generators", "Generator methods.")
def test_generator_method() -> None:
    assert list(classes.Counter(start=3).items.remote_gen(3)) == [3, 4, 5]


@line("5 map", "map of a method.")
def test_map_of_a_method() -> None:
    assert list(classes.Counter(start=5).asynchronous.map(range(10))) == [5 + x for x in range(10)]


@line("7 runtime", "Failure in enter: the input fails with the original exception; no endless restarts.")
def test_failing_enter_hook() -> None:
    with pytest.raises((RuntimeError, skerry.exception.Error), match="enter failed"):
        classes.FailsToEnter().run.remote()


@line("3 cls", "Method access on an un-instantiated Cls is an error that asks for the instance.")
def test_method_without_an_instance() -> None:
    with pytest.raises(Exception, match="instan"):
        classes.Counter.add.remote(1)  # type: ignore[attr-defined] # pyright: ignore


@line("10 classes", "with_options: new handle, own pool; secrets replaced when given.")
def test_with_options() -> None:
    plain = classes.Options().environment.remote()
    other = classes.Options.with_options(env={"MORE": "options"})().environment.remote()  # pyright: ignore
    assert plain[:2] == ("definition", None)
    assert other[1] == "options"
    assert plain[2] != other[2]


@line("7 runtime", "exit() hooks run at container shutdown, sync and async.")
def test_exit_hooks_run_when_the_container_stops(daemon: Daemon) -> None:
    task = classes.Exits().task.remote()
    with client(daemon, [str(SKERRY), "container", "logs", task, "-f", "--all"]) as logs:
        logs.until("entered")
        daemon.skerry("container", "stop", task, "--graceful", "--yes")
        logs.until("exit hook one")
        logs.until("exit hook two")


@line("10 classes", "update_autoscaler per parameter set.")
def test_update_autoscaler() -> None:
    counter: Any = classes.Counter(start=77)
    settings = counter.update_autoscaler(max_containers=2, scaledown_window=30)
    assert settings.max_containers == 2
    assert settings.scaledown_window == 30


@line("2 serialization", "Handles of instances travel.")
def test_instance_handles_travel() -> None:
    counter = classes.Counter(start=50)
    counter.add.remote(0)
    again: classes.Counter = pickle.loads(pickle.dumps(counter))
    assert again.asynchronous.remote(1) == 51
