"""Steps of images that install Python packages with uv, Poetry and micromamba."""

from __future__ import annotations

import os

from skerry.exception import InvalidError

from .arguments import building, index_options, strings
from .arguments import packages as package_names
from .layers import Layers, builder
from .steps import show_call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from typing_extensions import Self

    from .arguments import Packages
    from .secret import Secret


class ProjectSteps(Layers):
    """Methods of Image that install Python packages with uv, Poetry and micromamba."""

    __slots__ = ()

    @builder
    def uv_pip_install(
        self,
        *packages: Packages,
        requirements: list[str] | None = None,
        find_links: str | None = None,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        force_build: bool = False,
        uv_version: str | None = None,
        env: dict[str, str | None] | None = None,
        secrets: Sequence[Secret] | None = None,
        gpu: str | None = None,
    ) -> Self:
        """Install Python packages with uv, which is much faster than pip and is not left in the image.

        Args:
            packages: requirements such as "numpy>=2", or lists of them.
            requirements: requirements files; read when the image is built.
            uv_version: the version of uv; default: the builder's.

        Other arguments are as in :meth:`pip_install`.
        """
        method = "uv_pip_install"
        names = package_names(method, packages)
        files = strings(method, "requirements", requirements)
        build = building(method, env, secrets, gpu, force_build)
        if not names and not files:
            return self
        options = index_options(find_links, index_url, extra_index_url, pre, extra_options)

        def fields() -> dict[str, object]:
            from .local import LocalContents

            found: dict[str, object] = {"packages": names, "options": options, "uv_version": uv_version or ""}
            if files:
                contents: dict[str, str | bytes] = {f"{number}.txt": path for number, path in enumerate(files)}
                found |= {"requirements": LocalContents(contents), "requirements_files": list(contents)}
            return found

        return self._with(method, fields, show_call(method, names, requirements=files, **options), build)

    @builder
    def uv_sync(
        self,
        uv_project_dir: str | PathLike[str] = "./",
        *,
        force_build: bool = False,
        groups: list[str] | None = None,
        extras: list[str] | None = None,
        frozen: bool = True,
        extra_options: str = "",
        uv_version: str | None = None,
        env: dict[str, str | None] | None = None,
        secrets: Sequence[Secret] | None = None,
        gpu: str | None = None,
    ) -> Self:
        """Install the dependencies of a uv project into a virtual environment, which becomes the first of PATH.

        The project itself is not installed; add its source with :meth:`add_local_python_source`.

        Args:
            uv_project_dir: the folder with pyproject.toml and, where there is one, uv.lock; read when the image is built.
            force_build: as in :meth:`pip_install`.
            groups: dependency groups to install as well.
            extras: extras to install as well.
            frozen: take uv.lock as it is, without a check that it fits pyproject.toml.
            extra_options: more options of ``uv sync``, as in a shell.
            uv_version: the version of uv; default: the builder's.

        Other arguments are as in :meth:`pip_install`. Raises NotFoundError, when the image is built, where there is no pyproject.toml, and
        InvalidError for a workspace.
        """
        method, folder = "uv_sync", os.fspath(uv_project_dir)
        fixed = {
            "groups": strings(method, "groups", groups),
            "extras": strings(method, "extras", extras),
            "extra_options": extra_options,
            "uv_version": uv_version or "",
        }
        build = building(method, env, secrets, gpu, force_build)

        def fields() -> dict[str, object]:
            from skerry._run.projects import uv_project

            files = uv_project(folder)
            locked = "uv.lock" in files
            from .local import LocalContents

            return {"tree": LocalContents(files), "locked": locked, "frozen": bool(frozen) and locked, **fixed}

        return self._with(method, fields, show_call(method, folder, groups=groups, extras=extras), build)

    @builder
    def poetry_install_from_file(
        self,
        poetry_pyproject_toml: str | PathLike[str],
        poetry_lockfile: str | PathLike[str] | None = None,
        *,
        ignore_lockfile: bool = False,
        force_build: bool = False,
        with_: list[str] | None = None,
        without: list[str] | None = None,
        only: list[str] | None = None,
        poetry_version: str | None = "latest",
        old_installer: bool = False,
        env: dict[str, str | None] | None = None,
        secrets: Sequence[Secret] | None = None,
        gpu: str | None = None,
    ) -> Self:
        """Install the dependencies of a Poetry project into the image's Python.

        Args:
            poetry_pyproject_toml: its pyproject.toml; read when the image is built.
            poetry_lockfile: its lock; default: poetry.lock beside it.
            ignore_lockfile: find versions anew.
            force_build: as in :meth:`pip_install`.
            with_: groups to install as well.
            without: groups to leave out.
            only: the only groups to install.
            poetry_version: the version of Poetry; None: the one that the image has.
            old_installer: have Poetry use its old installer.

        Other arguments are as in :meth:`pip_install`. Raises NotFoundError, when the image is built, where there is no lock.
        """
        method, path = "poetry_install_from_file", os.fspath(poetry_pyproject_toml)
        lock = None if poetry_lockfile is None else os.fspath(poetry_lockfile)
        fixed = {
            "with_": strings(method, "with_", with_),
            "without": strings(method, "without", without),
            "only": strings(method, "only", only),
            "poetry_version": poetry_version or "",
            "old_installer": bool(old_installer),
        }
        build = building(method, env, secrets, gpu, force_build)

        def fields() -> dict[str, object]:
            from skerry._run.projects import poetry_project

            from .local import LocalContents

            return {"tree": LocalContents(poetry_project(path, lock, ignore_lock=ignore_lockfile)), **fixed}

        return self._with("poetry_install", fields, show_call(method, path), build)

    @builder
    def micromamba_install(
        self,
        *packages: Packages,
        spec_file: str | PathLike[str] | None = None,
        channels: list[str] | None = None,
        force_build: bool = False,
        env: dict[str, str | None] | None = None,
        secrets: Sequence[Secret] | None = None,
        gpu: str | None = None,
    ) -> Self:
        """Install conda packages with micromamba into the base environment of an image that has it.

        Args:
            packages: specifications such as "pytorch=2.4", or lists of them.
            spec_file: a file of packages or an environment; read when the image is built.
            channels: where to look, the first first.

        Other arguments are as in :meth:`pip_install`.
        """
        method = "micromamba_install"
        names = package_names(method, packages)
        channel_names = strings(method, "channels", channels)
        build = building(method, env, secrets, gpu, force_build)
        if not names and spec_file is None:
            return self
        spec = None if spec_file is None else os.fspath(spec_file)
        if spec is not None and not os.path.basename(spec):
            raise InvalidError(f"{method}: spec_file {spec!r} is a folder")

        def fields() -> dict[str, object]:
            from .local import LocalContents

            found: dict[str, object] = {"packages": names, "channels": channel_names}
            if spec is not None:
                # micromamba tells what is in a file by how its name ends.
                name = "spec" + os.path.splitext(spec)[1]
                found |= {"spec": LocalContents({name: spec}), "spec_file": name}
            return found

        return self._with(method, fields, show_call(method, names, spec_file=spec, channels=channel_names), build)
