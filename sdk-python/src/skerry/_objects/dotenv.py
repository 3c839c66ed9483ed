"""Files of variables, such as ``.env``."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skerry.exception import InvalidError

if TYPE_CHECKING:
    import os


def read_dotenv(path: str | os.PathLike[str] | None, filename: str) -> dict[str, str | None]:
    """Return the variables of the nearest file of the name, from a folder upwards. Raises InvalidError where there is none."""
    try:
        dotenv: Any = import_module("dotenv")
    except ImportError:
        raise ImportError("Secret.from_dotenv needs the package python-dotenv: pip install python-dotenv") from None
    start = Path.cwd() if path is None else Path(path).absolute()
    if not start.exists():
        raise InvalidError(f"Secret.from_dotenv: {start} does not exist")
    folder = start if start.is_dir() else start.parent
    for parent in (folder, *folder.parents):
        if (file := parent / filename).is_file():
            return dict(dotenv.dotenv_values(file))
    raise InvalidError(f"Secret.from_dotenv: there is no {filename} in {folder} or above it")
