"""Volumes."""

from __future__ import annotations

import asyncio
from typing import IO, TYPE_CHECKING, Any, TypeVar

from protobuf import Oneof

from skerry import exception as exc
from skerry._client.direct import ask, direct, drive, in_thread, static_direct
from skerry._gen.skerry.v1 import volume_change_pb as changes
from skerry._gen.skerry.v1 import volume_pb as pb
from skerry._names import check_name
from skerry._objects.named import Kind, Manager, Named, created_at
from skerry._twin import generator_twin

from .batch import BatchUpload
from .paths import no_pattern, volume_path
from .reading import file_entry, list_entries, read_parts
from .uploading import change, request_id
from .values import FileEntry, VolumeInfo, VolumeVersion

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Sequence

    from skerry._client.client import Client
    from skerry._objects.named import Ephemeral

    from .values import VolumeCreateOptions

T = TypeVar("T")

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


class Volume(Named):
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
        from skerry._objects.named import Ephemeral

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

    # Files.

    @generator_twin
    def iterdir(self, path: str, *, recursive: bool = True) -> Generator[FileEntry]:
        """Yield what is in a folder, in the order of paths; of a file, the file.

        Args:
            path: the folder, from the volume's root.
            recursive: with the folders in it.

        Raises FileNotFoundError, InvalidError for patterns.
        """
        client, volume_id = drive(self._ready())
        for entry in list_entries(client, volume_id, no_pattern(path), recursive):
            yield file_entry(entry)

    @iterdir.native
    async def _iterdir(self, path: str, *, recursive: bool = True) -> AsyncIterator[FileEntry]:
        async for entry in _in_threads(lambda: self.iterdir._blocking(self, path, recursive=recursive)):
            yield entry

    @direct
    async def listdir(self, path: str, *, recursive: bool = False) -> list[FileEntry]:
        """Return what is in a folder, in the order of paths; of a file, the file. The arguments are as in :meth:`iterdir`."""
        client, volume_id = await self._ready()
        inside = no_pattern(path)
        found = await in_thread(lambda: list(list_entries(client, volume_id, inside, recursive)))
        return [file_entry(entry) for entry in found]

    @generator_twin
    def read_file(self, path: str) -> Generator[bytes]:
        """Yield the content of a file, in pieces of up to 8 MiB, of one version. Raises FileNotFoundError."""
        client, volume_id = drive(self._ready())
        for part in read_parts(client, volume_id, volume_path(path)):
            yield bytes(part)

    @read_file.native
    async def _read_file(self, path: str) -> AsyncIterator[bytes]:
        async for part in _in_threads(lambda: self.read_file._blocking(self, path)):
            yield part

    @direct
    async def read_file_into_fileobj(
        self, path: str, fileobj: IO[bytes], progress_cb: Callable[..., Any] | None = None
    ) -> int:
        """Write the content of a file to a file object, and return how many bytes that were.

        Args:
            path: the file, from the volume's root.
            fileobj: is written to from where it stands.
            progress_cb: is called with ``advance``, bytes that were written.

        Raises FileNotFoundError.
        """
        client, volume_id = await self._ready()
        inside = volume_path(path)

        def copy() -> int:
            written = 0
            for part in read_parts(client, volume_id, inside):
                fileobj.write(part)
                written += len(part)
                if progress_cb is not None:
                    progress_cb(advance=len(part))
            return written

        return await in_thread(copy)

    @direct
    async def remove_file(self, path: str, recursive: bool = False) -> None:
        """Remove a file, or a folder.

        Args:
            path: from the volume's root.
            recursive: a folder with all that is in it.

        Raises FileNotFoundError; ConflictError for a folder that is not empty, without ``recursive``.
        """
        removal = changes.VolumeRemove(path=volume_path(path), recursive=recursive)
        await self._change([changes.VolumeChange(kind=Oneof("remove", removal))])

    @direct
    async def copy_files(self, src_paths: Sequence[str], dst_path: str, recursive: bool = False) -> None:
        """Copy files within the volume, as cp does: into the destination where that is a folder. No bytes are moved for it.

        Args:
            src_paths: what to copy; several need a folder as destination.
            dst_path: where to.
            recursive: folders with all that is in them.

        Raises FileNotFoundError, ConflictError.
        """
        if isinstance(src_paths, str):  # pyright: ignore[reportUnnecessaryIsInstance] - who calls may not check types
            raise exc.InvalidError("copy_files: src_paths is a list of paths")
        destination = volume_path(dst_path)
        several = len(src_paths) > 1
        copies = [
            changes.VolumeCopy(source=volume_path(source), destination=destination, recursive=recursive)
            for source in src_paths
        ]
        if several:
            await self._check_folder(destination)
        if copies:
            await self._change([changes.VolumeChange(kind=Oneof("copy", each)) for each in copies])

    def batch_upload(self, force: bool = False) -> BatchUpload:
        """Return an upload of many files, for a ``with`` or ``async with`` block.

        All of them are in the volume once the block has ended without an error; before, or after one, none is.

        Args:
            force: replace files that are there; without it, FileExistsError is raised at the end of the block.
        """
        self._check_writable()
        return BatchUpload(self, force)

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

    async def _change(self, made: list[changes.VolumeChange]) -> None:
        self._check_writable()
        client, volume_id = await self._ready()
        await in_thread(change, client, volume_id, request_id(), made)

    async def _check_folder(self, path: str) -> None:
        """Raise FileNotFoundError, NotADirectoryError unless there is a folder."""
        client, volume_id = await self._ready()
        found = await in_thread(lambda: next(list_entries(client, volume_id, path, False), None))
        if found is not None and found.path == path:
            raise NotADirectoryError(f"{path!r}: several files are copied into a folder, and this is none")


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


async def _in_threads(make: Callable[[], Generator[T]]) -> AsyncGenerator[T]:
    """Iterate over what blocks, each step in a thread."""
    source = make()
    end: Any = object()
    step: asyncio.Future[Any] | None = None
    try:
        while True:
            step = asyncio.ensure_future(asyncio.to_thread(next, source, end))
            item: T = await asyncio.shield(step)
            if item is end:
                return
            yield item
    finally:
        if step is None or step.done():
            source.close()
        else:
            step.add_done_callback(lambda _: source.close())  # a step that runs can't be closed


Volume.objects = VolumeManager(Volume)
