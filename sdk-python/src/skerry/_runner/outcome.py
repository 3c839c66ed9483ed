"""What the runner says of an input that has ended."""

from __future__ import annotations

import sys

from . import wire
from .values import dump_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Key = tuple[str, int]

SUCCESS, FAILURE, CANCELLED = 1, 2, 3

_ENDS_CONTAINER = (KeyboardInterrupt, GeneratorExit)

ERROR_CANCELLED = (
    '"error":{"type":"skerry.exception.InputCancellation","message":"the input was cancelled","traceback":""}'
)


def ends_container(err: BaseException) -> bool:
    """Tell whether what an input raised is no outcome: it is run again elsewhere. A host whose machine is taken away has it raised.

    Where the input has the client's terminal, somebody there has pressed Ctrl-C, and wants it to fail.
    """
    interaction = sys.modules.get("skerry._runner.interaction")
    if interaction is not None and interaction.is_attached():
        return False
    return isinstance(err, _ENDS_CONTAINER)


def head(key: Key, status: int, seconds: float, members: str) -> str:
    """Return the meta of an Output."""
    elapsed = f'"elapsed_us":{int(seconds * 1e6) or 1},'
    return f'{{"call":{wire.quote(key[0])},"index":{key[1]},"status":{status},{elapsed}{members}}}'


def success(value: Any, format_: int) -> tuple[int, str, bytes]:
    """Return the status, meta members and data of a result. Raises SerializationError."""
    data = dump_result(value, format_)
    return SUCCESS, wire.payload_meta(data, format_), data


def item_head(key: Key, number: int, members: str) -> str:
    """Return the meta of an Item."""
    return f'{{"call":{wire.quote(key[0])},"index":{key[1]},"number":{number},{members}}}'


def say_end(err: BaseException) -> None:
    """Print that an input has ended the container."""
    from . import streams

    text = f"{type(err).__name__}: the container ends, and its inputs run again in another one\n"
    streams.carefully("stderr", "write", text)


def failed(err: BaseException, container_id: str, formats: list[int]) -> list[tuple[str, bytes]]:
    """Print what inputs raised. Return the meta members and the data that say it, for each in the format that its arguments had."""
    from . import streams
    from .failure import Failure

    failure = Failure(err, container_id)
    streams.carefully("stderr", "write", failure.text)
    said: dict[int, tuple[str, bytes]] = {}
    for format_ in set(formats):
        data = failure.data(format_)
        said[format_] = f'"error":{failure.error}' + (f',"format":{format_}' if data else ""), data
    return [said[format_] for format_ in formats]
