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

from watchfiles import DefaultFilter, watch

from skerry._client.client import shared_client
from skerry._gen.skerry.v1.app_pb import PublishAppRequest
from skerry._gen.skerry.v1.deployment_pb import DeploymentStrategy
from skerry.config import config

from .display import current_display
from .load import Loader, reserve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from watchfiles import Change

    from skerry._objects.app import App

# How long files must have been left alone before a change counts, in milliseconds.
_STEP_MS = 500
# How long a process that loads an older change has to end.
_END_SECONDS = 5.0
# What editors and file managers leave beside the files.
_JUNK = (*DefaultFilter.ignore_entity_patterns, r"^\.DS_Store$", r"^4913$")


def update_app(app: App, app_id: str) -> list[str]:
    """Give a running app the functions that an app has here; its containers are replaced. Returns the files to watch."""
    client, display = shared_client(), current_display()
    with display.creating():
        reserve(client, app, app_id)
        loader = Loader(client, app, app_id, display)
        request = PublishAppRequest(
            app_id=app_id,
            environment=config.environment,
            functions=loader.load(),
            strategy=DeploymentStrategy.RECREATE,
        )
        client.call(lambda: client.apps.publish_app(request))
    return loader.paths


class Server:
    """Watches files, and runs a command for each change of theirs. The command writes which files to watch from then on to a pipe."""

    def __init__(self, command: Sequence[str], paths: Sequence[str]) -> None:
        """Say what to run, and which files and folders to watch at first.

        Args:
            command: the program and its arguments; the number of the pipe's descriptor is put behind them.
            paths: absolute.
        """
        self._command = command
        self._paths = frozenset(paths)
        self._events: SimpleQueue[Sequence[str] | None] = SimpleQueue()
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, seconds: float | None) -> None:
        """Serve until Ctrl-C, or so many seconds."""
        end = None if seconds is None else time.monotonic() + seconds
        stopping = self._watch()
        try:
            while True:
                try:
                    paths = self._events.get(timeout=None if end is None else max(0.0, end - time.monotonic()))
                except Empty:
                    return
                if paths is None:
                    self._reload()
                elif frozenset(paths) != self._paths:
                    self._paths = frozenset(paths)
                    stopping.set()
                    stopping = self._watch()
        finally:
            stopping.set()
            self._end_process()

    def _watch(self) -> threading.Event:
        """Watch the files in threads of their own, until the event is set."""
        display = current_display()
        stopping = threading.Event()
        folders = sorted(path for path in self._paths if os.path.isdir(path))
        files = {path for path in self._paths if not os.path.isdir(path)}
        for path in (*folders, *sorted(files)):
            display.note(f"Watching {path}")

        def is_file(_change: Change, path: str) -> bool:
            return path in files

        junk = DefaultFilter(ignore_entity_patterns=_JUNK)
        # A file through its folder: many editors write a new one in its place.
        parents = sorted({os.path.dirname(path) for path in files})
        for roots, wanted, recursive in ((folders, junk, True), (parents, is_file, False)):
            if roots:
                arguments = (roots, wanted, recursive, stopping)
                threading.Thread(target=self._report, args=arguments, name="skerry-watch", daemon=True).start()
        return stopping

    def _report(self, roots: Sequence[str], wanted: DefaultFilter, recursive: bool, stopping: threading.Event) -> None:
        changes = watch(
            *roots, watch_filter=wanted, step=_STEP_MS, stop_event=stopping, raise_interrupt=False, recursive=recursive
        )
        for _ in changes:
            self._events.put(None)

    def _reload(self) -> None:
        self._end_process()
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
