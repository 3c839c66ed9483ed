"""A module that can't be imported in a container."""

import skerry

app = skerry.App("conformance-broken")

if not skerry.is_local():
    raise LookupError("the module fails there", 5)


@app.function(startup_timeout=60, retries=0)
def never() -> None: ...
