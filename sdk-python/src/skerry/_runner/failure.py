"""Exceptions as the host and the caller get them. Imported when the first one is raised."""

from __future__ import annotations

import linecache
import traceback

from .values import PICKLE, dump, loads
from .wire import MAX_INLINE, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

_OWN = __file__.rpartition("/")[0] + "/"
_MAX_MESSAGE = 16 << 10
_MAX_TRACEBACK = 64 << 10
_MAX_CHAIN = 20
_MAX_FRAMES = 100  # pickling a deeper list of frames would itself run out of stack


class Failure:
    """What went wrong: ``error`` is the JSON for everybody, ``text`` the traceback."""

    def __init__(self, err: BaseException, container_id: str) -> None:
        self._err = err
        self._chain = _Chain(container_id)
        self._chain.clean(err)
        self.text = _clip(_format(err), _MAX_TRACEBACK)
        self.error = _error(err, self.text)

    def data(self, format_: int) -> bytes:
        """Return the exception with its causes in a format, empty if it can't be had: pickled for Python, described for others."""
        if format_ == PICKLE:
            return self._chain.pickle(self._err)
        from skerry import _cbor

        try:
            data = _cbor.dumps(self._err)
        except Exception:  # user classes may raise anything here
            return b""
        return data if len(data) <= MAX_INLINE else b""


def _error(err: BaseException, text: str) -> str:
    cls = type(err)
    name = f"{cls.__module__}.{cls.__qualname__}"
    message = _clip(_str(err), _MAX_MESSAGE)
    return f'{{"type":{quote(_clip(name, 1024))},"message":{quote(message)},"traceback":{quote(text)}}}'


def _str(err: BaseException) -> str:
    try:
        return str(err)
    except BaseException as second:
        return f"<the exception's text failed with {type(second).__name__}>"


def _clip(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"


def _format(err: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(type(err), err, err.__traceback__))
    except BaseException as second:
        return f"{type(err).__name__}: <the traceback can't be shown: {type(second).__name__}>\n"


class _Chain:
    """Turns an exception and what caused it into plain values."""

    def __init__(self, container_id: str) -> None:
        self._prefix = f"<{container_id}>:"

    def clean(self, err: BaseException) -> None:
        """Take the runner's own frames off the tracebacks."""
        seen: set[int] = set()
        todo: list[BaseException | None] = [err]
        while todo:
            one = todo.pop()
            if one is None or id(one) in seen:
                continue
            seen.add(id(one))
            tb = one.__traceback__
            while tb is not None and tb.tb_frame.f_code.co_filename.startswith(_OWN):
                tb = tb.tb_next
            one.__traceback__ = tb
            todo += (one.__cause__, one.__context__)

    def pickle(self, err: BaseException) -> bytes:
        """Return the pickle, or nothing where the exception can't be pickled or takes too much room."""
        try:
            dump(err)
            data = dump(self._describe(err, set()))
        except BaseException:  # user classes may raise anything here
            return b""
        return data if len(data) <= MAX_INLINE else b""

    def _describe(self, err: BaseException | None, seen: set[int]) -> dict[str, Any] | None:
        if err is None or id(err) in seen or len(seen) > _MAX_CHAIN:
            return None
        seen.add(id(err))
        lines: dict[tuple[str, int], str] = {}
        return {
            "exc": _portable(err) if len(seen) > 1 else err,
            "tb": self._frames(err.__traceback__, lines),
            "lines": lines,
            "cause": self._describe(err.__cause__, seen),
            "context": self._describe(err.__context__, seen),
            "suppress_context": err.__suppress_context__,
        }

    def _frames(self, tb: TracebackType | None, lines: dict[tuple[str, int], str]) -> dict[str, Any] | None:
        chain: list[TracebackType] = []
        while tb is not None:
            chain.append(tb)
            tb = tb.tb_next
        if len(chain) > _MAX_FRAMES:
            chain = chain[: _MAX_FRAMES // 2] + chain[-_MAX_FRAMES // 2 :]
        described: dict[str, Any] | None = None
        for entry in reversed(chain):
            described = self._frame(entry, described, lines)
        return described

    def _frame(
        self, tb: TracebackType, after: dict[str, Any] | None, lines: dict[tuple[str, int], str]
    ) -> dict[str, Any]:
        code = tb.tb_frame.f_code
        file = self._prefix + code.co_filename
        line = linecache.getline(code.co_filename, tb.tb_lineno, tb.tb_frame.f_globals)
        if line:
            lines[file, tb.tb_lineno] = line
        return {
            "tb_frame": {
                "f_globals": {"__name__": str(tb.tb_frame.f_globals.get("__name__", "")), "__file__": file},
                "f_locals": {},
                "f_code": {"co_filename": file, "co_name": code.co_name},
                "f_lineno": tb.tb_frame.f_lineno,
            },
            "tb_lineno": tb.tb_lineno,
            "tb_next": after,
        }


def _portable(err: BaseException) -> BaseException:
    """Return a cause as it is if it can be pickled and read again, else an ExecutionError that says what it was."""
    try:
        loads(dump(err))
    except BaseException:
        from skerry.exception import ExecutionError

        return ExecutionError(f"{type(err).__module__}.{type(err).__qualname__}: {_str(err)}")
    return err
