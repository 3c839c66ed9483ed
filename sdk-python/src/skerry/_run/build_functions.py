"""Functions that run in builds: what is sent of them, and what says whether they have to run again."""

from __future__ import annotations

import dis
import hashlib
import inspect
import io
import json
import warnings
import zipfile
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from skerry import _modal
from skerry._client.serialization import pickle_whole, serialize
from skerry._objects.local import LocalContents, LocalFiles
from skerry.exception import InvalidError, SerializationError

from .mounts import walk
from .source import ROOT, find_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from skerry._objects.steps import Build

MAX_ARGUMENTS = 2 << 20
MAX_PAYLOAD = 8 << 20


def describe(
    raw: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    include_source: bool,
    build: Build,
) -> dict[str, object]:
    """Return the fields of a RunFunction that say what runs.

    Raises InvalidError for arguments over 2 MiB and sources over 8 MiB, SerializationError for arguments that can't be pickled.
    """
    name = f"{raw.__module__}.{raw.__qualname__}"
    arguments = serialize((args, kwargs), f"the arguments of {raw.__qualname__}")
    if len(arguments) > MAX_ARGUMENTS:
        raise InvalidError(
            f"run_function: the arguments of {raw.__qualname__} take {len(arguments):,} bytes when pickled; the most is 2 MiB"
        )
    definition = {
        "source": _source_of(raw),
        "arguments": _stable((args, kwargs)),
        "globals": {key: _stable(value) for key, value in sorted(_referenced(raw).items())},
        "gpu": build.gpu,
    }
    digest = hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()
    payload = _pack(raw, arguments, include_source=include_source)
    return {"name": name, "definition_digest": f"sha256:{digest}", "payload": LocalContents({".": payload})}


def _source_of(raw: Callable[..., Any]) -> str:
    try:
        return inspect.cleandoc("\n" + inspect.getsource(raw))
    except (OSError, TypeError):
        # Defined in a console: what it was compiled to is the next best thing.
        return raw.__code__.co_code.hex() + repr(raw.__code__.co_consts)


def _referenced(raw: Callable[..., Any]) -> dict[str, Any]:
    """Return the globals and variables of enclosing functions that a function refers to, without functions, modules and our own objects."""
    names = set(_global_names(raw.__code__))
    found = {name: raw.__globals__[name] for name in names if name in raw.__globals__}
    found |= inspect.getclosurevars(raw).nonlocals
    for name, value in list(found.items()):
        if isinstance(value, (FunctionType, ModuleType)) or inspect.isbuiltin(value) or _is_ours(value):
            del found[name]
        elif isinstance(value, type):
            found[name] = {
                key: attribute
                for key, attribute in vars(value).items()
                if not key.startswith("__") and not callable(attribute) and not hasattr(attribute, "__get__")
            }
    for name, value in list(found.items()):
        try:
            _stable(value)
        except SerializationError as err:
            warnings.warn(f"run_function: a change of the global {name!r} will not run it again: {err}", stacklevel=2)
            del found[name]
    return found


def _global_names(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _global_names(constant)


def _is_ours(value: object) -> bool:
    return type(value).__module__.partition(".")[0] == "skerry"


def _stable(value: Any) -> object:
    """Return something JSON takes that is equal for equal values, in every process."""
    items: Any = value  # of what type its items are is theirs to say
    match value:
        case None | bool() | int() | float() | complex() | str() | bytes():
            return [type(value).__name__, repr(value)]
        case list() | tuple():
            return [type(items).__name__, [_stable(item) for item in items]]
        case dict():
            return ["dict", [[_stable(key), _stable(item)] for key, item in items.items()]]
        case set() | frozenset():
            return [type(items).__name__, sorted(json.dumps(_stable(item)) for item in items)]
        case _:
            return ["pickle", hashlib.sha256(serialize(value, f"a {type(value).__name__}")).hexdigest()]


def _pack(raw: Callable[..., Any], arguments: bytes, *, include_source: bool) -> bytes:
    """Return the archive that :mod:`skerry._runner.build_function` runs."""
    local = "<locals>" in raw.__qualname__
    source = find_source(raw, serialized=local, include=include_source)
    call = {"version": 1, "module": source.module, "qualname": source.qualname, "modal_names": _modal.installed()}
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("call.json", json.dumps(call))
        archive.writestr("arguments.pickle", arguments)
        if not source.module:
            archive.writestr("function.pickle", pickle_whole(raw, f"function {raw.__qualname__}"))
        for files in source.files:
            for name, path in walk(files):
                content = path if isinstance(path, bytes) else Path(path).read_bytes()
                archive.writestr("src/" + _inside(files, name), content)
    if data.tell() > MAX_PAYLOAD:
        raise InvalidError(
            f"run_function: {raw.__qualname__} takes {data.tell():,} bytes with its source; the most is 8 MiB. "
            "Add large files with add_local_dir(copy=True) before it, and use include_source=False"
        )
    return data.getvalue()


def _inside(files: LocalFiles, name: str) -> str:
    remote = files.remote_path.removeprefix(ROOT).lstrip("/")
    return remote if name == "." else f"{remote}/{name}"
