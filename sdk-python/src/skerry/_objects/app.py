"""Apps."""

from __future__ import annotations

from skerry._names import check_labels, check_name
from skerry._notebook import in_cells
from skerry.exception import InvalidError, UnimplementedError

from .definition import define_class, define_function
from .entrypoint import LocalEntrypoint, check_entrypoint
from .image import Image
from .living import Living
from .options import DEFAULT_TIMEOUT, FunctionOptions, check_secrets, refuse_later
from .volumes import check_volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, NoReturn, ParamSpec, TypeVar

    from typing_extensions import Self, dataclass_transform

    from skerry._volume.volume import Volume
    from skerry.retries import Retries
    from skerry.schedule import Schedule

    from .bucket import CloudBucketMount
    from .cls import Cls
    from .decorators import parameter
    from .function import Function
    from .secret import Secret
    from .typed import FunctionDecorator

    P = ParamSpec("P")
    R = TypeVar("R")
    C = TypeVar("C", bound=type)
else:
    parameter = None

    def dataclass_transform(**_given: object) -> object:
        """Stand in for typing's, which tells type checkers what instances are made with."""
        return lambda decorated: decorated


class App(Living):
    """A set of functions that live and die together.

    ::

        app = skerry.App("hello")

        @app.function()
        def square(x: int) -> int:
            return x * x

    Run it with ``skerry run file.py`` or ``with app.run():``, deploy it with ``skerry deploy file.py`` or ``app.deploy()``.

    Args:
        name: what it is called in lists, and what it is deployed under unless another name is given.
        tags: free labels.
        image: for functions that name none; default: ``Image.debian_slim()``.
        secrets: for all functions; a function's own come after these.
        volumes: for all functions, by path; a function's own come over these.
        include_source: send the source of functions with them.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        tags: dict[str, str] | None = None,
        image: Image | None = None,
        secrets: Sequence[Secret] = (),
        volumes: Mapping[str, Volume | CloudBucketMount] | None = None,
        include_source: bool = True,
    ) -> None:
        super().__init__(None if name is None else check_name("app", name), check_labels("app", tags or {}))
        self._image = _check_image(image)
        self._secrets = check_secrets(secrets)
        self._volumes = check_volumes(volumes)
        self._include_source = include_source
        self._functions: dict[str, Function[..., Any]] = {}
        self._entrypoints: dict[str, LocalEntrypoint[..., Any]] = {}

    # Definition.

    def function(
        self,
        *not_allowed: object,
        image: Image | None = None,
        schedule: Schedule | None = None,
        env: dict[str, str | None] | None = None,
        secrets: Sequence[Secret] | None = None,
        volumes: Mapping[str, Volume | CloudBucketMount] | None = None,
        serialized: bool = False,
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        ephemeral_disk: int | None = None,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: int | None = None,
        retries: int | Retries | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        startup_timeout: float | None = None,
        name: str | None = None,
        is_generator: bool | None = None,
        cloud: str | None = None,
        region: str | Sequence[str] | None = None,
        nonpreemptible: bool = False,
        block_network: bool = False,
        restrict_modal_access: bool = False,
        single_use_containers: bool = False,
        include_source: bool | None = None,
        max_inputs: int | None = None,
        **later: Any,
    ) -> FunctionDecorator:
        """Make the decorated function one that runs in containers.

        Args:
            image: the file system it runs in; default: the app's.
            schedule: when it is called by itself once the app is deployed; it must need no arguments.
            env: more environment variables; those that are None are left out.
            secrets: secrets that become environment variables; later ones win.
            volumes: what is mounted, by absolute path: :class:`skerry.Volume` or :class:`skerry.CloudBucketMount`.
            serialized: send the function itself by cloudpickle instead of having its module imported; for functions that are not at the
                top of a module, and for notebooks.
            cpu: cores wanted, or (wanted, most). Default: 0.125, with bursts.
            memory: MiB wanted, or (wanted, most); a container past the most is killed. Default: 128, without a limit of its own.
            ephemeral_disk: size of the writable layer in MiB.
            min_containers: containers kept even when idle.
            max_containers: most containers.
            buffer_containers: idle containers kept ready while there is work.
            scaledown_window: seconds an idle container is kept. Default: 60.
            retries: how often a failed input is run again: a number, one second apart, or ``skerry.Retries``. Not for generators.
            timeout: most seconds per attempt of an input, 1 to 86400.
            startup_timeout: most seconds for a container to start; default: ``timeout``.
            name: its name in the app; default: the qualified name.
            is_generator: say that it is a generator where that can't be seen.
            cloud: run on workers with this label "cloud" only.
            region: run on workers with one of these labels "region" only; "us" also matches "us-east".
            nonpreemptible: leave out workers with the label preemptible=true.
            block_network: give it no network.
            restrict_modal_access: its code can't call Skerry.
            single_use_containers: a container ends after one input.
            include_source: send its source; default: as the app says.
            max_inputs: deprecated; 1 is ``single_use_containers=True``.
            later: options of the reference surface that are not available yet raise UnimplementedError.

        Raises InvalidError for options that make no sense.
        """
        if not_allowed:
            raise InvalidError("@app.function needs parentheses and keyword arguments: @app.function()")
        refuse_later(later)
        given = locals()
        options = FunctionOptions({key: given[key] for key in FUNCTION_OPTIONS})

        def decorate(raw: Callable[..., Any]) -> Function[..., Any]:
            function = define_function(self, raw, name, options)
            self._register(function)
            return function

        return decorate

    @dataclass_transform(field_specifiers=(parameter,), kw_only_default=True)
    def cls(
        self,
        *not_allowed: object,
        image: Image | None = None,
        env: dict[str, str | None] | None = None,
        secrets: Sequence[Secret] | None = None,
        volumes: Mapping[str, Volume | CloudBucketMount] | None = None,
        serialized: bool = False,
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        ephemeral_disk: int | None = None,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: int | None = None,
        retries: int | Retries | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        startup_timeout: float | None = None,
        cloud: str | None = None,
        region: str | Sequence[str] | None = None,
        nonpreemptible: bool = False,
        block_network: bool = False,
        restrict_modal_access: bool = False,
        single_use_containers: bool = False,
        include_source: bool | None = None,
        max_inputs: int | None = None,
        **later: Any,
    ) -> Callable[[C], C]:
        """Make the decorated class one whose instances live in containers: a :class:`Cls`.

        Its ``@skerry.method()`` methods are called remotely; ``@skerry.enter()`` and ``@skerry.exit()`` hooks run around the life of a
        container; ``skerry.parameter()`` declares what instances are made with. Arguments are as in :meth:`function`.
        """
        if not_allowed:
            raise InvalidError("@app.cls needs parentheses and keyword arguments: @app.cls()")
        refuse_later(later, "the class option")
        given = locals()
        options = FunctionOptions({key: given.get(key) for key in FUNCTION_OPTIONS})

        def decorate(raw: C) -> C:
            cls = define_class(self, raw, options)
            self._register(cls._service)
            return cls  # pyright: ignore[reportReturnType] - to type checkers it stays the class, whose methods they know

        return decorate

    def local_entrypoint(
        self, *not_allowed: object, name: str | None = None
    ) -> Callable[[Callable[P, R]], LocalEntrypoint[P, R]]:
        """Make the decorated function what ``skerry run`` calls, here on the user's machine, while the app runs.

        Its parameters become options of the command line: str, int, float, bool, datetime, Optional and Literal. Raises InvalidError
        if the app has an entrypoint of that name.
        """
        if not_allowed:
            raise InvalidError("@app.local_entrypoint needs parentheses: @app.local_entrypoint()")

        def decorate(raw: Callable[P, R]) -> LocalEntrypoint[P, R]:
            check_entrypoint(raw)
            tag = name or raw.__qualname__
            if tag in self._entrypoints:
                raise InvalidError(f"local entrypoint {tag!r} is there already; give one of them a name")
            entrypoint = LocalEntrypoint(raw, tag, self)
            self._entrypoints[tag] = entrypoint
            return entrypoint

        return decorate

    def include(self, other_app: App, inherit_tags: bool = True) -> Self:
        """Register all functions and classes of another app in this one, too. This app's own tags win."""
        if not isinstance(other_app, App):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(f"include() takes another skerry.App, got {type(other_app).__name__}")
        for function in other_app._functions.values():
            self._register(function)
        if inherit_tags:
            self._tags = {**other_app._tags, **self._tags}
        return self

    def server(self, *_args: object, **_options: object) -> NoReturn:
        """Not available yet."""
        raise UnimplementedError("@app.server is not available in this version of skerry yet")

    def get_dashboard_url(self) -> NoReturn:
        """Not available yet."""
        raise UnimplementedError("app.get_dashboard_url() is not available in this version of skerry yet")

    @property
    def image(self) -> Image:
        """The image of functions that name none."""
        if self._image is None:
            self._image = Image.debian_slim()
        return self._image

    @image.setter
    def image(self, image: Image) -> None:
        self._image = _check_image(image)

    @property
    def registered_functions(self) -> dict[str, Function[..., Any]]:
        """The functions by name, without classes."""
        return {name: function for name, function in self._functions.items() if function._cls is None}

    @property
    def registered_classes(self) -> dict[str, Cls]:
        """The classes by name."""
        return {name: function._cls for name, function in self._functions.items() if function._cls is not None}

    @property
    def registered_entrypoints(self) -> dict[str, LocalEntrypoint[..., Any]]:
        """The local entrypoints by name."""
        return dict(self._entrypoints)

    @property
    def registered_web_endpoints(self) -> list[str]:
        """Empty: web endpoints are not available yet."""
        return []

    def __repr__(self) -> str:
        return f"skerry.App({self._name!r})"

    # Inside the package.

    def _register(self, function: Function[..., Any]) -> None:
        old = self._functions.get(function.name)
        if old is not None and old is not function and not in_cells():
            import logging

            logging.getLogger("skerry").warning(
                "function name %r collision! Overriding existing function", function.name
            )
        self._functions[function.name] = function
        function._apps.append(self)


def _check_image(image: Image | None) -> Image | None:
    if image is not None and not isinstance(image, Image):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidError(f"image must be a skerry.Image, got {type(image).__name__}")
    return image


# The options that FunctionOptions checks.
FUNCTION_OPTIONS = (
    "image",
    "schedule",
    "env",
    "secrets",
    "volumes",
    "serialized",
    "cpu",
    "memory",
    "ephemeral_disk",
    "min_containers",
    "max_containers",
    "buffer_containers",
    "scaledown_window",
    "retries",
    "timeout",
    "startup_timeout",
    "is_generator",
    "cloud",
    "region",
    "nonpreemptible",
    "block_network",
    "restrict_modal_access",
    "single_use_containers",
    "include_source",
    "max_inputs",
)
