"""Functions."""

from __future__ import annotations

from skerry._context import is_local
from skerry._names import check_name
from skerry._twin import in_event_loop, twin
from skerry.exception import ExecutionError, InvalidError, UnimplementedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable
    from typing import Any, Generic, ParamSpec, TypeVar

    from typing_extensions import Self

    from skerry._client.client import Client

    from .app import App
    from .call import FunctionCall
    from .options import FunctionOptions
    from .results import MapMethod

    P = ParamSpec("P")
    R = TypeVar("R", covariant=True)
else:
    from skerry._twin import Generic

    P = R = None


class Function(Generic[P, R]):
    """A function that runs in containers.

    Get it from ``@app.function()`` or, for a function of a deployed app, from :meth:`from_name`. Calling the object itself is an error:
    say where it is to run, with :meth:`remote` or :meth:`local`.
    """

    def __init__(self, raw: Callable[P, R] | None, name: str, app: App | None, options: FunctionOptions | None) -> None:
        self._raw = raw
        self._name = name
        self._app = app
        self._options = options
        self._object_id: str | None = None
        self._client: Client | None = None
        self._lookup: tuple[str, str | None] | None = None
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

        client, function_id = self._ready()
        return remote(client, function_id, self._name, (args, kwargs))

    @remote.native
    async def _remote_aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        from skerry._client.single import remote_aio

        client, function_id = await self._ready_aio()
        return await remote_aio(client, function_id, self._name, (args, kwargs))

    @twin
    def spawn(self, *args: P.args, **kwargs: P.kwargs) -> FunctionCall[R]:
        """Start the function in a container and return a handle of the call at once.

        When this returns, the call is on disk: it runs whatever becomes of this process or the server.
        """
        from skerry._client.single import spawn

        from .call import FunctionCall

        client, function_id = self._ready()
        return FunctionCall(spawn(client, function_id, self._name, (args, kwargs)), client)

    @spawn.native
    async def _spawn_aio(self, *args: P.args, **kwargs: P.kwargs) -> FunctionCall[R]:
        from skerry._client.single import spawn_aio

        from .call import FunctionCall

        client, function_id = await self._ready_aio()
        return FunctionCall(await spawn_aio(client, function_id, self._name, (args, kwargs)), client)

    @property
    def map(self) -> MapMethod[R]:
        """Run the function for each element of iterables, in parallel, and iterate over the results.

        ``map(*input_iterators, kwargs={}, order_outputs=True, return_exceptions=False)``

        Args:
            input_iterators: one iterable per positional parameter; the shortest ends the map. They are drawn lazily, from a background
                thread, at most 1,000 elements ahead of the results that were consumed. ``.aio`` takes asynchronous ones as well.
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
        if in_event_loop():
            raise InvalidError(
                f"{self._name}.for_each() can't block the running event loop; use `await {self._name}.for_each.aio(...)`"
            )
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

    def local(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function's body here, in this process. A coroutine function gives a coroutine.

        Raises ExecutionError for a function that was looked up by name: its code is not here.
        """
        return self.get_raw_f()(*args, **kwargs)

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
            version: not available yet.
            environment_name: the environment; default: the configured one.
            client: default: the process's own.
        """
        if version is not None:
            raise UnimplementedError("Function.from_name(version=...) is not available in this version of skerry yet")
        if "." in name:
            raise InvalidError(f"function {name!r}: methods of classes are not available in this version of skerry yet")
        function: Function[..., Any] = Function(None, check_name("function", name), None, None)
        function._lookup = (check_name("app", app_name), environment_name)
        function._client = client
        return function

    @twin
    def hydrate(self, client: Client | None = None) -> Self:
        """Look the function up now instead of at its first use, and return it. Raises NotFoundError."""
        if client is not None:
            self._client = client
        self._ready()
        return self

    @property
    def object_id(self) -> str:
        """The function's id, "fu-...". Raises ExecutionError before the app runs or the function was looked up."""
        if self._object_id is None:
            raise ExecutionError(self._not_ready())
        return self._object_id

    @property
    def is_hydrated(self) -> bool:
        """Whether the function has an id."""
        return self._object_id is not None

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

    def get_raw_f(self) -> Callable[P, R]:
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
        headroom = max(stats.num_containers - stats.num_running_inputs, 0)
        return FunctionStats(stats.backlog, stats.num_containers, stats.num_running_inputs, headroom)

    # Inside the package.

    def _image(self) -> Any:
        options = self._options
        if options is not None and options.image is not None:
            return options.image
        return self._app._image if self._app is not None else None

    def _bind(self, client: Client | None, object_id: str | None) -> None:
        """Give the function the id it has in a running app, or take it."""
        self._client = client
        self._object_id = object_id

    def _ready(self) -> tuple[Client, str]:
        if self._object_id is None:
            if self._lookup is None:
                raise ExecutionError(self._not_ready())
            self._find()
        if self._client is None:
            from skerry._client.client import shared_client

            self._client = shared_client()
        return self._client, self._object_id  # pyright: ignore[reportReturnType] - _find sets it or raises

    async def _ready_aio(self) -> tuple[Client, str]:
        if self._object_id is not None and self._client is not None:
            return self._client, self._object_id
        import asyncio

        return await asyncio.to_thread(self._ready)

    def _find(self) -> None:
        from skerry._client.client import shared_client
        from skerry._gen.skerry.v1.function_pb import GetFunctionRequest
        from skerry.config import config

        assert self._lookup is not None  # noqa: S101 - the caller has looked
        app_name, environment = self._lookup
        client = self._client or shared_client()
        request = GetFunctionRequest(
            app_name=app_name, function_name=self._name, environment=environment or config.environment
        )
        response = client.call(lambda: client.functions.get_function(request))
        self._bind(client, response.function_id)

    def _not_ready(self) -> str:
        where = "in a container, functions of the same app can't be called yet"
        if is_local():
            where = (
                "its app is not running; call it inside `with app.run():` or with `skerry run`, "
                "or look a deployed one up with Function.from_name"
            )
        return f"function {self._name!r} has not been hydrated: {where}"

    def __repr__(self) -> str:
        if self._lookup is not None:
            return f"skerry.Function.from_name({self._lookup[0]!r}, {self._name!r})"
        return f"<skerry.Function {self._name!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._object_id is not None:
            return _restore, (self._name, self._object_id)
        if self._lookup is not None:
            return _look_up, (self._lookup[0], self._name, self._lookup[1])
        raise InvalidError(f"can't serialize function {self._name!r}, which has not been hydrated: run its app first")


def _restore(name: str, object_id: str) -> Function[..., Any]:
    function: Function[..., Any] = Function(None, name, None, None)
    function._object_id = object_id
    return function


def _look_up(app_name: str, name: str, environment_name: str | None) -> Function[..., Any]:
    return Function.from_name(app_name, name, environment_name=environment_name)
