"""The names of docs/api.md against the package."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import skerry
import tomllib
from skerry.exception import UnimplementedError

from e2e.conformance.lines import line

API: dict[str, dict[str, list[Any]]] = tomllib.loads((Path(__file__).parent / "api.toml").read_text())


def _names(*kinds: str) -> Iterator[str]:
    for section in API.values():
        for kind in kinds:
            for name in section.get(kind, []):
                yield name if isinstance(name, str) else name[0]


def _find(path: str) -> Any:
    """Return what a dotted name is; "()" in it makes an object, and what is behind ".logs." or ".objects." is looked up in its class."""
    found: Any = skerry
    for part in path.split("."):
        name, call, _ = part.partition("()")
        if (".logs." in path and name in ("fetch", "tail", "stream")) or (".objects." in path and name in ("create", "list", "delete")):
            found = found.__class__
        found = getattr(found, name)
        if call:
            found = found()
    return found


def _parameters(found: Any) -> list[str]:
    """Return the names of the parameters, with "*" where those begin that are given by name alone."""
    if inspect.isclass(found):
        signature = inspect.signature(found)
    else:
        while hasattr(found, "__wrapped__"):
            found = found.__wrapped__
        signature = inspect.signature(found)
    names: list[str] = []
    star = False
    for parameter in signature.parameters.values():
        if parameter.name == "not_allowed":
            star = True
            names.append("*")
        elif parameter.name != "self":
            if parameter.kind is parameter.KEYWORD_ONLY and not star:
                star = True
                names.append("*")
            star = star or parameter.kind is parameter.VAR_POSITIONAL
            names.append({parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "") + parameter.name)
    return names[:-1] if names[-1:] == ["*"] else names


@line("0 conventions", "Every name of the interface is there with its parameters.")
@pytest.mark.parametrize("name", [*_names("same", "differs")])
def test_name_is_there(name: str) -> None:
    path, parameters, given = name.rpartition("(") if name.endswith(")") else (name, "", "")
    found = _find(path)
    if parameters:
        assert _parameters(found) == [word.strip() for word in given.removesuffix(")").split(",") if word]


@line("0 conventions", "What a later version brings can be named, and says that it is not available yet.")
@pytest.mark.parametrize("name", [*_names("later")])
def test_name_says_that_it_is_not_yet(name: str) -> None:
    with pytest.raises((UnimplementedError, AttributeError), match="not available"):
        _find(name if name.endswith("()") else f"{name}()")


@line("0 conventions", "All that the package exports is in the table.")
def test_table_is_whole() -> None:
    listed = {name.partition("(")[0] for name in _names("same", "differs", "later")}
    assert set(skerry.__all__) <= listed


@line("12 types", "InputStatus: PENDING=0, SUCCESS, FAILURE, INIT_FAILURE, TERMINATED, TIMEOUT; unknown ones are PENDING.")
def test_statuses() -> None:
    from skerry.types import InputStatus

    assert [status.name for status in InputStatus] == ["PENDING", "SUCCESS", "FAILURE", "INIT_FAILURE", "TERMINATED", "TIMEOUT"]
    assert list(InputStatus) == [0, 1, 2, 3, 4, 5]
    assert InputStatus(99) is InputStatus.PENDING


@line("12 types", "FunctionStats and FunctionAutoscalerSettings have their fields.")
def test_fields() -> None:
    from skerry.types import FunctionAutoscalerSettings, FunctionStats

    assert FunctionStats._fields == ("backlog", "num_total_runners", "num_running_inputs", "input_headroom")
    assert set(FunctionAutoscalerSettings._fields) == {"min_containers", "max_containers", "scaledown_window", "buffer_containers"}


@line("0 conventions", "The tree of exceptions is the reference's.")
def test_tree_of_exceptions() -> None:
    from skerry import exception as exc

    timeouts = (exc.FunctionTimeoutError, exc.OutputExpiredError, exc.InteractiveTimeoutError, exc.MountUploadTimeoutError)
    assert all(issubclass(kind, exc.TimeoutError) for kind in timeouts)
    assert not issubclass(exc.TimeoutError, TimeoutError)
    assert issubclass(exc.ImageBuildError, exc.RemoteError)
    assert issubclass(exc.DeprecationError, UserWarning) and issubclass(exc.AsyncUsageWarning, UserWarning)
    assert issubclass(exc.InputCancellation, BaseException) and not issubclass(exc.InputCancellation, Exception)
    assert all(issubclass(kind, exc.Error) for kind in (exc.RemoteError, exc.InvalidError, exc.ClientClosed, exc.InternalFailure))
