"""Functions and classes that use secrets."""

import os

import skerry

app = skerry.App("conformance-secrets", secrets=[skerry.Secret.from_dict({"ORDER": "app", "APP": "app"})])
NAMED = skerry.Secret.from_name("conformance-secret", required_keys=["NAMED"])
image = skerry.Image.debian_slim().run_commands('test -n "$NAMED" && echo of the build > /root/built', secrets=[NAMED])


@app.function(secrets=[NAMED, skerry.Secret.from_dict({"ORDER": "function"})], env={"LAST": "env"})
def variables() -> dict[str, str]:
    """What it has."""
    return {key: os.environ[key] for key in ("ORDER", "APP", "NAMED", "LAST") if key in os.environ}


@app.function()
def inside() -> tuple[dict[str, str] | None, str]:
    """What from_local_environ is in a container, and what the API says to one who wants to change a secret."""
    try:
        skerry.Secret.from_name("conformance-secret").update({"NAMED": "changed inside"})
    except skerry.exception.PermissionDeniedError as err:
        return skerry.Secret.from_local_environ(["PATH"])._variables, str(err)
    return None, "it was changed"


@app.cls(secrets=[NAMED], image=image)
class Holder:
    """A class that uses one."""

    @skerry.method()
    def get(self) -> tuple[str, str]:
        """The value, and what the build has left of its own."""
        with open("/root/built") as file:
            return os.environ["NAMED"], file.read().strip()
