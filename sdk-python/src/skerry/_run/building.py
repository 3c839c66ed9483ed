"""What is done with images outside of an app's run: built, named, found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skerry._client.client import shared_client
from skerry._gen.skerry.v1.image_pb import PublishImageRequest
from skerry._objects.arguments import split_name
from skerry.config import config
from skerry.exception import ExecutionError, InvalidError

from .display import current_display
from .images import Images
from .mounts import Mounts
from .secrets import Secrets
from .source import alias_main

if TYPE_CHECKING:
    from skerry._client.client import Client
    from skerry._objects.app import App
    from skerry._objects.image import Image


def build_image(image: Image, app: App) -> Image:
    """Build an image for an app, and return it. Raises InvalidError for an app that is not on the server, ImageBuildError."""
    app_id = getattr(app, "app_id", None)
    if not app_id:
        raise InvalidError(
            "Image.build: the app is not on the server; use it within app.run(), or one of App.lookup(name, create_if_missing=True)"
        )
    client, display = shared_client(), current_display()
    alias_main()
    Images(client, Mounts(client, display), Secrets(client, app_id), display).load(image)
    return image


def publish_image(
    image: Image, name: str, environment: str | None, options: dict[str, Any] | None, client: Client | None
) -> None:
    """Give an image a name. Raises ExecutionError for one that is not built, InvalidError for what can't be a name."""
    where, plain, tag = split_name("Image.publish", name, environment)
    unknown = set(options or {}) - {"is_public"}
    if unknown:
        raise InvalidError(f"Image.publish: experimental option {min(unknown)!r} is not known; there is 'is_public'")
    if image.object_id is None:
        raise ExecutionError("Image.publish: the image has not been built; use build(app) first")
    client = client or shared_client()
    request = PublishImageRequest(
        image_id=image.object_id,
        environment=where or config.environment,
        name=plain,
        tag=tag,
        is_public=bool((options or {}).get("is_public")),
    )
    client.call(lambda: client.images.publish_image(request))


def find_image(fields: dict[str, str], client: Any = None) -> str:
    """Return the id of the image that has a name. Raises NotFoundError."""
    client = client or shared_client()
    display = current_display()
    return Images(client, Mounts(client, display), Secrets(client, ""), display).named(fields)
