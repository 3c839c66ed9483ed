"""Functions."""

from __future__ import annotations

from skerry._context import is_local
from skerry._names import check_name
from skerry._twin import twin
from skerry.exception import ExecutionError, InvalidError

from .handle import Handle
from .variants import Variants

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable
    from typing import Any, Generic, ParamSpec

    from typing_extensions import Self, TypeVar

    from skerry._client.client import Client
    from skerry.types import FunctionAutoscalerSettings

    from .app import App
    from .call import FunctionCall
    from .generator import GeneratorMethod
    from .logs import FunctionLogsManager
    from .options import FunctionOptions
    from .partial import Batching, Concurrency
    from .results import MapMethod

    P = ParamSpec("P")
    R = TypeVar("R", covariant=True)
    O = TypeVar("O", covariant=True, default=R)  # noqa: E741 - what the body returns: the coroutine of an asynchronous one
else:
    from skerry._twin import Generic

    P = R = O = None  # noqa: E741


class Function(Variants, Handle, Generic[P, R, O]):
    """A function that runs in containers.

    Get it from ``@app.function()`` or, for a function of a deployed app, from :meth:`from_name`. Calling the object itself is an error:
    say where it is to run, with :meth:`remote` or :meth:`local`.
    """

    def __init__(self, raw: Callable[P, O] | None, name: str, app: App | None, options: FunctionOptions | None) -> None:
        super().__init__(name)
        self._raw = raw
        self._app = app
        self._options = options
        self._generator = yields(raw) if options is None or options.is_generator is None else options.is_generator
        self._concurrency: Concurrency | None = None
        self._batching: Batching | None = None
        if raw is not None:
            self.__doc__ = raw.__doc__
            self.__module__ = raw.__module__
            self.__name__ = raw.__name__
            self.__qualname__ = raw.__qualname__
            self.__wrapped__ = raw

    # Calls.

    @twin
    def remote(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function in a container, wait, and return its result.

        Raises what the function raised, with the remote traceback; FunctionTimeoutError; RemoteError for a crash; InternalFailure.
        """
        from skerry._client.single import remote

        client, function_id = self._ready_for(generator=False)
        return remote(client, function_id, self._name, (args, kwargs), self._method)

    @remote.native
    async def _remote_aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        from skerry._client.single import remote_aio

        client, function_id = await self._ready_for_aio(generator=False)
        return await remote_aio(client, function_id, self._name, (args, kwargs), self._method)

    @property
    def remote_gen(self) -> GeneratorMethod[P]:
        """Run the generator function in a container and iterate over what it yields, as it comes.

        Items that were yielded before an exception arrive before it is raised. Leaving the loop early cancels the call. Raises InvalidError
        for a function that is no generator.
        """
        from .generator import GeneratorMethod

        return GeneratorMethod(self)

    @twin
    def spawn(self, *args: P.args, **kwargs: P.kwargs) -> FunctionCall[R]:
        """Start the function in a container and return a handle of the call at once.

        When this returns, the call is on disk: it runs whatever becomes of this process or the server.
        """
        from skerry._client.single import spawn

        from .call import FunctionCall

        client, function_id = self._ready_for(generator=False)
        return FunctionCall(spawn(client, function_id, self._name, (args, kwargs), self._method), client)

    @spawn.native
    async def _spawn_aio(self, *args: P.args, **kwargs: P.kwargs) -> FunctionCall[R]:
        from skerry._client.single import spawn_aio

        from .call import FunctionCall

        client, function_id = await self._ready_for_aio(generator=False)
        return FunctionCall(await spawn_aio(client, function_id, self._name, (args, kwargs), self._method), client)

    @property
    def map(self) -> MapMethod[R]:
        """Run the function for each element of iterables, in parallel, and iterate over the results.

        ``map(*input_iterators, kwargs={}, order_outputs=True, return_exceptions=False)``

        Args:
            input_iterators: one iterable per positional parameter; the shortest ends the map. They are drawn lazily, from a background
                thread, at most 1,000 elements and 64 MiB ahead. ``.aio`` takes asynchronous ones as well.
            kwargs: keyword arguments that are the same for all.
            order_outputs: results in the order of the inputs, else as they come.
            return_exceptions: exceptions are results, else the first one is raised.
        """
        from .results import MapMethod

        return MapMethod(self, star=False)

    @property
    def starmap(self) -> MapMethod[R]:
        """As :meth:`map`, with one iterable whose elements are tuples of arguments."""
        from .results import MapMethod

        return MapMethod(self, star=True)

    @twin
    def for_each(
        self, *input_iterators: Iterable[Any], kwargs: dict[str, Any] | None = None, ignore_exceptions: bool = False
    ) -> None:
        """Run the function for each element and wait for all; results are dropped. Arguments are as in :meth:`map`.

        Raises the first exception, unless ``ignore_exceptions``.
        """
        self._refuse_in_loop("for_each")
        results = self.map(*input_iterators, kwargs=kwargs, order_outputs=False, return_exceptions=ignore_exceptions)
        for _ in results:
            pass

    @for_each.native
    async def _for_each_aio(
        self,
        *input_iterators: Iterable[Any] | AsyncIterable[Any],
        kwargs: dict[str, Any] | None = None,
        ignore_exceptions: bool = False,
    ) -> None:
        results = self.map.aio(
            *input_iterators, kwargs=kwargs, order_outputs=False, return_exceptions=ignore_exceptions
        )
        async for _ in results:
            pass

    def local(self, *args: P.args, **kwargs: P.kwargs) -> O:
        """Run the function's body here, in this process. A coroutine function gives a coroutine.

        Raises ExecutionError for a function that was looked up by name: its code is not here.
        """
        if self._owner is not None:
            return self._owner._run_here(self._method, args, kwargs)
        return self.get_raw_f()(*args, **kwargs)

    @twin
    def spawn_map(self, *input_iterators: Iterable[Any], kwargs: dict[str, Any] | None = None) -> None:
        """Spawn one call for each element, and return when all are recorded. There are no handles. Arguments are as in :meth:`map`."""
        from .spawned import spawn_each

        spawn_each(self, input_iterators, kwargs)

    @spawn_map.native
    async def _spawn_map_aio(
        self, *input_iterators: Iterable[Any] | AsyncIterable[Any], kwargs: dict[str, Any] | None = None
    ) -> None:
        from .spawned import spawn_each_aio

        await spawn_each_aio(self, input_iterators, kwargs)

    @twin
    def experimental_spawn_map(
        self, *input_iterators: Iterable[Any], kwargs: dict[str, Any] | None = None
    ) -> FunctionCall[R]:
        """Spawn one call of all elements and return its handle: results by ``get(index=...)`` and ``iter()``."""
        from .spawned import spawn_together

        return spawn_together(self, input_iterators, kwargs)

    @experimental_spawn_map.native
    async def _experimental_spawn_map_aio(
        self, *input_iterators: Iterable[Any] | AsyncIterable[Any], kwargs: dict[str, Any] | None = None
    ) -> FunctionCall[R]:
        from .spawned import spawn_together_aio

        return await spawn_together_aio(self, input_iterators, kwargs)

    def __call__(self, *_args: object, **_kwargs: object) -> Any:
        raise InvalidError(f"say where {self._name} is to run: {self._name}.remote(...) or {self._name}.local(...)")

    # Lookup.

    @staticmethod
    def from_name(
        app_name: str,
        name: str,
        *,
        version: int | None = None,
        environment_name: str | None = None,
        client: Client | None = None,
    ) -> Function[..., Any]:
        """Return a function of a deployed app. The server is asked when it is first used; NotFoundError is raised then.

        Args:
            app_name: the name the app was deployed under.
            name: the function's name.
            version: number of the deployment to call; default: always the newest.
            environment_name: the environment; default: the configured one.
            client: default: the process's own.
        """
        if version is not None and (type(version) is not int or version < 1):
            raise InvalidError(f"version={version!r}: want the number of a deployment, from 1")
        check_name("function", name)
        if "." in name:
            raise InvalidError(
                f"function {name!r}: look the class up with skerry.Cls.from_name, and use the method of an instance"
            )
        function: Function[..., Any] = Function(None, name, None, None)
        function._lookup = (check_name("app", app_name), environment_name)
        function._version = version
        function._client = client
        return function

    @property
    def app(self) -> App:
        """The app the function belongs to. Raises ExecutionError for a function that was looked up."""
        if self._app is None:
            raise ExecutionError(f"function {self._name!r} was looked up by name; its app is not here")
        return self._app

    @property
    def name(self) -> str:
        """The function's name in its app."""
        return self._name

    tag = name

    def get_raw_f(self) -> Callable[P, O]:
        """Return the function that was decorated. Raises ExecutionError if it was looked up by name."""
        if self._raw is None:
            raise ExecutionError(f"function {self._name!r} was looked up by name; its code is not here, use remote()")
        if not is_local():
            # What image.imports() swallowed matters where a function of that image is about to run.
            image = self._image()
            if image is not None:
                image._raise_captured()
        return self._raw

    @twin
    def get_current_stats(self) -> Any:
        """Return a FunctionStats: inputs that wait (backlog), containers (num_total_runners), inputs that run."""
        from skerry._gen.skerry.v1.function_pb import GetFunctionStatsRequest
        from skerry.types import FunctionStats

        client, function_id = self._ready()
        stats = client.call(
            lambda: client.functions.get_function_stats(GetFunctionStatsRequest(function_id=function_id))
        )
        return FunctionStats(stats.backlog, stats.num_containers, stats.num_running_inputs, stats.input_headroom)

    @property
    def is_generator(self) -> bool:
        """Whether the function yields items."""
        return bool(self._generator)

    @property
    def logs(self) -> FunctionLogsManager:
        """What the function's containers wrote."""
        from .logs import FunctionLogsManager

        return FunctionLogsManager(self)

    @twin
    def get_web_url(self) -> str | None:
        """Return None: web endpoints are not available yet."""
        self._ready()
        return None

    @twin
    def update_autoscaler(
        self,
        *,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: int | None = None,
    ) -> FunctionAutoscalerSettings:
        """Change the bounds of the number of containers until the app is deployed the next time; those that are None stay.

        Args:
            min_containers: containers kept even when idle.
            max_containers: most containers; 0: no limit.
            buffer_containers: idle containers kept ready while there is work.
            scaledown_window: seconds an idle container is kept.

        Returns the bounds from now on. Raises InvalidError, also for a method, whose instance has them.
        """
        from .bound import update_autoscaler

        if self._owner is not None:
            raise InvalidError(
                f"{self._name} is a method: the containers are its instance's, whose update_autoscaler() changes them"
            )
        client, function_id = self._ready()
        return update_autoscaler(
            client, function_id, min_containers, max_containers, buffer_containers, scaledown_window
        )

    # Inside the package.

    def _with(self, options: dict[str, Any]) -> Self:
        from .bound import Changes

        if self._owner is not None:
            raise InvalidError(f"{self._name} is a method: use with_options() of its class")
        changed = type(self)(self._raw, self._name, self._app, self._options)
        changed._generator = self._generator
        changed._base = self._base or self
        changed._changes = Changes(self._changes, options)
        changed._client = self._client
        return changed

    def _ready_for(self, generator: bool) -> tuple[Client, str]:
        ready = self._ready()
        self._check_kind(generator)
        return ready

    async def _ready_for_aio(self, generator: bool) -> tuple[Client, str]:
        ready = await self._ready_aio()
        self._check_kind(generator)
        return ready

    def _check_kind(self, generator: bool) -> None:
        """Raise InvalidError where a generator is called as a function, or the reverse."""
        if self._cls is not None:
            raise InvalidError(f"{self._name} is a class: call a method of an instance")
        if self._generator is None or self._generator == generator:
            return
        if generator:
            raise InvalidError(f"{self._name} is no generator function: use remote() instead of remote_gen()")
        raise InvalidError(f"{self._name} is a generator function: use remote_gen()")

    def _image(self) -> Any:
        options = self._options
        if options is not None and options.image is not None:
            return options.image
        return self._app._image if self._app is not None else None

    def __repr__(self) -> str:
        if self._lookup is not None:
            return f"skerry.Function.from_name({self._lookup[0]!r}, {self._name!r})"
        return f"<skerry.Function {self._name!r}>"


def yields(raw: Any) -> bool | None:
    """Tell whether a function is a generator, of either kind; None where that is not known."""
    code = getattr(raw, "__code__", None)
    if code is None:
        return None
    return bool(code.co_flags & 0x0220) and not code.co_flags & 0x0080
