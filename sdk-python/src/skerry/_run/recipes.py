"""Turns images into the recipes that the server builds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from protobuf import Oneof

from skerry._gen.skerry.v1 import recipe_pb, step_pb
from skerry._objects.local import LocalFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from skerry._gen.skerry.v1.volume_mount_pb import VolumeMount
    from skerry._objects.image import Image
    from skerry._objects.secret import Secret
    from skerry._objects.steps import Step
    from skerry._volume.volume import Volume

_BASES: dict[str, Callable[..., Any]] = {
    "debian_slim": recipe_pb.DebianSlim,
    "registry": recipe_pb.RegistryBase,
    "scratch": recipe_pb.ScratchBase,
    "micromamba": recipe_pb.MicromambaBase,
    "dockerfile": recipe_pb.DockerfileBase,
    "existing": recipe_pb.ExistingBase,
}
_STEPS: dict[str, Callable[..., Any]] = {
    "pip_install": step_pb.PipInstall,
    "pip_requirements": step_pb.PipRequirements,
    "pip_private_repos": step_pb.PipPrivateRepos,
    "uv_pip_install": step_pb.UvPipInstall,
    "uv_sync": step_pb.UvSync,
    "poetry_install": step_pb.PoetryInstall,
    "micromamba_install": step_pb.MicromambaInstall,
    "apt_install": step_pb.AptInstall,
    "run_commands": step_pb.RunCommands,
    "run_function": step_pb.RunFunction,
    "dockerfile_commands": step_pb.DockerfileCommands,
    "env": step_pb.EnvStep,
    "workdir": step_pb.Workdir,
    "entrypoint": step_pb.Entrypoint,
    "shell": step_pb.ShellStep,
    "cmd": step_pb.CmdStep,
    "add_local": step_pb.AddLocal,
}


class Recipe(NamedTuple):
    """A recipe, and the call that each of its steps comes from, the base's first."""

    message: recipe_pb.Recipe
    calls: list[Step]

    def call(self, number: int) -> Step | None:
        """Return the call of a step, from 1; 0: the base."""
        return self.calls[number] if number < len(self.calls) else None


class Server(Protocol):
    """What makes of things of this machine what they are called on the server."""

    def files(self, files: LocalFiles) -> Sequence[tuple[str, str]]:
        """Return the remote paths and trees of files."""
        ...

    def tree(self, files: LocalFiles) -> str:
        """Return the tree of files that only a step sees."""
        ...

    def secret(self, secret: Secret) -> str:
        """Return the id of a secret."""
        ...

    def volumes(self, volumes: Mapping[str, Volume]) -> Sequence[VolumeMount]:
        """Return what a step sees of volumes."""
        ...

    def named(self, fields: dict[str, str]) -> str:
        """Return the id of the image that has a name."""
        ...


def make_recipe(image: Image, server: Server) -> Recipe:
    """Return an image's recipe."""
    base = image._base
    kind, fields = base.kind, _fields(base, server)
    secrets = [server.secret(each) for each in base.build.secrets]
    if kind == "named":
        kind, fields = "existing", {"image_id": server.named(fields)}
    if kind == "registry" and secrets:
        fields["secret_id"] = secrets[0]
    if kind == "dockerfile":
        fields |= {"build_env": base.build.env, "secret_ids": secrets, "gpu": base.build.gpu}
    recipe = recipe_pb.Recipe(
        base=recipe_pb.Base(kind=_oneof(kind, _BASES[kind](**fields)), force_build=base.build.force)
    )
    calls = [base]
    for step in image._steps:
        for message in _messages(step, server):
            build = step.build
            recipe.steps.append(
                step_pb.Step(
                    kind=_oneof(step.kind, message),
                    build_env=build.env,
                    force_build=build.force,
                    secret_ids=[server.secret(each) for each in build.secrets],
                    gpu=build.gpu,
                    volumes=_volumes(build.volumes, server),
                )
            )
            calls.append(step)
    return Recipe(recipe, calls)


def _volumes(volumes: Mapping[str, Volume], server: Server) -> dict[str, step_pb.StepVolume]:
    if not volumes:
        return {}
    return {
        mount.mount_path: step_pb.StepVolume(
            volume_id=mount.volume_id, read_only=mount.read_only, sub_path=mount.sub_path
        )
        for mount in sorted(server.volumes(volumes), key=lambda each: each.mount_path)
    }


def _oneof(kind: str, message: Any) -> Any:
    return Oneof(kind, message)


def _messages(step: Step, server: Server) -> list[Any]:
    if step.kind == "add_local":
        # A namespace package has several folders.
        return [
            step_pb.AddLocal(remote_path=remote, tree_digest=digest)
            for remote, digest in server.files(step.resolve()["files"])
        ]
    fields = _fields(step, server)
    if "options" in fields:
        fields["options"] = step_pb.IndexOptions(**fields["options"])
    return [_STEPS[step.kind](**fields)]


def _fields(step: Step, server: Server) -> dict[str, Any]:
    """Return the fields of a message. Local files under the name "x" become a digest under "x_tree_digest"; "tree" is "tree_digest"."""
    fields: dict[str, Any] = {}
    for key, value in step.resolve().items():
        if isinstance(value, LocalFiles):
            fields["tree_digest" if key == "tree" else f"{key}_tree_digest"] = server.tree(value)
        elif value is not None:
            fields[key] = value
    return fields
