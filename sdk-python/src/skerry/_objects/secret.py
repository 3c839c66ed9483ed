"""Secrets."""

from __future__ import annotations

from skerry._names import check_variables
from skerry.exception import UnimplementedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn


class Secret:
    """Values that become environment variables of a function's containers. They are sealed at rest and never shown.

    Make one with :meth:`from_dict`.
    """

    __slots__ = ("_variables",)

    _variables: dict[str, str]

    def __init__(self) -> None:
        raise TypeError("make a secret with skerry.Secret.from_dict({...})")

    @staticmethod
    def from_dict(env_dict: Mapping[str, str | None] | None = None) -> Secret:
        """Return a secret with the given variables; those that are None are left out.

        It belongs to the app that uses it and is deleted with it. Raises InvalidError unless keys and values are strings.
        """
        secret = object.__new__(Secret)
        secret._variables = check_variables("Secret.from_dict", {} if env_dict is None else env_dict)
        return secret

    @staticmethod
    def from_name(
        name: str,
        *,
        environment_name: str | None = None,
        required_keys: Sequence[str] = (),
        client: object = None,
    ) -> NoReturn:
        """Not available yet."""
        raise UnimplementedError(
            "Secret.from_name is not available in this version of skerry yet; use Secret.from_dict"
        )

    @staticmethod
    def from_local_environ(env_keys: list[str]) -> Secret:
        """Return a secret with variables of the local environment. Raises InvalidError if one is missing."""
        import os

        from skerry._context import is_local
        from skerry.exception import InvalidError

        if not is_local():
            return Secret.from_dict({})
        missing = [key for key in env_keys if key not in os.environ]
        if missing:
            raise InvalidError(f"Secret.from_local_environ: not in the local environment: {', '.join(missing)}")
        return Secret.from_dict({key: os.environ[key] for key in env_keys})

    @staticmethod
    def from_dotenv(path: object = None, *, filename: str = ".env", client: object = None) -> NoReturn:
        """Not available yet."""
        raise UnimplementedError(
            "Secret.from_dotenv is not available in this version of skerry yet; use Secret.from_dict"
        )

    def __repr__(self) -> str:
        return f"skerry.Secret.from_dict([{', '.join(sorted(self._variables))}])"
