"""The server's services as code in a container reaches them."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module

from .container_transport import SOCKET, Service
from .services import find_service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Services:
    """As those of ``transport``, over the container's socket. Each is made when it is first used: few calls need more than one."""

    def __init__(self, path: str = SOCKET, below: str = "") -> None:
        self._path = path
        self._below = below

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        service = self._make(name)
        setattr(self, name, service)
        return service

    def _make(self, name: str) -> Any:
        module, service = find_service(name)
        return Service(import_module(f"skerry._gen.skerry.v1.{module}_pb"), service, self._path, self._below)

    @cached_property
    def aio(self) -> AioServices:
        """The same services for an event loop."""
        return AioServices(self._path, self._below)

    def inside(self, path: str) -> Services:
        """Return the services below a path, such as what is served inside a sandbox."""
        return Services(self._path, self._below + path)


class AioServices(Services):
    """The services for an event loop: their methods are coroutines and asynchronous iterators."""

    def _make(self, name: str) -> Any:
        from .container_aio import AioService

        return AioService(super()._make(name))
