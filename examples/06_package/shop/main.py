"""Functions that use the package's other module.

Run it with: skerry run -m shop.main --items apple,bread
"""

import skerry

from .prices import total

app = skerry.App("package")


@app.function()
def checkout(items: list[str]) -> str:
    """Add up in a container; ``shop.prices`` is there as well."""
    print("checking out in", __name__)
    return f"{len(items)} items, {total(items) / 100:.2f}"


@app.local_entrypoint()
def main(items: str = "apple,bread,cheese") -> None:
    """Check out a comma-separated list."""
    print(checkout.remote(items.split(",")))
