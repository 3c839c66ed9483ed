"""``skerry schedule``: when functions of deployed apps are called by themselves."""

from __future__ import annotations

from typing import Annotated

import typer

from skerry._client.client import shared_client
from skerry._gen.skerry.v1.schedule_pb import (
    Cron,
    ListSchedulesRequest,
    Period,
    RunScheduleRequest,
    Schedule,
)

from . import tables
from .options import AppArgument, AsJson, Environment, environment_of

cli = typer.Typer(help="List the schedules of deployed apps, and call their functions by hand.", no_args_is_help=True)

_UNITS = ("years", "months", "weeks", "days", "hours", "minutes", "seconds")


@cli.command("list")
def list_schedules(
    app: Annotated[str, typer.Argument(metavar="APP", help="Only those of this app: its id or name.")] = "",
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """List schedules with the next time each function is called, and the last."""
    client = shared_client()
    request = ListSchedulesRequest(app=app, environment=environment_of(environment))
    schedules = client.call(lambda: client.schedules.list_schedules(request)).schedules
    columns = ["App Name", "Function", "Schedule", "Next run", "Last run", "Last call ID"]
    rows = [
        [
            s.app_name,
            s.function_name,
            describe(s.schedule),
            tables.local_time(s.next_due),
            tables.local_time(s.last_due),
            s.last_call_id or None,
        ]
        for s in schedules
    ]
    tables.show(columns, rows, as_json=as_json)


@cli.command()
def run(
    app: AppArgument,
    function: Annotated[str, typer.Argument(metavar="FUNCTION", help="The function's name.")],
    environment: Environment = None,
) -> None:
    """Call a scheduled function now. Its next run stays as it is.

    [bold]Examples[/bold]

    skerry schedule run my-app nightly_report
    """
    client = shared_client()
    request = RunScheduleRequest(app=app, environment=environment_of(environment), function_name=function)
    call_id = client.call(lambda: client.schedules.run_schedule(request)).call_id
    print(f"Called {function}: {call_id}")
    print(f"Its output: skerry app logs {app} --function-call {call_id}")


def describe(schedule: Schedule | None) -> str:
    """Return a schedule in words, such as "cron 0 6 * * * (Europe/Berlin)" or "every 1 day 2 hours"."""
    kind = None if schedule is None else schedule.kind
    match None if kind is None else kind.value:
        case Cron() as cron:
            return f"cron {cron.expression} ({cron.timezone or 'UTC'})"
        case Period() as period:
            amounts = [(unit, getattr(period, unit)) for unit in _UNITS]
            return "every " + " ".join(f"{n:g} {unit[:-1] if n == 1 else unit}" for unit, n in amounts if n)
        case _:
            return ""
