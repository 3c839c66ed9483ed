"""Volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skerry import exception as exc
from skerry._client.direct import ask, direct, static_direct
from skerry._gen.skerry.v1 import volume_pb as pb
from skerry._names import check_name
from skerry._objects.named import Kind, Manager, Named, created_at

from .files import Files
from .paths import volume_path
from .uploading import request_id
from .values import VolumeInfo, VolumeVersion

if TYPE_CHECKING:
    from collections.abc import Callable

    from skerry._client.client import Client
    from skerry._objects.ephemeral import Ephemeral

    from .values import VolumeCreateOptions

_PAGE = 1000


class VolumeManager(Manager["Volume"]):
    """Makes, lists and deletes volumes: ``skerry.Volume.objects``."""

    @direct
    async def create(  # pyright: ignore[reportIncompatibleVariableOverride]
        self,
        name: str,
        *,
        version: int | None = None,
        allow_existing: bool = False,
        environment_name: str | None = None,
        client: Client | None = None,
        experimental_options: dict[str, Any] | None = None,
    ) -> None:
        """Make one with a name.

        Args:
            name: 1 to 64 letters, digits, '-', '_' or '.'.
            version: 1 or 2, which are the same here.
            allow_existing: do nothing where it is there; else AlreadyExistsError is raised.
            environment_name: default: the configured one.
            client: default: the process's own.
            experimental_options: there are none so far.
        """
        _check_version(version)
        create: Any = getattr(Manager, "create").__wrapped__  # noqa: B009 - whose type is of no interest here
        await create(self, name, allow_existing=allow_existing, environment_name=environment_name, client=client)


class Volume(Files, Named):
    """Files that containers and programs share.

    ::

        data = skerry.Volume.from_name("data", create_if_missing=True)
        with data.batch_upload() as batch:
            batch.put_directory("models", "/models")

        @app.function(volumes={"/data": data})
        def train():
            ...
            data.commit()

    A volume has versions, which never change. What a container writes becomes part of the volume with :meth:`commit`, in the background,
    and when it ends; what others have written is seen after :meth:`reload`. Of a file that several write, the last writer's stays.

    Each method has an ``.aio`` form.
    """

    _kind = Kind("volume", "vo")
    _read_only: bool = False
    _sub_path: str = ""

    objects: VolumeManager
    """Makes, lists and deletes volumes."""

    @staticmethod
    def from_name(
        name: str,
        *,
        environment_name: str | None = None,
        create_if_missing: bool = False,
        version: int | None = None,
        create_options: VolumeCreateOptions | None = None,
        client: Client | None = None,
    ) -> Volume:
        """Return a handle of the volume that has a name. The server is asked when it is first used, and NotFoundError raised then.

        Args:
            name: 1 to 64 letters, digits, '-', '_' or '.'.
            environment_name: default: the configured one.
            create_if_missing: make it where it is not there.
            version: 1 or 2, which are the same here.
            create_options: there are none so far.
            client: default: the process's own.
        """
        _check_version(version)
        return Volume._make(name=name, environment=environment_name, create=create_if_missing, client=client)

    @staticmethod
    def from_id(volume_id: str, client: Client | None = None) -> Volume:
        """Return a handle of the volume that has an id, "vo-..."."""
        return Volume._of_id(volume_id, client)

    @staticmethod
    def ephemeral(
        client: Client | None = None,
        environment_name: str | None = None,
        version: int | None = None,
        create_options: VolumeCreateOptions | None = None,
    ) -> Ephemeral[Volume]:
        """Return a volume without a name for a ``with`` or ``async with`` block. It goes with the block, or with this process.

        Args:
            client: default: the process's own.
            environment_name: default: the configured one.
            version: 1 or 2, which are the same here.
            create_options: there are none so far.
        """
        from skerry._objects.ephemeral import Ephemeral

        _check_version(version)
        return Ephemeral(Volume, client, environment_name)

    @static_direct
    @staticmethod
    async def rename(
        old_name: str, new_name: str, *, client: Client | None = None, environment_name: str | None = None
    ) -> None:
        """Give a volume another name. Raises NotFoundError, AlreadyExistsError."""
        volume = Volume.from_name(old_name, environment_name=environment_name, client=client)
        known, volume_id = await volume._ready()
        request = pb.RenameVolumeRequest(volume_id=volume_id, name=check_name("volume", new_name))
        await ask(known, lambda services: services.volumes.rename_volume(request))

    @direct
    async def info(self) -> VolumeInfo:
        """Return what the server knows of it. Raises NotFoundError."""
        info = await self._describe()
        return VolumeInfo(info.name or None, created_at(info), info.created_by)

    # In containers.

    @direct
    async def commit(self) -> None:
        """Make what this container has written part of the volume. Others see it when they reload it, or begin.

        Raises RuntimeError outside of containers that have the volume.
        """
        client, volume_id = await self._ready()
        request = pb.CommitVolumeRequest(volume_id=volume_id)
        try:
            await ask(client, lambda services: services.volumes.commit_volume(request))
        except (exc.ConflictError, exc.NotFoundError) as err:
            raise RuntimeError(str(err)) from None

    @direct
    async def reload(self) -> None:
        """Show this container the newest version; what it has written is committed before.

        Raises RuntimeError where files of the volume are open, and says which; and outside of containers that have the volume.
        """
        client, volume_id = await self._ready()
        request = pb.ReloadVolumeRequest(volume_id=volume_id)
        try:
            await ask(client, lambda services: services.volumes.reload_volume(request))
        except (exc.ConflictError, exc.NotFoundError) as err:
            raise RuntimeError(str(err)) from None

    # Mounting.

    def with_mount_options(self, *, read_only: bool | None = None, sub_path: str | None = None) -> Volume:
        """Return a handle of the same volume with other options for ``volumes={...}``. Options that are None stay as they are.

        Args:
            read_only: containers can't change it, nor can this handle.
            sub_path: the folder of the volume that is mounted, made where it is not there; "/": all of it.
        """
        made = self._copy()
        if read_only is not None:
            made._read_only = bool(read_only)
        if sub_path is not None:
            made._sub_path = volume_path(sub_path)
        return made

    def read_only(self) -> Volume:
        """Return a handle of the same volume with which it can't be changed."""
        if self._sub_path:
            raise exc.InvalidError(
                "read_only() does not go with with_mount_options(); use with_mount_options(read_only=True)"
            )
        return self.with_mount_options(read_only=True)

    # Versions.

    @direct
    async def history(self, *, max_versions: int | None = None) -> list[VolumeVersion]:
        """Return the versions that are kept, newest first.

        Args:
            max_versions: at most so many. Default: all.
        """
        client, volume_id = await self._ready()
        found: list[VolumeVersion] = []
        below = 0
        while max_versions is None or len(found) < max_versions:
            limit = _PAGE if max_versions is None else min(_PAGE, max_versions - len(found))
            request = pb.ListVolumeVersionsRequest(volume_id=volume_id, before=below, limit=limit)
            answer = await ask(client, lambda services, request=request: services.volumes.list_volume_versions(request))
            found.extend(_version(each) for each in answer.versions)
            if len(answer.versions) < limit:
                break
            below = found[-1].version
        return found

    @direct
    async def restore(self, version: int) -> VolumeVersion:
        """Make a new version with the content of an old one, and return it. Raises NotFoundError.

        Args:
            version: its number, from :meth:`history`.
        """
        self._check_writable()
        client, volume_id = await self._ready()
        request = pb.RestoreVolumeVersionRequest(volume_id=volume_id, version=version, request_id=request_id())
        answer = await ask(client, lambda services: services.volumes.restore_volume_version(request))
        return _version(answer.version)

    def __repr__(self) -> str:
        options = [f"read_only={self._read_only}"] if self._read_only else []
        options += [f"sub_path={self._sub_path!r}"] if self._sub_path else []
        return super().__repr__() + (f".with_mount_options({', '.join(options)})" if options else "")

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (*super().__reduce__(), self._read_only, self._sub_path)

    # Inside the package.

    def _copy(self) -> Volume:
        made: Volume = object.__new__(Volume)
        made.__dict__.update(self.__dict__)
        return made

    def _is_same(self, other: Volume) -> bool:
        if self._object_id is not None and other._object_id is not None:
            return self._object_id == other._object_id
        named = self._name is not None and self._name == other._name
        return self is other or (named and self._environment == other._environment)

    def _check_writable(self) -> None:
        if self._read_only:
            raise exc.InvalidError(f"{self!r} is read-only; change the volume with a handle that is not")


def _restore(make: Callable[..., Volume], args: tuple[Any, ...], read_only: bool, sub_path: str) -> Volume:
    made = make(*args)
    made._read_only, made._sub_path = read_only, sub_path
    return made


def _check_version(version: int | None) -> None:
    if version not in (None, 1, 2):
        raise exc.InvalidError(f"version={version!r}: want 1 or 2, which are the same here")


def _version(message: Any) -> VolumeVersion:
    return VolumeVersion(
        message.version, created_at(message), message.created_by, message.num_files, message.num_bytes, message.reason
    )


Volume.objects = VolumeManager(Volume)
