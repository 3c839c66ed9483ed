"""The HTTP/2 connection to the server."""

from __future__ import annotations

import ipaddress
import os
import platform
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pyqwest import HTTPVersion, Proxy, SyncClient, SyncHTTPTransport

import skerry
from skerry._gen.skerry.v1.app_connect import AppServiceClientSync
from skerry._gen.skerry.v1.blob_connect import BlobServiceClientSync
from skerry._gen.skerry.v1.call_connect import CallServiceClientSync
from skerry._gen.skerry.v1.container_connect import ContainerServiceClientSync
from skerry._gen.skerry.v1.function_connect import FunctionServiceClientSync
from skerry._gen.skerry.v1.image_connect import ImageServiceClientSync
from skerry._gen.skerry.v1.log_connect import LogServiceClientSync
from skerry._gen.skerry.v1.mount_connect import MountServiceClientSync
from skerry._gen.skerry.v1.schedule_connect import ScheduleServiceClientSync
from skerry._gen.skerry.v1.secret_connect import SecretServiceClientSync
from skerry._gen.skerry.v1.token_connect import TokenServiceClientSync
from skerry.config import config
from skerry.exception import InvalidError

if TYPE_CHECKING:
    from typing import Any

    from connectrpc.request import RequestContext


def open_http(url: str) -> SyncClient:
    """Return an HTTP client for the server's URL: HTTP/2 in clear for http, TLS for https.

    Raises InvalidError for a URL that makes no sense.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidError(f"server_url {url!r}: want http://HOST:PORT or https://HOST[:PORT]")
    # Proxies from the environment are for the world outside; the URL of the proxy itself is never used here.
    proxy = Proxy("http://127.0.0.1:9", no_proxy=parts.hostname) if _is_loopback(parts.hostname) else None
    transport = SyncHTTPTransport(
        http_version=HTTPVersion.HTTP2,
        tls_ca_cert=_authority(),
        tls_include_system_certs=True,
        proxy=proxy,
        connect_timeout=10,
        # An idle session must not be taken for a dead one: its calls may run for hours.
        pool_idle_timeout=None,
        enable_gzip=False,
        enable_brotli=False,
        enable_zstd=False,
        follow_redirects=False,
        enable_otel=False,
    )
    return SyncClient(transport)


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


class Services:
    """The server's services, over one HTTP/2 connection.

    Args:
        url: the server's.
        token_id: of the caller.
        token_secret: of the caller.
    """

    def __init__(self, url: str, token_id: str, token_secret: str) -> None:
        http = open_http(url)
        headers = HeaderInterceptor(request_headers(token_id, token_secret))

        def options() -> dict[str, Any]:
            return {"http_client": http, "interceptors": [headers], "accept_compression": (), "send_compression": None}

        self.apps = AppServiceClientSync(url, **options())
        self.blobs = BlobServiceClientSync(url, **options())
        self.calls = CallServiceClientSync(url, **options())
        self.containers = ContainerServiceClientSync(url, **options())
        self.functions = FunctionServiceClientSync(url, **options())
        self.images = ImageServiceClientSync(url, **options())
        self.logs = LogServiceClientSync(url, **options())
        self.mounts = MountServiceClientSync(url, **options())
        self.schedules = ScheduleServiceClientSync(url, **options())
        self.secrets = SecretServiceClientSync(url, **options())
        self.tokens = TokenServiceClientSync(url, **options())
