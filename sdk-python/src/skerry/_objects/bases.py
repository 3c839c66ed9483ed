"""Where images start."""

from __future__ import annotations

from skerry.exception import InvalidError

from .arguments import building, flatten, local_series, series, variables
from .layers import Layers
from .patterns import AUTO_DOCKERIGNORE
from .steps import Build, Step, show_call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from typing_extensions import Self

    from .patterns import Ignore
    from .secret import Secret
    from .steps import Fields


# How a registry is logged in to, by the numbers of RegistryCredentials.
_STATIC, _AWS, _GCP = 1, 2, 3


class Bases(Layers):
    """Static methods of Image that return one to begin with."""

    __slots__ = ()

    @classmethod
    def _start(cls, kind: str, fields: Fields, shown: str, build: Build) -> Self:
        return cls._make(Step(kind, fields, build, shown))

    @classmethod
    def debian_slim(cls, python_version: str | None = None, force_build: bool = False) -> Self:
        """Return a small Debian with Python.

        Args:
            python_version: a series such as "3.11"; default: the series that runs this code, so that pickles fit.
            force_build: build the image again whatever the cache has.

        The server says which series it can have if it can't have this one.
        """
        python = local_series() if python_version is None else series("python_version", python_version, micro=True)
        build = Build(force=bool(force_build))
        return cls._start("debian_slim", {"python_version": python}, show_call("debian_slim", python), build)

    @classmethod
    def from_registry(
        cls,
        tag: str,
        secret: Secret | None = None,
        *,
        setup_dockerfile_commands: Sequence[str] = (),
        force_build: bool = False,
        add_python: str | None = None,
    ) -> Self:
        """Return an image of a registry.

        Args:
            tag: what ``docker pull`` takes, such as "ubuntu:24.04".
            secret: with REGISTRY_USERNAME and REGISTRY_PASSWORD, for a registry that wants them.
            setup_dockerfile_commands: Dockerfile commands that are run before anything else.
            force_build: build the image again whatever the cache has.
            add_python: a series such as "3.12" to put to /usr/local, for an image without a Python of its own.
        """
        return cls._registry(
            "from_registry", _STATIC, tag, secret, list(setup_dockerfile_commands), force_build, add_python
        )

    @classmethod
    def from_aws_ecr(
        cls,
        tag: str,
        secret: Secret | None = None,
        *,
        setup_dockerfile_commands: Sequence[str] = (),
        force_build: bool = False,
        add_python: str | None = None,
        **kwargs: object,
    ) -> Self:
        """Return an image of an AWS ECR registry.

        Arguments are as in :meth:`from_registry`, but for the secret: it has AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION;
        AWS_SESSION_TOKEN and AWS_ROLE_ARN are used where they are there.
        """
        _one_secret("from_aws_ecr", kwargs)
        return cls._registry(
            "from_aws_ecr", _AWS, tag, secret, list(setup_dockerfile_commands), force_build, add_python
        )

    @classmethod
    def from_gcp_artifact_registry(
        cls,
        tag: str,
        secret: Secret | None = None,
        *,
        setup_dockerfile_commands: Sequence[str] = (),
        force_build: bool = False,
        add_python: str | None = None,
        **kwargs: object,
    ) -> Self:
        """Return an image of a GCP Artifact Registry.

        Arguments are as in :meth:`from_registry`, but for the secret: it has SERVICE_ACCOUNT_JSON.
        """
        _one_secret("from_gcp_artifact_registry", kwargs)
        return cls._registry(
            "from_gcp_artifact_registry",
            _GCP,
            tag,
            secret,
            list(setup_dockerfile_commands),
            force_build,
            add_python,
        )

    @classmethod
    def _registry(
        cls,
        method: str,
        credentials: int,
        tag: str,
        secret: Secret | None,
        setup: list[str],
        force_build: bool,
        add_python: str | None,
    ) -> Self:
        if not isinstance(tag, str) or not tag.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(f"{method}: want a tag such as 'ubuntu:24.04', got {tag!r}")
        build = building(method, secrets=None if secret is None else [secret], force_build=force_build)
        fields = {
            "reference": tag,
            "credentials": 0 if secret is None else credentials,
            "add_python": "" if add_python is None else series("add_python", add_python, micro=False),
            "setup_commands": flatten(method, setup),
        }
        return cls._start("registry", fields, show_call(method, tag, add_python=add_python), build)

    @classmethod
    def from_scratch(cls, force_build: bool = False) -> Self:
        """Return an image with nothing in it."""
        return cls._start("scratch", {}, show_call("from_scratch"), Build(force=bool(force_build)))

    @classmethod
    def micromamba(cls, python_version: str | None = None, force_build: bool = False) -> Self:
        """Return a small Debian with micromamba, and Python in its base environment.

        Args:
            python_version: as in :meth:`debian_slim`.
            force_build: build the image again whatever the cache has.
        """
        python = local_series() if python_version is None else series("python_version", python_version, micro=True)
        build = Build(force=bool(force_build))
        return cls._start("micromamba", {"python_version": python}, show_call("micromamba", python), build)

    @classmethod
    def from_dockerfile(
        cls,
        path: str | PathLike[str],
        *,
        force_build: bool = False,
        context_dir: str | PathLike[str] | None = None,
        env: dict[str, str | None] | None = None,
        secrets: Sequence[Secret] | None = None,
        gpu: str | None = None,
        add_python: str | None = None,
        build_args: dict[str, str] | None = None,
        ignore: Ignore = AUTO_DOCKERIGNORE,
    ) -> Self:
        """Return what a Dockerfile says.

        Args:
            path: the Dockerfile; read when the image is built.
            force_build: build the image again whatever the cache has.
            context_dir: the folder that it copies from; default: the current one. Only files that a COPY or ADD names are sent.
            env: environment variables of its RUN instructions.
            secrets: secrets whose variables its RUN instructions have, and nothing else sees.
            gpu: a GPU to build on.
            add_python: as in :meth:`from_registry`.
            build_args: values of its ARGs.
            ignore: what not to send, as in :meth:`add_local_dir`; default: what is in the Dockerfile's ``.dockerignore``.
        """
        import os

        method, file = "from_dockerfile", os.fspath(path)
        build = building(method, env, secrets, gpu, force_build)
        python = "" if add_python is None else series("add_python", add_python, micro=False)
        arguments = variables(method, "build_args", build_args)

        def fields() -> dict[str, object]:
            from skerry._run.context import dockerfile_context, read_text

            text = read_text(file)
            return {
                "text": text,
                "context": dockerfile_context(text.splitlines(), context_dir, ignore, dockerfile=file),
                "build_args": arguments,
                "add_python": python,
            }

        return cls._start("dockerfile", fields, show_call(method, file, add_python=add_python), build)


def _one_secret(method: str, kwargs: dict[str, object]) -> None:
    if "secrets" in kwargs:
        raise TypeError(f"{method}() got an unexpected argument 'secrets'; it takes one `secret`")
    if kwargs:
        raise TypeError(f"{method}() got an unexpected argument {next(iter(kwargs))!r}")
