"""Serves an app while its files change: a fresh process loads each change and gives the running app its new functions.

So an error in a change, at import for example, leaves the version before it running.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from skerry._client.client import shared_client
from skerry._gen.skerry.v1.app_pb import PublishAppRequest
from skerry._gen.skerry.v1.deployment_pb import DeploymentStrategy
from skerry.config import config

from .display import current_display
from .load import Loader, reserve
from .watching import Watcher, changed_since

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skerry._objects.app import App

# How long a process that loads an older change has to end.
_END_SECONDS = 5.0


def update_app(app: App, app_id: str, environment: str | None = None) -> list[str]:
    """Give a running app the functions that an app has here; its containers are replaced. Returns the files to watch."""
    client, display = shared_client(), current_display()
    with display.creating():
        reserve(client, app, app_id)
        loader = Loader(client, app, app_id, display, environment=environment or config.environment)
        request = PublishAppRequest(
            app_id=app_id,
            environment=environment or config.environment,
            functions=loader.load(),
            strategy=DeploymentStrategy.RECREATE,
        )
        client.call(lambda: client.apps.publish_app(request))
    return loader.paths


class Server:
    """Watches files, and runs a command for each change of theirs. The command writes which files to watch from then on to a pipe."""

    def __init__(self, command: Sequence[str], paths: Sequence[str], loaded_at: int) -> None:
        """Say what to run, and which files and folders to watch at first.

        Args:
            command: the program and its arguments; the number of the pipe's descriptor is put behind them.
            paths: absolute.
            loaded_at: when they began to be read, in nanoseconds.
        """
        self._command = command
        self._paths = frozenset(paths)
        self._loaded_at = loaded_at
        self._events: SimpleQueue[Sequence[str] | None] = SimpleQueue()
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, seconds: float | None) -> None:
        """Serve until Ctrl-C, or so many seconds."""
        end = None if seconds is None else time.monotonic() + seconds
        watcher = self._watch()
        try:
            while True:
                try:
                    paths = self._events.get(timeout=None if end is None else max(0.0, end - time.monotonic()))
                except Empty:
                    return
                if paths is None:
                    self._reload()
                elif frozenset(paths) != self._paths:
                    watcher.stop()
                    self._paths = frozenset(paths)
                    watcher = self._watch()
        finally:
            watcher.stop()
            self._end_process()

    def _watch(self) -> Watcher:
        watcher = Watcher(self._paths, lambda: self._events.put(None))
        for path in sorted(self._paths):
            current_display().note(f"Watching {path}")
        # What was written while the app was loaded came before the watch.
        if changed_since(self._paths, self._loaded_at):
            self._events.put(None)
        return watcher

    def _reload(self) -> None:
        self._end_process()
        self._loaded_at = time.time_ns()
        current_display().note("Files changed: loading the app again...")
        reading, writing = os.pipe()
        with os.fdopen(writing, "wb"):
            command = [*self._command, str(writing)]
            self._process = subprocess.Popen(command, pass_fds=[writing], stdin=subprocess.DEVNULL)  # noqa: S603 - this very program
        threading.Thread(target=self._wait, args=(self._process, reading), name="skerry-reload", daemon=True).start()

    def _wait(self, process: subprocess.Popen[bytes], reading: int) -> None:
        with os.fdopen(reading, "rb") as pipe:
            report = pipe.read()
        code = process.wait()
        if code == 0:
            self._events.put(json.loads(report))
        elif process is self._process:
            current_display().note("The change could not be loaded: the version before it goes on.")

    def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def report_paths(descriptor: int, paths: Sequence[str]) -> None:
    """Tell the server that runs this process which files to watch."""
    with os.fdopen(descriptor, "w", encoding="utf-8") as pipe:
        json.dump(list(paths), pipe)


def reload_command(arguments: Sequence[str], app_id: str) -> list[str]:
    """Return the command that loads an app again: this one, with the same arguments."""
    return [sys.executable, "-P", "-m", "skerry", *arguments, "--update", app_id, "--report"]
