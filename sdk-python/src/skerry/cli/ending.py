"""The end of a process that was joined to a command elsewhere."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

_INTERRUPTED = 130


def end_like(run: Callable[[], int]) -> NoReturn:
    """Run a command elsewhere and end with its exit code, or as Ctrl-C ends a command. Raises what keeps it from running.

    The process ends at once: the transport's own threads bring an interpreter down that is ending under them.
    """
    try:
        code = run()
    except KeyboardInterrupt:
        code = _INTERRUPTED
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
