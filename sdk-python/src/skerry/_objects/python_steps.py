"""Steps of images that install Python packages with pip."""

from __future__ import annotations

from skerry.exception import InvalidError

from .arguments import building, flatten, index_options, strings
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

_HOSTS = ("github.com/", "gitlab.com/")


class PipSteps(Layers):
    """Methods of Image that install Python packages with pip."""

    __slots__ = ()

    @builder
    def pip_install(
        self,
        *packages: Packages,
        find_links: str | None = None,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        force_build: bool = False,
        env: dict[str, str | None] | None = None,
        secrets: Sequence[Secret] | None = None,
        gpu: str | None = None,
    ) -> Self:
        """Install Python packages with pip.

        Args:
            packages: requirements such as "numpy>=2", or lists of them.
            find_links: ``--find-links``.
            index_url: ``--index-url``.
            extra_index_url: ``--extra-index-url``.
            pre: take pre-releases.
            extra_options: more options, as in a shell.
            force_build: run this step and all after it whatever the cache has.
            env: environment variables of this step alone.
            secrets: secrets whose variables this step alone has; they are in no layer, log or cache key.
            gpu: a GPU to build on.

        Raises InvalidError for a package that begins with "-".
        """
        names = package_names("pip_install", packages)
        build = building("pip_install", env, secrets, gpu, force_build)
        if not names:
            return self
        options = index_options(find_links, index_url, extra_index_url, pre, extra_options)
        fields = {"packages": names, "options": options}
        return self._with("pip_install", fields, show_call("pip_install", names, **options), build)

    @builder
    def pip_install_from_requirements(
        self,
        requirements_txt: str | PathLike[str],
        find_links: str | None = None,
        *,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        force_build: bool = False,
        env: dict[str, str | None] | None = None,
        secrets: Sequence[Secret] | None = None,
        gpu: str | None = None,
    ) -> Self:
        """Install what a requirements file names with pip.

        Args:
            requirements_txt: the file; read when the image is built. Its content is part of the layer.

        Other arguments are as in :meth:`pip_install`.
        """
        import os

        method, path = "pip_install_from_requirements", os.fspath(requirements_txt)
        build = building(method, env, secrets, gpu, force_build)
        options = index_options(find_links, index_url, extra_index_url, pre, extra_options)

        def fields() -> dict[str, object]:
            from .local import LocalContents

            return {"tree": LocalContents({".": path}), "options": options}

        return self._with("pip_requirements", fields, show_call(method, path, **options), build)

    @builder
    def pip_install_from_pyproject(
        self,
        pyproject_toml: str | PathLike[str],
        optional_dependencies: list[str] | None = None,
        *,
        find_links: str | None = None,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        force_build: bool = False,
        env: dict[str, str | None] | None = None,
        secrets: Sequence[Secret] | None = None,
        gpu: str | None = None,
    ) -> Self:
        """Install the dependencies that a pyproject.toml names with pip.

        Args:
            pyproject_toml: the file; its ``project.dependencies`` are read when the image is built.
            optional_dependencies: names of extras to install as well.

        Other arguments are as in :meth:`pip_install`. Raises ValueError, when the image is built, for a file without dependencies.
        """
        import os

        method, path = "pip_install_from_pyproject", os.fspath(pyproject_toml)
        extras = strings(method, "optional_dependencies", optional_dependencies)
        build = building(method, env, secrets, gpu, force_build)
        options = index_options(find_links, index_url, extra_index_url, pre, extra_options)

        def fields() -> dict[str, object]:
            from skerry._run.projects import project_dependencies

            return {"packages": package_names(method, [project_dependencies(path, extras)]), "options": options}

        return self._with("pip_install", fields, show_call(method, path, optional_dependencies=extras), build)

    @builder
    def pip_install_private_repos(
        self,
        *repositories: str,
        git_user: str,
        find_links: str | None = None,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        gpu: str | None = None,
        env: dict[str, str | None] | None = None,
        secrets: Sequence[Secret] | None = None,
        force_build: bool = False,
    ) -> Self:
        """Install Python packages of private git repositories with pip.

        Args:
            repositories: such as "github.com/owner/name@main" or "gitlab.com/owner/name".
            git_user: the user that the token belongs to.
            secrets: with GITHUB_TOKEN for repositories of GitHub, GITLAB_TOKEN for those of GitLab.

        Other arguments are as in :meth:`pip_install`. Raises InvalidError for other repositories, and without secrets.
        """
        method = "pip_install_private_repos"
        refs = flatten(method, repositories)
        wrong = [ref for ref in refs if not ref.startswith(_HOSTS) or ref.count("/") < 2]
        if wrong:
            raise InvalidError(
                f"{method}: {', '.join(map(repr, wrong))}: want references such as 'github.com/owner/name@main'"
            )
        if not isinstance(git_user, str) or not git_user:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(f"{method}: git_user must be the user that the token belongs to, got {git_user!r}")
        build = building(method, env, secrets, gpu, force_build)
        if not refs:
            return self
        if not build.secrets:
            raise InvalidError(f"{method}: needs a secret with GITHUB_TOKEN or GITLAB_TOKEN: secrets=[...]")
        options = index_options(find_links, index_url, extra_index_url, pre, extra_options)
        fields = {"repositories": sorted(refs), "git_user": git_user, "options": options}
        return self._with("pip_private_repos", fields, show_call(method, sorted(refs), git_user=git_user), build)
