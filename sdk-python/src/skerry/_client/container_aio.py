"""The services in a container for an event loop: a thread for each request, which a request that is given up is taken away from."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from .container_transport import Exchange, Method, Service

# How many messages are read ahead of who wants them.
_AHEAD = 16


class AioService:
    """A service whose methods are coroutines and asynchronous iterators."""

    def __init__(self, service: Service) -> None:
        for name, method in vars(service).items():
            setattr(self, name, _AioMethod(method))


class _AioMethod:
    def __init__(self, method: Method) -> None:
        self._method = method

    def __call__(self, request: Any, *, timeout_ms: int | None = None) -> Any:
        call = _Call(self._method, request, timeout_ms)
        return call.messages() if self._method.streams else call.answer()


class _Call:
    """One request, in a thread."""

    def __init__(self, method: Method, request: Any, timeout_ms: int | None) -> None:
        self._method = method
        self._request = request
        self._timeout_ms = timeout_ms
        self._exchange: Exchange | None = None
        self._left = False
        self._room = threading.Semaphore(_AHEAD)

    async def answer(self) -> Any:
        """Return the one answer."""
        async for message in self.messages():
            return message
        raise AssertionError("a request without an answer raises")

    async def messages(self) -> AsyncIterator[Any]:
        """Yield answers as they come."""
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

        def put(kind: str, value: Any) -> None:
            loop.call_soon_threadsafe(arrived.put_nowait, (kind, value))

        threading.Thread(target=self._draw, args=(put,), name="skerry-request", daemon=True).start()
        try:
            while True:
                kind, value = await arrived.get()
                if kind == "error":
                    raise value
                if kind == "end":
                    return
                self._room.release()
                yield value
        finally:
            self._leave()

    def _draw(self, put: Callable[[str, Any], None]) -> None:
        try:
            if self._method.streams:
                for message in self._method(self._request, timeout_ms=self._timeout_ms, opened=self._opened):
                    self._room.acquire()
                    if self._left:
                        return
                    put("message", message)
            else:
                put("message", self._method(self._request, timeout_ms=self._timeout_ms, opened=self._opened))
            put("end", None)
        except BaseException as err:  # raised where the answers are wanted
            if not self._left:
                put("error", err)

    def _opened(self, exchange: Exchange) -> None:
        self._exchange = exchange
        if self._left:
            exchange.cut()

    def _leave(self) -> None:
        self._left = True
        self._room.release()
        if self._exchange is not None:
            self._exchange.cut()
