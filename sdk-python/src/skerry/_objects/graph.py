"""Which inputs a call has, and which calls these made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry._gen.skerry.v1.call_pb import GetCallGraphRequest
from skerry._gen.skerry.v1.call_pb import InputStatus as Progress
from skerry._gen.skerry.v1.payload_pb import ResultStatus
from skerry.types import InputInfo, InputStatus

if TYPE_CHECKING:
    from skerry._client.client import Client
    from skerry._gen.skerry.v1 import call_pb

_STATUSES = {
    ResultStatus.SUCCESS: InputStatus.SUCCESS,
    ResultStatus.FAILURE: InputStatus.FAILURE,
    ResultStatus.INTERNAL_FAILURE: InputStatus.FAILURE,
    ResultStatus.OUT_OF_MEMORY: InputStatus.FAILURE,
    ResultStatus.START_FAILURE: InputStatus.INIT_FAILURE,
    ResultStatus.CANCELLED: InputStatus.TERMINATED,
    ResultStatus.TIMEOUT: InputStatus.TIMEOUT,
}


def call_graph(client: Client, call_id: str) -> list[InputInfo]:
    """Return the inputs of a call as a tree. Raises NotFoundError."""
    response = client.call(lambda: client.calls.get_call_graph(GetCallGraphRequest(call_id=call_id)))
    known: dict[str, InputInfo] = {}
    roots: list[InputInfo] = []
    for item in response.inputs:  # parents come before their children
        info = known[item.input_id] = _info(item)
        parent = known.get(item.parent_input_id) if item.call_id != call_id else None
        (parent.children if parent is not None else roots).append(info)
    return roots


def _info(item: call_pb.InputInfo) -> InputInfo:
    ended = item.status == Progress.FINISHED
    return InputInfo(
        input_id=item.input_id,
        function_call_id=item.call_id,
        task_id=item.container_id,
        status=_STATUSES.get(item.result, InputStatus.PENDING) if ended else InputStatus.PENDING,
        function_name=item.function_name,
        module_name=item.module_name,
        children=[],
    )
