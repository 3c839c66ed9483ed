"""Section 24: what is refused where it is written, before anything runs. No container is needed."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import skerry
from skerry.exception import InvalidError

from e2e.conformance.lines import line

app = skerry.App("conformance-validation")
Decorator = Callable[..., Any]


def plain() -> None:
    """A function as good as any."""


class Plain:
    """A class as good as any."""


def _refused(words: str, define: Callable[[], object], error: type[BaseException] = InvalidError) -> None:
    with pytest.raises(error, match=words):
        define()


@line("24 validation", "Missing parentheses: InvalidError with a hint.")
@pytest.mark.parametrize("decorator", [app.function, app.cls, app.local_entrypoint, skerry.method, skerry.enter, skerry.exit])
def test_missing_parentheses(decorator: Any) -> None:
    _refused("parentheses", lambda: decorator(plain))


@line("24 validation", "Wrong stacking, @skerry.x above @app.function() or @app.cls(): InvalidError.")
@pytest.mark.parametrize(
    "decorator",
    [skerry.method(), skerry.enter(), skerry.exit(), skerry.concurrent(max_inputs=2), skerry.batched(max_batch_size=2, wait_ms=1)],
)
def test_decorator_above_the_app(decorator: Decorator) -> None:
    function = app.function(serialized=True)(plain)
    _refused("below", lambda: decorator(function))
    cls = skerry.App().cls(serialized=True)(type("Decorated", (), {}))
    _refused("below", lambda: decorator(cls))


@line("24 validation", "Decorators of methods on a class: InvalidError.")
@pytest.mark.parametrize("decorator", [skerry.method(), skerry.enter(), skerry.exit(), skerry.batched(max_batch_size=2, wait_ms=1)])
def test_decorator_of_methods_on_a_class(decorator: Decorator) -> None:
    _refused("class", lambda: decorator(Plain))


@line("24 validation", "A hook that is a remote method as well: InvalidError.")
@pytest.mark.parametrize("hook", [skerry.enter, skerry.exit])
def test_hook_that_is_a_method(hook: Decorator) -> None:
    def both(self: object) -> None:
        del self

    _refused("hook", lambda: hook()(skerry.method()(both)))
    _refused("hook", lambda: skerry.method()(hook()(both)))
    _refused("hook|batched", lambda: skerry.batched(max_batch_size=2, wait_ms=1)(hook()(both)))


@line("24 validation", "The same setting twice: InvalidError.")
@pytest.mark.parametrize(
    "decorator",
    [skerry.concurrent(max_inputs=2), skerry.batched(max_batch_size=2, wait_ms=1), skerry.method(), skerry.enter(), skerry.exit()],
)
def test_setting_twice(decorator: Decorator) -> None:
    _refused("twice", lambda: decorator(decorator(_fresh())))


def _fresh() -> Callable[[object], None]:
    def fresh(x: object) -> None:
        del x

    return fresh


@line("24 validation", "concurrent on a class twice: InvalidError.")
def test_class_concurrent_twice() -> None:
    decorator = skerry.concurrent(max_inputs=2)
    _refused("twice", lambda: decorator(decorator(type("Twice", (), {}))))


@line("24 validation", "concurrent on a method: InvalidError.")
def test_concurrent_method() -> None:
    _refused("class", lambda: skerry.concurrent(max_inputs=2)(skerry.method()(_fresh())))

    def define() -> object:
        method: Any = skerry.method()(skerry.concurrent(max_inputs=2)(_fresh()))
        return skerry.App().cls(serialized=True)(type("Methods", (), {"run": method}))

    _refused("class", define)


@line("24 validation", "concurrent() without max_inputs: TypeError.")
def test_concurrent_without_a_number() -> None:
    concurrent: Any = skerry.concurrent
    _refused("max_inputs", concurrent, TypeError)


@line("24 validation", "target_inputs above max_inputs: InvalidError.")
def test_target_above_the_limit() -> None:
    _refused("target_inputs", lambda: skerry.concurrent(max_inputs=2, target_inputs=3))


@line("24 validation", "Several batched methods, or one beside other methods: InvalidError.")
@pytest.mark.parametrize("other", [skerry.method(), skerry.batched(max_batch_size=2, wait_ms=1)])
def test_batched_method_beside_another(other: Decorator) -> None:
    def define() -> object:
        members = {"a": skerry.batched(max_batch_size=2, wait_ms=1)(_fresh()), "b": other(_fresh())}
        return skerry.App().cls(serialized=True)(type("Several", (), members))

    _refused("batched", define)


@line("24 validation", "batched with defaults, or a generator: InvalidError.")
def test_batched_with_defaults_or_generator() -> None:
    decorator = skerry.batched(max_batch_size=2, wait_ms=1)

    def default(xs: object = None) -> None:
        del xs

    def generator(xs: list[int]) -> Iterator[int]:
        yield from xs

    _refused("default", lambda: decorator(default))
    _refused("generator", lambda: decorator(generator))


@line("9 batching", "Limits: max_batch_size 1 to 1000, wait_ms 0 to 600,000.")
@pytest.mark.parametrize(("size", "wait"), [(0, 1), (1001, 1), (1, -1), (1, 600_001)])
def test_limits_of_batches(size: int, wait: int) -> None:
    _refused("want a whole number", lambda: skerry.batched(max_batch_size=size, wait_ms=wait))
    skerry.batched(max_batch_size=1000, wait_ms=600_000)
    skerry.batched(max_batch_size=1, wait_ms=0)


@line("24 validation", "retries on a generator: InvalidError.")
@line("4 retries", "Generators take none.")
def test_generator_with_retries() -> None:
    def generator() -> Iterator[int]:
        yield 1

    _refused("generator", lambda: app.function(serialized=True, retries=1)(generator))


@line("24 validation", "A schedule on a function that needs arguments: InvalidError; defaults and *args are fine.")
def test_schedule_of_a_function_with_parameters() -> None:
    def needs(x: int) -> None:
        del x

    def defaults(x: int = 1, *args: int, key: int = 2, **kwargs: int) -> None:
        del x, args, key, kwargs

    _refused("'x'", lambda: app.function(serialized=True, schedule=skerry.Period(days=1))(needs))
    app.function(serialized=True, schedule=skerry.Period(days=1))(defaults)


@line("24 validation", "timeout=None: InvalidError.")
@line("1.1 options", "timeout=300, in seconds; None is refused.")
def test_no_timeout() -> None:
    nothing: Any = None
    _refused("timeout", lambda: app.function(timeout=nothing))


@line("24 validation", "min_containers above max_containers: InvalidError.")
def test_least_above_most() -> None:
    _refused("min_containers", lambda: app.function(min_containers=2, max_containers=1))


@line("24 validation", "scaledown_window of 0 or less: InvalidError.")
@pytest.mark.parametrize("window", [0, -1])
def test_scaledown_window(window: int) -> None:
    _refused("scaledown_window", lambda: app.function(scaledown_window=window))


@line("24 validation", "A limit of cpu or memory below the request: InvalidError.")
def test_limit_below_the_request() -> None:
    _refused("cpu", lambda: app.function(cpu=(2.0, 1.0)))
    _refused("memory", lambda: app.function(memory=(512, 256)))


@line("24 validation", "Arguments of the wrong type (image, secrets, region, schedule, retries): InvalidError.")
@pytest.mark.parametrize("name", ["image", "secrets", "region", "schedule", "retries"])
def test_options_of_the_wrong_type(name: str) -> None:
    function: Any = app.function
    wrong: Any = [1.5] if name == "secrets" else 1.5
    _refused(name, lambda: function(**{name: wrong}))


@line("1 App", "Wrong types of arguments: InvalidError.")
@pytest.mark.parametrize("name", ["image", "secrets", "tags"])
def test_arguments_of_an_app_of_the_wrong_type(name: str) -> None:
    any_app: Any = skerry.App
    wrong = {"image": "debian", "secrets": ["a"], "tags": {"a": 1}}[name]
    _refused("image|secrets|tag", lambda: any_app("x", **{name: wrong}))


@line("24 validation", "@app.cls on a function, @app.function on a class: TypeError.")
def test_class_for_a_function_and_the_reverse() -> None:
    define: Any = app.cls()
    _refused("no class", lambda: define(plain), TypeError)
    function: Any = app.function()
    _refused("class", lambda: function(Plain), TypeError)


@line("1.1 options", "@app.function on a method: InvalidError.")
def test_function_decorator_on_a_method() -> None:
    class Local:
        def method(self) -> None: ...

    _refused("class|method|top of its module", lambda: app.function()(Local.method))


@line("1.1 options", "A function that is not global, without serialized=True: InvalidError.")
def test_function_inside_another() -> None:
    def inner() -> None: ...

    _refused("serialized=True", lambda: app.function()(inner))
    assert app.function(serialized=True)(inner).name == "inner"


@line("1.1 options", "Removed options raise a deprecation error that names what to use.")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("keep_warm", "min_containers"),
        ("concurrency_limit", "max_containers"),
        ("container_idle_timeout", "scaledown_window"),
        ("allow_concurrent_inputs", "concurrent"),
        ("mounts", "add_local"),
    ],
)
def test_removed_options(old: str, new: str) -> None:
    define: Any = app.function
    _refused(new, lambda: define(**{old: 1}), skerry.exception.DeprecationError)


@line("1.1 options", "max_inputs is deprecated: only 1, which is single_use_containers.")
def test_max_inputs() -> None:
    _refused("single_use_containers", lambda: app.function(max_inputs=2))
    app.function(max_inputs=1)


@line("1.1 options", "An option that is not available yet raises an error that says so, and is not passed over.")
@pytest.mark.parametrize(
    "option",
    [
        {"gpu": "T4"},
        {"proxy": 1},
        {"i6pn": True},
        {"enable_memory_snapshot": True},
        {"network_file_systems": {"/nfs": 1}},
        {"routing_region": "eu"},
        {"experimental_options": {"flash": "1"}},
        {"_experimental_restrict_output": True},
    ],
    ids=lambda option: next(iter(option)),
)
def test_options_of_later_versions(option: dict[str, Any]) -> None:
    _refused("not available", lambda: app.function(**option), skerry.exception.UnimplementedError)
    _refused("not available", lambda: app.cls(**option), skerry.exception.UnimplementedError)


@line("1 App", "local_entrypoint: duplicates are refused; the decorated object is callable.")
def test_local_entrypoints() -> None:
    own = skerry.App()

    @own.local_entrypoint(name="main")
    def main(x: int = 1) -> int:
        return x + 1

    assert main(2) == 3
    assert list(own.registered_entrypoints) == ["main"]
    _refused("main", lambda: own.local_entrypoint(name="main")(plain))


@line("0 conventions", "Names: at most 64 of [A-Za-z0-9-_.], not shaped like an app id.")
@pytest.mark.parametrize("name", ["a b", "x" * 65, "ä", "", "ap-" + "x" * 22])
def test_names(name: str) -> None:
    _refused("name", lambda: skerry.App(name))
    _refused("name", lambda: app.function(serialized=True, name=name)(plain))


@line("0 conventions", "Tags: keys and values of 1 to 63 of [A-Za-z0-9._-]; deployment tags of 1 to 50.")
@pytest.mark.parametrize("tag", ["", "x" * 64, "a b"])
def test_labels(tag: str) -> None:
    _refused("tag", lambda: skerry.App("x", tags={"key": tag}))
    _refused("tag", lambda: skerry.App("x", tags={tag: "value"}))
    if tag:
        _refused("tag", lambda: skerry.App("x").deploy(tag=tag))


@line("6 policies", "Retries: max_retries from 0, coefficient 1 to 10, initial_delay 0 to 60 s, max_delay 1 to 60 s; else InvalidError.")
@pytest.mark.parametrize(
    "given",
    [
        {"max_retries": -1},
        {"max_retries": 1.5},
        {"max_retries": 1, "backoff_coefficient": 0.9},
        {"max_retries": 1, "backoff_coefficient": 11},
        {"max_retries": 1, "initial_delay": -1},
        {"max_retries": 1, "initial_delay": 61},
        {"max_retries": 1, "max_delay": 0.5},
        {"max_retries": 1, "max_delay": 61},
    ],
)
def test_bounds_of_retries(given: dict[str, Any]) -> None:
    _refused(list(given)[-1], lambda: skerry.Retries(**given))
    least, most = skerry.Retries(max_retries=0, backoff_coefficient=1, initial_delay=0, max_delay=1), skerry.Retries(max_retries=9)
    assert least.max_delay == 1
    assert (most.backoff_coefficient, most.initial_delay, most.max_delay) == (2.0, 1.0, 60.0)


@line("6 policies", "Cron: five fields and an IANA time zone.")
@pytest.mark.parametrize("expression", ["", "* * * *", "* * * * * *"])
def test_wrong_cron(expression: str) -> None:
    _refused("five fields", lambda: skerry.Cron(expression))
    assert skerry.Cron("0 9 * * 1", timezone="Europe/Berlin").timezone == "Europe/Berlin"
    assert skerry.Cron("0 9 * * 1").timezone == "UTC"


@line("6 policies", "Period: whole numbers, of which only seconds may be a float; nothing is no period.")
@pytest.mark.parametrize("given", [{}, {"days": 1.5}, {"hours": -1}, {"seconds": 0.5}])
def test_wrong_periods(given: dict[str, Any]) -> None:
    _refused("period", lambda: skerry.Period(**given))
    skerry.Period(years=1, months=1, weeks=1, days=1, hours=1, minutes=1, seconds=1.5)


@line("3 cls", "parameter: types str, int, bytes, bool, an annotation is needed.")
@pytest.mark.parametrize(("annotation", "default"), [(float, 1.5), (list, []), (None, 1), (int, "text")])
def test_parameters_of_other_types(annotation: type | None, default: object) -> None:
    members: dict[str, Any] = {"x": skerry.parameter(default=default)}
    if annotation is not None:
        members["__annotations__"] = {"x": annotation}
    _refused("x", lambda: skerry.App().cls(serialized=True)(type("Typed", (), members)))


@line("3 cls", "parameter can't be mixed with __init__.")
def test_parameters_beside_a_constructor() -> None:
    def define() -> object:
        class Mixed:
            x: int = skerry.parameter()

            def __init__(self) -> None: ...

        return skerry.App().cls(serialized=True)(Mixed)

    _refused("__init__|constructor", define)


@line("3 cls", "A constructor of the class's own still works and is deprecated.")
def test_constructor_is_deprecated() -> None:
    class Old:
        def __init__(self, x: int) -> None:
            self.x = x

    with pytest.warns(skerry.exception.DeprecationError, match="constructor"):
        cls: Any = skerry.App().cls(serialized=True)(Old)
    assert cls(3).x == 3


@line("3 cls", "enter(snap=True) needs enable_memory_snapshot=True; InvalidError without.")
def test_snapshot_hook_without_snapshots() -> None:
    hook: Any = skerry.enter(snap=True)(_fresh())
    _refused("snap", lambda: skerry.App().cls(serialized=True)(type("Snapped", (), {"begin": hook})))


@line("2 Function", 'from_name: "." in the name is refused: use Cls.')
def test_lookup_of_a_method() -> None:
    _refused("Cls", lambda: skerry.Function.from_name("app", "Class.method"))


@line("2 Function", "Calling f(...) is not supported: use remote or local.")
def test_calling_a_function() -> None:
    function = app.function(serialized=True)(plain)
    _refused("remote.*local", function)


@line("0 conventions", "Stub and web_endpoint: AttributeError that names what they are called now.")
def test_renamed_names() -> None:
    _refused("App", lambda: skerry.Stub, AttributeError)  # type: ignore[attr-defined] # pyright: ignore
    _refused("fastapi_endpoint", lambda: skerry.web_endpoint, AttributeError)  # type: ignore[attr-defined] # pyright: ignore
