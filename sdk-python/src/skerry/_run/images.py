"""Has the server build images, and shows how it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protobuf import Oneof

from skerry._gen.skerry.v1 import image_pb, recipe_pb
from skerry._gen.skerry.v1 import step_pb as pb
from skerry.config import config
from skerry.exception import ImageBuildError, ServiceError

if TYPE_CHECKING:
    from skerry._client.client import Client
    from skerry._objects.image import Image, Step

    from .display import Display
    from .mounts import Mounts


class Images:
    """Turns images into ids. An image that several functions share is asked for once."""

    def __init__(self, client: Client, mounts: Mounts, display: Display) -> None:
        self._client = client
        self._mounts = mounts
        self._display = display
        self._ids: dict[bytes, str] = {}

    def load(self, image: Image) -> str:
        """Return the id of the built image. Raises ImageBuildError, which shows the step that failed."""
        recipe = recipe_pb.Recipe(
            base=recipe_pb.Base(kind=Oneof("debian_slim", recipe_pb.DebianSlim(python_version=image._python_version))),
            steps=[self._step(step) for step in image._steps],
        )
        key = recipe.to_binary()
        if key not in self._ids:
            self._ids[key] = self._build(recipe)
        image.object_id = self._ids[key]
        return self._ids[key]

    def _build(self, recipe: recipe_pb.Recipe) -> str:
        request = image_pb.BuildImageRequest(recipe=recipe, force=bool(config.get("force_build")))
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
                        raise _failure(failed)
                    case _:
                        continue
        raise ServiceError("the server ended the image's build without a result; run again")

    def _step(self, step: Step) -> pb.Step:
        return pb.Step(kind=self._kind(step.kind, step.fields), build_env=step.build_env, force_build=step.force_build)

    def _kind(self, kind: str, fields: dict[str, Any]) -> Any:
        match kind:
            case "pip_install":
                message: Any = pb.PipInstall(packages=fields["packages"], options=pb.IndexOptions(**fields["options"]))
            case "uv_pip_install":
                message = pb.UvPipInstall(
                    packages=fields["packages"],
                    options=pb.IndexOptions(**fields["options"]),
                    uv_version=fields["uv_version"],
                )
            case "apt_install":
                message = pb.AptInstall(packages=fields["packages"])
            case "run_commands":
                message = pb.RunCommands(commands=fields["commands"])
            case "env":
                message = pb.EnvStep(variables=fields["variables"])
            case "workdir":
                message = pb.Workdir(path=fields["path"])
            case _:
                ((remote_path, tree_digest),) = self._mounts.load(fields["files"])
                message = pb.AddLocal(tree_digest=tree_digest, remote_path=remote_path)
        return Oneof(kind, message)


def _failure(failed: image_pb.BuildFailed) -> ImageBuildError:
    lines = [f"image build failed: {failed.message}" if failed.message else "image build failed"]
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
