"""What is shown of the SDK's work: by default nothing. :mod:`skerry._run.terminal` shows it to people."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

    from skerry._client.mapping import MapCall
    from skerry._gen.skerry.v1.image_pb import BuildLog, BuildStep, ImageBuilt
    from skerry._gen.skerry.v1.log_pb import LogEntry


class BuildView:
    """One image's build."""

    def step(self, step: BuildStep) -> None:
        """Show what became of a step."""

    def log(self, log: BuildLog) -> None:
        """Show output of a step."""

    def built(self, built: ImageBuilt) -> None:
        """Show that the image is ready."""


class Display:
    """Shows nothing. Its methods may be called from any thread."""

    enabled = False
    """Whether output of containers is wanted."""

    def initialized(self, app_id: str) -> None:
        """The app exists."""

    def created(self, what: str) -> None:
        """Something of the app is on the server."""

    def ended(self, message: str, app_id: str, *, success: bool) -> None:
        """The app has stopped."""

    def detached(self, app_id: str) -> None:
        """The app goes on without this process."""

    def note(self, message: str) -> None:
        """Say something."""

    def log_entry(self, entry: LogEntry) -> None:
        """Show output of a container."""

    def lent(self) -> AbstractContextManager[object]:
        """Keep off the terminal while a container has it."""
        return nullcontext()

    def status(self, message: str) -> AbstractContextManager[object]:
        """Show a message while something lasts."""
        return nullcontext(message)

    def creating(self) -> AbstractContextManager[object]:
        """Show what is created, as it is."""
        return nullcontext()

    @contextmanager
    def building(self) -> Generator[BuildView, None, None]:
        """Show an image's build."""
        yield BuildView()

    @contextmanager
    def uploading(self, path: str, files: int) -> Generator[Callable[[], None], None, None]:
        """Show an upload; what is yielded is called after each file."""
        yield lambda: None

    def map(self, name: str, call: MapCall) -> None:
        """Show how far a map has come until it is closed."""


_current = Display()


def current_display() -> Display:
    """Return what shows the work of this process."""
    return _current


def set_display(display: Display) -> Display:
    """Have another display show the work of this process. Returns the one before."""
    global _current
    previous, _current = _current, display
    return previous


def track_map(name: str, call: MapCall) -> None:
    """Show a map's progress."""
    _current.map(name, call)
