"""Parameters of the user's functions as options of the command line."""

from __future__ import annotations

import inspect
import types
import typing
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from skerry.exception import InvalidError

if TYPE_CHECKING:
    from collections.abc import Callable


# No parameter of a user's.
_CONTEXT = "_skerry_command_line_context"


def annotated(raw: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return a function's parameters, with types as annotations. Raises InvalidError for annotations that can't be read."""
    try:
        hints = typing.get_type_hints(raw)
    except NameError as err:
        raise InvalidError(f"the annotations of {raw.__qualname__} can't be read: {err}") from err
    signature = inspect.signature(raw)
    return [parameter.replace(annotation=hints.get(name, Any)) for name, parameter in signature.parameters.items()]


def parse(
    parameters: list[inspect.Parameter], summary: str | None, arguments: list[str], prog_name: str
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Return what to call a function of these parameters with, or None if only its help was shown.

    Each parameter is an option ``--kebab-case``: str, int, float, bool (``--x/--no-x``), datetime, Any, Optional and Literal of strings
    or integers; without an annotation it is a string, without a default it is required. A function whose only parameter is ``*args``
    gets the arguments as they are. Raises InvalidError for other annotations.
    """
    if len(parameters) == 1 and parameters[0].kind is inspect.Parameter.VAR_POSITIONAL:
        return tuple(arguments), {}
    chosen: list[dict[str, Any]] = []

    def take(**values: Any) -> None:
        context = values.pop(_CONTEXT)
        # What is not given is left to the function, whose default need not be what a text can be.
        chosen.append({name: value for name, value in values.items() if not _is_default(context, name)})

    take.__doc__ = escape(summary) if summary else None  # it is the user's text, in which brackets are no markup
    options = [_option(parameter) for parameter in parameters]
    context = inspect.Parameter(_CONTEXT, inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    take.__signature__ = inspect.Signature([context, *options])
    take.__annotations__ = {option.name: option.annotation for option in (context, *options)}
    cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
    cli.command(context_settings={"help_option_names": ["-h", "--help"]})(take)
    cli(arguments, prog_name=prog_name, standalone_mode=False)
    if not chosen:
        return None
    return _positional(parameters, chosen[0])


def _is_default(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name in ("DEFAULT", "DEFAULT_MAP")


def _positional(parameters: list[inspect.Parameter], values: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    only = [parameter for parameter in parameters if parameter.kind is inspect.Parameter.POSITIONAL_ONLY]
    return tuple(values.pop(parameter.name, parameter.default) for parameter in only), values


def _option(parameter: inspect.Parameter) -> inspect.Parameter:
    if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
        raise InvalidError(f"parameter {parameter}: *args is taken alone only, and **kwargs not at all")
    flag = "--" + parameter.name.strip("_").replace("_", "-")
    kind, optional = _unwrap(parameter.annotation)
    annotation, option = _typed(parameter.name, kind, flag)
    default = parameter.default
    return inspect.Parameter(
        parameter.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[annotation | None if optional or default is None else annotation, option],
    )


def _unwrap(hint: Any) -> tuple[Any, bool]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        parts = [part for part in typing.get_args(hint) if part is not type(None)]
        if len(parts) == 1 and len(typing.get_args(hint)) == 2:
            return parts[0], True
    return hint, False


def _typed(name: str, kind: Any, flag: str) -> tuple[Any, Any]:
    if kind in (Any, inspect.Parameter.empty, object):
        return str, typer.Option(flag)
    if kind is bool:
        return bool, typer.Option(f"{flag}/--no-{flag[2:]}")
    if kind in (str, int, float):
        return kind, typer.Option(flag)
    if kind is datetime:
        return datetime, typer.Option(flag, parser=_datetime, metavar="DATETIME")
    if typing.get_origin(kind) is typing.Literal:
        choices: tuple[Any, ...] = typing.get_args(kind)
        if all(type(choice) is type(choices[0]) for choice in choices) and type(choices[0]) in (str, int):
            by_text = {str(choice): choice for choice in choices}
            return (int if isinstance(choices[0], int) else str), typer.Option(
                flag, parser=_choice(by_text), metavar=f"[{'|'.join(by_text)}]"
            )
    raise InvalidError(
        f"parameter {name!r}: {kind!r} can't come from the command line; use str, int, float, bool, datetime, Any, Optional or Literal"
    )


def _datetime(text: Any) -> datetime:
    if isinstance(text, datetime):
        return text
    try:
        return datetime.fromisoformat(text)
    except ValueError as err:
        raise typer.BadParameter(f"{text!r} is no time; write it like 2026-01-31 or 2026-01-31T12:00:00") from err


def _choice(by_text: dict[str, Any]) -> Callable[[Any], Any]:
    def choose(text: Any) -> Any:
        if str(text) not in by_text:
            raise typer.BadParameter(f"{text!r} is none of {', '.join(by_text)}")
        return by_text[str(text)]

    return choose
