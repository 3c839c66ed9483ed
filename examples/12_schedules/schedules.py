"""Schedules: functions that are called by themselves once the app is deployed.

Deploy it with: skerry deploy schedules.py
See what is due with: skerry schedule list
Call one now with: skerry schedule run schedules report
"""

import datetime

import skerry

app = skerry.App("schedules")


@app.function(schedule=skerry.Cron("0 9 * * mon-fri", timezone="Europe/Berlin"))
def report() -> None:
    """Every working day at nine in Berlin, summer and winter."""
    print("the report of", datetime.datetime.now(datetime.timezone.utc).date())


@app.function(schedule=skerry.Period(hours=6))
def clean_up() -> None:
    """Every six hours, counted from the deployment."""
    print("nothing to clean up")
