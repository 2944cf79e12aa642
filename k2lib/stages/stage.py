"""A stage's result: where it lies, and what its key holds."""

from collections.abc import Callable
from pathlib import Path

from k2lib import machine, places, store


def stage(name: str, key: dict, make: Callable[[Path], None], code: Callable | None = None) -> Path:
    """The directory of a stage's result, made by `make(directory)` unless it is there already.

    `key` holds settings and upstream; the code behind `make`, or behind `code` if that is what it calls, and the machine's
    arithmetic are added to it.
    """
    return store.cached(name, make, key=key | machine.arithmetic(), root=places.artifacts(), code=code)
