"""When functions of deployed apps are called by themselves."""

from __future__ import annotations

from .exception import InvalidError


class Schedule:
    """What ``@app.function(schedule=...)`` takes: a :class:`Cron` or a :class:`Period`."""

    __slots__ = ()


class Cron(Schedule):
    """Calls at the times of a cron expression.

    A time that the clocks skip is due at the moment they skip it, one that they show twice the first time.

    Args:
        cron_string: minute, hour, day of month, month, day of week; such as "*/5 8-18 * * mon-fri".
        timezone: IANA name.

    Raises InvalidError for what is no expression; the server checks the rest.
    """

    __slots__ = ("cron_string", "timezone")

    def __init__(self, cron_string: str, timezone: str = "UTC") -> None:
        if not isinstance(cron_string, str) or len(cron_string.split()) != 5:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(
                f"cron {cron_string!r}: want five fields: minute, hour, day of month, month, day of week"
            )
        if not isinstance(timezone, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(f"cron time zone {timezone!r}: want a name such as 'Europe/Berlin'")
        self.cron_string = cron_string
        self.timezone = timezone

    def __repr__(self) -> str:
        return f"skerry.Cron({self.cron_string!r}, timezone={self.timezone!r})"


class Period(Schedule):
    """Calls again and again after a time, the first one that time after the deployment.

    Years and months are as long as they are, a day is the same time of the next day (UTC). Only seconds may be a float. Raises InvalidError
    for less than a second.
    """

    __slots__ = ("days", "hours", "minutes", "months", "seconds", "weeks", "years")

    def __init__(
        self,
        *,
        years: int = 0,
        months: int = 0,
        weeks: int = 0,
        days: int = 0,
        hours: int = 0,
        minutes: int = 0,
        seconds: float = 0,
    ) -> None:
        self.years, self.months, self.weeks, self.days = years, months, weeks, days
        self.hours, self.minutes, self.seconds = hours, minutes, seconds
        for name in ("years", "months", "weeks", "days", "hours", "minutes"):
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise InvalidError(f"period: {name}={value!r}: want a whole number, 0 or more")
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < float("inf"):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(f"period: seconds={seconds!r}: want a number, 0 or more")
        if not (years or months or weeks or days or hours or minutes) and seconds < 1:
            raise InvalidError("period: want at least one second")

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={getattr(self, name)!r}" for name in reversed(self.__slots__) if getattr(self, name))
        return f"skerry.Period({given})"
