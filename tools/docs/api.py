"""docs/api.md: the names of the reference interface, and how Skerry has them, from e2e/conformance/api.toml."""

import tomllib

from tools.docs.page import ROOT, page, table

SOURCE = ROOT / "e2e/conformance/api.toml"
INTRO = """The names of the reference interface, Modal's Python SDK 1.5, in the parts that Skerry has so far; read `modal` as `skerry`.
`e2e/conformance/test_api.py` checks each against the package: that it is there with these parameters, or says that it is not yet.
[conformance.md](conformance.md) says how they behave, [reference/](reference/README.md) what they do.

Every call that talks to the server has a blocking form and an asynchronous one: `f.remote(x)`, `await f.remote.aio(x)`."""


def pages() -> dict[str, str]:
    """Return the page."""
    parts: list[str] = []
    for section, kinds in tomllib.loads(SOURCE.read_text()).items():
        rows = [[f"`{name}`", "same", ""] for name in kinds.get("same", [])]
        rows += [[f"`{name}`", "differs because", why] for name, why in kinds.get("differs", [])]
        rows += [[f"`{name}`", "not yet", ""] for name in kinds.get("later", [])]
        parts.append(f"## {section}\n\n" + table(["name", "is", "why"], rows))
    return {"docs/api.md": page("The interface", "e2e/conformance/api.toml", INTRO, *parts)}
