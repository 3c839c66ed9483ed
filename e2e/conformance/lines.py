"""Marks a test with the lines of behaviour that it is about."""

from collections.abc import Callable
from typing import TypeVar

import pytest

Test = TypeVar("Test", bound=Callable[..., object])


def line(section: str, text: str) -> pytest.MarkDecorator:
    """``@line("5 map", "Inputs are drawn lazily.")``: the chapter, and the line in short. A test may have several."""
    return pytest.mark.line(section, text)
