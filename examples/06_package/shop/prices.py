"""What things cost."""

PRICES = {"apple": 30, "bread": 250, "cheese": 420}


def total(items: list[str]) -> int:
    """Return the sum of the items' prices, in cents."""
    return sum(PRICES[item] for item in items)
