"""Errors on the terminal: a panel for ours, a traceback of the user's own frames, local and remote, for theirs."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
import traceback
from typing import TYPE_CHECKING

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

import skerry
from skerry import exception as exc
from skerry.config import config

if TYPE_CHECKING:
    from collections.abc import Iterator

_SDK = os.path.dirname(skerry.__file__) + os.sep
_INSTALLED = tuple(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib"))
_REMOTE = re.compile(r"<(ta-[0-9A-Za-z]+)>:(.*)", re.DOTALL)


def show_error(error: BaseException) -> None:
    """Show what a command failed with."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if _wants_everything():
        console.print("".join(traceback.format_exception(error)), markup=False)
        return
    # Commands and file methods raise Python's own errors for files that are not there, and the like.
    if isinstance(error, (exc.Error, OSError)) and not _has_user_frames(error):
        show_panel(str(error), type(error).__name__)
        return
    for line in _render(error):
        console.print(line)
    if isinstance(error, exc.Error):
        show_panel(str(error), type(error).__name__)


def _wants_everything() -> bool:
    try:
        return bool(config.get("traceback"))
    except exc.InvalidError:
        return False  # settings that make no sense may be just what is to be shown


def show_panel(message: str, title: str = "Error") -> None:
    """Show a message of ours."""
    Console(stderr=True, highlight=False).print(
        Panel(Text(message), title=title, title_align="left", border_style="red")
    )


def has_remote_frames(error: BaseException) -> bool:
    """Tell whether an exception was raised in a container."""
    stack = traceback.TracebackException.from_exception(error).stack
    return any(_REMOTE.match(frame.filename) for frame in stack)


def _has_user_frames(error: BaseException) -> bool:
    """Tell whether an error has come through user code: what libraries of ours raised on other threads has frames of Python's own."""
    frames = _user_frames(traceback.TracebackException.from_exception(error))
    return any(not frame.filename.startswith(_INSTALLED) for frame in frames)


def _render(error: BaseException) -> Iterator[Text]:
    return _render_summary(traceback.TracebackException.from_exception(error))


def _render_summary(error: traceback.TracebackException) -> Iterator[Text]:
    for summary, introduction in _chain(error, set()):
        if introduction:
            yield Text(f"\n{introduction}\n")
        frames = list(_user_frames(summary))
        if frames:
            yield Text("Traceback (most recent call last):", "bold")
        container = ""
        for frame in frames:
            remote = _REMOTE.fullmatch(frame.filename)
            if remote is not None and remote[1] != container:
                container = remote[1]
                yield Text(f"...Remote call to Skerry Function ({container})...", "bold magenta")
            file = remote[2] if remote is not None else frame.filename
            yield Text.assemble(
                "  File ",
                (f'"{file}"', "cyan"),
                ", line ",
                (str(frame.lineno), "yellow"),
                ", in ",
                (frame.name, "green"),
            )
            if frame.line:
                yield Text(f"    {frame.line}")
        for line in summary.format_exception_only():
            yield Text(line.rstrip("\n"), "bold red")
        for number, member in enumerate(getattr(summary, "exceptions", None) or (), 1):  # of a group, since Python 3.11
            yield Text(f"  --- {number} of the group ---", "dim")
            yield from (Text("  ").append_text(line) for line in _render_summary(member))
        if len(frames) < len(summary.stack):
            yield Text("(frames of skerry itself are not shown; set SKERRY_TRACEBACK=1 to see them)", "dim")


def _chain(summary: traceback.TracebackException, seen: set[int]) -> Iterator[tuple[traceback.TracebackException, str]]:
    """Yield an exception after what caused it, each with the words between it and the one before."""
    seen.add(id(summary))
    words = ""
    if summary.__cause__ is not None and id(summary.__cause__) not in seen:
        yield from _chain(summary.__cause__, seen)
        words = "The above exception was the direct cause of the following exception:"
    elif summary.__context__ is not None and not summary.__suppress_context__ and id(summary.__context__) not in seen:
        yield from _chain(summary.__context__, seen)
        words = "During handling of the above exception, another exception occurred:"
    yield summary, words


def _user_frames(summary: traceback.TracebackException) -> Iterator[traceback.FrameSummary]:
    """Yield the frames of user code: those after our own first ones, without ours in between."""
    started = False
    for frame in summary.stack:
        own = frame.filename.startswith(_SDK) or frame.filename.startswith("<frozen ")
        remote = _REMOTE.match(frame.filename) is not None
        if not started and not remote and (own or _is_launcher(frame.filename)):
            continue
        started = True
        if not own:
            yield frame


def _is_launcher(filename: str) -> bool:
    parts = filename.replace("\\", "/").split("/")
    return (
        "typer" in parts
        or "click" in parts
        or os.path.basename(filename) in {"skerry", "runpy.py", "contextlib.py"}
        or filename == sys.argv[0]
    )
