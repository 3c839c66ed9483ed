"""Changes a volume again and again, and says what is done: a program that the tests kill the server of.

Each round is a folder of its own: uploaded, copied, and the copy of the round before removed.
So a folder is there as a whole or not at all.
"""

import io
import sys

import skerry


def main(name: str, rounds: int, files: int) -> None:
    """Do all rounds."""
    volume = skerry.Volume.from_name(name, create_if_missing=True)
    for number in range(rounds):
        with volume.batch_upload() as batch:
            for file in range(files):
                batch.put_file(io.BytesIO(f"{number} {file}\n".encode() * 200), f"round-{number}/{file % 7}/{file}")
        print(f"uploaded {number}", flush=True)
        volume.copy_files([f"round-{number}"], f"copy-{number}", recursive=True)
        print(f"copied {number}", flush=True)
        if number:
            volume.remove_file(f"copy-{number - 1}", recursive=True)
            print(f"removed {number - 1}", flush=True)
    print("complete", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
