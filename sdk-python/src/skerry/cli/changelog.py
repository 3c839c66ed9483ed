"""``skerry changelog``."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Annotated, NamedTuple

import typer
from rich.markdown import Markdown

from . import tables
from .later import refuse
from .options import AsJson

_HEADING = re.compile(r"^## (\S+) \(([^)]*)\)$", re.MULTILINE)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_VERSION = re.compile(r"v?(\d+(?:\.\d+)*)")


class Release(NamedTuple):
    """One version's part of the changelog."""

    version: str
    date: str
    """Such as "2026-01-31", or "unreleased"."""
    text: str


def changelog(
    last: Annotated[int | None, typer.Option("--last", metavar="N", min=1, help="The newest N versions.")] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="VERSION|DATE", help="Versions after this one, or from this day on."),
    ] = None,
    only: Annotated[str | None, typer.Option("--for", metavar="VERSION", help="One version.")] = None,
    newer: Annotated[bool, typer.Option("--newer", help="Versions newer than this one. Not available yet.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="All versions.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what has changed in this version of Skerry, or in the versions that the options name."""
    if sum(map(bool, (last, since, only, newer, everything))) > 1:
        raise typer.BadParameter("--last, --since, --for, --newer and --all exclude one another")
    if newer:
        refuse("changelog --newer")
    releases = parse(files("skerry").joinpath("CHANGELOG.md").read_text(encoding="utf-8"))
    if only is not None:
        releases = [release for release in releases if release.version == only.removeprefix("v")]
        if not releases:
            raise typer.BadParameter(f"version {only!r} is not in the changelog")
    elif since is not None:
        releases = [release for release in releases if _is_since(release, since)]
    elif not everything:
        releases = releases[: last or 1]
    if as_json:
        print(json.dumps([release._asdict() for release in releases], indent=2))
        return
    for release in releases:
        tables.print_wide(Markdown(f"## {release.version} ({release.date})\n\n{release.text}"))


def parse(text: str) -> list[Release]:
    """Return the versions of a changelog, newest first."""
    headings = list(_HEADING.finditer(text))
    ends = [*(heading.start() for heading in headings[1:]), len(text)]
    return [Release(h[1], h[2], text[h.end() : end].strip()) for h, end in zip(headings, ends, strict=True)]


def _is_since(release: Release, since: str) -> bool:
    if _DATE.fullmatch(since):
        return release.date >= since  # "unreleased" sorts after every day
    if (version := _VERSION.fullmatch(since)) is None:
        raise typer.BadParameter(f"--since {since!r}: want a version such as 0.1.0, or a day such as 2026-01-31")
    return _numbers(release.version) > _numbers(version[1])


def _numbers(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]
