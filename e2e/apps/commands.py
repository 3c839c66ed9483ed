"""What the command line runs: functions with parameters, a class, versions of a deployed app."""

import datetime
import os
import sys
from typing import Literal

import skerry

app = skerry.App("commands")
version = os.environ.get("COMMANDS_VERSION", "1") if skerry.is_local() else ""
# Its value is part of the definition: another one is another version.
answering = skerry.App("answering", secrets=[skerry.Secret.from_dict({"ANSWER": version or "0"})])


@app.function()
def describe(
    text: str,
    count: int = 1,
    ratio: float = 0.5,
    loud: bool = False,
    when: datetime.datetime | None = None,
    mode: Literal["slow", "fast"] = "slow",
    level: Literal[1, 2] = 1,
) -> str:
    values = [text, count, ratio, loud, when.isoformat() if when else None, mode, level]
    print("describing", flush=True)
    return repr(values)


@app.cls()
class Model:
    size: int = skerry.parameter()
    prefix: str = skerry.parameter(default=">")

    @skerry.enter()
    def load(self) -> None:
        self.loaded = "loaded"

    @skerry.method()
    def predict(self, text: str, times: int = 1) -> bytes:
        return f"{self.prefix}{self.loaded} {text * self.size * times}".encode()


@app.function()
def counting():
    yield 1


@app.function()
def fails(x: int) -> None:
    raise ValueError(f"no {x}")


@app.local_entrypoint()
def main(*arguments: str) -> None:
    print("arguments:", *arguments)


@answering.function()
def answer() -> str:
    print("answering", os.environ["ANSWER"], flush=True)
    print("as an error", file=sys.stderr, flush=True)
    return os.environ["ANSWER"]


@answering.function()
def relay() -> str:
    return answer.remote()
