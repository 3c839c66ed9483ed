"""``skerry call``: calls by their id, such as those that ``.spawn()`` has made."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.tree import Tree

from skerry._client.client import shared_client
from skerry._gen.skerry.v1.call_pb import CancelCallRequest, GetCallGraphRequest, GetCallRequest, InputInfo
from skerry._gen.skerry.v1.payload_pb import ResultStatus

from . import tables
from .options import AsJson, Yes

cli = typer.Typer(help="Look at calls by their id, and cancel them.", no_args_is_help=True)

CallArgument = Annotated[str, typer.Argument(metavar="ID", help="The call's id, fc-....")]


@cli.command()
def show(call: CallArgument, as_json: AsJson = False) -> None:
    """Show how far a call has come."""
    client = shared_client()
    info = client.call(lambda: client.calls.get_call(GetCallRequest(call_id=call)))
    state = info.state
    inputs, finished = (0, 0) if state is None else (state.num_inputs, state.num_finished)
    columns = ["Call ID", "Function ID", "App ID", "Created at", "Inputs", "Finished", "Expired"]
    row = [
        *(call, info.function_id, info.app_id, tables.local_time(info.created_at)),
        *(inputs, finished, state is not None and state.expired),
    ]
    tables.show(columns, [row], as_json=as_json)


@cli.command()
def graph(call: CallArgument, as_json: AsJson = False) -> None:
    """Show a call's inputs, the calls that these made, and so on."""
    client = shared_client()
    inputs = client.call(lambda: client.calls.get_call_graph(GetCallGraphRequest(call_id=call))).inputs
    if as_json:
        columns = ["Input ID", "Call ID", "Parent input ID", "Function ID", "Function", "Container ID", "Status"]
        rows = [
            [
                i.input_id,
                i.call_id,
                i.parent_input_id or None,
                i.function_id,
                i.function_name,
                i.container_id,
                _status(i),
            ]
            for i in inputs
        ]
        tables.show(columns, rows, as_json=True)
        return
    tree = Tree(call)
    nodes: dict[str, Tree] = {}
    for i in inputs:  # parents come before children
        place = f" in {i.container_id}" if i.container_id else ""
        nodes[i.input_id] = nodes.get(i.parent_input_id, tree).add(
            f"{i.function_name} {i.input_id}: {_status(i)}{place}"
        )
    tables.print_wide(tree)


@cli.command()
def cancel(
    call: CallArgument,
    terminate: Annotated[
        bool, typer.Option("--terminate-containers", help="Also stop the containers that run its inputs.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Cancel a call's inputs that wait or run; finished ones keep their outputs."""
    if not yes:
        tables.confirm(f"Cancel call {call}?")
    client = shared_client()
    request = CancelCallRequest(call_id=call, terminate_containers=terminate)
    client.call(lambda: client.calls.cancel_call(request))
    print(f"Cancelled call {call}.")


def _status(info: InputInfo) -> Any:
    if info.result == ResultStatus.UNSPECIFIED:
        return "pending"
    return info.result.name.lower().replace("_", " ")
