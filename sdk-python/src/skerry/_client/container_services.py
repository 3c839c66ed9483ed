"""The server's services as code in a container reaches them."""

from __future__ import annotations

from importlib import import_module

from .container_transport import SOCKET, Service


class Services:
    """As those of ``transport``, over the container's socket. Each is made when it is first used: few calls need more than one."""

    def __init__(self, path: str = SOCKET) -> None:
        self._path = path

    def __getattr__(self, name: str) -> Service:
        noun = name.removesuffix("s")
        module = import_module(f"skerry._gen.skerry.v1.{noun}_pb")
        service = Service(module, f"{noun.capitalize()}Service", self._path)
        setattr(self, name, service)
        return service
