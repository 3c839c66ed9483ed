"""A backend of matplotlib that gives figures to the kernel: pyplot.show() shows them at once."""

# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
import sys
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg as FigureCanvas  # type: ignore[import-not-found]

__all__ = ["FigureCanvas", "show"]


def show(*_: Any, **__: Any) -> None:
    """Shows the figures that are open."""
    sys._skerry_figures()  # type: ignore[attr-defined]
