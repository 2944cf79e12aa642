"""The line that shows how far the chain is: notebook, cell, what the cell is doing, time left.

On a terminal it is one line, redrawn every second; in a log it is a line whenever the cell changes, at most one in ten
seconds. The time left comes from what is expected of each notebook, scaled by how long the finished ones, and the running
one when it is late, have taken against what was expected of them.
"""

import json
import shutil
import sys
import time
from pathlib import Path

from k2lib.runner.execute import Watch
from k2lib.runner.plan import Step

QUIET_FOR = 10.0  # seconds between two lines of a log


class Bar:
    """Progress over the `pending` steps, of which `expected` seconds are known; `tick` while one runs, `finished` after."""

    def __init__(self, pending: list[Step], expected: dict[str, float], progress_file: Path):
        self.pending, self.total, self.progress_file = list(pending), len(pending), progress_file
        self.terminal = sys.stdout.isatty()
        self.expected = {step.name: expected.get(step.name) for step in pending}
        self.planned = self.spent = 0.0  # seconds of the finished notebooks: as expected, as measured
        self.last_line, self.last_time = "", 0.0

    def tick(self, step: Step, watch: Watch, elapsed: float) -> None:
        """Shows where the running step is, if it is time to."""
        head = f"{step.name}  {watch.cell()}{self._inside()}"
        tail = f"{clock(elapsed)}, {self.left(step, elapsed)}"
        if self.terminal:
            width = shutil.get_terminal_size().columns - 1
            done = round(10 * self._fraction(step, elapsed))
            head = f"{'█' * done}{'░' * (10 - done)} {head}"
            print(f"\r\033[K{head[: max(width - len(tail) - 2, 10)]}  {tail}", end="", flush=True)
        elif head != self.last_line and time.monotonic() - self.last_time >= QUIET_FOR:
            print(f"{head}  {tail}", flush=True)
            self.last_line, self.last_time = head, time.monotonic()

    def say(self, text: str) -> None:
        """A line that stays."""
        print(("\r\033[K" if self.terminal else "") + text, flush=True)

    def finished(self, step: Step, seconds: float) -> None:
        """Takes the step off the list, and learns from it how fast this machine is."""
        self.pending = [other for other in self.pending if other.name != step.name]
        if self.expected.get(step.name):
            self.planned += self.expected[step.name]
            self.spent += seconds
        self.last_line = ""

    def left(self, step: Step, elapsed: float) -> str:
        """Such as 'about 12:30 left', or that nobody knows yet."""
        times = [self.expected[other.name] for other in self.pending]
        if any(seconds is None for seconds in times):
            return "time left unknown on a first run"
        pace = self.spent / self.planned if self.planned > 20 else 1.0
        late = (self.spent + elapsed) / (self.planned + self.expected[step.name])  # were it to end this moment
        pace = max(pace, late)
        seconds = sum(pace * self.expected[other.name] for other in self.pending if other.name != step.name)
        return f"about {clock(seconds + max(pace * self.expected[step.name] - elapsed, 0))} left"

    def _fraction(self, step: Step, elapsed: float) -> float:
        """How much of the whole is done, by expected time where it is known, else by notebooks."""
        if any(seconds is None for seconds in self.expected.values()):
            return 1 - len(self.pending) / self.total
        left = sum(self.expected[other.name] for other in self.pending) - min(elapsed, self.expected[step.name])
        return 1 - left / max(sum(self.expected.values()), 1e-9)

    def _inside(self) -> str:
        try:
            told = json.loads(self.progress_file.read_text())
        except (OSError, ValueError):
            return ""
        return f" · {told['desc']} {told['done']}" + (f"/{told['total']}" if told.get("total") else "")


def clock(seconds: float) -> str:
    """1:05 or 1:02:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
