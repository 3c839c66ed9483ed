"""A part that several apps have."""

import skerry

app = skerry.App("library", tags={"team": "platform", "kind": "part"})


@app.function()
def double(x: int) -> int:
    """Double a number."""
    return 2 * x


@app.cls()
class Shelf:
    """A class of the part."""

    label: str = skerry.parameter(default="books")

    @skerry.method()
    def tell(self) -> str:
        """Say what is on it."""
        return f"a shelf of {self.label}"
