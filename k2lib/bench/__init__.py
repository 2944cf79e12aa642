"""Comparisons with the strongest peers, one file each: `k2 bench NAME` prints a table and, as its last line, JSON.

Ours and theirs take turns in one process, so that whatever else the machine does slows both; what is compared are the
medians of the rounds.
"""

from k2lib.bench.rounds import Timing, in_turns, report

__all__ = ["Timing", "in_turns", "report"]
