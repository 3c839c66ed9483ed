"""What is shown while apps are built and run."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def enable_output(show_progress: bool = True) -> Generator[None, None, None]:
    """Show builds, progress and the output of containers for the code inside; without it a program is silent.

    ::

        with skerry.enable_output(), app.run():
            print(square.remote(12))

    Output of functions goes to standard output and error, everything else to standard error. Contexts can be nested.

    Args:
        show_progress: False: only the output of functions.
    """
    from skerry._notebook import in_jupyter
    from skerry._run import display
    from skerry._run.terminal import TerminalDisplay

    if isinstance(display.current_display(), TerminalDisplay):
        yield
        return
    if in_jupyter():
        from skerry._run.notebook import NotebookDisplay

        shown: TerminalDisplay = NotebookDisplay(show_progress=show_progress)
    else:
        shown = TerminalDisplay(show_progress=show_progress)
    previous = display.set_display(shown)
    try:
        yield
    finally:
        shown.close()
        display.set_display(previous)
