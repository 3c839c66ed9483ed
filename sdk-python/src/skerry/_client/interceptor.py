"""Headers that every request carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from connectrpc.request import RequestContext


class HeaderInterceptor:
    """Adds fixed headers to every request of a client."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers = headers

    def on_start_sync(self, ctx: RequestContext[Any, Any]) -> None:
        """Called by connectrpc before a request is sent."""
        for name, value in self._headers.items():
            ctx.request_headers[name] = value

    def on_end_sync(self, token: None, ctx: RequestContext[Any, Any], error: Exception | None) -> None:
        """Called by connectrpc after a request has ended."""
