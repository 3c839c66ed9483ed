"""Where a function is on the server: its id, and how it is found."""

from __future__ import annotations

from skerry._context import is_local, of_this_container, started
from skerry._twin import in_event_loop, twin
from skerry.exception import ExecutionError, InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Self

    from skerry._client.client import Client

    from .app import App
    from .bound import Changes
    from .function import Function


class Handle:
    """The part of a :class:`Function` that knows its id: given by a running app, looked up by name, or bound to options or an instance."""

    _raw: Any
    _generator: bool | None

    def __init__(self, name: str) -> None:
        self._name = name
        self._object_id: str | None = None
        self._client: Client | None = None
        self._lookup: tuple[str, str | None] | None = None
        self._version: int | None = None
        self._app_id = ""
        self._apps: list[App] = []  # those that it is registered in
        self._found: Any = None  # the definition of a function that was looked up
        self._owner: Any = None  # the instance whose method it is
        self._method = ""
        self._cls: Any = None  # the class whose containers it is
        self._base: Function[..., Any] | None = None  # with other options
        self._changes: Changes | None = None
        self._bound: dict[str, str] = {}  # ids, by that of the base
        self._instances: dict[bytes, str] = {}  # ids, by what was asked for, the newest last

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
        known = self._known_id()
        if known is None:
            raise ExecutionError(self._not_ready())
        return known

    @property
    def is_hydrated(self) -> bool:
        """Whether the function has an id."""
        return self._known_id() is not None

    # Inside the package.

    def _refuse_in_loop(self, name: str) -> None:
        """Raise InvalidError where a blocking method would hold up the event loop that draws its inputs."""
        if in_event_loop():
            raise InvalidError(
                f"{self._name}.{name}() can't block the running event loop; use `await {self._name}.{name}.aio(...)`"
            )

    def _app_of(self) -> str:
        """Return the id of the app that the function belongs to."""
        if self._owner is not None:
            return self._owner._cls._service._app_of()
        if self._base is not None:
            return self._base._app_of()
        if self._app_id:
            return self._app_id
        return started().get("app_id", "")

    def _definition(self) -> Any:
        """Return the definition of a function that was looked up."""
        if self._found is None:
            self._find()
        return self._found

    def _bind(self, client: Client | None, object_id: str | None, app_id: str = "") -> None:
        """Give the function the id it has in a running app, or take it."""
        self._client = client
        self._object_id = object_id
        self._app_id = app_id

    def _ready(self) -> tuple[Client, str]:
        if self._owner is not None:
            return self._owner._ready()
        if self._base is not None:
            return self._ready_changed(self._base)
        if self._object_id is None:
            if self._lookup is not None:
                self._find()
            else:
                self._object_id = self._id_here()
                if self._object_id is None:
                    raise ExecutionError(self._not_ready())
        if self._client is None:
            from skerry._client.client import shared_client

            self._client = shared_client()
        return self._client, self._object_id  # pyright: ignore[reportReturnType] - _find sets it or raises

    def _ready_changed(self, base: Function[..., Any]) -> tuple[Client, str]:
        client, base_id = base._ready()
        if base_id not in self._bound:
            from .bound import bind

            self._bound[base_id] = bind(client, base, base_id, changes=self._changes)
        if self._generator is None:
            self._generator = base._generator  # known once the base was looked up
        return client, self._bound[base_id]

    async def _ready_aio(self) -> tuple[Client, str]:
        if self._object_id is not None and self._client is not None:
            return self._client, self._object_id
        if self._known_id() is not None:
            return self._ready()  # a method or variant that was used before: nothing is asked of the server
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
            app_name=app_name,
            function_name=self._name,
            environment=environment or config.environment,
            version=self._version or 0,
        )
        response = client.call(lambda: client.functions.get_function(request))
        self._bind(client, response.function_id, response.app_id)
        self._found = response.definition
        if response.definition is not None and response.definition.class_spec is None:
            self._generator = response.definition.is_generator

    def _known_id(self) -> str | None:
        """Return the id without asking the server; None where it would have to be asked."""
        if self._owner is not None:
            return self._owner._known_id()
        if self._base is not None:
            return self._bound.get(self._base._known_id() or "")
        return self._object_id or (self._id_here() if self._lookup is None else None)

    def _id_here(self) -> str | None:
        """Return the id that the function has in the app of the container that this runs in."""
        if not of_this_container(self._apps):
            return None  # another app's, which has one of the same name
        return started().get("function_ids", {}).get(self._name)

    def _not_ready(self) -> str:
        where = "the app that this container belongs to does not have it; look it up with Function.from_name"
        if self._lookup is not None or self._owner is not None or self._base is not None:
            where = "it gets its id when it is first used, or by hydrate() once its app runs"
        elif is_local():
            where = (
                "its app is not running; call it inside `with app.run():` or with `skerry run`, "
                "or look a deployed one up with Function.from_name"
            )
        return f"function {self._name!r} has not been hydrated: {where}"

    def _spec(self) -> bytes | None:
        """Return what a class's handle needs of its definition, to travel with it."""
        if self._cls is not None and self._cls._user_cls is not None:
            from skerry._run.load import class_spec

            return class_spec(self._cls._user_cls).to_binary()
        spec = self._found.class_spec if self._found is not None else None
        return spec.to_binary() if spec is not None else None

    def __reduce__(self) -> tuple[Any, ...]:
        if self._owner is not None:
            return getattr, (self._owner, self._method)
        if self._base is not None:
            return _restore_changed, (self._base, self._changes, self._bound)
        if self._object_id is None and self._lookup is None:
            self._object_id = self._id_here()
        if self._object_id is not None:
            return _restore, (self._name, self._object_id, self._generator, self._app_id, self._spec())
        if self._lookup is not None:
            return _look_up, (self._lookup[0], self._name, self._lookup[1], self._version)
        raise InvalidError(f"can't serialize function {self._name!r}, which has not been hydrated: run its app first")


def _restore(name: str, object_id: str, generator: bool | None, app_id: str, spec: bytes | None) -> Function[..., Any]:
    from .function import Function

    function: Function[..., Any] = Function(None, name, None, None)
    function._object_id = object_id
    function._generator = generator
    function._app_id = app_id
    if spec is not None:
        from skerry._gen.skerry.v1.function_pb import ClassSpec, FunctionDefinition

        function._found = FunctionDefinition(class_spec=_parse(ClassSpec, spec))
    return function


def _parse(message: Any, data: bytes) -> Any:
    return message.from_binary(data)


def _restore_changed(base: Function[..., Any], changes: Changes, bound: dict[str, str]) -> Function[..., Any]:
    from .function import Function

    function: Function[..., Any] = Function(None, base.name, None, None)
    function._base = base
    function._changes = changes
    function._bound = dict(bound)
    function._generator = base._generator
    return function


def _look_up(app_name: str, name: str, environment_name: str | None, version: int | None) -> Function[..., Any]:
    from .function import Function

    return Function.from_name(app_name, name, environment_name=environment_name, version=version)
