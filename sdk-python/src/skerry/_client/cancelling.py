"""Cancels calls that nobody waits for any more."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from skerry._gen.skerry.v1.call_pb import CancelCallRequest
from skerry.exception import Error

if TYPE_CHECKING:
    from .client import Client


def cancel_soon(client: Client, call_id: str) -> None:
    """Cancel a call in the background: whoever leaves it doesn't want to wait.

    Where the client is closed this does nothing: the server cancels what nobody waits for by itself.
    """
    if client.is_closed():
        return

    def cancel() -> None:
        try:
            client.call(lambda: client.calls.cancel_call(CancelCallRequest(call_id=call_id)), 5)
        except Error:
            return  # it has ended, or the server is away and cancels what nobody waits for by itself

    threading.Thread(target=cancel, name="skerry-cancel", daemon=True).start()
