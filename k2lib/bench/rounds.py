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


def in_turns(ways: dict[str, Callable[[], object]], rounds: int, warmup: int = 2, calls: int = 1) -> dict[str, Timing]:
    """Seconds a call of every way, in order; the first `warmup` rounds are not counted.

    A round makes so many `calls` in a row and then waits for the device, so that with several the launches overlap the work.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(warmup + rounds):
        for name, work in ways.items():
            start = time.perf_counter()
            for _ in range(calls):
                work()
            if machine.device() != machine.HOST:
                torch.accelerator.synchronize()
            if number >= warmup:
                seconds[name].append((time.perf_counter() - start) / calls)
    return {name: Timing(statistics.median(s), min(s), max(s), rounds) for name, s in seconds.items()}


def report(title: str, timings: dict[str, Timing], extra: dict[str, dict] | None = None, unit: str = "ms") -> dict:
    """Prints a table, ours first, then one line of JSON with the provenance; returns what that line holds."""
    ours = next(iter(timings.values()))
    print(title)
    for name, timing in timings.items():
        more = ", ".join(f"{key} {value}" for key, value in (extra or {}).get(name, {}).items())
        print(
            f"  {name:34} {1e3 * timing.median:9.3g} {unit}  ({1e3 * timing.lowest:.3g} to {1e3 * timing.highest:.3g})"
            f"  {timing.median / ours.median:5.2f} times ours" + (f"  {more}" if more else "")
        )
    content = {"title": title, "seconds": {name: asdict(timing) for name, timing in timings.items()}}
    content |= {"extra": extra or {}, "provenance": provenance(0)}
    print(json.dumps(content))
    return content
