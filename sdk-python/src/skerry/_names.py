"""Checks of the names that users give to things, and new identifiers."""

from __future__ import annotations

import os

from .exception import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

# Sets instead of regular expressions: containers check the names of what they define, and importing re takes longer than the rest.
_LETTERS = frozenset(_ALPHABET)
_NAME = _LETTERS | frozenset("-_.")
_VARIABLE = _LETTERS | {"_"}


def _consists(text: object, most: int, allowed: frozenset[str]) -> bool:
    return isinstance(text, str) and 1 <= len(text) <= most and allowed.issuperset(text)


def new_call_id() -> str:
    """Return a fresh id of a call."""
    return new_id("fc")


def new_id(prefix: str) -> str:
    """Return the prefix with a fresh "-" and 22 characters of [0-9A-Za-z], about 2^131 of which there are."""
    number = int.from_bytes(os.urandom(17), "little")
    characters: list[str] = []
    for _ in range(22):
        number, digit = divmod(number, 62)
        characters.append(_ALPHABET[digit])
    return f"{prefix}-" + "".join(characters)


def check_name(noun: str, name: str) -> str:
    """Return the name, or raise InvalidError if it can't name an object of the given noun."""
    if not _consists(name, 64, _NAME):
        raise InvalidError(f"{noun} name {_clip(name)!r}: want 1 to 64 letters, digits, '-', '_' or '.'")
    if name.startswith("ap-") and len(name) == 25 and _LETTERS.issuperset(name[3:]):
        raise InvalidError(f"{noun} name {name!r}: looks like an app id; choose another")
    return name


def check_tag(tag: str) -> str:
    """Return the deployment tag, or raise InvalidError."""
    if tag and not _consists(tag, 50, _NAME):
        raise InvalidError(f"deployment tag {_clip(tag)!r}: want 1 to 50 letters, digits, '-', '_' or '.'")
    return tag


def check_environment(name: str) -> str:
    """Return the environment's name, or raise InvalidError."""
    if not _consists(name, 64, _NAME) or name[0] not in _LETTERS or name.startswith("en-"):
        raise InvalidError(
            f"environment name {_clip(name)!r}: want 1 to 64 letters, digits, '-', '_' or '.', "
            "beginning with a letter or digit and not with 'en-'"
        )
    return name


def check_labels(noun: str, labels: dict[str, str]) -> dict[str, str]:
    """Return a copy of an object's tags, or raise InvalidError."""
    if not isinstance(labels, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidError(f"{noun} tags: want a dict of str to str, got {type(labels).__name__}")
    for key, value in labels.items():
        for text in (key, value):
            if not _consists(text, 63, _NAME):
                raise InvalidError(f"{noun} tag {_clip(text)!r}: want 1 to 63 letters, digits, '.', '_' or '-'")
    return dict(labels)


def check_variables(noun: str, variables: Mapping[str, str | None]) -> dict[str, str]:
    """Return environment variables without those that are None, or raise InvalidError."""
    if not isinstance(variables, dict):
        raise InvalidError(f"{noun}: want a dict of str to str, got {type(variables).__name__}")
    checked: dict[str, str] = {}
    for key, value in variables.items():
        if not _consists(key, 256, _VARIABLE) or key[0].isdigit():
            raise InvalidError(
                f"{noun}: {_clip(key)!r} is no name for an environment variable; want letters, digits and '_'"
            )
        if key.startswith("SKERRY_"):
            raise InvalidError(f"{noun}: {key} is reserved; names that begin with SKERRY_ belong to Skerry")
        if value is None:
            continue
        if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(f"{noun}: the value of {key} is {type(value).__name__}; want str")
        checked[key] = value
    return checked


def _clip(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:80] + "..."
