"""A program that was written for Modal, as it is: only the command differs.

Run it with: skerry run --modal program.py
"""

import modal
from modal.exception import Error

app = modal.App("modal-program")
image = modal.Image.debian_slim()


@app.function(image=image, retries=modal.Retries(max_retries=2))
def square(x: int) -> int:
    """Square a number in a container."""
    return x * x


@app.cls(image=image)
class Greeter:
    """A class with a parameter."""

    name: str = modal.parameter(default="world")

    @modal.enter()
    def prepare(self) -> None:
        """Run once in a container."""
        self.greeting = f"hello {self.name}"

    @modal.method()
    def greet(self) -> str:
        """Say hello."""
        return self.greeting


@app.local_entrypoint()
def main() -> None:
    """Call both."""
    print("squares:", list(square.map(range(4))))
    print(Greeter(name="skerry").greet.remote())
    print("an error is an error:", issubclass(modal.exception.InvalidError, Error))
