"""An app that is deployed in versions."""

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
    print("the minute has come", flush=True)


@scheduled.function(schedule=skerry.Period(days=1))
def every_day() -> None:
    print("the day has come", flush=True)
