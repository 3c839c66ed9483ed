"""Writes the generated pages of docs/, or with --check says which of them are not what their sources give."""

import sys

from tools.docs import api, commands, conformance, reference
from tools.docs.page import ROOT


def main() -> int:
    """Return how many pages are stale, 0 after writing them."""
    pages = {**conformance.pages(), **api.pages(), **reference.pages(), **commands.pages()}
    folder = ROOT / "docs/reference"
    unknown = {path for path in folder.glob("*.md") if str(path.relative_to(ROOT)) not in pages}
    if sys.argv[1:] == ["--check"]:
        stale = [name for name, text in pages.items() if not (ROOT / name).exists() or (ROOT / name).read_text() != text]
        stale += [str(path.relative_to(ROOT)) for path in unknown]
        if stale:
            print(f"stale: {', '.join(stale)}; run make docs and commit the result")
        return len(stale)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        (ROOT / name).write_text(text)
    for path in unknown:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
