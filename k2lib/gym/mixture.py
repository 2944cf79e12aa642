"""Which problems RL trains and is judged on."""

import itertools

from k2lib.agents import tasks
from k2lib.corpus import arithmetic
from k2lib.gym.families import problems
from k2lib.gym.mathematics import Mathematics
from k2lib.gym.problem import Problem
from k2lib.gym.puzzles import PUZZLES, reasoning
from k2lib.gym.tool_use import ToolUse


def verifiable(
    n: int, seed: int, split: str = "train", *, pool: dict[str, int] | None = None, largest: int = arithmetic.LARGEST
) -> list[Problem]:
    """`n` problems, half mathematics and half tool use, alternating, of one of the splits (k2lib.corpus.split)."""
    maths = map(Mathematics, arithmetic.problems((n + 1) // 2, seed, split, largest))
    tool_use = map(ToolUse, tasks.generate(n // 2, seed, split, **(pool or {})))
    pairs = itertools.zip_longest(maths, tool_use)
    return [problem for pair in pairs for problem in pair if problem is not None]


def several(names: tuple[str, ...], n: int, seed: int, split: str = "train", level: int = 0) -> list[Problem]:
    """`n` problems of one level, the named families and puzzles in turn. ValueError for a name of neither."""
    each = -(-n // len(names))
    drawn = [
        reasoning(each, seed, split, [name], level) if name in PUZZLES else problems(name, each, seed, split, level)
        for name in names
    ]
    return [problem for together in zip(*drawn, strict=True) for problem in together][:n]
