"""Shows the SDK's work in the cells of a Jupyter notebook: output as text, progress as one line that changes."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from rich.console import Console

from .terminal import TerminalDisplay, map_progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from skerry._client.mapping import MapCall

# How often a line that moves is drawn again, in seconds.
_REDRAW = 0.2


class NotebookDisplay(TerminalDisplay):
    """Writes to the cell that runs. There are no control codes in what it writes."""

    def __init__(self, *, show_progress: bool = True) -> None:
        super().__init__(show_progress=show_progress)
        self._console = Console(stderr=True, highlight=False, soft_wrap=True, force_jupyter=False, force_terminal=False)
        self._out = Console(highlight=False, soft_wrap=True, force_jupyter=False, force_terminal=False)

    @property
    def _animated(self) -> bool:
        return self._progress

    def map(self, name: str, call: MapCall) -> None:
        if not self._progress:
            return
        began = time.monotonic()

        def render() -> RenderableType:
            return map_progress(name, *call.progress, time.monotonic() - began)

        def close() -> None:
            self._remove(render)
            completed, total = call.progress
            self.line(f"{name}.map: {completed:,}/{total:,} in {time.monotonic() - began:.1f} s")

        self._add(render)
        call.on_close = close

    def _start_live(self) -> None:
        line: Any = _CellLine(self._render)
        self._live = line
        line.start()


class _CellLine:
    """What a cell shows at one place, drawn again until it is stopped."""

    def __init__(self, render: Callable[[], RenderableType]) -> None:
        self._render = render
        self._stopped = threading.Event()
        self._handle: Any = None
        self._text = ""

    def start(self) -> None:
        """Show it in the cell that runs."""
        from importlib import import_module

        display: Any = import_module("IPython.display")  # the notebook has it; Skerry doesn't need it
        self._text = self._draw()
        self._handle = display.display({"text/plain": self._text}, raw=True, display_id=True)
        threading.Thread(target=self._redraw, name="skerry-progress", daemon=True).start()

    def refresh(self) -> None:
        """Show what there is to show by now."""
        text = self._draw()
        if text != self._text and not self._stopped.is_set():
            self._text = text
            self._handle.update({"text/plain": text}, raw=True)

    def stop(self) -> None:
        """Take it away."""
        self._stopped.set()
        self._handle.update({"text/plain": ""}, raw=True)

    def _redraw(self) -> None:
        while not self._stopped.wait(_REDRAW):
            self.refresh()

    def _draw(self) -> str:
        console = Console(width=100, color_system=None, force_terminal=False, force_jupyter=False)
        with console.capture() as capture:
            console.print(self._render())
        return capture.get().rstrip()
