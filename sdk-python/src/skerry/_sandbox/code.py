"""What comes of code that is run in a sandbox."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from skerry import exception as exc


@dataclass(frozen=True)
class CodeResult:
    """A value that code shows: that of its last expression, or one that it displays on the way, such as a plot."""

    data: dict[str, str]
    """The forms in which it can be shown, by MIME type; what is binary is in base64."""
    is_main: bool = False
    """It is the value of the last expression."""

    @property
    def text(self) -> str:
        """The value as text."""
        return self.data.get("text/plain", "")

    @property
    def html(self) -> str | None:
        """The value as HTML."""
        return self.data.get("text/html")

    @property
    def markdown(self) -> str | None:
        """The value as Markdown."""
        return self.data.get("text/markdown")

    @property
    def latex(self) -> str | None:
        """The value as LaTeX."""
        return self.data.get("text/latex")

    @property
    def svg(self) -> str | None:
        """The value as SVG."""
        return self.data.get("image/svg+xml")

    @property
    def png(self) -> bytes | None:
        """The value as a PNG image."""
        return self._binary("image/png")

    @property
    def jpeg(self) -> bytes | None:
        """The value as a JPEG image."""
        return self._binary("image/jpeg")

    @property
    def json(self) -> Any:
        """The value as what JSON can say; None where there is no such form."""
        text = self.data.get("application/json")
        return None if text is None else json.loads(text)

    @property
    def table(self) -> CodeTable | None:
        """The value as a table, where it is a data frame."""
        found = self.json
        if not isinstance(found, dict) or not {"columns", "rows"} <= found.keys():  # pyright: ignore[reportUnknownMemberType]
            return None
        return CodeTable(list(found["columns"]), [list(row) for row in found["rows"]])  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]

    def _binary(self, kind: str) -> bytes | None:
        text = self.data.get(kind)
        return None if text is None else base64.b64decode(text)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class CodeTable:
    """A data frame that code showed."""

    columns: list[str]
    """Names of the columns."""
    rows: list[list[Any]]
    """The values, by row."""


@dataclass(frozen=True)
class CodeError:
    """An exception that ended code."""

    name: str
    """Its class, such as "ZeroDivisionError"."""
    value: str
    """What it says."""
    traceback: str
    """Where it was raised, as text."""

    def __str__(self) -> str:
        return self.traceback or f"{self.name}: {self.value}"


@dataclass
class CodeExecution:
    """What came of code."""

    results: list[CodeResult] = field(default_factory=list[CodeResult])
    """The values that it showed, in order."""
    stdout: str = ""
    """What it wrote to standard output."""
    stderr: str = ""
    """What it wrote to standard error."""
    error: CodeError | None = None
    """How it failed; None: it did not."""
    execution_count: int = 0
    """How many pieces of code its context has run."""
    timed_out: bool = False
    """Whether its timeout passed."""

    @property
    def text(self) -> str | None:
        """The value of its last expression as text; None where there is none."""
        return next((result.text for result in reversed(self.results) if result.is_main), None)

    def raise_for_error(self) -> CodeExecution:
        """Return this, or raise ExecutionError with the traceback where the code failed."""
        if self.error is not None:
            raise exc.ExecutionError(str(self.error))
        if self.timed_out:
            raise exc.ExecTimeoutError("the code ran longer than its timeout")
        return self


@dataclass(frozen=True)
class CodeEvent:
    """Something that came of code."""

    type: str
    """"stdout", "stderr", "result", "error", or "done", which is the last."""
    text: str = ""
    """Of stdout and stderr: what was written."""
    result: CodeResult | None = None
    """Of result: the value."""
    error: CodeError | None = None
    """Of error: the exception."""
    execution_count: int = 0
    """Of done: how many pieces of code the context has run."""
    timed_out: bool = False
    """Of done: whether the timeout passed."""
