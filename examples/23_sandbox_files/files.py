"""Files of a sandbox: written, listed, watched, copied both ways."""

import hashlib
import tempfile
from pathlib import Path

import skerry
from skerry.exception import SandboxFilesystemNotFoundError

app = skerry.App.lookup("examples", create_if_missing=True)


def main() -> None:
    """Work on the files of a sandbox."""
    sandbox = skerry.Sandbox.create(app=app)
    files = sandbox.filesystem
    try:
        files.write_text("print('hello from a file')\n", "/work/hello.py")
        print(sandbox.exec("python3", "/work/hello.py").stdout.read().strip())
        for file in files.list_files("/work"):
            print(file.name, file.size, file.permissions)

        with files.watch("/work") as events:
            sandbox.exec("sh", "-c", "echo x > /work/new").wait()
            print("seen:", next(event.paths for event in events))

        with tempfile.TemporaryDirectory() as folder:
            data = bytes(range(256)) * 4096 * 20
            (Path(folder) / "up").write_bytes(data)
            files.copy_from_local(Path(folder) / "up", "/work/large")
            files.copy_to_local("/work/large", Path(folder) / "down")
            down = (Path(folder) / "down").read_bytes()
        print("20 MiB there and back:", hashlib.sha256(down).digest() == hashlib.sha256(data).digest())

        try:
            files.read_text("/work/nothing")
        except SandboxFilesystemNotFoundError as err:
            print("error:", type(err).__name__)
    finally:
        sandbox.terminate()


if __name__ == "__main__":
    main()
