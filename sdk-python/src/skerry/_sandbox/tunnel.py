"""Ports that are reachable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from skerry.exception import InvalidError

if TYPE_CHECKING:
    from skerry._gen.skerry.v1 import tunnel_pb


@dataclass(frozen=True)
class Tunnel:
    """A port of a sandbox that is reachable from outside."""

    host: str
    """Where to connect to, with TLS where :attr:`url` has it."""
    port: int
    """The port there."""
    unencrypted_host: str = ""
    """Where plain TCP is taken; empty: nowhere."""
    unencrypted_port: int = 0
    """The port there."""
    _url: str = ""

    @property
    def url(self) -> str:
        """The address for HTTP: "https://..." where the installation has a domain, else "http://127.0.0.1:..."."""
        if self._url:
            return self._url
        return f"https://{self.host}" + ("" if self.port == 443 else f":{self.port}")

    @property
    def tls_socket(self) -> tuple[str, int]:
        """Host and port for TLS."""
        return self.host, self.port

    @property
    def tcp_socket(self) -> tuple[str, int]:
        """Host and port for plain TCP. Raises InvalidError unless the port is one of ``unencrypted_ports``."""
        if not self.unencrypted_host:
            raise InvalidError("This tunnel is not configured for unencrypted TCP. Name the port in unencrypted_ports.")
        return self.unencrypted_host, self.unencrypted_port

    @staticmethod
    def _of(tunnel: tunnel_pb.Tunnel) -> Tunnel:
        return Tunnel(
            host=tunnel.host,
            port=tunnel.host_port,
            unencrypted_host=tunnel.unencrypted_host,
            unencrypted_port=tunnel.unencrypted_port,
            _url=tunnel.url,
        )
