"""Classes: parameters, instances, what runs here, and what decorators refuse."""

from __future__ import annotations

import asyncio
import pickle

import pytest

import skerry
from skerry import exception as exc
from skerry._objects.bound import Changes, parameter_message
from skerry._objects.cls import has_constructor, parameters

app = skerry.App("classes")


class Base:
    inherited: str = skerry.parameter(default="base")


@app.cls()
class Counter(Base):
    start: int = skerry.parameter(default=10)
    own: int = skerry.parameter(init=False)

    def __enter__(self):
        self.events = ["__enter__"]

    @skerry.enter()
    def begin(self):
        self.events.append("begin")

    @skerry.enter()
    async def go_on(self):
        self.events.append("go on")

    @skerry.exit()
    def end(self):
        self.events.append("end")

    @skerry.method()
    def add(self, n):
        return self.start + n

    @skerry.method()
    def add_twice(self, n):
        return self.add(self.add(n))

    @skerry.method()
    def what_happened(self):
        return self.events

    @skerry.method()
    async def what_happened_aio(self):
        return self.events

    def undecorated(self):
        return self.start * 2


@app.cls()
class Needs:
    text: str = skerry.parameter()

    @skerry.method()
    def get(self):
        return self.text


class OnlyInherits(Base):
    other = 1


def test_class_is_registered_apart_from_functions():
    assert app.registered_classes == {"Counter": Counter, "Needs": Needs}
    assert app.registered_functions == {}
    assert (Counter.__name__, Counter.__module__) == ("Counter", __name__)


def test_parameters_of_bases_count_where_the_class_has_its_own():
    assert list(parameters(Counter._user_cls)) == ["inherited", "start"]
    assert parameters(OnlyInherits) == {}
    assert not has_constructor(OnlyInherits)


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "text"),
    [
        ((), {}, exc.InvalidError, "Missing required parameter: text"),
        ((), {"text": "a", "x": 1}, exc.InvalidError, "'x' was provided but is not defined"),
        ((), {"text": 1}, TypeError, "Expected str, got int"),
        (("a",), {}, exc.InvalidError, "positional"),
    ],
)
def test_wrong_parameters(args, kwargs, error, text):
    with pytest.raises(error, match=text):
        Needs(*args, **kwargs)


def test_bool_is_an_int_and_attributes_are_no_parameters():
    assert Counter(start=True).add.local(1) == 2
    with pytest.raises(exc.InvalidError, match="own"):
        Counter(own=1)
    with pytest.raises(AttributeError, match="own"):
        _ = Counter().own


def test_local_runs_all_hooks_once():
    counter = Counter(start=1)
    assert counter.add.local(1) == 2
    assert counter.add_twice.local(1) == 3
    assert counter.what_happened.local() == ["__enter__", "begin", "go on"]
    assert counter.undecorated() == 2


def test_local_runs_asynchronous_hooks_inside_a_running_loop():
    async def main():
        return Counter().what_happened.local()

    assert asyncio.run(main()) == ["__enter__", "begin", "go on"]


def test_local_of_an_asynchronous_method_runs_the_languages_hook_alone():
    assert asyncio.run(Counter().what_happened_aio.local()) == ["__enter__"]


def test_decorated_class_is_no_base():
    with pytest.raises(exc.InvalidError, match="derived"):

        class Derived(Counter):  # pyright: ignore[reportUnusedClass]
            pass


def test_numbers_that_are_too_large():
    assert parameter_message("x", 2, -(2**63)).value.value == -(2**63)
    with pytest.raises(exc.InvalidError, match="64 bits"):
        parameter_message("x", 2, 2**63)


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan"), "1", True])
def test_periods_of_no_length(seconds):
    with pytest.raises(exc.InvalidError, match="seconds"):
        skerry.Period(seconds=seconds)


def test_attributes_of_the_class_itself():
    class Has:
        CONSTANT = 5

        @staticmethod
        def static():
            return "static"

        @classmethod
        def make(cls):
            return cls.__name__

        @skerry.method()
        def get(self): ...

    handle = decorate(Has)
    assert (handle.CONSTANT, handle.static(), handle.make()) == (5, "static", "Has")


def test_method_needs_an_instance():
    with pytest.raises(AttributeError, match="did you forget to instantiate"):
        Counter.add.remote(1)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = Counter.nothing


def test_instances_need_a_running_app():
    with pytest.raises(exc.ExecutionError, match="not been hydrated"):
        Counter().add.remote(1)
    with pytest.raises(exc.InvalidError, match="can't serialize"):
        pickle.dumps(Counter())


def test_options_stack_and_nothing_unsets():
    first = Changes(
        None, {"cpu": 2, "memory": 512, "env": {"A": "1"}, "secrets": [skerry.Secret.from_dict({"S": "1"})]}
    )
    second = Changes(first, {"cpu": 0, "memory": 1024, "env": None, "secrets": []})
    assert (second.options["cpu"], second.options["memory"]) == (2, 1024)
    assert [s._variables for s in second.secrets()] == [{"S": "1"}, {"A": "1"}]
    replaced = Changes(second, {"secrets": [skerry.Secret.from_dict({"T": "1"})]})
    assert [s._variables for s in replaced.secrets()] == [{"T": "1"}, {"A": "1"}]


def test_options_are_checked_where_they_are_given():
    with pytest.raises(TypeError, match="nonsense"):
        Counter.with_options(nonsense=1)
    with pytest.raises(exc.UnimplementedError, match="gpu"):
        Counter.with_options(gpu="A100")
    with pytest.raises(exc.InvalidError, match="cpu"):
        Counter.with_options(cpu=-1)
    with pytest.raises(exc.InvalidError, match="target_inputs"):
        Counter.with_concurrency(max_inputs=2, target_inputs=3)
    with pytest.raises(exc.InvalidError, match="max_batch_size"):
        Counter.with_batching(max_batch_size=0, wait_ms=1)
    with pytest.raises(exc.InvalidError, match="method"):
        Counter().add.with_options(cpu=1)
    with pytest.raises(exc.InvalidError, match="instance"):
        Counter().add.update_autoscaler(max_containers=1)


def test_changed_class_is_another_handle():
    assert Counter.with_options(cpu=1).with_concurrency(max_inputs=3)._changes.options.keys() == {"cpu", "concurrency"}
    assert Counter._changes is None


def test_include_takes_classes():
    other = skerry.App("other", tags={"a": "own"}).include(skerry.App(tags={"a": "1", "b": "2"}).include(app))
    assert other.registered_classes["Counter"] is Counter
    assert other._tags == {"a": "own", "b": "2"}


def decorate(cls, **options):
    return skerry.App().cls(serialized=True, **options)(cls)


def f():
    pass


def gen():
    yield 1


@pytest.mark.parametrize("decorator", [skerry.method, skerry.enter, skerry.exit, skerry.concurrent, skerry.batched])
def test_missing_parentheses(decorator):
    given = {
        skerry.concurrent: {"max_inputs": 1},
        skerry.batched: {"max_batch_size": 1, "wait_ms": 1},
    }.get(decorator, {})
    with pytest.raises(exc.InvalidError, match="parentheses"):
        decorator(f, **given)


@pytest.mark.parametrize(
    "decorator", [skerry.method(), skerry.enter(), skerry.exit(), skerry.batched(max_batch_size=1, wait_ms=1)]
)
def test_decorators_of_methods_on_classes_and_above_the_app(decorator):
    with pytest.raises(exc.InvalidError, match="class"):
        decorator(type("Plain", (), {}))
    with pytest.raises(exc.InvalidError, match=r"above @app.cls"):
        decorator(Counter)
    with pytest.raises(exc.InvalidError, match=r"above @app.function"):
        decorator(skerry.App().function(serialized=True)(f))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (skerry.method(), skerry.enter()),
        (skerry.exit(), skerry.method()),
        (skerry.batched(max_batch_size=1, wait_ms=1), skerry.enter()),
        (skerry.enter(), skerry.batched(max_batch_size=1, wait_ms=1)),
        (skerry.enter(), skerry.concurrent(max_inputs=2)),
        (skerry.method(), skerry.concurrent(max_inputs=2)),
        (skerry.method(), skerry.method()),
        (skerry.enter(), skerry.enter()),
        (skerry.concurrent(max_inputs=2), skerry.concurrent(max_inputs=3)),
        (skerry.batched(max_batch_size=1, wait_ms=1), skerry.batched(max_batch_size=1, wait_ms=1)),
    ],
)
def test_decorators_that_exclude_one_another(first, second):
    def raw(self):
        pass

    with pytest.raises(exc.InvalidError):
        second(first(raw))


def test_numbers_of_concurrent_and_batched():
    with pytest.raises(TypeError):
        skerry.concurrent()
    with pytest.raises(exc.InvalidError, match="target_inputs"):
        skerry.concurrent(max_inputs=1, target_inputs=2)
    for size, wait in ((0, 1), (1001, 1), (1, -1), (1, 600_001)):
        with pytest.raises(exc.InvalidError):
            skerry.batched(max_batch_size=size, wait_ms=wait)


def test_batched_takes_neither_defaults_nor_generators():
    batched = skerry.batched(max_batch_size=2, wait_ms=1)
    with pytest.raises(exc.InvalidError, match="defaults"):
        batched(lambda x=1: [x])
    with pytest.raises(exc.InvalidError, match="generators"):
        batched(gen)


def test_class_with_a_batched_method_has_no_other():
    body = {"a": skerry.batched(max_batch_size=1, wait_ms=1)(f), "b": skerry.method()(gen)}
    with pytest.raises(exc.InvalidError, match="no other remote methods"):
        decorate(type("Two", (), body))


def test_concurrent_twice_on_a_class():
    concurrent = skerry.concurrent(max_inputs=2)
    with pytest.raises(exc.InvalidError, match="twice"):
        concurrent(concurrent(type("Wide", (), {})))
    assert decorate(concurrent(type("Wide", (), {})))._service._concurrency.max_inputs == 2


def test_function_and_class_are_not_mixed_up():
    with pytest.raises(TypeError, match="no class"):
        decorate(f)
    with pytest.raises(TypeError, match="class"):
        skerry.App().function(serialized=True)(type("Plain", (), {}))
    with pytest.raises(exc.InvalidError, match=r"skerry\.method"):
        skerry.App().function(serialized=True)(skerry.method()(f))
    with pytest.raises(exc.InvalidError, match="for methods of @app"):
        skerry.App().function(serialized=True)(skerry.enter()(f))


@pytest.mark.parametrize("option", ["schedule", "name", "is_generator"])
def test_options_that_classes_do_not_have(option):
    with pytest.raises(TypeError, match=option):
        skerry.App().cls(**{option: None})


def test_retries_of_a_generator_and_schedules_with_parameters():
    with pytest.raises(exc.InvalidError, match="retries"):
        skerry.App().function(serialized=True, retries=1)(gen)
    for raw in (lambda x: x, lambda *, x: x):
        with pytest.raises(exc.InvalidError, match="'x' needs a default"):
            skerry.App().function(serialized=True, name="f", schedule=skerry.Period(hours=1))(raw)
    skerry.App().function(serialized=True, name="f", schedule=skerry.Cron("* * * * *"))(lambda x=1, *, y=2: (x, y))


@pytest.mark.parametrize("options", [{"region": 1}, {"region": ["eu", 1]}, {"cloud": 1}, {"max_inputs": 2}])
def test_placement_and_inputs_are_checked(options):
    with pytest.raises(exc.InvalidError, match=next(iter(options))):
        skerry.App().function(**options)


def test_constructor_is_deprecated_and_excludes_parameters():
    class Old:
        def __init__(self, x):
            self.x = x

        @skerry.method()
        def get(self):
            return self.x

    with pytest.warns(exc.DeprecationError, match="constructor"):
        old = decorate(Old)
    assert old(3).get.local() == 3
    body = {"__annotations__": {"x": int}, "x": skerry.parameter(), "__init__": lambda self: None}
    with pytest.raises(exc.InvalidError, match="constructor"):
        decorate(type("Both", (), body))


@pytest.mark.parametrize(("annotation", "default"), [(None, 1), (float, 1.0), (int, "a"), (list, [])])
def test_parameters_that_can_not_be(annotation, default):
    body = {"x": skerry.parameter(default=default)}
    if annotation is not None:
        body["__annotations__"] = {"x": annotation}
    with pytest.raises(exc.InvalidError, match="x"):
        decorate(type("Wrong", (), body))
