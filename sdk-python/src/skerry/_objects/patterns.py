"""Which local files are left out: patterns as in ``.dockerignore``."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Sequence
    from os import PathLike
    from pathlib import Path
    from typing import TypeAlias

    Ignore: TypeAlias = Sequence[str] | Callable[[Path], bool]


class FilePatternMatcher:
    """Tells whether a relative path matches patterns in the syntax of ``.dockerignore``.

    ``*`` and ``?`` match within a path segment, ``[...]`` a set of characters, ``**`` any number of segments; ``!`` before a pattern
    takes paths out again. The last pattern that matches decides. A pattern that matches a folder matches all that is in it. ``~matcher``
    is its opposite.

    Example::

        image.add_local_dir("data", "/data", ignore=skerry.FilePatternMatcher("**/*.tmp", "!keep.tmp"))
    """

    def __init__(self, *patterns: str) -> None:
        self.patterns = patterns
        self._inverted = False
        self._compiled: list[tuple[bool, re.Pattern[str]]] | None = None

    @classmethod
    def from_file(cls, path: str | PathLike[str]) -> FilePatternMatcher:
        """Return a matcher with the patterns of a file, one a line; ``#`` begins a comment."""
        with open(path, encoding="utf-8") as file:
            return cls(*(line for line in file.read().splitlines() if line.strip() and not line.startswith("#")))

    def __call__(self, path: Path) -> bool:
        """Tell whether the path matches."""
        text = path.as_posix()
        matched = False
        for negated, rule in self._rules():
            if negated == matched and rule.fullmatch(text):
                matched = not negated
        return matched != self._inverted

    def __invert__(self) -> FilePatternMatcher:
        inverse = FilePatternMatcher(*self.patterns)
        inverse._inverted = not self._inverted
        return inverse

    def _rules(self) -> list[tuple[bool, re.Pattern[str]]]:
        # At first use: containers make matchers, with their images, and never ask them.
        if self._compiled is None:
            self._compiled = [rule for pattern in self.patterns if (rule := _compile(pattern)) is not None]
        return self._compiled

    def can_prune_directories(self) -> bool:
        """Tell whether a folder that matches can be left out without looking into it."""
        return not self._inverted and not any(negated for negated, _ in self._rules())

    def __repr__(self) -> str:
        return f"{'~' if self._inverted else ''}skerry.FilePatternMatcher({', '.join(map(repr, self.patterns))})"


# As an argument: the patterns of the .dockerignore file that belongs to a Dockerfile or its context.
AUTO_DOCKERIGNORE = FilePatternMatcher()

# What a module's source is, and what is never sent with a package.
NON_PYTHON_FILES = ~FilePatternMatcher("**/*.py")


def make_matcher(ignore: Ignore) -> Callable[[Path], bool]:
    """Return a function for the ``ignore`` argument: a list of patterns, a matcher or a function of the relative path."""
    return ignore if callable(ignore) else FilePatternMatcher(*ignore)


def _compile(pattern: str) -> tuple[bool, re.Pattern[str]] | None:
    text = pattern.strip()
    negated = text.startswith("!")
    text = text[1:].strip() if negated else text
    text = text.strip("/").removeprefix("./").rstrip("/")
    if not text or text == ".":
        return None
    import re

    # What is inside a folder that matches matches as well.
    return negated, re.compile(_translate(text) + "(?:/.*)?", re.DOTALL)


def _translate(text: str) -> str:
    import re

    parts: list[str] = []
    position = 0
    while position < len(text):
        if text.startswith("**/", position):
            parts.append("(?:.*/)?")
            position += 3
        elif text.startswith("**", position):
            parts.append(".*")
            position += 2
        elif text[position] == "*":
            parts.append("[^/]*")
            position += 1
        elif text[position] == "?":
            parts.append("[^/]")
            position += 1
        elif text[position] == "[" and (end := text.find("]", position + 2)) > 0:
            inside = text[position + 1 : end].replace("\\", "\\\\")
            parts.append(f"[{'^' + inside[1:] if inside[:1] in ('^', '!') else inside}]")
            position = end + 1
        elif text[position] == "\\" and position + 1 < len(text):
            parts.append(re.escape(text[position + 1]))
            position += 2
        else:
            parts.append(re.escape(text[position]))
            position += 1
    return "".join(parts)
