"""Has the server keep the secrets of an app."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry._client.direct import drive
from skerry.exception import InvalidError

if TYPE_CHECKING:
    from skerry._client.client import Client
    from skerry._objects.secret import Secret


class Secrets:
    """Turns the secrets of one app into ids, each of them once."""

    def __init__(self, client: Client, app_id: str) -> None:
        self._client = client
        self.app_id = app_id
        self._loaded: dict[int, tuple[Secret, str]] = {}

    def load(self, secret: Secret) -> str:
        """Return the id of a secret. Raises InvalidError where there is no app that it could belong to."""
        if not self.app_id:
            raise InvalidError("secrets belong to an app: build the image in one that runs")
        if id(secret) not in self._loaded:
            made = drive(secret._id_in(self._client, self.app_id))
            self._loaded[id(secret)] = secret, made  # an id is only good while its object lives
        return self._loaded[id(secret)][1]
