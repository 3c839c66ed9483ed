"""An app to deploy."""

import skerry

app = skerry.App("deployed")


@app.function()
def add_one(x: int) -> int:
    print(f"adding one to {x}")
    return x + 1
