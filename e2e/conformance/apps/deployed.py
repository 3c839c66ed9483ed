"""An app that is deployed in versions."""

import datetime

import skerry


def version(n: int) -> skerry.App:
    """The app as its n-th version has it."""
    app = skerry.App("conformance-deployed", tags={"version": str(n)})

    def answer() -> int:
        return n

    app.function(serialized=True, name="answer")(answer)
    if n == 1:

        def only_first() -> str:
            return "first"

        app.function(serialized=True, name="only_first")(only_first)
    return app


app = skerry.App("conformance-running")


@app.function()
def one() -> int:
    return 1


included = skerry.App("conformance-included", tags={"from": "included", "both": "included"})


@included.function()
def two() -> int:
    return 2


including = skerry.App("conformance-including", tags={"both": "own"})
including.include(included)


@including.function()
def three() -> int:
    return two.remote() + 1


scheduled = skerry.App("conformance-scheduled")


@scheduled.function(schedule=skerry.Cron("* * * * *"))
def every_minute() -> None:
    now = datetime.datetime.now(datetime.timezone.utc)
    print(f"the minute has come: {now:%H:%M}", flush=True)


@scheduled.function(schedule=skerry.Period(days=1))
def every_day() -> None:
    print("the day has come", flush=True)


def waiting(n: int) -> skerry.App:
    """An app whose function waits for a file in its container, in its n-th version."""
    app = skerry.App("conformance-waiting", tags={"version": str(n)})

    def wait(path: str) -> str:
        import os
        import time

        print(f"waits in {os.environ['SKERRY_TASK_ID']}", flush=True)
        while not os.path.exists(path):
            time.sleep(0.05)
        return os.environ["SKERRY_TASK_ID"]

    app.function(serialized=True, name="wait", timeout=100 + n)(wait)
    return app
