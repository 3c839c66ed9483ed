"""Parameters of functions as options."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, Optional

import pytest

from skerry import exception as exc
from skerry.cli.parameters import annotated
from skerry.cli.parameters import parse as parse_parameters


def parse(function, arguments, prog_name):
    return parse_parameters(annotated(function), function.__doc__, arguments, prog_name)


def everything(
    text: str,
    count: int,
    plain,
    ratio: float = 0.5,
    flag: bool = False,
    when: Optional[datetime] = None,  # noqa: UP045
    mode: Literal["fast", "slow"] = "fast",
    level: Literal[1, 2] = 1,
    anything: Any = None,
    maybe: int | None = None,
):
    """Does everything."""


def given(function, *arguments):
    args, kwargs = parse(function, list(arguments), "prog")
    assert args == ()
    return kwargs


def test_defaults():
    values = given(everything, "--text", "a", "--count", "3", "--plain", "p")
    assert values == {"text": "a", "count": 3, "plain": "p"}  # the rest is left to the function


def test_optional_without_default_is_required():
    def f(x: int | None):
        pass

    with pytest.raises(Exception, match="Missing") as caught:
        given(f)
    assert caught.value.exit_code == 2
    assert given(f, "--x", "1") == {"x": 1}


def test_values():
    values = given(
        everything,
        *["--text", "a", "--count", "-3", "--plain", "5", "--ratio", "2", "--flag", "--when", "2026-01-31T12:00"],
        *["--mode", "slow", "--level", "2", "--anything", "x", "--maybe", "7"],
    )
    assert values["count"] == -3
    assert (values["plain"], values["anything"]) == ("5", "x")
    assert (values["ratio"], values["flag"], values["maybe"]) == (2.0, True, 7)
    assert values["when"] == datetime(2026, 1, 31, 12)  # noqa: DTZ001
    assert (values["mode"], values["level"]) == ("slow", 2)
    assert given(everything, "--text", "a", "--count", "3", "--plain", "p", "--no-flag")["flag"] is False


@pytest.mark.parametrize(
    "bad", [["--mode", "odd"], ["--level", "3"], ["--when", "noon"], ["--ratio", "x"], ["extra"], ["--unknown"]]
)
def test_bad_values(bad):
    with pytest.raises(Exception, match=r"(?s).") as caught:
        given(everything, "--text", "a", "--count", "3", "--plain", "p", *bad)
    assert getattr(caught.value, "exit_code", None) == 2, caught.value


def test_names_are_kebab_case():
    def f(long_name: int, *, only_keyword: str = "x"):
        pass

    assert given(f, "--long-name", "1", "--only-keyword", "y") == {"long_name": 1, "only_keyword": "y"}


def test_raw_arguments():
    assert parse(lambda *args: None, ["--a", "b"], "prog") == (("--a", "b"), {})


def test_positional_only():
    def f(a: int, /, b: int = 2):
        pass

    assert parse(f, ["--a", "1"], "prog") == ((1,), {})


def test_annotations_that_can_not_come_from_a_command_line():
    def lists(x: list[int]):
        pass

    def mixed(x: int, **rest):
        pass

    for bad in (lists, mixed):
        with pytest.raises(exc.InvalidError):
            parse(bad, ["--x", "1"], "prog")


def test_help_is_no_call(capsys):
    assert parse(everything, ["--help"], "prog") is None
    assert "Does everything" in capsys.readouterr().out
