"""What an episode came to: pass, fail, or void where no check could be made. A void one is left out of every mean and of every loss."""

import math
from dataclasses import dataclass

from k2lib.gym.problem import Episode


@dataclass(frozen=True)
class Outcome:
    status: str  # "pass", "fail" or "void"
    score: float  # 1 and more is a pass
    why: str = ""  # it is void


def outcome(episode: Episode) -> Outcome:
    """Of an episode that is over. A check that raises, or whose score is no number, makes it void, never a failure."""
    try:
        score = episode.score()
    except Exception as error:  # the check's own
        return Outcome("void", 0.0, f"{type(error).__name__}: {error}")
    if score is None:
        return Outcome("void", 0.0, "it could not be checked")
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        return Outcome("void", 0.0, f"its score is {score!r}, no number")
    return Outcome("pass" if score >= 1 else "fail", float(score))
