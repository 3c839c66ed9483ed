"""Functions that want the terminal of whoever runs them."""

import time

import skerry

app = skerry.App("interactive")


@app.function()
def talk() -> str:
    print("before the terminal", flush=True)
    skerry.interact()
    skerry.interact()  # it is there already
    name = input("who is there? ")
    print(f"hello {name}")
    return name


@app.function()
def twice() -> None:
    skerry.interact()
    input("again? ")


@app.function()
def debug() -> int:
    secret = 41
    breakpoint()
    return secret


@app.function()
def forever() -> None:
    skerry.interact()
    print("sleeping forever")
    while True:
        time.sleep(3600)


@app.local_entrypoint()
def two_calls() -> None:
    twice.remote()
    print("the first call has ended")
    twice.remote()
