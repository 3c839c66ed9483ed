"""An extension of IPython: ``%load_ext skerry.experimental.ipython``, then ``%skerry from app import function``."""

from __future__ import annotations

import re
from typing import Any

from skerry.exception import InvalidError

from . import get_app_objects

_IMPORT = re.compile(r"from\s+(?:(?P<environment>[\w.-]+)/)?(?P<app>[\w.-]+)\s+import\s+(?P<names>.+)")
_NAME = re.compile(r"(?P<name>[\w.-]+)(?:\s+as\s+(?P<alias>\w+))?")


def import_deployed(line: str) -> dict[str, Any]:
    """Return the functions and classes that a line names, by the names they are to have here.

    ``from [environment/]app import name [as alias][, ...]``. Raises InvalidError for another line, NotFoundError for what is not deployed.
    """
    parts = _IMPORT.fullmatch(line.strip())
    if parts is None:
        raise InvalidError("want: %skerry from [ENVIRONMENT/]APP import NAME [as ALIAS][, ...]")
    found: dict[str, Any] = {}
    deployed = get_app_objects(parts["app"], environment_name=parts["environment"])
    for item in parts["names"].split(","):
        name = _NAME.fullmatch(item.strip())
        if name is None:
            raise InvalidError(f"{item.strip()!r}: want NAME or NAME as ALIAS")
        thing = deployed.get(name["name"])
        if thing is None:
            there = ", ".join(deployed) or "nothing"
            raise InvalidError(f"app {parts['app']!r} has no {name['name']!r}; there is: {there}")
        found[name["alias"] or name["name"]] = thing
    return found


def load_ipython_extension(shell: Any) -> None:
    """Add the line magics ``%skerry`` and ``%modal``, which are the same. IPython calls this."""

    def magic(line: str) -> None:
        shell.push(import_deployed(line))

    for name in ("skerry", "modal"):
        shell.register_magic_function(magic, "line", name)
