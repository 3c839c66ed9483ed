"""Functions that run while an image is built."""

from __future__ import annotations

from skerry.exception import InvalidError

from .arguments import building
from .layers import Layers, builder
from .steps import later, show_call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from typing_extensions import Self

    from .secret import Secret

_MAX_TIMEOUT = 24 * 60 * 60


class FunctionSteps(Layers):
    """Methods of Image that run functions."""

    __slots__ = ()

    @builder
    def run_function(
        self,
        raw_f: Callable[..., Any],
        *,
        env: dict[str, str | None] | None = None,
        secrets: Sequence[Secret] | None = None,
        volumes: Mapping[str, object] | None = None,
        network_file_systems: Mapping[str, object] | None = None,
        gpu: str | list[str] | None = None,
        cpu: float | None = None,
        memory: int | None = None,
        timeout: int = 3600,
        cloud: str | None = None,
        region: str | Sequence[str] | None = None,
        force_build: bool = False,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        include_source: bool = True,
    ) -> Self:
        """Run a Python function and keep what it leaves in the file system, such as the weights of a model.

        It runs again when its source, its arguments or a global that it refers to changes; changes of functions that it
        calls do not count.

        Args:
            raw_f: a function of a module or a script, not a lambda. It needs no decorator.
            volumes: volumes by the path that the function sees them at. What it writes there is committed at its end, and is not
                in the image. Which volumes they are says whether it runs again, what they hold does not.
            network_file_systems: not available yet.
            gpu: a GPU to build on, or several of which one will do.
            cpu: processors that it asks for.
            memory: memory that it asks for, in MiB.
            timeout: the most seconds that it may take.
            cloud: where functions run is said by their own options; an image is built where the builder is.
            region: as cloud.
            args: positional arguments; at most 2 MiB when pickled, with kwargs.
            kwargs: keyword arguments.
            include_source: send the function's module; without it the image must have it.

        Other arguments are as in :meth:`pip_install`.
        """
        method = "run_function"
        if not callable(raw_f) or not hasattr(raw_f, "__code__"):
            raise InvalidError(
                f"{method}: want a plain function, got {type(raw_f).__name__}; of a decorated one, its get_raw_f()"
            )
        if raw_f.__name__ == "<lambda>":
            raise InvalidError(f"{method}: a lambda can't be sent; define a function with a name")
        if network_file_systems:
            raise later("run_function(network_file_systems=...)")
        one = gpu[0] if isinstance(gpu, (list, tuple)) and gpu else gpu
        build = building(method, env, secrets, one or None, force_build, volumes)
        seconds = _positive("timeout", timeout, _MAX_TIMEOUT)
        asked = {
            "timeout_seconds": int(seconds),
            "milli_cpu": 0 if cpu is None else round(1000 * _positive("cpu", cpu, 1000)),
            "memory_mib": 0 if memory is None else int(_positive("memory", memory, 64 << 20)),
        }
        given, named = tuple(args), dict(kwargs or {})

        def fields() -> dict[str, object]:
            from skerry._run.build_functions import describe

            described = describe(raw_f, given, named, include_source=include_source, build=build)
            return {**described, **asked}

        return self._with(method, fields, show_call(method, _Name(raw_f.__qualname__)), build)


class _Name:
    """Shows a name without quotes."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


def _positive(noun: str, value: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= most:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidError(f"run_function: {noun}={value!r}: want a number above 0, at most {most:,}")
    return value
