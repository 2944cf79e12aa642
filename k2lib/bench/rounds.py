"""Timing several ways of doing the same thing in turns."""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch

from k2lib import machine
from k2lib.report.provenance import provenance


@dataclass(frozen=True)
class Timing:
    """Seconds of one way over the rounds."""

    median: float
    lowest: float
    highest: float
    rounds: int


def in_turns(ways: dict[str, Callable[[], object]], rounds: int, warmup: int = 2) -> dict[str, Timing]:
    """Calls every way once a round, in order; the first `warmup` rounds are not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(warmup + rounds):
        for name, work in ways.items():
            start = time.perf_counter()
            work()
            if machine.device() != machine.HOST:
                torch.accelerator.synchronize()
            if number >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return {name: Timing(statistics.median(s), min(s), max(s), rounds) for name, s in seconds.items()}


def report(title: str, timings: dict[str, Timing], extra: dict[str, dict] | None = None, unit: str = "ms") -> dict:
    """Prints a table, ours first, then one line of JSON with the provenance; returns what that line holds."""
    ours = next(iter(timings.values()))
    print(title)
    for name, timing in timings.items():
        more = ", ".join(f"{key} {value}" for key, value in (extra or {}).get(name, {}).items())
        print(
            f"  {name:34} {1e3 * timing.median:9.1f} {unit}  ({1e3 * timing.lowest:.1f} to {1e3 * timing.highest:.1f})"
            f"  {timing.median / ours.median:5.2f} times ours" + (f"  {more}" if more else "")
        )
    content = {"title": title, "seconds": {name: asdict(timing) for name, timing in timings.items()}}
    content |= {"extra": extra or {}, "provenance": provenance(0)}
    print(json.dumps(content))
    return content
