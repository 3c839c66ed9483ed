"""Batches: the arguments of several inputs in lists, and the list that comes back. Imported when the first one runs."""

from __future__ import annotations

import inspect

from skerry.exception import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def merge(function: Callable[..., Any], inputs: list[Arguments]) -> dict[str, list[Any]]:
    """Return a list for each parameter, in the order of the inputs. Raises InvalidError where one does not give exactly all."""
    name = getattr(function, "__name__", repr(function))
    names = list(inspect.signature(function).parameters)
    columns: dict[str, list[Any]] = {parameter: [] for parameter in names}
    for args, kwargs in inputs:
        if len(args) > len(names):
            raise InvalidError(
                f"skerry batched function {name} takes {len(names)} positional arguments, but one invocation in the batch has {len(args)}"
            )
        row = dict(zip(names, args, strict=False))
        for key, value in kwargs.items():
            if key not in columns:
                raise InvalidError(
                    f"skerry batched function {name} got unexpected keyword argument {key} in one invocation in the batch"
                )
            if key in row:
                raise InvalidError(
                    f"skerry batched function {name} got multiple values for argument {key} in one invocation in the batch"
                )
            row[key] = value
        if len(row) < len(names):
            missing = ", ".join(parameter for parameter in names if parameter not in row)
            raise InvalidError(
                f"skerry batched function {name} misses {missing} in one invocation in the batch; give every parameter"
            )
        for parameter, value in row.items():
            columns[parameter].append(value)
    return columns


def split(function: Callable[..., Any], result: Any, count: int) -> list[Any]:
    """Return the result of each input. Raises InvalidError for what is no list of the right length."""
    name = getattr(function, "__name__", repr(function))
    if not isinstance(result, list):
        raise InvalidError(f"output of batched function {name} must be a list")
    outputs: list[Any] = result  # pyright: ignore[reportUnknownVariableType] - of whatever user code put there
    if len(outputs) != count:
        raise InvalidError(
            f"output of batched function {name} must be a list of equal length as its inputs: {len(outputs)} outputs of {count} inputs"
        )
    return outputs
