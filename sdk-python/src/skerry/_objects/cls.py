"""Classes whose methods run in containers."""

from __future__ import annotations

from skerry._context import is_local, started
from skerry._names import check_name
from skerry._twin import twin
from skerry.exception import ExecutionError, InvalidError, NotFoundError

from .decorators import Parameter
from .function import Function, yields
from .lifecycle import construct, enter_hooks, methods, partials, run_here
from .partial import METHOD, PartialFunction
from .variants import Variants

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from typing_extensions import Self

    from skerry._client.client import Client

    from .bound import Changes

_KINDS = {"str": 1, "int": 2, "bytes": 3, "bool": 4}
_TYPES = {1: str, 2: int, 3: bytes, 4: bool}


class Cls(Variants):
    """A class whose instances live in containers.

    Get it from ``@app.cls()`` or, for one of a deployed app, from :meth:`from_name`. Call it for an instance, whose methods are called as
    functions are: ``Model(size=3).predict.remote(x)``.
    """

    def __init__(self, user_cls: type | None, service: Function[..., Any]) -> None:
        self._user_cls = user_cls
        self._service = service
        self._changes: Changes | None = None
        if user_cls is not None:
            self.__doc__ = user_cls.__doc__
            self.__name__ = user_cls.__name__
            self.__qualname__ = user_cls.__qualname__
            self.__module__ = user_cls.__module__

    @staticmethod
    def from_name(
        app_name: str,
        name: str,
        *,
        version: int | None = None,
        environment_name: str | None = None,
        client: Client | None = None,
    ) -> Cls:
        """Return a class of a deployed app. The server is asked when it is first used; NotFoundError is raised then.

        Arguments are as in :meth:`Function.from_name`.
        """
        check_name("class", name)
        if "." in name:
            raise InvalidError(
                f"class {name!r}: want the class's name alone; its methods are attributes of its instances"
            )
        service = Function.from_name(app_name, name, version=version, environment_name=environment_name, client=client)
        return Cls(None, service)

    def __call__(self, *args: Any, **kwargs: Any) -> Obj:
        """Return an instance. Nothing is asked of the server until it is used. Raises InvalidError or TypeError for wrong parameters."""
        return Obj(self, args, kwargs)

    def _with(self, options: dict[str, Any]) -> Self:
        from .bound import Changes

        changed = type(self)(self._user_cls, self._service)
        changed._changes = Changes(self._changes, options)
        return changed

    @twin
    def hydrate(self, client: Client | None = None) -> Cls:
        """Look the class up now instead of at its first use, and return it. Raises NotFoundError."""
        if client is not None:
            self._service._client = client
        self._service._ready()
        return self

    @property
    def object_id(self) -> str:
        """The id, "fu-..."; raises ExecutionError before the app runs or the class was looked up."""
        return self._service.object_id

    @property
    def is_hydrated(self) -> bool:
        """Whether the class has an id."""
        return self._service.is_hydrated

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        cls = self._user_cls
        if cls is not None and not hasattr(cls, name):
            raise AttributeError(f"class {cls.__name__!r} has no attribute {name!r}")
        if cls is not None and not isinstance(getattr(cls, name), PartialFunction):
            return getattr(cls, name)  # one of the class itself, such as a constant or a static method
        raise AttributeError(
            f"{name!r} is an attribute of instances; did you forget to instantiate the class? {self._service.name}().{name}"
        )

    def __mro_entries__(self, _bases: tuple[Any, ...]) -> NoReturn:
        raise InvalidError(
            f"{self._service.name} is decorated by @app.cls(), so no class can be derived from it: derive both from one that is not"
        )

    def __repr__(self) -> str:
        return f"<skerry.Cls {self._service.name!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._service, self._changes)

    # Inside the package.

    def _methods(self) -> dict[str, bool]:
        """Return the remote methods, each with whether it is a generator."""
        if self._user_cls is not None:
            return {name: is_generator(p) for name, p in partials(self._user_cls, METHOD).items()}
        spec = self._service._definition().class_spec
        return {m.name: m.is_generator for m in spec.methods} if spec is not None else {}

    def _parameters(self) -> dict[str, tuple[int, bool]] | None:
        """Return the parameters, each with its type and whether it must be given; None for a constructor of its own."""
        if self._user_cls is not None:
            if has_constructor(self._user_cls):
                return None
            return {name: (kind, p.required) for name, (kind, p) in parameters(self._user_cls).items()}
        spec = self._service._definition().class_spec
        if spec is None or spec.custom_constructor:
            return None
        return {p.name: (int(p.type), p.default_value is None) for p in spec.parameters}


def _restore(service: Function[..., Any], changes: Changes | None) -> Cls:
    cls = Cls(None, service)
    cls._changes = changes
    return cls


class Obj:
    """An instance that lives in containers: one pool of them for each set of parameters."""

    def __init__(self, cls: Cls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._cls = cls
        self._args = args
        self._kwargs = kwargs
        self._functions: dict[str, Function[..., Any]] = {}
        self._ids: dict[str, str] = {}  # of the bound function, by that of the service
        self._instance: Any = None
        self._entered = False
        if cls._user_cls is not None:
            self._check()

    def _check(self) -> None:
        """Raise for parameters that don't fit the class."""
        known = self._cls._parameters()
        if known is None:
            return
        if self._args:
            raise InvalidError(
                f"{self._cls._service.name}: parameters are keyword arguments; positional ones are not supported"
            )
        for name, value in self._kwargs.items():
            if name not in known:
                raise InvalidError(f"{self._cls._service.name}: parameter {name!r} was provided but is not defined")
            wanted = _TYPES[known[name][0]]
            if not isinstance(value, wanted):
                raise TypeError(f"parameter {name!r}: Expected {wanted.__name__}, got {type(value).__name__}")
        missing = [name for name, (_, required) in known.items() if required and name not in self._kwargs]
        if missing:
            raise InvalidError(f"{self._cls._service.name}: Missing required parameter: {missing[0]}")

    def _ready(self) -> tuple[Client, str]:
        client, service_id = self._cls._service._ready()
        known = self._cls._parameters()
        if not self._cls._changes and not self._args and not self._kwargs and not known:
            return client, service_id
        if service_id not in self._ids:
            from .bound import bind

            if self._cls._user_cls is None:
                self._check()
            self._ids[service_id] = bind(
                client,
                self._cls._service,
                service_id,
                changes=self._cls._changes,
                parameters={name: (known[name][0], value) for name, value in self._kwargs.items()} if known else {},
                constructor=(self._args, self._kwargs) if known is None and (self._args or self._kwargs) else None,
            )
        return client, self._ids[service_id]

    def _known_id(self) -> str | None:
        """Return the id of what runs the methods without asking the server; None where it would have to be asked."""
        service_id = self._cls._service._known_id()
        if service_id is None or service_id in self._ids:
            return self._ids.get(service_id or "")
        needs_no_binding = self._cls._user_cls is not None and not (
            self._cls._changes or self._args or self._kwargs or self._cls._parameters()
        )
        return service_id if needs_no_binding else None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        function = self._functions.get(name)
        if function is not None:
            return function
        known = self._cls._methods()
        if name in known:
            raw = methods(self._cls._user_cls)[name] if self._cls._user_cls is not None else None
            self._functions[name] = function = method_function(self, name, known[name], raw)
            return function
        if self._cls._user_cls is None:
            raise NotFoundError(f"class {self._cls._service.name!r} has no remote method {name!r}")
        return getattr(self._local(), name)

    def _local(self, enter: bool = False) -> Any:
        """Return the real instance here, made at the first use and entered where that is wanted."""
        cls = self._cls._user_cls
        if cls is None:
            raise ExecutionError(f"class {self._cls._service.name!r} was looked up by name; its code is not here")
        if self._instance is None:
            if has_constructor(cls):
                self._instance = cls(*self._args, **self._kwargs)
            else:
                self._instance = construct(cls, self._kwargs, None)
            self._instance.__dict__["_skerry_obj"] = self
        if enter and not self._entered:
            self._entered = True
            if hasattr(cls, "__enter__"):
                self._instance.__enter__()
            for hook in (hook for snap in (True, False) for hook in enter_hooks(cls, snap)):
                run_here(hook(self._instance))
        return self._instance

    def _run_here(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a method here, in the real instance; an asynchronous one gives a coroutine."""
        raw = methods(self._cls._user_cls)[name] if self._cls._user_cls is not None else None
        if getattr(getattr(raw, "__code__", None), "co_flags", 0) & 0x0080:
            return self._run_here_aio(name, args, kwargs)
        return getattr(self._local(enter=True), name)(*args, **kwargs)

    async def _run_here_aio(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an asynchronous method here. As in the reference, of all hooks only those of the language run before it."""
        instance = self._local()
        if not self._entered:
            self._entered = True
            if hasattr(instance, "__aenter__"):
                await instance.__aenter__()
            elif hasattr(instance, "__enter__"):
                instance.__enter__()
        return await getattr(instance, name)(*args, **kwargs)

    @twin
    def update_autoscaler(
        self,
        *,
        min_containers: int | None = None,
        max_containers: int | None = None,
        scaledown_window: int | None = None,
        buffer_containers: int | None = None,
    ) -> Any:
        """Change the bounds of this instance's containers until the app is deployed the next time.

        Arguments are as in :meth:`Function.update_autoscaler`.
        """
        from .bound import update_autoscaler

        client, function_id = self._ready()
        return update_autoscaler(
            client, function_id, min_containers, max_containers, buffer_containers, scaledown_window
        )

    def __repr__(self) -> str:
        given = [repr(a) for a in self._args] + [f"{k}={v!r}" for k, v in self._kwargs.items()]
        return f"<skerry.Obj {self._cls._service.name}({', '.join(given)})>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore_instance, (self._cls, self._args, self._kwargs, self._ids)


def _restore_instance(cls: Cls, args: tuple[Any, ...], kwargs: dict[str, Any], ids: dict[str, str]) -> Obj:
    instance = Obj(cls, args, kwargs)
    instance._ids = dict(ids)
    return instance


class BoundMethod:
    """A remote method of a real instance: called, it runs here; ``remote`` and the rest run it in the containers of the same instance."""

    def __init__(self, bound: Callable[..., Any], instance: Any, name: str) -> None:
        self._bound = bound
        self._instance = instance
        self._name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._bound(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        owner = self._instance.__dict__.get("_skerry_obj") or _Here(self._instance)
        instance_type: Any = type(self._instance)  # pyright: ignore[reportUnknownVariableType]
        marked = partials(instance_type, METHOD)[self._name]
        return getattr(method_function(owner, self._name, is_generator(marked), None), name)


class _Here:
    """The instance of the container that the code runs in."""

    def __init__(self, instance: Any) -> None:
        self._instance = instance

    def _run_here(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a method of the instance itself, whose hooks have run."""
        return getattr(self._instance, name)(*args, **kwargs)

    def _known_id(self) -> str | None:
        return started().get("function_id")

    def _ready(self) -> tuple[Client, str]:
        function_id = started().get("function_id")
        if not function_id:
            raise ExecutionError(
                "the instance was not made by Skerry: instantiate the decorated class, or call its method here"
            )
        from skerry._client.client import shared_client

        return shared_client(), function_id


def method_function(owner: Any, name: str, generator: bool, raw: Callable[..., Any] | None) -> Function[..., Any]:
    """Return the function that a method of an instance is."""
    function: Function[..., Any] = Function(raw, name, None, None)
    function._owner = owner
    function._method = name
    function._generator = generator
    return function


def is_generator(marked: PartialFunction) -> bool:
    """Tell whether a marked function yields items."""
    if marked.is_generator is not None:
        return marked.is_generator
    return bool(yields(marked.raw))


def has_constructor(cls: type) -> bool:
    """Tell whether a class has a constructor of its own and no declared parameters."""
    return cls.__init__ is not object.__init__ and not any(isinstance(v, Parameter) for v in vars(cls).values())


def parameters(cls: type) -> dict[str, tuple[int, Parameter]]:
    """Return the parameters that are given to instances, each with its type. Raises InvalidError for what can't be one."""
    if not any(isinstance(v, Parameter) for v in vars(cls).values()):
        return {}
    found: dict[str, tuple[int, Parameter]] = {}
    for base in reversed(cls.__mro__):
        hints = getattr(base, "__annotations__", {})  # of a class these are its own
        for name, value in vars(base).items():
            if not isinstance(value, Parameter) or not value.init:
                continue
            if name not in hints:
                raise InvalidError(
                    f"parameter {cls.__name__}.{name}: has no annotation; write {name}: int = skerry.parameter()"
                )
            hint = hints[name]
            kind = _KINDS.get(hint if isinstance(hint, str) else getattr(hint, "__name__", ""))
            if kind is None:
                raise InvalidError(f"parameter {cls.__name__}.{name}: type {hint!r}; want str, int, bytes or bool")
            if not value.required and not isinstance(value.default, _TYPES[kind]):
                raise InvalidError(
                    f"parameter {cls.__name__}.{name}: the default {value.default!r} is no {_TYPES[kind].__name__}"
                )
            found[name] = kind, value
    return found


__all__ = ["Cls", "Obj", "is_local"]
