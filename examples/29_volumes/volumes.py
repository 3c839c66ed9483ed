"""Files that functions and this program share: put there, changed in containers, read back, and an old version restored."""

import io
from pathlib import Path

import skerry

app = skerry.App("example-volumes")
notes = skerry.Volume.from_name("example-notes", create_if_missing=True)


@app.function(volumes={"/notes": notes})
def append(line: str) -> None:
    """What a container writes is part of the volume when it commits."""
    with Path("/notes/today.txt").open("a") as file:
        file.write(line + "\n")
    notes.commit()


@app.function(volumes={"/notes": notes.with_mount_options(read_only=True)})
def count() -> int:
    """See what others have committed."""
    notes.reload()
    return len(Path("/notes/today.txt").read_text().splitlines())


@app.local_entrypoint()
def main() -> None:
    """Use the volume from both sides."""
    # All files of an upload are there at once, when the block ends.
    with notes.batch_upload(force=True) as batch:
        batch.put_file(io.BytesIO(b"a line from here\n"), "today.txt")
        batch.put_file(io.BytesIO(b"{}"), "settings/empty.json")
    append.remote("a line from a container")
    print(b"".join(notes.read_file("today.txt")).decode(), end="")
    print(f"a container sees {count.remote()} lines")
    for entry in notes.iterdir("/"):
        print(f"{entry.path}: {entry.type.name.lower()}, {entry.size} bytes")

    before = notes.history()[1]
    notes.restore(before.version)
    print(f"again as it was after {before.reason}: {b''.join(notes.read_file('today.txt')).decode()}", end="")
