"""How commands show what containers print."""

from __future__ import annotations

from skerry._run.display import current_display
from skerry._run.terminal import TerminalDisplay


def show_timestamps() -> None:
    """Have each line of output show when it was written."""
    display = current_display()
    if isinstance(display, TerminalDisplay):
        display.timestamps = True
