"""Write the one layer of a prepared base image as a plain EROFS file, which tests start containers from.

Usage: testbase.py BASES FILE, where BASES is skerryd's folder of base images (OCI layouts).
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def main(bases: Path, file: Path) -> None:
    """Unpack the layer and make the file anew; an interrupted run leaves the old one."""
    layouts = [found.parent for found in sorted(bases.glob("bookworm-python3.11-*/index.json"))]
    if not layouts:
        sys.exit(f"no base image of Python 3.11 in {bases}: run bin/skerryd base prepare 3.11")
    layout = layouts[-1]
    manifest = _blob(layout, json.loads((layout / "index.json").read_text())["manifests"][0])
    (layer,) = json.loads(manifest.read_text())["layers"]
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix="test-base-") as folder:
        root, image = Path(folder, "root"), Path(folder, "image")
        root.mkdir()
        subprocess.run(["tar", "--numeric-owner", "-xpf", str(_blob(layout, layer)), "-C", str(root)], check=True)
        # gVisor refuses inline data with "bad address".
        subprocess.run(["mkfs.erofs", "--quiet", "-Enoinline_data", str(image), str(root)], check=True)
        image.rename(file)


def _blob(layout: Path, descriptor: Any) -> Path:
    algorithm, _, digest = descriptor["digest"].partition(":")
    return layout / "blobs" / algorithm / digest


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
