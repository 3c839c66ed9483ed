"""Apps and the options of functions."""

from __future__ import annotations

import pickle

import pytest

import skerry
from skerry import exception as exc

app = skerry.App("demo")


@app.function()
def top(x):
    """Doc."""
    return x + 1


def test_function_looks_like_what_it_wraps():
    assert (top.__name__, top.__doc__, top.name, top.app) == ("top", "Doc.", "top", app)
    assert top.local(1) == 2
    assert app.registered_functions["top"] is top


def test_calls_need_a_running_app():
    for call in (lambda: top.remote(1), lambda: list(top.map([1])), lambda: top.spawn(1), lambda: top.object_id):
        with pytest.raises(exc.ExecutionError, match="not been hydrated"):
            call()
    with pytest.raises(exc.InvalidError, match="can't serialize"):
        pickle.dumps(top)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"timeout": None}, "timeout"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": 86401}, "timeout"),
        ({"startup_timeout": "x"}, "startup_timeout"),
        ({"min_containers": 3, "max_containers": 2}, "min_containers 3"),
        ({"min_containers": -1}, "min_containers"),
        ({"max_containers": 0}, "max_containers"),
        ({"scaledown_window": 0}, "scaledown_window"),
        ({"cpu": (2, 1)}, "limit"),
        ({"cpu": "1"}, "cpu"),
        ({"cpu": 0}, "cpu"),
        ({"memory": (512, 256)}, "limit"),
        ({"memory": 1.5}, "memory"),
        ({"memory": (1, 2, 3)}, "memory"),
        ({"cpu": float("inf")}, "cpu"),
        ({"cpu": float("nan")}, "cpu"),
        ({"memory": 10**12}, "memory"),
        ({"max_containers": 10**12}, "max_containers"),
        ({"min_containers": 10**12}, "min_containers"),
        ({"secrets": skerry.Secret.from_dict({})}, "secrets"),
        ({"secrets": 5}, "secrets"),
        ({"secrets": ["x"]}, "secrets"),
        ({"image": "debian"}, "image"),
        ({"env": {"A": 1}}, "env"),
        ({"env": {"SKERRY_A": "1"}}, "reserved"),
        ({"name": "a b"}, "name"),
        ({"name": "ap-" + "x" * 22}, "app id"),
    ],
)
def test_options_that_make_no_sense(options, text):
    def f():
        pass

    with pytest.raises(exc.InvalidError, match=text):
        skerry.App().function(serialized=True, **options)(f)


@pytest.mark.parametrize(
    "options",
    [
        {"gpu": "A100"},
        {"proxy": "a"},
        {"experimental_options": {"a": 1}},
        {"enable_memory_snapshot": True},
    ],
)
def test_options_that_come_later(options):
    with pytest.raises(exc.UnimplementedError, match="not available"):
        skerry.App().function(**options)


def test_options_that_ask_for_nothing_are_taken():
    skerry.App().function(gpu=None, volumes={}, retries=0, is_generator=None, nonpreemptible=False)


def test_removed_and_unknown_options():
    with pytest.raises(exc.DeprecationError, match="min_containers"):
        skerry.App().function(keep_warm=1)
    with pytest.raises(TypeError, match="nonsense"):
        skerry.App().function(nonsense=1)


def test_what_can_be_decorated():
    fresh = skerry.App()
    with pytest.raises(exc.InvalidError, match="parentheses"):
        fresh.function(lambda: 1)
    with pytest.raises(exc.InvalidError, match="parentheses"):
        fresh.local_entrypoint(lambda: 1)
    with pytest.raises(TypeError, match="class"):
        fresh.function()(type("C", (), {}))

    def local():
        pass

    def generator():
        yield 1

    with pytest.raises(exc.InvalidError, match="serialized=True"):
        fresh.function()(local)
    assert fresh.function(serialized=True)(generator).is_generator
    with pytest.raises(exc.InvalidError, match="retries"):
        fresh.function(serialized=True, retries=3)(generator)
    with pytest.raises(exc.InvalidError, match="schedule"):
        fresh.function(serialized=True, schedule=1)  # pyright: ignore[reportArgumentType]
    assert fresh.function(serialized=True)(local).name == "local"
    with pytest.raises(exc.InvalidError, match="lambda"):
        fresh.function(name="named")(_lambda)
    assert fresh.function(name="named", serialized=True)(_lambda).name == "named"


_lambda = lambda x: x  # noqa: E731


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"image": "debian"}, "image"),
        ({"secrets": 5}, "secrets"),
        ({"secrets": skerry.Secret.from_dict({})}, "secrets"),
        ({"tags": ["a"]}, "tags"),
        ({"tags": {"a": 1}}, "tag"),
    ],
)
def test_apps_of_wrong_types(arguments, text):
    with pytest.raises(exc.InvalidError, match=text):
        skerry.App("x", **arguments)


def test_what_is_put_into_an_app_is_checked():
    fresh = skerry.App()
    with pytest.raises(exc.InvalidError, match="include"):
        fresh.include("other")  # pyright: ignore[reportArgumentType]
    with pytest.raises(exc.InvalidError, match="image"):
        fresh.image = "debian"  # pyright: ignore[reportAttributeAccessIssue]
    for thing in (top, 5):
        with pytest.raises(exc.InvalidError, match="plain functions"):
            fresh.local_entrypoint()(thing)  # pyright: ignore[reportArgumentType]


def test_names(caplog):
    fresh = skerry.App()

    def one():
        pass

    fresh.function(serialized=True, name="x")(one)
    second = fresh.function(serialized=True, name="x")(one)
    assert "collision" in caplog.text
    assert fresh.registered_functions == {"x": second}
    for bad in ("a/b", "x" * 65, "", "ap-" + "0" * 22):
        with pytest.raises(exc.InvalidError):
            skerry.App(bad)
    with pytest.raises(exc.InvalidError):
        skerry.App(tags={"a b": "c"})


def test_entrypoints():
    fresh = skerry.App()

    @fresh.local_entrypoint()
    def main(n: int = 1):
        return n

    assert main(3) == 3
    with pytest.raises(exc.InvalidError, match="there already"):
        fresh.local_entrypoint(name="test_entrypoints.<locals>.main")(main.get_raw_f())


def test_include():
    other, whole = skerry.App("other", tags={"a": "1"}), skerry.App("whole", tags={"a": "2"})

    @other.function(serialized=True)
    def part():
        pass

    assert whole.include(other).registered_functions == {"part": part}
    assert whole._tags == {"a": "2"}


def test_what_comes_later_says_so():
    with pytest.raises(exc.UnimplementedError, match="not available"):
        app.server()
    with pytest.raises(exc.UnimplementedError, match=r"skerry\.Proxy\.from_name is not available"):
        skerry.Proxy.from_name("a")
    with pytest.raises(exc.UnimplementedError, match=r"skerry\.asgi_app is not available"):
        skerry.asgi_app()
    assert not isinstance(1, skerry.Volume)
    with pytest.raises(AttributeError, match=r"renamed to skerry\.App"):
        skerry.Stub  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute"):
        skerry.nonsense  # noqa: B018


def test_secrets(monkeypatch):
    monkeypatch.setenv("LOCAL", "1")
    assert skerry.Secret.from_dict({"A": "b", "C": None})._variables == {"A": "b"}
    assert skerry.Secret.from_local_environ(["LOCAL"])._variables == {"LOCAL": "1"}
    assert "b" not in repr(skerry.Secret.from_dict({"A": "b"}))
    for bad in ({"A": 1}, {1: "a"}, "x", {"SKERRY_TOKEN_ID": "x"}):
        with pytest.raises(exc.InvalidError):
            skerry.Secret.from_dict(bad)
    with pytest.raises(exc.InvalidError, match="MISSING"):
        skerry.Secret.from_local_environ(["MISSING"])


def test_every_exported_name_exists():
    for name in skerry.__all__:
        assert getattr(skerry, name) is not None
    assert set(skerry.__all__) <= set(dir(skerry))


def test_context_outside_a_container():
    assert skerry.is_local()
    assert skerry.current_input_id() is None
    assert skerry.current_function_call_id() is None
