"""Versions: every deployment is one; go back to an earlier one at any time.

Deploy it with: skerry deploy versions.py --tag first
Go back with: skerry app rollback versions
"""

import skerry

app = skerry.App("versions", tags={"team": "docs"})


@app.function()
def greet(name: str) -> str:
    """What other programs call."""
    return f"hello {name}"
