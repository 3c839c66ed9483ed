"""Volumes of sandboxes and sidecars, from outside."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from skerry import exception as exc
from skerry._gen.skerry.v1.volume_pb import ReloadVolumeRequest

if TYPE_CHECKING:
    from skerry._client.client import Client


async def reload_volumes(client: Client, sandbox_id: str, timeout: int, sidecar: str = "") -> None:
    """Have a sandbox, or a sidecar of it, see what was committed to its volumes.

    Args:
        client: how the server is reached.
        sandbox_id: "sb-...".
        timeout: seconds that it may take.
        sidecar: its name; "": the sandbox.

    Raises RuntimeError where files are open; TimeoutError; InvalidError.
    """
    if timeout <= 0:
        raise exc.InvalidError(f"timeout {timeout!r}: want seconds, more than 0")
    request = ReloadVolumeRequest(sandbox_id=sandbox_id, sidecar=sidecar)
    try:
        await asyncio.wait_for(client.ask(lambda: client.aio.volumes.reload_volume(request)), timeout)
    except asyncio.TimeoutError:
        of = f"sidecar {sidecar!r}" if sidecar else f"sandbox {sandbox_id}"
        raise exc.TimeoutError(f"the volumes of {of} were not reloaded in {timeout} s") from None
    except exc.ConflictError as err:
        raise RuntimeError(str(err)) from None
