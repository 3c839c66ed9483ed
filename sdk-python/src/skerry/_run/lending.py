"""Lends this process's terminal to code in containers that asks for it, while an app runs interactively."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from skerry import exception as exc
from skerry._gen.skerry.v1.container_pb import ExecStart

from .attach import Attachment, on_resize

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from skerry._client.client import Client
    from skerry._gen.skerry.v1.log_pb import LogEntry

    from .display import Display

logger = logging.getLogger("skerry")

# Where containers have the program that holds a terminal for the runner.
_HOLDER = "/__skerry/py/skerry/_runner/terminal.py"


class TerminalLender:
    """Shows what an app's containers write, and lends the terminal to one that waits for it, until its input ends.

    Only one at a time has it: what the others write, or their wish for the terminal, is held back until then.
    """

    def __init__(self, client: Client, display: Display) -> None:
        self._client = client
        self._display = display
        self._attachment: Attachment | None = None

    def show(self, entry: LogEntry) -> None:
        """Show an entry; called by the one thread that follows the app's output."""
        if entry.wants_terminal:
            self._lend(entry.container_id, entry.wants_terminal)
        else:
            self._display.log_entry(entry)

    def lending(self) -> AbstractContextManager[None]:
        """Pass changes of the window's size on, while this lasts; in the main thread."""
        return on_resize(self._resize)

    def _lend(self, container_id: str, socket: str) -> None:
        start = ExecStart(container_id=container_id, argv=["python3", "-I", _HOLDER, socket])
        self._attachment = Attachment(self._client, start)
        try:
            with self._display.lent():
                code = self._attachment.run_on_terminal()
        except exc.Error as err:
            logger.warning("the terminal of container %s: %s", container_id, err)
        else:
            if code:
                logger.warning("container %s could not use the terminal: exit code %d", container_id, code)
        finally:
            self._attachment = None

    def _resize(self) -> None:
        attachment = self._attachment
        if attachment is not None:
            attachment.resize()


def check_lendable(display: Display) -> None:
    """Raise InvalidError where there is no terminal to lend."""
    if not display.enabled:
        raise exc.InvalidError(
            "app.run(interactive=True) lends the terminal out: enable output first, or use `skerry run -i`"
        )
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        raise exc.InvalidError("an interactive run needs a terminal as its standard input and output")
