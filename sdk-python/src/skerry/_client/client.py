"""The connection of a process to a server."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakSet, WeakValueDictionary

from connectrpc.errors import ConnectError

from skerry import exception as exc
from skerry._context import is_local
from skerry._gen.skerry.v1.token_pb import GetTokenInfoRequest, GetTokenInfoResponse
from skerry._twin import static_twin, twin
from skerry.config import config

from . import faults
from .interruptible import interruptible
from .patience import Patience
from .session import Session
from .watched import WatchedCall

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from typing import Any

    from typing_extensions import Self

    from skerry._gen.skerry.v1.app_connect import AppServiceClientSync
    from skerry._gen.skerry.v1.blob_connect import BlobServiceClientSync
    from skerry._gen.skerry.v1.call_connect import CallServiceClientSync
    from skerry._gen.skerry.v1.call_pb import SessionRequest, SessionResponse
    from skerry._gen.skerry.v1.container_connect import ContainerServiceClientSync
    from skerry._gen.skerry.v1.dict_connect import DictServiceClientSync
    from skerry._gen.skerry.v1.environment_connect import EnvironmentServiceClientSync
    from skerry._gen.skerry.v1.function_connect import FunctionServiceClientSync
    from skerry._gen.skerry.v1.image_connect import ImageServiceClientSync
    from skerry._gen.skerry.v1.log_connect import LogServiceClientSync
    from skerry._gen.skerry.v1.mount_connect import MountServiceClientSync
    from skerry._gen.skerry.v1.queue_connect import QueueServiceClientSync
    from skerry._gen.skerry.v1.sandbox_connect import SandboxServiceClientSync
    from skerry._gen.skerry.v1.sandbox_watch_connect import SandboxWatchServiceClientSync
    from skerry._gen.skerry.v1.schedule_connect import ScheduleServiceClientSync
    from skerry._gen.skerry.v1.secret_connect import SecretServiceClientSync
    from skerry._gen.skerry.v1.sidecar_connect import SidecarServiceClientSync
    from skerry._gen.skerry.v1.snapshot_connect import SnapshotServiceClientSync
    from skerry._gen.skerry.v1.token_connect import TokenServiceClientSync
    from skerry._gen.skerry.v1.tunnel_connect import TunnelServiceClientSync
    from skerry._gen.skerry.v1.volume_connect import VolumeServiceClientSync

    from .patience import Retries
    from .transport import AioServices, Services

T = TypeVar("T")

_clients: WeakSet[Client] = WeakSet()


class Client:
    """A connection to a server, shared by everything in a process that names no client of its own.

    Get it by :meth:`from_env` or :meth:`from_credentials`. It connects when it is first used, is safe for use by many threads, and goes
    on by itself over restarts of the server. It does not outlive a fork: a child that is to call Skerry has to be started by
    multiprocessing's "spawn" or "forkserver", or before the parent's first call.
    """

    _shared: Client | None = None
    _shared_lock = threading.Lock()
    # The process that the transport's threads are in: they are started once, by the library, and a fork does not copy them.
    _home: int | None = None

    def __init__(self, server_url: str, token_id: str, token_secret: str) -> None:
        _check_not_forked()
        Client._home = os.getpid()
        self.server_url = server_url
        self._pid = os.getpid()
        self._closing = threading.Event()
        self._patience = Patience(config.seconds("connect_timeout"), config.seconds("reconnect_timeout"), self._give_up)
        services = _outside(server_url, token_id, token_secret) if is_local() else _inside()
        self._services = services
        self.session = Session(self._open_session, self._patience)
        _clients.add(self)
        self._watched: WeakValueDictionary[str, WatchedCall] = WeakValueDictionary()

    if TYPE_CHECKING:
        _services: Services
        apps: AppServiceClientSync
        blobs: BlobServiceClientSync
        calls: CallServiceClientSync
        containers: ContainerServiceClientSync
        dicts: DictServiceClientSync
        environments: EnvironmentServiceClientSync
        functions: FunctionServiceClientSync
        images: ImageServiceClientSync
        logs: LogServiceClientSync
        mounts: MountServiceClientSync
        queues: QueueServiceClientSync
        sandbox_watch: SandboxWatchServiceClientSync
        sandboxes: SandboxServiceClientSync
        schedules: ScheduleServiceClientSync
        secrets: SecretServiceClientSync
        sidecars: SidecarServiceClientSync
        snapshots: SnapshotServiceClientSync
        tokens: TokenServiceClientSync
        tunnels: TunnelServiceClientSync
        volumes: VolumeServiceClientSync
    else:

        def __getattr__(self, name: str) -> object:
            if name.startswith("_"):
                raise AttributeError(name)
            service = getattr(self._services, name)
            setattr(self, name, service)
            return service

    def __repr__(self) -> str:
        return f"skerry.Client({self.server_url!r})"

    @static_twin
    @staticmethod
    def from_env() -> Client:
        """Return the process's own client, made from ``SKERRY_*`` variables and ``~/.skerry.toml``.

        Raises AuthError where there is no token.
        """
        return shared_client()

    @static_twin
    @staticmethod
    def from_credentials(token_id: str, token_secret: str) -> Client:
        """Return a new client for the configured server with another token."""
        return Client(config.server_url, token_id, token_secret)

    @twin
    def hello(self) -> None:
        """Connect and show the token.

        Raises ConnectionError if no server answers, AuthError if it does not know the token.
        """
        self.token_info()

    def token_info(self) -> GetTokenInfoResponse:
        """Return what the server says about the token."""
        return self.call(lambda: self.tokens.get_token_info(GetTokenInfoRequest()))

    def is_closed(self) -> bool:
        """Tell whether the client was closed."""
        return self._closing.is_set()

    def close(self) -> None:
        """End the connection. Calls that are waited for fail with ClientClosed."""
        if not self._closing.is_set():
            self._closing.set()
            if self._pid == os.getpid():
                self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        import asyncio

        await asyncio.to_thread(self.close)

    def call(
        self,
        rpc: Callable[[], T],
        within: float | None = None,
        fault: Callable[[ConnectError], exc.Error] | None = None,
    ) -> T:
        """Do an RPC that can safely be done twice, again while the server is away. Raises the errors of this package.

        Args:
            rpc: does it.
            within: seconds to try where somebody waits to leave; None is the patience that accepted work gets.
            fault: makes the exception of an error; default: by its code alone.
        """
        retries = self._patience.retries(self._closing, within)
        while True:
            self._check_open()
            try:
                result = rpc()
            except ConnectError as err:
                if not faults.is_refused(err) and err.code not in faults.AWAY:
                    self._patience.reached = True
                    raise (fault or faults.from_connect)(err) from None
                if not retries.wait(err):
                    raise self._give_up(err.message) from None
            else:
                self._patience.reached = True
                return result

    async def ask(
        self,
        rpc: Callable[[], Awaitable[T]],
        within: float | None = None,
        fault: Callable[[ConnectError], exc.Error] | None = None,
    ) -> T:
        """Do what :meth:`call` does in an event loop, with a method of ``self.aio``."""
        import asyncio

        from .background import check_cancelled

        retries = self._patience.retries(self._closing, within)
        while True:
            self._check_open()
            try:
                result = await rpc()
            except ConnectError as err:
                await check_cancelled()
                if not faults.is_refused(err) and err.code not in faults.AWAY:
                    self._patience.reached = True
                    raise (fault or faults.from_connect)(err) from None
                delay = retries.next_delay(err)
                if delay is None:
                    raise self._give_up(err.message) from None
                await asyncio.sleep(delay)
            else:
                self._patience.reached = True
                return result

    @property
    def aio(self) -> AioServices:
        """The services for the event loop in the background."""
        return self._services.aio

    def inside(self, path: str) -> Services:
        """Return the services below a path of the server."""
        return self._services.inside(path)

    def retries(self) -> Retries:
        """Begin a series of attempts of a stream."""
        return self._patience.retries(self._closing)

    def stream(self, rpc: Callable[[], Iterator[T]]) -> Iterator[T]:
        """Do a streaming RPC once. Raises the errors of this package. Waiting for the next message can be interrupted."""
        self._check_open()
        try:
            yield from interruptible(rpc)
        except ConnectError as err:
            if faults.is_refused(err):
                raise self._give_up(err.message) from None
            raise faults.from_connect(err) from None

    def watched_call(self, call_id: str) -> WatchedCall:
        """Return the outputs of a call, the same object for all who hold a handle of it."""
        with self._shared_lock:
            call = self._watched.get(call_id)
            if call is None:
                self._watched[call_id] = call = WatchedCall(self, call_id)
            return call

    def _open_session(self, requests: Iterator[SessionRequest]) -> Iterator[SessionResponse]:
        return self.calls.session(requests)

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise exc.ClientClosed("the client is closed; make a new one")
        _check_not_forked()

    def _give_up(self, reason: str) -> exc.ConnectionError:
        return exc.ConnectionError(
            f"can't reach the server at {self.server_url}: {reason or 'no connection'}; start it with `skerryd up`, "
            "or set SKERRY_SERVER_URL to where it listens"
        )


def shared_client() -> Client:
    """Return the process's own client; a forked child gets its own.

    In a container it has the container's own rights. Raises AuthError where there is no token, UnimplementedError in a container with a
    Python older than 3.11.
    """
    with Client._shared_lock:
        client = Client._shared
        if client is not None and client._pid == os.getpid() and not client.is_closed():
            return client
        if not is_local():
            Client._shared = client = Client("the container's socket", "", "")
            return client
        token_id, token_secret = str(config.get("token_id")), str(config.get("token_secret"))
        if not token_id or not token_secret:
            raise exc.AuthError(
                f"no token: neither SKERRY_TOKEN_ID and SKERRY_TOKEN_SECRET nor {config.path} has one; "
                "the first `skerryd up` on this machine writes it, `skerry token set` takes one from elsewhere"
            )
        Client._shared = client = Client(config.server_url, token_id, token_secret)
        return client


def _outside(server_url: str, token_id: str, token_secret: str) -> Services:
    from .transport import Services

    return Services(server_url, token_id, token_secret)


def _inside() -> Services:
    """Return the services as code in a container reaches them."""
    if sys.version_info < (3, 11):
        raise exc.UnimplementedError(
            f"calls from inside a container need Python 3.11 or later, and this is {sys.version.split()[0]}: "
            "use another Image.debian_slim(python_version=...), or return a value to the caller instead"
        )
    if any(os.environ.get(f"SKERRY_{name}") for name in ("TOKEN_ID", "TOKEN_SECRET")):
        import warnings

        warnings.warn(
            "SKERRY_TOKEN_ID and SKERRY_TOKEN_SECRET are ignored in containers, which have a right of their own",
            stacklevel=3,
        )
    from .container_services import Services

    services: Any = Services()
    return services


def _check_not_forked() -> None:
    if Client._home not in (None, os.getpid()):
        raise exc.ClientClosed(
            "this process was forked from one that had used Skerry, and connections do not survive a fork; start it with "
            "multiprocessing.get_context('spawn') or 'forkserver', or before the first call"
        )


@atexit.register
def _close_shared() -> None:
    if (client := Client._shared) is not None:
        client.close()


def _forked() -> None:
    if (background := sys.modules.get("skerry._client.background")) is not None:
        background.forget()
    # Locks may have been held by other threads of the parent at that moment: nothing of it is touched again.
    Client._shared_lock = threading.Lock()
    for client in list(_clients):
        client.session.check = _check_not_forked


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
