"""Has the server build images, and shows how it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protobuf import Oneof

from skerry._client.direct import drive
from skerry._gen.skerry.v1 import image_pb
from skerry._objects.volumes import volume_messages
from skerry.config import config
from skerry.exception import ImageBuildError, ServiceError

from .recipes import Recipe, make_recipe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from skerry._client.client import Client
    from skerry._gen.skerry.v1.volume_mount_pb import VolumeMount
    from skerry._objects.image import Image
    from skerry._objects.local import LocalFiles
    from skerry._objects.secret import Secret
    from skerry._volume.volume import Volume

    from .display import Display
    from .mounts import Mounts
    from .secrets import Secrets


class Images:
    """Turns images into ids. An image that several functions share is asked for once."""

    def __init__(
        self, client: Client, mounts: Mounts, secrets: Secrets, display: Display, environment: str = ""
    ) -> None:
        self._client = client
        self._environment = environment
        self._mounts = mounts
        self._secrets = secrets
        self._display = display
        self._ids: dict[bytes, str] = {}

    def load(self, image: Image) -> str:
        """Return the id of the built image. Raises ImageBuildError, which shows the step that failed and where the user wrote it."""
        recipe = make_recipe(image, self)
        key = recipe.message.to_binary()
        if key not in self._ids:
            try:
                self._ids[key] = self._build(recipe)
            except ImageBuildError as err:
                image._failed_id = err.image_id or None
                raise
        image._object_id = self._ids[key]
        return self._ids[key]

    def files(self, files: LocalFiles) -> list[tuple[str, str]]:
        """Send local files, and return their remote paths and trees."""
        return self._mounts.load(files)

    def tree(self, files: LocalFiles) -> str:
        """Send local files that only a step sees, and return their tree."""
        return self._mounts.tree(files)

    def secret(self, secret: Secret) -> str:
        """Return the id of a secret, made if need be."""
        return self._secrets.load(secret)

    def volumes(self, volumes: Mapping[str, Volume]) -> list[VolumeMount]:
        """Return what a step sees of volumes, which are looked up. Raises NotFoundError."""
        return drive(volume_messages(volumes, self._environment))

    def named(self, fields: dict[str, str]) -> str:
        """Return the id of the image that has a name. Raises NotFoundError."""
        request = image_pb.GetImageByNameRequest(
            environment=fields["environment"] or config.environment, name=fields["name"], tag=fields["tag"]
        )
        return self._client.call(lambda: self._client.images.get_image_by_name(request)).image_id

    def _build(self, recipe: Recipe) -> str:
        ignore_cache = bool(config.get("ignore_cache"))
        request = image_pb.BuildImageRequest(
            recipe=recipe.message,
            force=bool(config.get("force_build")) or ignore_cache,
            ignore_cache=ignore_cache,
            app_id=self._secrets.app_id,
            builder_version=config.image_builder_version,
        )
        with self._display.building() as shown:
            for response in self._client.stream(lambda: self._client.images.build_image(request)):
                match response.event:
                    case Oneof(field="step", value=step):
                        shown.step(step)
                    case Oneof(field="log", value=log):
                        shown.log(log)
                    case Oneof(field="built", value=built):
                        shown.built(built)
                        return built.image_id
                    case Oneof(field="failed", value=failed):
                        raise _failure(failed, recipe)
                    case _:
                        continue
        raise ServiceError("the server ended the image's build without a result; run again")


def _failure(failed: image_pb.BuildFailed, recipe: Recipe) -> ImageBuildError:
    lines = [f"image build failed: {failed.message}" if failed.message else "image build failed"]
    call = recipe.call(failed.recipe_step)
    if failed.step and call is not None and call.site[1]:
        lines.append(f'File "{call.site[0]}", line {call.site[1]}, in {call!r}')
    if failed.step:
        lines.append(f"step: {failed.step}")
    if failed.command and failed.command != failed.step:
        lines.append(f"command: {failed.command}")
    if failed.exit_code:
        lines.append(f"exit code: {failed.exit_code}")
    if failed.last_lines:
        lines.append("last lines:")
        lines.extend(f"  {line}" for line in failed.last_lines)
    return ImageBuildError("\n".join(lines), failed.image_id)
