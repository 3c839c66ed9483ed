"""Shows the SDK's work to people: with colours and progress on a terminal, as plain lines elsewhere.

What functions print goes to standard output and standard error. Everything else goes to standard error, so that a program's own
output can be piped.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from skerry._gen.skerry.v1.image_pb import BuildStepState
from skerry._gen.skerry.v1.log_pb import LogSource

from .display import BuildView, Display

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from typing import Literal, TypeAlias

    from rich.console import RenderableType

    from skerry._client.mapping import MapCall
    from skerry._gen.skerry.v1.image_pb import BuildLog, BuildStep, ImageBuilt
    from skerry._gen.skerry.v1.log_pb import LogEntry

    OriginId: TypeAlias = Literal["function_id", "call_id", "container_id"]

_TAIL_LINES = 6
# Lines longer than 64 KiB come in pieces of that size, less the bytes of a character that would be cut. What is shorter and has no
# newline ends without one.
_PIECE_BYTES = (64 << 10) - 3
_STYLES = {LogSource.STDOUT: "blue", LogSource.STDERR: "red", LogSource.SYSTEM: "yellow"}


class TerminalDisplay(Display):
    """Writes to the process's standard output and error."""

    enabled = True

    def __init__(self, *, show_progress: bool = True, timestamps: bool = False, ids: Sequence[OriginId] = ()) -> None:
        """Say what to show.

        Args:
            show_progress: what the SDK does as well, not only output of containers.
            timestamps: when each line of output was written.
            ids: which ids of a line's origin to show with it.
        """
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._out = Console(highlight=False, soft_wrap=True)
        self._progress = show_progress
        self.timestamps = timestamps
        self._ids = ids
        self._begun: dict[tuple[str, LogSource, str, int], list[LogEntry]] = {}
        self._lent = False
        self._held: list[tuple[Console, Text]] = []
        self._lock = threading.RLock()
        self._views: list[Callable[[], RenderableType]] = []
        self._live: Live | None = None
        self._created: list[str] | None = None

    @property
    def _animated(self) -> bool:
        return self._progress and self._console.is_terminal

    def close(self) -> None:
        """Take away what moves."""
        with self._lock:
            self._views.clear()
            self._stop_live()
            begun, self._begun = self._begun, {}
            for pieces in begun.values():
                self._show_line(pieces)

    def initialized(self, app_id: str) -> None:
        self._say(f"✓ Initialized. App {app_id}" if app_id else "✓ Initialized.", "green")

    def created(self, what: str) -> None:
        with self._lock:
            if self._created is not None and self._animated:
                self._created.append(what)
                self._refresh()
            else:
                self._say(f"🔨 Created {what}.")

    def ended(self, message: str, app_id: str, *, success: bool) -> None:
        self._say(f"✓ {message}" if success else message, "green" if success else "yellow")

    def detached(self, app_id: str) -> None:
        self._say(f"App {app_id} goes on without this terminal.", "green")
        self._say(f"Its output: skerry app logs -f {app_id}\nTo stop it:  skerry app stop {app_id}")

    def note(self, message: str) -> None:
        self._say(message, "yellow")

    def log_entry(self, entry: LogEntry) -> None:
        with self._lock:
            key = (entry.container_id, entry.source, entry.call_id, entry.index)
            pieces = [*self._begun.pop(key, ()), entry]
            if not entry.text.endswith("\n") and len(entry.text.encode()) >= _PIECE_BYTES:
                self._begun[key] = pieces
            else:
                self._show_line(pieces)

    @contextmanager
    def lent(self) -> Generator[None, None, None]:
        with self._lock:
            self._lent = True
            self._stop_live()
        try:
            yield
        finally:
            with self._lock:
                self._lent = False
                held, self._held = self._held, []
                for console, text in held:
                    self._print(console, text)
                if self._views:
                    self._start_live()

    def _show_line(self, pieces: list[LogEntry]) -> None:
        entry = pieces[0]
        is_error = entry.source == LogSource.STDERR
        console = self._console if is_error or entry.source == LogSource.SYSTEM else self._out
        line = Text()
        if self.timestamps and entry.time is not None:
            line.append(time.strftime("%Y-%m-%d %H:%M:%S ", time.localtime(entry.time.seconds)), "dim")
        for field in self._ids:
            line.append(f"{getattr(entry, field) or '-'} ", "dim")
        style = _STYLES.get(entry.source, "yellow")
        line.append(f"{entry.function_name or 'skerry'} | ", f"bold {style}")
        text = "".join(piece.text for piece in pieces).rstrip("\r\n")
        body = Text.from_ansi(text) if console.is_terminal else Text(text)
        if console.is_terminal:
            body.style = style
        line.append_text(body)
        self._print(console, line)

    @contextmanager
    def status(self, message: str) -> Generator[None, None, None]:
        spinner = Spinner("dots", message)
        with self._moving(lambda: spinner):
            yield

    @contextmanager
    def creating(self) -> Generator[None, None, None]:
        self._created = []
        spinner = Spinner("dots", "Creating objects...")
        try:
            with self._moving(lambda: self._tree(spinner)):
                yield
        finally:
            created, self._created = self._created, None
        if self._animated and created:
            self._console.print(_tree_of(Text("✓ Created objects.", "green"), created))
        else:
            self._say("✓ Created objects.", "green")

    @contextmanager
    def building(self) -> Generator[BuildView, None, None]:
        view = _Build(self)
        with self._moving(view.render):
            yield view

    @contextmanager
    def uploading(self, path: str, files: int) -> Generator[Callable[[], None], None, None]:
        done = 0
        spinner = Spinner("dots")

        def uploaded() -> None:
            nonlocal done
            done += 1

        with self._moving(lambda: _labelled(spinner, f"Uploading {path}: {done}/{files} files")):
            yield uploaded

    def map(self, name: str, call: MapCall) -> None:
        if not self._animated:
            return
        began = time.monotonic()

        def render() -> RenderableType:
            return map_progress(name, *call.progress, time.monotonic() - began)

        self._add(render)
        call.on_close = lambda: self._remove(render)

    def line(self, text: str, style: str = "") -> None:
        """Print a line of progress."""
        self._say(text, style)

    def _say(self, message: str, style: str = "") -> None:
        if self._progress:
            with self._lock:
                self._print(self._console, Text(message, style))

    def _print(self, console: Console, text: Text) -> None:
        if self._lent:
            self._held.append((console, text))
        # Through the live display, which must be redrawn below what is printed.
        elif self._live is not None and console.is_terminal:
            self._live.console.print(text, soft_wrap=True)
        else:
            console.print(text, soft_wrap=True)
            console.file.flush()

    def _tree(self, title: RenderableType) -> RenderableType:
        return _tree_of(title, self._created or [])

    @contextmanager
    def _moving(self, render: Callable[[], RenderableType]) -> Generator[None, None, None]:
        if not self._animated:
            yield
            return
        self._add(render)
        try:
            yield
        finally:
            self._remove(render)

    def _add(self, render: Callable[[], RenderableType]) -> None:
        with self._lock:
            self._views.append(render)
            if self._live is None and not self._lent:
                self._start_live()

    def _remove(self, render: Callable[[], RenderableType]) -> None:
        with self._lock:
            if render in self._views:
                self._views.remove(render)
            if not self._views:
                self._stop_live()

    def _start_live(self) -> None:
        self._live = Live(
            console=self._console,
            get_renderable=self._render,
            refresh_per_second=8,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
        )
        self._live.start()

    def _stop_live(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def _refresh(self) -> None:
        if self._live is not None:
            self._live.refresh()

    def _render(self) -> RenderableType:
        return Group(*(render() for render in list(self._views)))


class _Build(BuildView):
    """Shows a build: one line that moves and the last lines of output on a terminal, every line elsewhere."""

    def __init__(self, display: TerminalDisplay) -> None:
        self._display = display
        self._spinner = Spinner("dots")
        self._began = time.monotonic()
        self._current: BuildStep | None = None
        self._tail: list[str] = []
        self._said: set[int] = set()
        self._worked = False

    def step(self, step: BuildStep) -> None:
        self._current = step
        label = f"step {step.number}/{step.total}: {step.name}"
        match step.state:
            case BuildStepState.RUNNING if step.number not in self._said:
                self._said.add(step.number)
                self._worked = True
                self._tail = []
                self._display.line(f"Building image: {label}")
            case BuildStepState.DONE:
                self._display.line(f"Built {label} in {step.elapsed_ms / 1000:.1f} s", "dim")
            case BuildStepState.CACHED:
                self._display.line(f"Cached {label}", "dim")
            case BuildStepState.FAILED:
                self._display.line(f"Failed {label}", "red")
            case _:
                return

    def log(self, log: BuildLog) -> None:
        self._worked = True
        if self._display._animated:
            self._tail = [*self._tail, *log.lines][-_TAIL_LINES:]
            return
        for line in log.lines:
            self._display.line(f"  {line}")

    def built(self, built: ImageBuilt) -> None:
        if self._worked:
            seconds = time.monotonic() - self._began
            self._display.line(
                f"✓ Built image {built.image_id} in {seconds:.1f} s ({built.size / 1e6:,.0f} MB)", "green"
            )

    def render(self) -> RenderableType:
        """Return what moves."""
        step = self._current
        where = f" step {step.number}/{step.total}: {step.name}" if step is not None else ""
        line = _labelled(self._spinner, f"Building image{where} ({time.monotonic() - self._began:.0f} s)")
        return Group(line, *(Text(f"  {text}", "dim", overflow="ellipsis", no_wrap=True) for text in self._tail))


def map_progress(name: str, completed: int, total: int, seconds: float) -> RenderableType:
    """Return a line with a bar: how many inputs of a map have ended, of how many so far."""
    row = Table.grid(padding=(0, 1))
    row.add_row(
        Text(f"{name}.map", "bold"),
        ProgressBar(total=max(total, 1), completed=completed, width=40, pulse=not total, animation_time=seconds),
        Text(f"{completed:,}/{total:,}"),
        Text(str(timedelta(seconds=int(seconds))), "dim"),
    )
    return row


def _labelled(spinner: Spinner, label: str) -> Spinner:
    spinner.update(text=label)
    return spinner


def _tree_of(title: RenderableType, created: list[str]) -> Tree:
    tree = Tree(title, guide_style="gray50")
    for what in created:
        tree.add(f"🔨 Created {what}.")
    return tree
