"""Problems that can neither be guessed nor remembered: each question once, and no answer for more than a share of them.

A generator of small problems repeats itself: one digit times another has a hundred questions. Some give one answer to most of what
they ask. What is trained or examined on them looks like more, and like better, than it is.
"""

from collections import Counter
from collections.abc import Set as AbstractSet

from k2lib.gym.mixture import several
from k2lib.gym.problem import Question

APART = 1 << 24  # of two seeds: question i of a puzzle under seed s is its question i - 1 under s + 1
MOST = 1 / 3  # of the problems that one answer may have
LOOKED_AT = 64  # drawn for one that is taken, at most


def fair(
    name: str,
    n: int,
    seed: int,
    split: str = "train",
    level: int = 0,
    most: float = MOST,
    but: AbstractSet[str] = frozenset(),
) -> list[Question]:
    """`n` problems of a family or puzzle, no question twice, and none of those in `but`.

    ValueError where a split of that level has too few of them, or for a name that there is not.
    """
    drawn = 2 * n
    while len(found := _chosen(several((name,), drawn, seed * APART, split, level), n, most, but)) < n:
        if drawn >= LOOKED_AT * n:
            raise ValueError(
                f"{name}, level {level}, split {split!r}: {len(found)} problems that differ and cannot be guessed, not {n};"
                " take a higher level or fewer"
            )
        drawn *= 2
    return found


def _chosen(problems: list[Question], n: int, most: float, but: AbstractSet[str]) -> list[Question]:
    """The first `n` of those that may be taken."""
    found, asked, answers = [], set(but), Counter()
    for problem in problems:
        if len(found) < n and problem.asks not in asked and answers[problem.answer] + 1 <= max(1, most * n):
            found.append(problem)
            asked.add(problem.asks)
            answers[problem.answer] += 1
    return found
