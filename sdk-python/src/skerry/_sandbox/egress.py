"""Secrets that never enter a sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry._names import check_variables
from skerry._objects.secret import Secret
from skerry.exception import InvalidError

from .network import check_domain

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEADER = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


class EgressSecret:
    """A value that stays outside of a sandbox: the worker puts it into requests over HTTPS on their way out, to hosts named here alone.

    With ``header`` that header is set on every request to the hosts. Without, the sandbox has an environment variable with a placeholder,
    and the value takes its place wherever a request's headers have it, so that programs that read their key from a variable work as they
    are::

        skerry.Sandbox.create(
            app=app,
            egress_secrets=[
                skerry.EgressSecret("OPENAI_API_KEY", key, hosts=["api.openai.com"]),
                skerry.EgressSecret("GITHUB_TOKEN", token, hosts=["github.com", "*.github.com"],
                                    header="Authorization", format="Bearer {}"),
            ],
        )

    Args:
        variable: the environment variable that has the placeholder in the sandbox, and the name of the value in ``secret``.
        value: the value; or give ``secret``.
        secret: a secret that has the variable.
        hosts: the only ones that get the value, such as "api.example.com" or "*.example.com".
        header: the header to set, instead of replacing the placeholder.
        format: what the header gets, with "{}" for the value, such as "Bearer {}".

    Raises InvalidError.
    """

    __slots__ = ("_format", "_header", "_hosts", "_secret", "_variable")

    def __init__(
        self,
        variable: str,
        value: str | None = None,
        *,
        secret: Secret | None = None,
        hosts: Sequence[str],
        header: str | None = None,
        format: str | None = None,  # noqa: A002 - what it is
    ) -> None:
        check_variables("EgressSecret", {variable: value or ""})
        if (value is None) == (secret is None):
            raise InvalidError(f"EgressSecret({variable!r}): want its value or a secret that has it, one of both")
        if secret is not None and secret._variables is not None and variable not in secret._variables:
            raise InvalidError(f"EgressSecret({variable!r}): the secret has no such variable")
        if isinstance(hosts, str) or not hosts:
            raise InvalidError(
                f"EgressSecret({variable!r}): hosts must be a list of at least one, such as ['api.example.com']"
            )
        if "*" in hosts:
            raise InvalidError(f"EgressSecret({variable!r}): '*' would give the value to everybody; name the hosts")
        if header is not None and (not header or not _HEADER.issuperset(header)):
            raise InvalidError(f"EgressSecret({variable!r}): {header!r} is no name of a header")
        if format is not None and (header is None or "{}" not in format):
            raise InvalidError(f"EgressSecret({variable!r}): format is for a header, and has '{{}}' for the value")
        self._variable = variable
        self._secret = secret or Secret.from_dict({variable: value})
        self._hosts = [check_domain("EgressSecret hosts", host) for host in hosts]
        self._header = header
        self._format = format

    def __repr__(self) -> str:
        return f"skerry.EgressSecret({self._variable!r}, hosts={self._hosts!r})"
