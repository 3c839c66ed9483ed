"""Local entrypoints: what ``skerry run`` calls on the user's machine."""

from __future__ import annotations

from skerry.exception import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Generic, ParamSpec, TypeVar

    from .app import App

    P = ParamSpec("P")
    R = TypeVar("R", covariant=True)
else:
    from skerry._twin import Generic

    P = R = None


class LocalEntrypoint(Generic[P, R]):
    """A function decorated with ``@app.local_entrypoint()``. Calling it calls the function, here."""

    def __init__(self, raw: Callable[P, R], name: str, app: App) -> None:
        self._raw = raw
        self.name = name
        self.app = app
        self.__doc__ = raw.__doc__
        self.__module__ = raw.__module__
        self.__name__ = raw.__name__
        self.__qualname__ = raw.__qualname__
        self.__wrapped__ = raw

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._raw(*args, **kwargs)

    def get_raw_f(self) -> Callable[P, R]:
        """Return the function that was decorated."""
        return self._raw

    def __repr__(self) -> str:
        return f"<skerry local entrypoint {self.name!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy in a container is just the function.
        return _identity, (self._raw,)


def check_entrypoint(raw: Any) -> None:
    """Raise InvalidError for what `skerry run` could not call here."""
    from .function import Function

    kind = type(raw).__name__
    if isinstance(raw, (LocalEntrypoint, Function)) or not hasattr(raw, "__qualname__") or not callable(raw):
        raise InvalidError(
            f"@app.local_entrypoint decorates plain functions, got {kind}: it runs here, and calls others by remote()"
        )


def _identity(raw: Any) -> Any:
    return raw
