"""Environments: namespaces of everything that has a name."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from skerry._client.direct import ask, direct
from skerry._names import check_environment
from skerry.exception import AlreadyExistsError, ExecutionError, InvalidError, NotFoundError, UnimplementedError

if TYPE_CHECKING:
    from typing import NoReturn

    from typing_extensions import Self

    from skerry._client.client import Client
    from skerry._gen.skerry.v1.environment_pb import EnvironmentInfo

    List = list  # the manager has a method of that name


class _NotYet:
    """A part of an environment that a later version of Skerry brings."""

    def __init__(self, name: str) -> None:
        self._what = name

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise UnimplementedError(
            f"Environment.{self._what}.{name} is not available in this version of skerry yet; "
            "a token can be limited to environments: skerryd token new --environment NAME"
        )


class EnvironmentManager:
    """Makes, lists and deletes environments: ``skerry.Environment.objects``."""

    @direct
    async def create(
        self,
        name: str,
        *,
        restricted: bool = False,
        default_role: str | None = None,
        experimental_options: dict[str, Any] | None = None,
        client: Client | None = None,
    ) -> None:
        """Make an environment.

        Args:
            name: 1 to 64 letters, digits, '-', '_' or '.'; a letter or digit first, and not beginning with "en-".
            restricted: not available yet, like the two that follow.
            default_role: see restricted.
            experimental_options: there are none.
            client: default: the process's own.

        Raises AlreadyExistsError.
        """
        if restricted or default_role is not None:
            raise UnimplementedError(
                "restricted environments and roles are not available in this version of skerry yet; "
                "a token can be limited to environments: skerryd token new --environment NAME"
            )
        if experimental_options:
            raise InvalidError(f"experimental_options: there is no {', '.join(sorted(experimental_options))}")
        from skerry._gen.skerry.v1.environment_pb import CreateEnvironmentRequest

        request = CreateEnvironmentRequest(name=check_environment(name))
        await ask(_client(client), lambda services: services.environments.create_environment(request))

    @direct
    async def list(self, *, client: Client | None = None) -> List[Environment]:
        """Return the environments that the token opens, by name."""
        from skerry._gen.skerry.v1.environment_pb import ListEnvironmentsRequest

        known = _client(client)
        answer = await ask(known, lambda services: services.environments.list_environments(ListEnvironmentsRequest()))
        return [Environment._of_info(info, known) for info in answer.environments]

    @direct
    async def delete(self, name: str, *, client: Client | None = None) -> None:
        """Delete an environment with all that is in it: apps are stopped, sandboxes ended, and what has a name is removed, for good.

        It returns when all is gone. Raises NotFoundError.
        """
        from skerry._gen.skerry.v1.environment_pb import DeleteEnvironmentRequest

        request = DeleteEnvironmentRequest(name=check_environment(name))
        await ask(_client(client), lambda services: services.environments.delete_environment(request))


class Environment:
    """A namespace of apps, volumes, dicts, queues, secrets and names of images.

    Make a handle with :meth:`from_name` or :meth:`from_context`.
    """

    objects = EnvironmentManager()
    roles = _NotYet("roles")
    members = _NotYet("members")
    billing = _NotYet("billing")

    _name: str | None
    _create: bool
    _client: Client | None
    _info: EnvironmentInfo | None

    def __init__(self) -> None:
        raise TypeError("make a handle with skerry.Environment.from_name(...), or skerry.Environment.from_context()")

    @classmethod
    def _make(cls, name: str | None, client: Client | None, *, create: bool = False) -> Self:
        made = object.__new__(cls)
        made._name, made._client, made._create, made._info = name, client, create, None
        return made

    @classmethod
    def _of_info(cls, info: EnvironmentInfo, client: Client) -> Self:
        made = cls._make(info.name, client)
        made._info = info
        return made

    @staticmethod
    def from_name(name: str, *, create_if_missing: bool = False, client: Client | None = None) -> Environment:
        """Return a handle of the environment of a name. Nothing is asked before it is used.

        Args:
            name: its name.
            create_if_missing: make it at the first use if it is not there; else NotFoundError is raised then.
            client: default: the process's own.
        """
        return Environment._make(check_environment(name), client, create=create_if_missing)

    @staticmethod
    def from_context(*, client: Client | None = None) -> Environment:
        """Return a handle of the environment in use: the configured one, or the server's default; in a container its own."""
        from skerry.config import config

        return Environment._make(config.environment or None, client)

    @direct
    async def hydrate(self, client: Client | None = None) -> Self:
        """Look the environment up now instead of at its first use, and return the handle. Raises NotFoundError."""
        if client is not None:
            self._client = client
        await self._describe()
        return self

    @property
    def name(self) -> str:
        """Its name. Where a handle from the context has to ask the server for it, this blocks."""
        if self._name is None:
            self.hydrate()
        return str(self._name)

    @property
    def object_id(self) -> str:
        """Its id. Raises ExecutionError before the environment was looked up."""
        if self._info is None:
            raise ExecutionError(f"{self!r} has not been hydrated: call hydrate() first")
        return self._info.environment_id

    @property
    def is_hydrated(self) -> bool:
        """Whether the environment was looked up."""
        return self._info is not None

    def __repr__(self) -> str:
        if self._name is None:
            return "skerry.Environment.from_context()"
        return f"skerry.Environment.from_name({self._name!r})"

    async def _describe(self) -> EnvironmentInfo:
        if self._info is None:
            from skerry._gen.skerry.v1.environment_pb import GetEnvironmentRequest

            client = self._client = _client(self._client)
            request = GetEnvironmentRequest(name=self._name or "")
            try:
                answer = await ask(client, lambda services: services.environments.get_environment(request))
            except NotFoundError:
                if not self._create:
                    raise
                with contextlib.suppress(AlreadyExistsError):  # another client was faster, which is as good
                    await EnvironmentManager.create.__wrapped__(self.objects, self.name, client=client)
                answer = await ask(client, lambda services: services.environments.get_environment(request))
            info: EnvironmentInfo = answer.environment
            self._info, self._name = info, info.name
            return info
        return self._info


def _client(given: Client | None) -> Client:
    if given is not None:
        return given
    from skerry._client.client import shared_client

    return shared_client()
