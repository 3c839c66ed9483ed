"""Streams of output as their users see them."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from skerry._client.waiting import Once
from skerry._twin import twin
from skerry.exception import InvalidError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from typing_extensions import Self

T = TypeVar("T", str, bytes)


class Place(Protocol):
    """A place in a stream."""

    def take(self) -> bytes | Once | None:
        """Return the next bytes, or what to wait for, or None at the end. Raises what went wrong."""
        ...

    def close(self) -> None:
        """Read no more."""
        ...


class StreamReader(Generic[T]):
    """A stream of output: text, or bytes, of a process or of a sandbox's own command.

    ``read()`` waits for its end and returns all of it; a loop (``for`` or ``async for``) gets the pieces as they come, or lines. Text is
    UTF-8; what is not raises UnicodeDecodeError.

    Of a process, every ``read()`` and every loop begins at the start again, as far as the output is still kept: 1 MiB of each stream at
    least. Of a sandbox's command, a stream is read once.
    """

    def __init__(
        self,
        descriptor: int,
        open_place: Callable[[], Place] | None,
        *,
        text: bool = True,
        by_line: bool = False,
        once: bool = False,
        refusal: Exception | None = None,
    ) -> None:
        self._descriptor = descriptor
        self._open_place = open_place
        self._text = text
        self._by_line = by_line
        self._once = _Once(open_place, self._form) if once and open_place is not None else None
        self._refusal = refusal
        self._direct: _Reading | None = None

    @property
    def file_descriptor(self) -> int:
        """1 for standard output, 2 for standard error."""
        return self._descriptor

    @twin
    def read(self) -> T:
        """Wait for the end and return everything."""
        pieces: list[Any] = []
        with self._reading() as reading:
            while (piece := reading.next()) is not None:
                pieces.append(piece) if not isinstance(piece, Once) else piece.wait()
        return self._join(pieces)

    @read.native
    async def _read_aio(self) -> T:
        pieces: list[Any] = []
        with self._reading() as reading:
            while (piece := reading.next()) is not None:
                if isinstance(piece, Once):
                    await piece.wait_aio()
                else:
                    pieces.append(piece)
        return self._join(pieces)

    def __iter__(self) -> Iterator[T]:
        return self._iterate()

    def __aiter__(self) -> AsyncIterator[T]:
        return self._iterate_aio()

    def __next__(self) -> T:
        """Return the next piece. Deprecated: iterate instead."""
        if self._direct is None:
            self._direct = self._reading()
        while (piece := self._direct.next()) is not None:
            if not isinstance(piece, Once):
                return cast("T", piece)
            piece.wait()
        raise StopIteration

    async def __anext__(self) -> T:
        """Return the next piece. Deprecated: iterate instead."""
        if self._direct is None:
            self._direct = self._reading()
        while (piece := self._direct.next()) is not None:
            if not isinstance(piece, Once):
                return cast("T", piece)
            await piece.wait_aio()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End a loop that was begun by next()."""
        direct, self._direct = self._direct, None
        if direct is not None:
            direct.close()

    def _iterate(self) -> Iterator[T]:
        with self._reading() as reading:
            while (piece := reading.next()) is not None:
                if isinstance(piece, Once):
                    piece.wait()
                else:
                    yield cast("T", piece)

    async def _iterate_aio(self) -> AsyncIterator[T]:
        with self._reading() as reading:
            while (piece := reading.next()) is not None:
                if isinstance(piece, Once):
                    await piece.wait_aio()
                else:
                    yield cast("T", piece)

    def _reading(self) -> _Reading:
        if self._refusal is not None:
            raise self._refusal
        if self._once is not None:
            return self._once
        assert self._open_place is not None  # noqa: S101 - what can't be read has a refusal
        return _Reading(self._open_place(), self._form())

    def _form(self) -> _Form:
        return _Form(text=self._text, by_line=self._by_line)

    def _join(self, pieces: list[Any]) -> T:
        return cast("T", "".join(pieces) if self._text else b"".join(pieces))


class _Form:
    """Makes of bytes as they come the pieces that are wanted."""

    def __init__(self, *, text: bool, by_line: bool) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict") if text else None
        self._by_line = by_line
        self._begun = ""

    def feed(self, data: bytes, *, final: bool = False) -> list[Any]:
        """Return the pieces that are whole."""
        if self._decoder is None:
            return [data] if data else []
        text = self._decoder.decode(data, final)
        if not self._by_line:
            return [text] if text else []
        *lines, rest = (self._begun + text).split("\n")
        self._begun = rest
        whole = [f"{line}\n" for line in lines]
        if final and rest:
            self._begun = ""
            whole.append(rest)
        return whole


class _Reading:
    """Somebody's reading of a stream."""

    def __init__(self, place: Place, form: _Form) -> None:
        self._place = place
        self._form = form
        self._ready: list[Any] = []
        self._ended = False

    def next(self) -> Any:
        """Return the next piece, or a :class:`Once` to wait for, or None at the end."""
        while not self._ready:
            if self._ended:
                return None
            taken = self._place.take()
            if isinstance(taken, Once):
                return taken
            self._ended = taken is None
            self._ready = self._form.feed(taken or b"", final=self._ended)[::-1]
        return self._ready.pop()

    def close(self) -> None:
        """Read no more."""
        self._place.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Once(_Reading):
    """The reading of a stream that can be read once: who leaves it and comes back goes on."""

    def __init__(self, open_place: Callable[[], Place], form: Callable[[], _Form]) -> None:
        self._open_place = open_place
        self._make_form = form
        self._begun = False

    def next(self) -> Any:
        if not self._begun:
            self._begun = True
            super().__init__(self._open_place(), self._make_form())
        return super().next()

    def close(self) -> None:
        if self._begun and self._ended:
            super().close()


def unreadable(kind: str) -> Exception:
    """Return what reading a stream raises that goes elsewhere."""
    if kind == "devnull":
        return ValueError("Streams of type DEVNULL can't be read: their output is thrown away")
    return InvalidError("Streams of type STDOUT can't be read: their output is printed as it comes")
