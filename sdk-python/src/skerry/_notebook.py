"""Whether the code runs in cells of a notebook, or at a console, instead of a file."""

from __future__ import annotations

import builtins
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def in_cells() -> bool:
    """Tell whether cells define things again and again: in IPython (Jupyter) or marimo."""
    return hasattr(builtins, "__IPYTHON__") or _in_marimo()


def in_jupyter() -> bool:
    """Tell whether what is displayed goes into the cells of a Jupyter notebook."""
    get_ipython = getattr(builtins, "get_ipython", None)
    return get_ipython is not None and type(get_ipython()).__name__ == "ZMQInteractiveShell"


def is_of_a_cell(raw: Any) -> bool:
    """Tell whether a function or class of ``__main__`` stands in a cell, so that a container has nothing to import it from."""
    if getattr(raw, "__module__", None) != "__main__":
        return False
    if _in_marimo():
        return True
    if not hasattr(builtins, "__IPYTHON__"):
        return False
    file = getattr(sys.modules["__main__"], "__file__", None)  # of a script that IPython runs
    code = _code(raw)
    return file is None or code is None or os.path.realpath(code.co_filename) != os.path.realpath(file)


def _code(raw: Any) -> Any:
    """Return the code of a function, or of the first function in a class; None where there is none."""
    while hasattr(raw, "__wrapped__"):
        raw = raw.__wrapped__
    if isinstance(raw, type):
        values = list(vars(raw).values())
        return next((code for value in values if (code := _code(value)) is not None), None)
    return getattr(raw, "__code__", None)


def _in_marimo() -> bool:
    """Tell whether marimo runs cells, in its editor or as a script."""
    marimo: Any = sys.modules.get("marimo")
    return marimo is not None and hasattr(marimo, "app_meta") and marimo.app_meta().mode is not None
