"""Problems whose answer a program can check, and the budget of tokens that each kind may use (section 3.2.1, 3.2.3)."""

from collections.abc import Callable
from dataclasses import dataclass

from k2lib.agents import tasks
from k2lib.corpus import arithmetic
from k2lib.llm.chat import Parsed
from k2lib.rl import rewards

BUDGETS = {"mathematics": 24, "tool use": 48}  # tokens; a longer answer is cut and counts as failed


@dataclass(frozen=True)
class Problem:
    kind: str
    messages: list[dict]
    tools: list[dict]
    reward: Callable[[Parsed], float | None]  # of the assistant's turn; None where the check itself failed

    @property
    def budget(self) -> int:
        return BUDGETS[self.kind]


def verifiable(
    n: int, seed: int, split: str = "train", *, per_domain: int = 6, largest: int = arithmetic.LARGEST
) -> list[Problem]:
    """`n` problems, half mathematics and half tool use, alternating; the splits are disjoint."""
    maths = [
        Problem("mathematics", arithmetic.conversation(p)[:1], [], rewards.Mathematics(p))
        for p in arithmetic.problems((n + 1) // 2, seed, split, largest)
    ]
    tool_use = [
        Problem("tool use", *tasks.prefix(t), rewards.ToolUse(t))
        for t in tasks.generate(n // 2, seed, split, per_domain)
    ]
    mixed = [problem for pair in zip(maths, tool_use, strict=False) for problem in pair]
    return mixed + maths[len(tool_use) :] + tool_use[len(maths) :]
