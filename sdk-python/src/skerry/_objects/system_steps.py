"""Steps of images that change the system: Debian packages, commands, variables, what containers run."""

from __future__ import annotations

import os

from skerry._names import check_variables
from skerry.exception import InvalidError

from .arguments import absolute, building, flatten, strings, variables
from .arguments import packages as package_names
from .layers import Layers, builder
from .patterns import AUTO_DOCKERIGNORE
from .steps import show_call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    from typing_extensions import Self

    from .arguments import Packages
    from .patterns import Ignore
    from .secret import Secret


class SystemSteps(Layers):
    """Methods of Image that change the system."""

    __slots__ = ()

    @builder
    def apt_install(
        self,
        *packages: Packages,
        force_build: bool = False,
        env: dict[str, str | None] | None = None,
        secrets: Sequence[Secret] | None = None,
        gpu: str | None = None,
    ) -> Self:
        """Install Debian packages. Arguments are as in :meth:`pip_install`."""
        names = package_names("apt_install", packages)
        build = building("apt_install", env, secrets, gpu, force_build)
        if not names:
            return self
        return self._with("apt_install", {"packages": names}, show_call("apt_install", names), build)

    @builder
    def run_commands(
        self,
        *commands: Packages,
        env: dict[str, str | None] | None = None,
        secrets: Sequence[Secret] | None = None,
        volumes: Mapping[str, object] | None = None,
        gpu: str | None = None,
        force_build: bool = False,
    ) -> Self:
        """Run shell commands, each a layer of its own.

        Args:
            commands: for the image's shell, or lists of them.
            volumes: as in :meth:`run_function`; each command sees what those before it have written.

        Other arguments are as in :meth:`pip_install`.
        """
        lines = flatten("run_commands", commands)
        build = building("run_commands", env, secrets, gpu, force_build, volumes)
        if not lines:
            return self
        return self._with("run_commands", {"commands": lines}, show_call("run_commands", lines), build)

    @builder
    def dockerfile_commands(
        self,
        *dockerfile_commands: Packages,
        context_files: dict[str, str] | None = None,
        env: dict[str, str | None] | None = None,
        secrets: Sequence[Secret] | None = None,
        gpu: str | None = None,
        context_dir: str | PathLike[str] | None = None,
        force_build: bool = False,
        ignore: Ignore = AUTO_DOCKERIGNORE,
        build_args: dict[str, str] | None = None,
    ) -> Self:
        """Run Dockerfile commands on what is there.

        Args:
            dockerfile_commands: lines such as "RUN make", or lists of them.
            context_files: local files by the absolute path that a COPY finds them at.
            context_dir: the folder that they copy from; default: the current one. Only files that a COPY or ADD names are sent.
            ignore: what not to send, as in :meth:`add_local_dir`; default: what is in the folder's ``.dockerignore``.
            build_args: values of ARGs.

        Other arguments are as in :meth:`pip_install`.
        """
        method = "dockerfile_commands"
        lines = flatten(method, dockerfile_commands)
        build = building(method, env, secrets, gpu, force_build)
        files = variables(method, "context_files", context_files)
        arguments = variables(method, "build_args", build_args)
        if not lines:
            return self

        def fields() -> dict[str, object]:
            from skerry._run.context import dockerfile_context

            context = dockerfile_context(lines, context_dir, ignore, files=files)
            return {"commands": lines, "context": context, "build_args": arguments}

        return self._with(method, fields, show_call(method, lines), build)

    @builder
    def entrypoint(self, entrypoint_commands: list[str]) -> Self:
        """Set the command that containers' commands become arguments of."""
        words = strings("entrypoint", "entrypoint_commands", _list(entrypoint_commands))
        return self._with("entrypoint", {"command": words}, show_call("entrypoint", [words]))

    @builder
    def shell(self, shell_commands: list[str]) -> Self:
        """Set the shell of later :meth:`run_commands` and :meth:`dockerfile_commands`, such as ``["/bin/bash", "-c"]``."""
        words = strings("shell", "shell_commands", _list(shell_commands))
        return self._with("shell", {"command": words}, show_call("shell", [words]))

    @builder
    def cmd(self, cmd: list[str]) -> Self:
        """Set what containers run that are not told what to."""
        words = strings("cmd", "cmd", _list(cmd))
        return self._with("cmd", {"command": words}, show_call("cmd", [words]))

    @builder
    def env(self, vars: dict[str, str]) -> Self:  # noqa: A002 - the name is part of the public surface
        """Set environment variables for later steps and the containers."""
        if not isinstance(vars, dict) or not all(isinstance(value, str) for value in vars.values()):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError("Image.env: want a dict of str to str")
        checked = check_variables("Image.env", dict(vars))
        return self._with("env", {"variables": checked}, show_call("env", [checked]))

    @builder
    def workdir(self, path: str | PathLike[str]) -> Self:
        """Set the working directory of later steps and the containers."""
        clean = absolute("workdir", os.fspath(path))
        return self._with("workdir", {"path": clean}, show_call("workdir", clean))


def _list(words: object) -> object:
    """Return the words, but for None, which is no list."""
    return False if words is None else words
