"""Content of files on its way into a sandbox and out of it, in parts."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar

from connectrpc.errors import ConnectError

from skerry import exception as exc
from skerry._client.interruptible import interruptible
from skerry._client.waiting import Once
from skerry._gen.skerry.v1 import filesystem_pb as pb

from .breaks import Breaks
from .faults import file_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .inside import Inside

T = TypeVar("T")


def read_parts(inside: Inside, path: str, most: int) -> Iterator[bytes]:
    """Yield what is in a file, over broken connections.

    Args:
        inside: where it is.
        path: its path.
        most: refuse a file of more bytes than this; 0: none.

    Raises SandboxFilesystemError, also where the file has become another one after a break; ConnectionError.
    """
    inside.check()
    breaks = Breaks(inside.client, file_fault)
    identity: Any = None
    offset = 0
    while True:
        request = pb.ReadFileRequest(path=path, offset=offset, max_size=most)
        try:
            for response in interruptible(lambda request=request: inside.services.files.read_file(request)):
                breaks.succeeded()
                if response.info is not None:
                    identity = _same(identity, response.info)
                if response.data:
                    offset += len(response.data)
                    yield response.data
        except ConnectError as err:
            breaks.wait(err)
        else:
            return


def write_parts(inside: Inside, start: pb.WriteFileStart, parts: Callable[[], Iterable[bytes]]) -> None:
    """Write a file, from its beginning again where the connection breaks. ``parts`` gives its content, each of at most 1 MiB."""
    inside.check()
    breaks = Breaks(inside.client, file_fault)

    def frames() -> Iterator[pb.WriteFileRequest]:
        yield pb.WriteFileRequest(start=start)
        for part in parts():
            yield pb.WriteFileRequest(data=part)
        yield pb.WriteFileRequest(end=True)

    while True:
        try:
            in_a_thread(lambda: inside.services.files.write_file(frames()))
        except ConnectError as err:
            breaks.wait(err)
        else:
            return


def in_a_thread(work: Callable[[], T]) -> T:
    """Do something that waits outside of Python, where Ctrl-C has no effect on the main thread: in another thread then."""
    if threading.current_thread() is not threading.main_thread():
        return work()
    done = Once()
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as err:  # raised below
            errors.append(err)
        finally:
            done.set()

    threading.Thread(target=run, name="skerry-transfer", daemon=True).start()
    done.wait()
    if errors:
        raise errors[0]
    return results[0]


def _same(before: Any, info: pb.FileInfo) -> Any:
    """Return what tells a file from another one at its path. Raises where it is not the one of before."""
    modified = info.modified_at
    identity = info.size, modified and (modified.seconds, modified.nanos)
    if before is not None and identity != before:
        raise exc.SandboxFilesystemError(f"{info.path}: has changed while it was read; read it again")
    return identity
