"""Options that several commands share, with one wording."""

from __future__ import annotations

from typing import Annotated

import typer

from skerry.config import config

AppArgument = Annotated[str, typer.Argument(metavar="APP", help="The app's id, or the name it is deployed under.")]
Environment = Annotated[str | None, typer.Option("--env", "-e", help="The environment; default: the configured one.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
AsModule = Annotated[bool, typer.Option("-m", help="The reference is a module, as for python -m.")]
Timestamps = Annotated[bool, typer.Option("--timestamps", help="Show when each line of output was written.")]


def _use_modal_names(wanted: bool) -> bool:
    if wanted:
        from skerry._modal import install

        install()
    return wanted


ModalNames = Annotated[
    bool,
    typer.Option(
        "--modal",
        help="The program is written for Modal: its `import modal` gives Skerry, here and in containers.",
        callback=_use_modal_names,
        is_eager=True,
    ),
]
Strategy = Annotated[
    str,
    typer.Option(
        "--strategy",
        metavar="rolling|recreate",
        help="What becomes of the old containers: rolling: they finish their inputs; recreate: they are stopped, and their inputs "
        "run again in new ones.",
    ),
]

# Where a command stands in `skerry --help`.
RUNNING, STORAGE, ONBOARDING, SETTINGS, OBSERVABILITY = (
    "Apps",
    "Storage",
    "Onboarding",
    "Settings",
    "Observability",
)


def environment_of(given: str | None) -> str:
    """Return the environment to work in: the one given, or else the configured one; "" is the server's default."""
    return given or config.environment


def check_strategy(strategy: str) -> str:
    """Return a deployment strategy, or say which there are."""
    if strategy not in ("rolling", "recreate"):
        raise typer.BadParameter(f"--strategy {strategy!r}: want rolling or recreate")
    return strategy
