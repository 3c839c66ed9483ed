"""How often failed inputs are run again."""

from __future__ import annotations

from .exception import InvalidError


class Retries:
    """A policy: the n-th retry waits ``initial_delay * backoff_coefficient ** (n - 1)`` seconds, at most ``max_delay``.

    Args:
        max_retries: retries after the first attempt, 0 to 1000.
        backoff_coefficient: 1 to 10.
        initial_delay: seconds, 0 to 60.
        max_delay: seconds, 1 to 60.

    Raises InvalidError for values out of these bounds.
    """

    __slots__ = ("backoff_coefficient", "initial_delay", "max_delay", "max_retries")

    def __init__(
        self,
        *,
        max_retries: int,
        backoff_coefficient: float = 2.0,
        initial_delay: float = 1.0,
        max_delay: float = 60.0,
    ) -> None:
        if type(max_retries) is not int or not 0 <= max_retries <= 1000:
            raise InvalidError(f"max_retries={max_retries!r}: want a whole number from 0 to 1000")
        for name, value, low, high in (
            ("backoff_coefficient", backoff_coefficient, 1, 10),
            ("initial_delay", initial_delay, 0, 60),
            ("max_delay", max_delay, 1, 60),
        ):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:  # pyright: ignore[reportUnnecessaryIsInstance]
                raise InvalidError(f"{name}={value!r}: want {low} to {high}")
        self.max_retries = max_retries
        self.backoff_coefficient = float(backoff_coefficient)
        self.initial_delay = float(initial_delay)
        self.max_delay = float(max_delay)

    @staticmethod
    def of(value: int | Retries | None) -> Retries | None:
        """Return the policy that an option stands for: a number is that many, one second apart. Raises InvalidError."""
        if value is None or isinstance(value, Retries):
            return value
        if type(value) is not int:
            raise InvalidError(f"retries={value!r}: want a whole number or skerry.Retries")
        return Retries(max_retries=value, backoff_coefficient=1.0) if value else None

    def __repr__(self) -> str:
        names = ("max_retries", "backoff_coefficient", "initial_delay", "max_delay")
        given = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"skerry.Retries({given})"
