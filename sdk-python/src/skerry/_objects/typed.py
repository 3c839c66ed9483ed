"""What decorators make of functions, as type checkers see it. Imported by them alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .function import Function

P = ParamSpec("P")
R = TypeVar("R")


class FunctionDecorator(Protocol):
    """``@app.function()``: remote calls of a coroutine function give what its coroutine gives."""

    @overload
    def __call__(self, raw: Callable[P, Coroutine[Any, Any, R]], /) -> Function[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, raw: Callable[P, R], /) -> Function[P, R]: ...


class MethodDecorator(Protocol):
    """``@skerry.method()``: the same without self."""

    @overload
    def __call__(
        self, raw: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /
    ) -> Function[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, raw: Callable[Concatenate[Any, P], R], /) -> Function[P, R]: ...
