"""Showing how far a long computation is: whoever takes `progress` wraps its loop in it, and whoever calls decides what is seen."""

from collections.abc import Callable, Iterable

Progress = Callable[[Iterable, str, int | None], Iterable]  # (items, description, how many) -> the same items


def silent(items: Iterable, _description: str, _total: int | None) -> Iterable:
    """Shows nothing."""
    return items
