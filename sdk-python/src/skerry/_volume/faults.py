"""What errors about files in volumes are raised as."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

from connectrpc.code import Code

from skerry._client.faults import from_connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from connectrpc.errors import ConnectError

    from skerry._client.client import Client

T = TypeVar("T")

# What the server says of a volume that is not there; of a file, it names the path as well.
_VOLUME_GONE = re.compile(r'volume "[^"]*": there is none.*')


def of_files(error: ConnectError) -> Any:
    """Return FileNotFoundError and FileExistsError for files, and the errors of this package for all else, also for the volume itself."""
    if error.code == Code.NOT_FOUND and not _VOLUME_GONE.fullmatch(error.message):
        return FileNotFoundError(error.message)
    if error.code == Code.ALREADY_EXISTS:
        return FileExistsError(error.message)
    return from_connect(error)


def call(client: Client, rpc: Callable[[], T]) -> T:
    """Do an RPC about files, again while the server is away."""
    return client.call(rpc, fault=of_files)
