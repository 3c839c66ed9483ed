"""``skerry image``."""

from __future__ import annotations

from typing import Annotated

import typer

from skerry._client.client import shared_client
from skerry._gen.skerry.v1.image_pb import (
    DeleteImageRequest,
    GetImageLogRequest,
    ListImageNamesRequest,
    ListImagesRequest,
)
from skerry._objects.image_logs import entries_of

from . import tables
from .options import AsJson, Environment, Yes, environment_of

cli = typer.Typer(help="Look at images, their builds and their names.", no_args_is_help=True)
names = typer.Typer(help="Look at the names of images.", no_args_is_help=True)
cli.add_typer(names, name="names")


@cli.command()
def logs(
    image: Annotated[str, typer.Argument(metavar="im-...", help="The image's id, also of a build that failed.")],
    layers: Annotated[int, typer.Option("--layers", min=1, help="Of how many of the last layers.")] = 1,
    everything: Annotated[bool, typer.Option("--all", help="Of all layers.")] = False,
) -> None:
    """Show what the last build of an image said."""
    client = shared_client()
    log = client.call(lambda: client.images.get_image_log(GetImageLogRequest(image_id=image)))
    for entry in entries_of(image, log, None if everything else layers):
        print(entry, end="")


@cli.command("list")
def list_images(
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many at most.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List built images, newest first."""
    client = shared_client()
    images = client.call(lambda: client.images.list_images(ListImagesRequest(limit=limit))).images
    rows = [
        [i.image_id, ", ".join(i.names), f"{i.size / 1e6:,.0f} MB", tables.local_time(i.created_at)] for i in images
    ]
    tables.show(["Image ID", "Names", "Size", "Created at"], rows, as_json=as_json)


@cli.command()
def rm(
    images: Annotated[list[str], typer.Argument(metavar="im-...", help="Ids of images.")],
    yes: Yes = False,
) -> None:
    """Delete images that no running or deployed app and no name uses."""
    if not yes:
        tables.confirm(f"Delete {', '.join(images)}?")
    client = shared_client()
    for image in images:
        request = DeleteImageRequest(image_id=image)
        client.call(lambda request=request: client.images.delete_image(request))
        print(f"Deleted image {image}.")


@names.command("list")
def list_names(
    prefix: Annotated[str, typer.Option("--prefix", help="Only names that begin so.")] = "",
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """List names of images with their tags."""
    _show(ListImageNamesRequest(environment=environment_of(environment), prefix=prefix), as_json)


@names.command("history", hidden=True)
def history(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name, with or without a tag.")],
    environment: Environment = None,
    as_json: AsJson = False,
) -> None:
    """List the images that a name had, newest first."""
    _show(ListImageNamesRequest(environment=environment_of(environment), history_of=name), as_json)


def _show(request: ListImageNamesRequest, as_json: bool) -> None:
    client = shared_client()
    found = client.call(lambda: client.images.list_image_names(request)).names
    rows = [[n.name, n.image_id, tables.local_time(n.updated_at)] for n in found]
    tables.show(["Tag", "Image ID", "Updated at"], rows, as_json=as_json)
