"""What code in containers sees of environments."""

import os

import skerry

app = skerry.App("conformance-environments")


@app.function()
def whereabouts() -> tuple[str, str, str]:
    """The variable, what the container's own environment is called, and the answer of this environment's `word`."""
    own = skerry.Environment.from_context()
    return os.environ["SKERRY_ENVIRONMENT"], own.name, skerry.Function.from_name("conformance-environments", "word").remote()


@app.function()
def word() -> str:
    return skerry.Environment.from_context().name


@app.function()
def call_in(environment: str) -> str:
    """What `word` of an environment answers."""
    return skerry.Function.from_name("conformance-environments", "word", environment_name=environment).remote()
