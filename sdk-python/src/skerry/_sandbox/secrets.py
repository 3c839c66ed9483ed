"""Secrets for sandboxes and their processes: their values are kept on the server once, and named from then on."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from skerry._gen.skerry.v1.sandbox_pb import SealEnvironmentRequest
from skerry._gen.skerry.v1.secret_pb import CreateSecretRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skerry._client.client import Client
    from skerry._objects.secret import Secret

    from .inside import Inside

# How many of the secrets that were kept last are known again.
_MOST_KNOWN = 256

_Known = OrderedDict[tuple[str, frozenset[tuple[str, str]]], str]
_known: WeakKeyDictionary[Any, _Known] = WeakKeyDictionary()


async def keep_secret(client: Client, app_id: str, variables: dict[str, str]) -> str:
    """Return the id of a secret of an app that has these variables, made if need be."""
    known = _known.setdefault(client, OrderedDict())
    key = app_id, frozenset(variables.items())
    if key not in known:
        request = CreateSecretRequest(app_id=app_id, variables=variables)
        known[key] = (await client.ask(lambda: client.aio.secrets.create_secret(request))).secret_id
        if len(known) > _MOST_KNOWN:
            known.popitem(last=False)
    return known[key]


async def secret_ids(client: Client, app_id: str, secrets: Sequence[Secret]) -> list[str]:
    """Return the ids of secrets for an app, in their order. Those without a name that follow one another are one."""
    ids: list[str] = []
    merged: dict[str, str] = {}
    for secret in secrets:
        if secret._variables is None or secret._kept:
            if merged:
                ids.append(await keep_secret(client, app_id, merged))
                merged = {}
            ids.append(await secret._id_in(client, app_id))
        else:
            merged.update(secret._variables)
    if merged:
        ids.append(await keep_secret(client, app_id, merged))
    return ids


def forget_secrets(client: Client) -> None:
    """Have all secrets kept again."""
    _known.pop(client, None)


class SecretKeeper:
    """Puts the values of secrets into one sandbox, each set of them once."""

    def __init__(self, inside: Inside, sandbox_id: str, app_id: str) -> None:
        self._inside = inside
        self._sandbox_id = sandbox_id
        self._app_id = app_id
        self._sealed: dict[str, str] = {}

    async def seal(self, secrets: Sequence[Secret]) -> str:
        """Return the id of an environment that has the secrets' variables."""
        client = self._inside.client
        ids = await secret_ids(client, self._app_id, secrets)
        key = "+".join(ids)
        # What has a name may have other values by now.
        if key not in self._sealed or any(secret._variables is None for secret in secrets):
            request = SealEnvironmentRequest(sandbox_id=self._sandbox_id, secret_ids=ids)
            answer = await client.ask(lambda: client.aio.sandboxes.seal_environment(request))
            self._sealed[key] = answer.environment_id
        return self._sealed[key]
