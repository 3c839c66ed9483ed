"""Exceptions of user code, as bytes for Python callers and as text for everybody else.

Imported at the first failure only.
"""

from __future__ import annotations

import linecache
import os
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

# Frames of the runner itself say nothing to a user.
_OWN = os.path.dirname(__file__) + os.sep

# Bounds of what one exception may become: deep recursion has a thousand frames, and causes may form long chains.
_MAX_FRAMES = 200
_MAX_CHAIN = 20
_MAX_TEXT = 64 << 10


def describe(error: BaseException, container_id: str) -> tuple[dict[str, str], bytes]:
    """Return an exception in words (type, message, traceback) and pickled with its causes and frames.

    The bytes are empty where it can't be pickled.
    """
    kind = type(error)
    words = {
        "type": f"{kind.__module__}.{kind.__qualname__}",
        "message": _clip(_text(error)),
        "traceback": _clip(_formatted(error)),
    }
    return words, _pickled(error, f"<{container_id}>:")


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as err:
        return f"<the exception's __str__ raised {type(err).__name__}>"


def _formatted(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(type(error), error, _skip_own(error.__traceback__)))
    except Exception as err:
        return f"<the traceback could not be formatted: {type(err).__name__}>"


def _skip_own(tb: TracebackType | None) -> TracebackType | None:
    while tb is not None and tb.tb_frame.f_code.co_filename.startswith(_OWN):
        tb = tb.tb_next
    return tb


def _pickled(error: BaseException, prefix: str) -> bytes:
    import cloudpickle

    try:
        return cloudpickle.dumps(_chain(error, prefix, set(), _MAX_CHAIN), protocol=4)
    except Exception:
        return b""


def _chain(error: BaseException | None, prefix: str, seen: set[int], depth: int) -> dict[str, Any] | None:
    if error is None or id(error) in seen or depth == 0:
        return None
    seen.add(id(error))
    lines: dict[tuple[str, int], str] = {}
    return {
        "exc": error,
        "tb": _frames(_skip_own(error.__traceback__), prefix, lines),
        "lines": lines,
        "cause": _chain(error.__cause__, prefix, seen, depth - 1),
        "context": _chain(error.__context__, prefix, seen, depth - 1),
        "suppress_context": error.__suppress_context__,
    }


def _frames(tb: TracebackType | None, prefix: str, lines: dict[tuple[str, int], str]) -> dict[str, Any] | None:
    entries: list[TracebackType] = []
    while tb is not None:
        entries.append(tb)
        tb = tb.tb_next
    if len(entries) > _MAX_FRAMES:  # the two ends of a recursion tell all
        entries = entries[: _MAX_FRAMES // 2] + entries[-_MAX_FRAMES // 2 :]
    link: dict[str, Any] | None = None
    for entry in reversed(entries):
        code = entry.tb_frame.f_code
        name = prefix + code.co_filename
        line = linecache.getline(code.co_filename, entry.tb_lineno, entry.tb_frame.f_globals)
        if line:
            lines[name, entry.tb_lineno] = line
        link = {
            "tb_frame": {
                "f_globals": {"__name__": entry.tb_frame.f_globals.get("__name__", "")},
                "f_code": {"co_filename": name, "co_name": code.co_name},
                "f_lineno": entry.tb_lineno,
            },
            "tb_lineno": entry.tb_lineno,
            "tb_next": link,
        }
    return link


def _clip(text: str) -> str:
    if len(text) <= _MAX_TEXT:
        return text
    half = _MAX_TEXT // 2
    return f"{text[:half]}\n... {len(text) - _MAX_TEXT} characters left out ...\n{text[-half:]}"
