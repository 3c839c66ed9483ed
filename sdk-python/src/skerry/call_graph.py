"""Graphs of calls, as :meth:`FunctionCall.get_call_graph` gives them."""

from __future__ import annotations

from .types import InputInfo, InputStatus

__all__ = ["InputInfo", "InputStatus"]
