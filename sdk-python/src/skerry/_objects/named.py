"""What objects with a name have in common: volumes, dicts, queues, secrets.

A handle is lazy: it names an object, and asks the server for its id when it is first used. A noun's module says what it is called::

    class Dict(Named):
        _kind = Kind("dict", "di")
        objects = Manager["Dict"](...)

By that the RPCs are found: ``GetDict``, ``DescribeDict``, ``ListDicts``, ``DeleteDict`` and ``KeepDict`` of ``DictService``.
"""

from __future__ import annotations

from datetime import datetime, timezone
from importlib import import_module

from skerry import exception as exc
from skerry._client.direct import ask, direct
from skerry._names import check_environment, check_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Generic, TypeVar

    from protobuf.wkt import Timestamp
    from typing_extensions import Self

    from skerry._client.client import Client
    from skerry._gen.skerry.v1.object_pb import ObjectInfo

    List = list  # the managers have a method of that name
    N = TypeVar("N", bound="Named")
else:
    from skerry._twin import Generic

    N = None

# The most objects that the server lists at a time.
_PAGE = 100


class Kind:
    """A noun, and the requests that all nouns have.

    Args:
        noun: such as "dict".
        prefix: of its ids, such as "di".
    """

    def __init__(self, noun: str, prefix: str) -> None:
        self.noun = noun
        self.title = noun.capitalize()
        self.prefix = prefix

    async def ask(self, client: Client, verb: str, within: float | None = None, **fields: Any) -> Any:
        """Do the RPC of a verb: "get", "describe", "list", "delete" or "keep"."""
        many = "s" if verb == "list" else ""
        messages = import_module(f"skerry._gen.skerry.v1.{self.noun}_pb")
        request = getattr(messages, f"{verb.capitalize()}{self.title}{many}Request")(**fields)
        method = f"{verb}_{self.noun}{many}"
        return await ask(client, lambda services: getattr(getattr(services, f"{self.noun}s"), method)(request), within)

    def identity(self, object_id: str) -> dict[str, Any]:
        """Return the field that names an object."""
        return {f"{self.noun}_id": object_id}


class Named:
    """A handle of an object that has a name, or an id."""

    _kind: ClassVar[Kind]

    def __init__(self) -> None:
        title = self._kind.title
        raise TypeError(f"make a handle with skerry.{title}.from_name(...), or skerry.{title}.from_id(...)")

    _name: str | None
    _environment: str | None
    _create: bool
    _object_id: str | None
    _client: Client | None
    _info: ObjectInfo | None

    @classmethod
    def _make(
        cls,
        *,
        name: str | None = None,
        environment: str | None = None,
        create: bool = False,
        object_id: str | None = None,
        client: Client | None = None,
    ) -> Self:
        made = object.__new__(cls)
        made._name = None if name is None else check_name(cls._kind.noun, name)
        made._environment = check_environment(environment) if environment else environment
        made._create = create
        made._object_id = object_id
        made._client = client
        made._info = None
        return made

    @classmethod
    def _of_id(cls, object_id: str, client: Client | None) -> Self:
        kind = cls._kind
        if not isinstance(object_id, str) or not object_id.startswith(f"{kind.prefix}-"):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise exc.InvalidError(f"{kind.title}.from_id: want an id such as '{kind.prefix}-...', got {object_id!r}")
        return cls._make(object_id=object_id, client=client)

    @classmethod
    def _of_info(cls, info: ObjectInfo, client: Client | None) -> Self:
        made = cls._make(name=info.name or None, environment=info.environment, object_id=info.id, client=client)
        made._info = info
        return made

    @direct
    async def hydrate(self, client: Client | None = None) -> Self:
        """Look the object up now instead of at its first use, and return the handle. Raises NotFoundError."""
        if client is not None:
            self._client = client
        await self._describe()
        return self

    @property
    def object_id(self) -> str:
        """The id. Raises ExecutionError before the object was looked up."""
        if self._object_id is None:
            raise exc.ExecutionError(
                f"{self!r} has not been hydrated: it gets its id when it is first used, or by hydrate()"
            )
        return self._object_id

    @property
    def is_hydrated(self) -> bool:
        """Whether the handle has an id."""
        return self._object_id is not None

    @property
    def name(self) -> str | None:
        """The name; None for an ephemeral object, and for one that was found by its id and not used yet."""
        return self._name

    def __repr__(self) -> str:
        title = self._kind.title
        if self._name is not None:
            return f"skerry.{title}.from_name({self._name!r})"
        return f"skerry.{title}.from_id({self._object_id!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self._name, self._environment, self._create, self._object_id)

    # Inside the package.

    async def _ready(self) -> tuple[Client, str]:
        """Return the client and the id, which are found out once. Raises NotFoundError."""
        if self._client is None:
            from skerry._client.client import shared_client

            self._client = shared_client()
        if self._object_id is None:
            self._learn(await self._find(self._client))
        return self._client, self._object_id  # pyright: ignore[reportReturnType] - _learn sets it

    async def _find(self, client: Client) -> ObjectInfo:
        from skerry._gen.skerry.v1.object_pb import ObjectCreation
        from skerry.config import config

        creation = ObjectCreation.IF_MISSING if self._create else ObjectCreation.UNSPECIFIED
        environment = self._environment or config.environment
        answer = await self._kind.ask(client, "get", name=self._name, environment=environment, creation=creation)
        return answer.info

    async def _describe(self) -> ObjectInfo:
        """Return what the server knows, asked for once."""
        client, object_id = await self._ready()
        if self._info is None:
            self._learn((await self._kind.ask(client, "describe", **self._kind.identity(object_id))).info)
        assert self._info is not None  # noqa: S101 - _learn sets it
        return self._info

    def _learn(self, info: ObjectInfo) -> None:
        self._info = info
        self._object_id = info.id
        self._name = info.name or self._name


def _restore(cls: type[Named], name: str | None, environment: str | None, create: bool, object_id: str | None) -> Named:
    return cls._make(name=name, environment=environment, create=create, object_id=object_id)


class Manager(Generic[N]):
    """Makes, lists and deletes the objects of a noun: ``skerry.Dict.objects``."""

    def __init__(self, cls: type[N]) -> None:
        self._cls = cls

    @direct
    async def create(
        self,
        name: str,
        *,
        allow_existing: bool = False,
        environment_name: str | None = None,
        client: Client | None = None,
    ) -> None:
        """Make one with a name.

        Args:
            name: 1 to 64 letters, digits, '-', '_' or '.'.
            allow_existing: do nothing where it is there; else AlreadyExistsError is raised.
            environment_name: default: the configured one.
            client: default: the process's own.
        """
        from skerry._gen.skerry.v1.object_pb import ObjectCreation

        creation = ObjectCreation.IF_MISSING if allow_existing else ObjectCreation.MUST_BE_NEW
        kind = self._cls._kind
        await kind.ask(
            own_client(client),
            "get",
            name=check_name(kind.noun, name),
            environment=environment_of(environment_name),
            creation=creation,
        )

    @direct
    async def list(
        self,
        *,
        max_objects: int | None = None,
        created_before: datetime | str | None = None,
        environment_name: str = "",
        client: Client | None = None,
    ) -> List[N]:
        """Return those that have a name, newest first.

        Args:
            max_objects: at most so many. InvalidError if it is negative.
            created_before: only those made before; a text is ISO 8601. One without a zone is local time.
            environment_name: default: the configured one.
            client: default: the process's own.
        """
        if max_objects is not None and max_objects < 0:
            raise exc.InvalidError(f"max_objects is {max_objects}; want 0 or more")
        known = own_client(client)
        return [
            self._cls._of_info(info, known)
            for info in await self._infos(known, max_objects, created_before, environment_name)
        ]

    async def _infos(
        self, client: Client, most: int | None, before: datetime | str | None, environment_name: str
    ) -> List[ObjectInfo]:
        return [
            getattr(row, "info", row) for row in await rows(self._cls._kind, client, most, before, environment_name)
        ]

    @direct
    async def delete(
        self,
        name: str,
        *,
        allow_missing: bool = False,
        environment_name: str | None = None,
        client: Client | None = None,
    ) -> None:
        """Delete one with all that it holds, for good.

        Args:
            name: its name.
            allow_missing: do nothing where there is none; else NotFoundError is raised.
            environment_name: default: the configured one.
            client: default: the process's own.
        """
        kind, known = self._cls._kind, own_client(client)
        try:
            found = await kind.ask(
                known, "get", name=check_name(kind.noun, name), environment=environment_of(environment_name)
            )
            await kind.ask(known, "delete", **kind.identity(found.info.id))
        except exc.NotFoundError:
            if not allow_missing:
                raise


async def rows(
    kind: Kind, client: Client, most: int | None, before: datetime | str | None, environment: str, **fields: Any
) -> List[Any]:
    """Return what the server lists, page by page."""
    from skerry._gen.skerry.v1.object_pb import ObjectPage

    found: list[Any] = []
    page = ObjectPage(environment=environment_of(environment), before=_stamp(before))
    while most is None or len(found) < most:
        page.limit = _PAGE if most is None else min(_PAGE, most - len(found))
        some = getattr(await kind.ask(client, "list", page=page, **fields), f"{kind.noun}s")
        found.extend(some)
        if len(some) < page.limit:
            break
        page.before = getattr(some[-1], "info", some[-1]).created_at
    return found


def created_at(info: ObjectInfo) -> datetime:
    """Return when an object was made, in UTC."""
    stamp = info.created_at
    if stamp is None:
        return datetime.fromtimestamp(0, timezone.utc)
    return datetime.fromtimestamp(stamp.seconds + stamp.nanos / 1e9, timezone.utc)


def own_client(given: Client | None) -> Client:
    """Return the client that is given, or else the process's own."""
    if given is not None:
        return given
    from skerry._client.client import shared_client

    return shared_client()


def environment_of(given: str | None) -> str:
    """Return the environment that is given, or else the configured one."""
    from skerry.config import config

    return check_environment(given) if given else config.environment


def _stamp(moment: datetime | str | None) -> Timestamp | None:
    if moment is None:
        return None
    from protobuf.wkt import Timestamp

    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:
            raise exc.InvalidError(
                f"created_before {moment!r}: want a date such as 2026-11-26T08:00:00+00:00"
            ) from None
    moment = moment.astimezone(timezone.utc)
    return Timestamp(seconds=int(moment.timestamp()), nanos=moment.microsecond * 1000)
