"""Watches local files for changes."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from watchfiles import Change, DefaultFilter
from watchfiles._rust_notify import RustNotify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# How long files must have been left alone before a change counts, and how long it waits for that at most, in milliseconds.
_STEP_MS = 500
_LONGEST_MS = 5000


class _Junk(DefaultFilter):
    """Takes all but what editors and file managers leave beside the files, caches and version control."""

    ignore_entity_patterns = (*DefaultFilter.ignore_entity_patterns, r"^\.DS_Store$", r"^4913$")


class Watcher:
    """Calls a function for each group of changes in files and folders, from threads of its own, until it is stopped.

    The watch stands when this is made: no later change is missed.
    """

    def __init__(self, paths: Iterable[str], changed: Callable[[], None]) -> None:
        self._changed = changed
        self._stopping = threading.Event()
        self._wanted = _Junk()
        folders = sorted(path for path in paths if os.path.isdir(path))
        self._files = frozenset(paths).difference(folders)
        # A file through its folder: many editors write a new one in its place.
        parents = sorted({os.path.dirname(path) for path in self._files})
        for roots, wanted, recursive in ((folders, self._wanted, True), (parents, self._is_file, False)):
            if roots:
                notify = RustNotify(
                    roots,
                    debug=False,
                    force_polling=False,
                    poll_delay_ms=0,
                    recursive=recursive,
                    ignore_permission_denied=True,
                )
                threading.Thread(target=self._watch, args=(notify, wanted), name="skerry-watch", daemon=True).start()

    def stop(self) -> None:
        """Call the function no more."""
        self._stopping.set()

    def _watch(self, notify: RustNotify, wanted: Callable[[Change, str], bool]) -> None:
        with notify:
            while not isinstance(changes := notify.watch(_LONGEST_MS, _STEP_MS, 0, self._stopping), str):
                if any(wanted(Change(kind), path) for kind, path in changes):
                    self._changed()

    def _is_file(self, _change: Change, path: str) -> bool:
        return path in self._files


def changed_since(paths: Iterable[str], moment: int) -> bool:
    """Tell whether one of the files, or one in the folders, was written after a moment, in nanoseconds."""
    wanted = _Junk()
    return any(
        os.stat(path).st_mtime_ns > moment
        for root in paths
        for path in _files(root)
        if wanted(Change.modified, path) and os.path.exists(path)
    )


def _files(path: str) -> Iterator[str]:
    if not os.path.isdir(path):
        yield path
    for folder, _, names in os.walk(path):
        for name in names:
            yield os.path.join(folder, name)
