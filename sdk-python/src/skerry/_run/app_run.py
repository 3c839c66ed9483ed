"""An app that lives while a ``with`` block lasts."""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from contextlib import ExitStack
from typing import TYPE_CHECKING

from skerry import exception as exc
from skerry._client.client import shared_client
from skerry._context import is_local
from skerry._gen.skerry.v1.app_pb import (
    AppState,
    CreateAppRequest,
    HeartbeatRequest,
    PublishAppRequest,
    StopAppRequest,
    StopReason,
)
from skerry._twin import warn_if_in_event_loop
from skerry.config import config

from .display import current_display
from .lending import TerminalLender, check_lendable
from .load import Loader, reserve
from .logs import LogFollower

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from skerry._client.client import Client
    from skerry._gen.skerry.v1.log_pb import LogEntry
    from skerry._objects.app import App

logger = logging.getLogger("skerry")

# How long a client that was interrupted, or whose code failed, tries to tell the server.
_STOP_SECONDS = 5.0


class AppRun:
    """What ``app.run()`` returns: enter it with ``with`` or ``async with``.

    Ctrl-C in the block stops the app and leaves the block normally; ``interrupted`` is True then.

    Attributes:
        paths: the local files and folders that the app's functions brought, once it runs.
    """

    loader_class: type[Loader] = Loader
    _wanted = True  # until it is made

    def __init__(
        self,
        app: App,
        *,
        client: Client | None,
        description: str | None,
        detach: bool,
        environment: str | None,
        interactive: bool = False,
    ) -> None:
        self.interrupted = False
        self.paths: list[str] = []
        self._interactive = interactive
        self._resources = ExitStack()
        self._app = app
        self._given_client = client
        self._description = description or app.description or _script()
        self._detach = detach
        self._environment = environment or config.environment
        self._display = current_display()
        self._app_id = ""
        self._heart: _Heart | None = None
        self._logs: LogFollower | None = None
        self._wanted = False

    def __enter__(self) -> App:
        self._wanted = True
        warn_if_in_event_loop("App.run", "async with app.run():")
        app = self._app
        if not is_local():
            raise exc.InvalidError(
                "app.run() in a container: put it below `if __name__ == '__main__':`, or into a local entrypoint"
            )
        if app._running:
            raise exc.InvalidError("App is already running: app.run() and `skerry run` can't be nested")
        if self._interactive:
            check_lendable(self._display)
        self._client = self._given_client or shared_client()
        app._running = True
        try:
            self._start()
        except BaseException as err:
            if isinstance(err, KeyboardInterrupt):
                self._display.note("Aborting app initialization...")
            self._abandon(_reason(err))
            raise
        return app

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._unbind()
        self.interrupted = isinstance(error, KeyboardInterrupt)
        lost = isinstance(error, exc.ConnectionError)
        if self._detach and (error is None or self.interrupted or lost):
            if lost:
                self._display.note(f"Connection lost: {error}")
            self._leave_running()
            # Who sees nothing of what is displayed has to learn of a lost connection by the exception.
            return self.interrupted or (lost and self._display.enabled)
        try:
            self._stop(_reason(error))
        except exc.Error as err:
            if error is None:
                raise
            # What went wrong first is what the user has to see.
            logger.warning(
                "app %s could not be stopped: %s; it stops by itself when its heartbeat is missed", self._app_id, err
            )
        return self.interrupted

    async def __aenter__(self) -> App:
        import asyncio

        self._wanted = True
        entering = _Entering(self)
        try:
            return await asyncio.to_thread(entering.enter)
        except asyncio.CancelledError:
            entering.give_up()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        import asyncio

        return await asyncio.to_thread(self.__exit__, kind, error, trace)

    def __del__(self) -> None:
        if not self._wanted:
            warnings.warn(
                f"the run of app {self._app.name!r} was never entered, so nothing ran; write `with app.run():`",
                RuntimeWarning,
                stacklevel=2,
            )

    def _start(self) -> None:
        app, client, display = self._app, self._client, self._display
        state = AppState.DETACHED if self._detach else AppState.EPHEMERAL
        with display.status("Initializing..."):
            request = CreateAppRequest(
                description=self._description, state=state, environment=self._environment, tags=app._tags
            )
            self._app_id = client.call(lambda: client.apps.create_app(request)).app_id
        display.initialized(self._app_id)
        self._heart = _Heart(client, self._app_id)
        if display.enabled:
            self._logs = LogFollower(client, self._app_id, self._show())
        with display.creating():
            # Functions that are sent by value hold handles of their siblings, which need ids for that.
            reserve(client, app, self._app_id)
            loader = self.loader_class(
                client, app, self._app_id, display, environment=self._environment, interactive=self._interactive
            )
            definitions = loader.load()
            self.paths = loader.paths
            publish = PublishAppRequest(
                app_id=self._app_id, environment=self._environment, functions=definitions, tags=app._tags
            )
            client.call(lambda: client.apps.publish_app(publish))
        app._app_id = self._app_id

    def _show(self) -> Callable[[LogEntry], None]:
        """Return what shows output of containers, and lends them the terminal where the run is interactive."""
        if not self._interactive:
            return self._display.log_entry
        lender = TerminalLender(self._client, self._display)
        self._resources.enter_context(lender.lending())
        return lender.show

    def _stop(self, reason: StopReason) -> None:
        client, display = self._client, self._display
        if self.interrupted:
            display.note("Disconnecting from Skerry - this takes a moment; a second Ctrl-C leaves at once.")
        if self._heart is not None:
            self._heart.stop()
        with display.status("Stopping app..."):
            request = StopAppRequest(app=self._app_id, reason=reason)
            # Who was interrupted or failed wants to leave, not to wait for a server that is away: the app ends by itself.
            within = None if reason == StopReason.COMPLETED else _STOP_SECONDS
            client.call(lambda: client.apps.stop_app(request), within)
            if self._logs is not None and not self._logs.drain(config.seconds("logs_timeout")):
                logger.warning("timed out waiting for the last output; see `skerry app logs %s`", self._app_id)
        display.ended(
            "App aborted." if reason == StopReason.INTERRUPTED else "App completed.",
            self._app_id,
            success=reason == StopReason.COMPLETED,
        )

    def _leave_running(self) -> None:
        if self._heart is not None:
            self._heart.stop()
        if self._logs is not None:
            self._logs.stop()
        self._display.detached(self._app_id)

    def _abandon(self, reason: StopReason) -> None:
        self._unbind()
        if self._heart is not None:
            self._heart.stop()
        if self._app_id:
            try:
                request = StopAppRequest(app=self._app_id, reason=reason)
                self._client.call(lambda: self._client.apps.stop_app(request), _STOP_SECONDS)
            except exc.Error as err:
                logger.warning("app %s could not be stopped: %s", self._app_id, err)
        if self._logs is not None:
            self._logs.stop()

    def _unbind(self) -> None:
        self._resources.close()
        app = self._app
        app._running = False
        app._app_id = None
        for function in app._functions.values():
            function._bind(None, None)


class _Entering:
    """A run that a thread enters for a task, which may be cancelled meanwhile: then the thread leaves it as well."""

    def __init__(self, run: AppRun) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._entered = self._given_up = False

    def enter(self) -> App:
        """Enter, in the thread."""
        app = self._run.__enter__()
        with self._lock:
            self._entered = True
            if not self._given_up:
                return app
        self._leave()
        return app

    def give_up(self) -> None:
        """Have nobody wait for it any more."""
        with self._lock:
            self._given_up = True
            if not self._entered:
                return
        threading.Thread(target=self._leave, name="skerry-leave").start()

    def _leave(self) -> None:
        import asyncio

        error = asyncio.CancelledError()
        self._run.__exit__(type(error), error, None)


class _Heart:
    """Tells the server that this process is alive, until it is stopped."""

    def __init__(self, client: Client, app_id: str) -> None:
        self._client = client
        self._app_id = app_id
        self._stopping = threading.Event()
        threading.Thread(target=self._beat, name="skerry-heartbeat", daemon=True).start()

    def stop(self) -> None:
        """Fall silent."""
        self._stopping.set()

    def _beat(self) -> None:
        client = self._client
        request = HeartbeatRequest(app_id=self._app_id)
        while not self._stopping.wait(config.seconds("heartbeat_interval")):
            try:
                client.call(lambda: client.apps.heartbeat(request))
            except (exc.NotFoundError, exc.ConflictError):
                if not self._stopping.is_set():
                    logger.warning("app %s was stopped", self._app_id)
                return
            except exc.ClientClosed:
                return
            except exc.Error as err:
                logger.warning("heartbeat of app %s: %s", self._app_id, err)


def _reason(error: BaseException | None) -> StopReason:
    if error is None or isinstance(error, GeneratorExit):
        return StopReason.COMPLETED
    if isinstance(error, KeyboardInterrupt):
        return StopReason.INTERRUPTED
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and isinstance(error, asyncio.CancelledError):
        return StopReason.INTERRUPTED
    if isinstance(error, SystemExit) and not error.code:
        return StopReason.COMPLETED
    return StopReason.LOCAL_ERROR


def _script() -> str:
    return (os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else "") or "__main__"
