"""Secrets."""

from __future__ import annotations

import os

from skerry._client.direct import ask, direct
from skerry._context import is_local
from skerry._names import check_environment, check_name, check_variables
from skerry.exception import InvalidError

from .named import Kind, Manager, Named, created_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, ClassVar

    from typing_extensions import Self

    from skerry._client.client import Client
    from skerry._gen.skerry.v1.object_pb import ObjectInfo

    from .infos import SecretInfo


class SecretManager(Manager["Secret"]):
    """Makes, lists and deletes secrets with a name: ``skerry.Secret.objects``."""

    @direct
    async def create(  # pyright: ignore[reportIncompatibleVariableOverride] - a secret has values from its beginning
        self,
        name: str,
        env_dict: Mapping[str, str | None],
        *,
        allow_existing: bool = False,
        environment_name: str | None = None,
        client: Client | None = None,
    ) -> None:
        """Make one with a name.

        Args:
            name: 1 to 64 letters, digits, '-', '_' or '.'.
            env_dict: its variables; those that are None are left out.
            allow_existing: leave it as it is where it is there; else AlreadyExistsError is raised.
            environment_name: default: the configured one.
            client: default: the process's own.
        """
        from skerry._gen.skerry.v1.object_pb import ObjectCreation
        from skerry._gen.skerry.v1.secret_pb import GetSecretRequest
        from skerry.config import config

        request = GetSecretRequest(
            name=check_name("secret", name),
            environment=check_environment(environment_name) if environment_name else config.environment,
            creation=ObjectCreation.IF_MISSING if allow_existing else ObjectCreation.MUST_BE_NEW,
            variables=check_variables("Secret.objects.create", env_dict),
        )
        if client is None:
            from skerry._client.client import shared_client

            client = shared_client()
        await ask(client, lambda services: services.secrets.get_secret(request))


class Secret(Named):
    """Values that become environment variables of containers. They are sealed at rest and never shown.

    One with a name is kept on the server for all apps of its environment: :meth:`from_name`. Others belong to the app that uses them.
    """

    _kind = Kind("secret", "st")
    objects: ClassVar[SecretManager]

    _variables: dict[str, str] | None
    _kept: dict[str, str]  # ids by app
    _required: tuple[str, ...]

    def __init__(self) -> None:
        raise TypeError("make a secret with skerry.Secret.from_name(...) or skerry.Secret.from_dict({...})")

    @classmethod
    def _make(cls, **given: Any) -> Self:
        made = super()._make(**given)
        made._variables, made._required, made._kept = None, (), {}
        return made

    @staticmethod
    def from_dict(env_dict: Mapping[str, str | None] | None = None) -> Secret:
        """Return a secret with the given variables; those that are None are left out.

        It belongs to the app that uses it and is deleted with it. Raises InvalidError unless keys and values are strings.
        """
        secret = Secret._make()
        secret._variables = check_variables("Secret.from_dict", {} if env_dict is None else env_dict)
        return secret

    @staticmethod
    def from_name(
        name: str,
        *,
        environment_name: str | None = None,
        required_keys: Sequence[str] = (),
        client: Client | None = None,
    ) -> Secret:
        """Return a handle of the secret of a name, which `skerry secret create` or :attr:`objects` has made.

        Args:
            name: its name.
            environment_name: where it is; default: in the environment of the app that uses it.
            required_keys: variables that it must have; else NotFoundError is raised where it is first used.
            client: default: the process's own.
        """
        secret = Secret._make(name=name, environment=environment_name, client=client)
        if isinstance(required_keys, str) or not all(isinstance(key, str) for key in required_keys):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError("Secret.from_name: required_keys must be a list of str")
        secret._required = tuple(required_keys)
        return secret

    @staticmethod
    def from_local_environ(env_keys: list[str]) -> Secret:
        """Return a secret with variables of the local environment; in a container an empty one. Raises InvalidError if one is missing."""
        if not is_local():
            return Secret.from_dict({})
        missing = [key for key in env_keys if key not in os.environ]
        if missing:
            raise InvalidError(f"Secret.from_local_environ: not in the local environment: {', '.join(missing)}")
        return Secret.from_dict({key: os.environ[key] for key in env_keys})

    @staticmethod
    def from_dotenv(
        path: str | os.PathLike[str] | None = None, *, filename: str = ".env", client: Client | None = None
    ) -> Secret:
        """Return a secret with the variables of a file such as ``.env``; in a container an empty one.

        Args:
            path: the folder to look in first, or a file in it, such as ``__file__``; then those above it. Default: the working folder.
            filename: what the file is called.
            client: default: the process's own.

        Needs the package python-dotenv. Raises InvalidError where there is no such file.
        """
        from .dotenv import read_dotenv

        secret = Secret.from_dict(read_dotenv(path, filename) if is_local() else {})
        secret._client = client
        return secret

    @direct
    async def info(self) -> SecretInfo:
        """Return the name, and when and by whom it was made. Raises NotFoundError."""
        from .infos import SecretInfo

        self._check_named("info")
        info = await self._describe()
        return SecretInfo(name=info.name, created_at=created_at(info), created_by=info.created_by)

    @direct
    async def update(self, env_dict: Mapping[str, str | None]) -> None:
        """Give it variables beside those it has, or other values. Containers that start from then on have them.

        Args:
            env_dict: the variables; those that are None are left out, and so stay as they are.
        """
        from skerry._gen.skerry.v1.secret_pb import UpdateSecretRequest

        self._check_named("update")
        client, secret_id = await self._ready()
        request = UpdateSecretRequest(secret_id=secret_id, variables=check_variables("Secret.update", env_dict))
        await ask(client, lambda services: services.secrets.update_secret(request))

    def _check_named(self, method: str) -> None:
        if self._variables is not None:
            raise InvalidError(f"Secret.{method}: this secret has no name, and belongs to the app that uses it")

    async def _find(self, client: Client) -> ObjectInfo:
        from skerry.config import config

        self._check_named("hydrate")
        return await self._look_up(client, self._environment or config.environment, "")

    async def _look_up(self, client: Client, environment: str, app_id: str) -> ObjectInfo:
        from skerry._gen.skerry.v1.secret_pb import GetSecretRequest

        request = GetSecretRequest(
            name=self._name or "", environment=environment, app_id=app_id, required_keys=list(self._required)
        )
        answer = await ask(client, lambda services: services.secrets.get_secret(request))
        return answer.info

    async def _id_in(self, client: Client, app_id: str) -> str:
        """Return the id of the secret for an app: of its own, made now, or of the one of the name in its environment."""
        if self._variables is not None:
            if not self._variables and app_id in self._kept:
                return self._kept[app_id]  # its values are elsewhere
            from skerry._gen.skerry.v1.secret_pb import CreateSecretRequest

            request = CreateSecretRequest(app_id=app_id, variables=self._variables)
            made = (await ask(client, lambda services: services.secrets.create_secret(request))).secret_id
            self._kept[app_id] = made
            return made
        if self._object_id is not None and self._name is None:
            return self._object_id
        return (await self._look_up(client, self._environment or "", app_id)).id

    def __repr__(self) -> str:
        if self._variables is not None:
            return f"skerry.Secret.from_dict([{', '.join(sorted(self._variables))}])"
        return super().__repr__()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._variables and not self._kept:
            raise InvalidError(
                f"{self!r} can't be sent, for its values go to the server alone, and no app has used it yet; "
                "give it a name: Secret.from_name"
            )
        return _restore, (self._name, self._environment, self._required, self._object_id, self._kept)


def _restore(
    name: str | None, environment: str | None, required: tuple[str, ...], object_id: str | None, kept: dict[str, str]
) -> Secret:
    if name is None and object_id is None:
        secret = Secret.from_dict({})
        secret._kept = dict(kept)
        return secret
    secret = Secret._make(name=name, environment=environment, object_id=object_id)
    secret._required = required
    return secret


Secret.objects = SecretManager(Secret)
