"""The HTTP/2 connection to the server."""

from __future__ import annotations

import ipaddress
import os
import platform
import sys
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pyqwest import Client, HTTPTransport, HTTPVersion, Proxy, SyncClient, SyncHTTPTransport

import skerry
from skerry.config import config
from skerry.exception import InvalidError

from .services import find_service

if TYPE_CHECKING:
    from connectrpc.request import RequestContext


def open_http(url: str) -> SyncClient:
    """Return an HTTP client for the server's URL: HTTP/2 in clear for http, TLS for https.

    Raises InvalidError for a URL that makes no sense.
    """
    return SyncClient(SyncHTTPTransport(**_settings(url)))


def open_aio_http(url: str) -> Client:
    """Return one for an event loop, with a connection of its own: requests on it can be given up while they wait."""
    return Client(HTTPTransport(**_settings(url)))


def _settings(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidError(f"server_url {url!r}: want http://HOST:PORT or https://HOST[:PORT]")
    # Proxies from the environment are for the world outside; the URL of the proxy itself is never used here.
    proxy = Proxy("http://127.0.0.1:9", no_proxy=parts.hostname) if _is_loopback(parts.hostname) else None
    return {
        "http_version": HTTPVersion.HTTP2,
        "tls_ca_cert": _authority(),
        "tls_include_system_certs": True,
        "proxy": proxy,
        "connect_timeout": 10,
        # An idle session must not be taken for a dead one: its calls may run for hours.
        "pool_idle_timeout": None,
        "enable_gzip": False,
        "enable_brotli": False,
        "enable_zstd": False,
        "follow_redirects": False,
        "enable_otel": False,
    }


def request_headers(token_id: str, token_secret: str) -> dict[str, str]:
    """Return the headers that every request carries."""
    headers = {
        "user-agent": f"skerry-python/{skerry.__version__}",
        "x-skerry-client-version": f"python/{skerry.__version__}",
        "x-skerry-python-version": platform.python_version(),
        "x-skerry-platform": sys.platform,
    }
    if token_id:
        headers["authorization"] = f"Bearer {token_id}.{token_secret}"
    return headers


def _authority() -> bytes | None:
    path = str(config.get("ca_file"))
    if not path:
        return None
    try:
        with open(os.path.expanduser(path), "rb") as file:
            return file.read()
    except OSError as err:
        raise InvalidError(f"ca_file {path!r}: {err.strerror}") from err


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


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

    async def on_start(self, ctx: RequestContext[Any, Any]) -> None:
        """Called by connectrpc in an event loop before a request is sent."""
        self.on_start_sync(ctx)

    async def on_end(self, token: None, ctx: RequestContext[Any, Any], error: Exception | None) -> None:
        """Called by connectrpc in an event loop after a request has ended."""


class Services:
    """The server's services, over one HTTP/2 connection. The client of each is made when it is first used.

    Args:
        url: the server's.
        token_id: of the caller.
        token_secret: of the caller.
    """

    kind = "ClientSync"

    def __init__(self, url: str, token_id: str, token_secret: str) -> None:
        self._url = url
        self._http: Any = open_http(url)
        self._headers = HeaderInterceptor(request_headers(token_id, token_secret))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        module, service = find_service(name)
        generated = import_module(f"skerry._gen.skerry.v1.{module}_connect")
        client = getattr(generated, service + self.kind)(
            self._url,
            http_client=self._http,
            interceptors=[self._headers],
            accept_compression=(),
            send_compression=None,
        )
        setattr(self, name, client)
        return client

    @cached_property
    def aio(self) -> AioServices:
        """The same services for an event loop, over a connection of their own."""
        return AioServices(self._url, open_aio_http(self._url), self._headers)

    def inside(self, path: str) -> Services:
        """Return the services below a path, such as what is served inside a sandbox. They share the connections."""
        below: Services = object.__new__(Services)
        below._url, below._http, below._headers = self._url + path, self._http, self._headers
        below.__dict__["aio"] = AioServices(below._url, self.aio._http, self._headers)
        return below


class AioServices(Services):
    """The services for an event loop: their methods are coroutines and asynchronous iterators."""

    kind = "Client"

    def __init__(self, url: str, http: Client, headers: HeaderInterceptor) -> None:
        self._url, self._http, self._headers = url, http, headers
