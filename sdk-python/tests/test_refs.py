"""What references on the command line mean, and how what they mean is called."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable

import pytest
import typer

from skerry import exception as exc
from skerry.cli.refs import find_app, find_runnable, find_service
from skerry.cli.runnables import MethodReference, call

WHOLE = """
import skerry
app = skerry.App("whole")
other = skerry.App("other")

@app.function(name="renamed")
def f(x: int = 1): ...

@app.cls()
class Model:
    size: int = skerry.parameter()
    label: str = skerry.parameter(default="none")

    @skerry.method()
    def predict(self, text: str, times: int = 1):
        "Predicts."
        return self.size, self.label, text, times

    @skerry.method()
    def items(self):
        yield 1

@other.function(name="g")
def hidden(): ...
del hidden

@other.local_entrypoint(name="start")
def entry(*args): return args
del entry

number = 3
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a module; its reference."""
    before = set(sys.modules)

    def write(text: str, name: str = "subject.py") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return str(path)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def name_of(target):
    return target.app.name, target.runnable.name


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("f", ("whole", "renamed")),
        ("renamed", ("whole", "renamed")),
        ("app.renamed", ("whole", "renamed")),
        ("Model.predict", ("whole", "Model.predict")),
        ("app.Model.predict", ("whole", "Model.predict")),
        ("g", ("other", "g")),
        ("other.g", ("other", "g")),
        ("start", ("other", "start")),
        ("other", ("other", "start")),
    ],
)
def test_names(write, name, found):
    assert name_of(find_runnable(f"{write(WHOLE)}::{name}", as_module=False)) == found


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing", "has no 'nothing'; it has: .*renamed"),
        ("app.nothing", "'app' of .* has no 'nothing'; it has: renamed, Model"),
        ("Model.nothing", "'Model' of .* has no 'nothing'; it has: predict, items"),
        ("number", "int can't be run"),
        ("number.x.y", "has no 'x'"),
        ("app", r"(?s)several.*whole.*app.renamed|several"),
        ("Model", r"(?s)several.*::Model.predict"),
        ("", "missing after '::'"),
    ],
)
def test_names_that_mean_nothing(write, name, words):
    with pytest.raises(typer.BadParameter, match=words):
        find_runnable(f"{write(WHOLE)}::{name}", as_module=False)


FUNCTION, ENTRYPOINT = "@app.function()\ndef f(): ...\n", "@app.local_entrypoint()\ndef main(): ...\n"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (FUNCTION, "f"),
        (FUNCTION + ENTRYPOINT, "main"),
        (FUNCTION + ENTRYPOINT + "del main\n", "f"),
        (FUNCTION + ENTRYPOINT + "del main, f\n", "main"),
        (FUNCTION + "del f\n", "f"),
        ("@app.cls()\nclass C:\n    @skerry.method()\n    def m(self): ...\n", "C.m"),
    ],
)
def test_inference(write, body, found):
    path = write("import skerry\napp = skerry.App()\n" + body)
    assert find_runnable(path, as_module=False).runnable.name == found


@pytest.mark.parametrize(
    "body",
    [
        "@app.function()\ndef f(): ...\n@app.function()\ndef g(): ...\n",
        "@app.local_entrypoint()\ndef f(): ...\n@app.local_entrypoint()\ndef g(): ...\n",
    ],
)
def test_what_is_not_unique_is_listed(write, body):
    path = write("import skerry\napp = skerry.App()\n" + body)
    with pytest.raises(typer.BadParameter, match=r"(?s)several.*::f.*::g"):
        find_runnable(path, as_module=False)


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("file.py:f", "use '::'"),
        ("pkg.mod", "-m pkg.mod"),
        ("missing.py", "does not exist"),
        ("a.b.py", "rename it"),
    ],
)
def test_references_that_make_no_sense(write, reference, words):
    write("", "a.b.py")
    with pytest.raises(typer.BadParameter, match=words):
        find_runnable(reference, as_module=False)


def test_modules(write):
    write("", "pkg/__init__.py")
    write("import skerry\napp = skerry.App()\n" + FUNCTION, "pkg/mod.py")
    assert find_runnable("pkg.mod::f", as_module=True).runnable.name == "f"
    with pytest.raises(typer.BadParameter, match="not importable"):
        find_runnable("pkg.nothing", as_module=True)
    with pytest.raises(typer.BadParameter, match="takes a module"):
        find_runnable("pkg/mod.py", as_module=True)


def test_apps(write):
    path = write(WHOLE)
    assert find_app(path, as_module=False).name == "whole"
    assert find_app(f"{path}::other", as_module=False).name == "other"
    with pytest.raises(typer.BadParameter, match="no app"):
        find_app(f"{path}::f", as_module=False)


def test_containers_of_functions_and_classes(write):
    path = write(WHOLE)
    for name, found in (("f", "renamed"), ("Model", "Model"), ("Model.items", "Model"), ("app.renamed", "renamed")):
        assert find_service(f"{path}::{name}", as_module=False).name == found
    with pytest.raises(typer.BadParameter, match="several"):
        find_service(path, as_module=False)
    with pytest.raises(typer.BadParameter, match="runs in no container"):
        find_service(f"{path}::start", as_module=False)


class Recorder:
    """In place of a class: says what it was instantiated with, and its method called."""

    __name__ = "Model"

    def __init__(self, cls):
        self._user_cls = cls._user_cls
        self._methods = cls._methods

    def __call__(self, **parameters):
        self.parameters = parameters
        return self

    @property
    def predict(self):
        return self

    def remote(self, *args, **kwargs):
        return self.parameters, args, kwargs


def method_call(write, *arguments: str) -> Callable[[bool], object] | None:
    target = find_runnable(f"{write(WHOLE)}::Model.predict", as_module=False)
    assert isinstance(target.runnable, MethodReference)
    recorded = MethodReference(Recorder(target.runnable.cls), "predict")  # type: ignore[arg-type]
    return call(target._replace(runnable=recorded), list(arguments), "prog")


def test_parameters_of_class_and_method_are_pooled(write):
    run = method_call(write, "--text", "hello", "--size", "3")
    assert run is not None
    assert run(False) == ({"size": 3}, (), {"text": "hello"})
    run = method_call(write, "--times", "2", "--text", "a", "--label", "b", "--size", "1")
    assert run is not None
    assert run(False) == ({"size": 1, "label": "b"}, (), {"text": "a", "times": 2})


def test_help_of_a_method_shows_both(write, capsys):
    assert method_call(write, "--help") is None
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("Predicts.", "--size", "--label", "--text", "--times"))


def test_generators_are_refused(write):
    target = find_runnable(f"{write(WHOLE)}::Model.items", as_module=False)
    with pytest.raises(exc.InvalidError, match="generator"):
        call(target, [], "prog")


def test_entrypoints_are_called_here(write):
    target = find_runnable(f"{write(WHOLE)}::start", as_module=False)
    run = call(target, ["--a", "b"], "prog")
    assert run is not None
    assert run(True) == ("--a", "b")
