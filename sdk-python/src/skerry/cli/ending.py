"""The end of a process that was joined to a command elsewhere."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def end_process(code: int) -> NoReturn:
    """End with an exit code, at once: the transport's own threads bring an interpreter down that is ending under them."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
