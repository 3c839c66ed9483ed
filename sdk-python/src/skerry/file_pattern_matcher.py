"""Which files of a folder are meant, in the syntax of .dockerignore."""

from __future__ import annotations

from ._objects.patterns import FilePatternMatcher

__all__ = ["FilePatternMatcher"]
