"""Waiting for events, never for a number of seconds: a loaded machine may take long, only a broken one takes FAR."""

import time
from collections.abc import Callable

FAR = 240.0  # seconds; reached when something is broken, and below pytest's own limit so that this message is seen


def until(event: Callable[[], object], what: str) -> None:
    """Returns when `event()` holds; AssertionError saying `what` was waited for if it never does."""
    end = time.monotonic() + FAR
    while not event():
        assert time.monotonic() < end, f"waited {FAR:.0f} s for {what}"
        time.sleep(0.05)
