"""Coding: short programs, judged by what they print on hidden inputs (section 3.2.1).

A program is run in the sandbox; what is expected stays outside of it. Where no sandbox works, an episode is void.
"""

import functools
import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from k2lib.corpus.split import side
from k2lib.gym.answered import Answered
from k2lib.gym.problem import Problem
from k2lib.sandbox import Case, Limits, grade

CASES = 6  # hidden inputs
LIMITS = Limits(cpu_seconds=2, wall_seconds=30.0)
_FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL)

# What a step says, and does to a list of whole numbers; `{}` in the program is what it is applied to.
STEPS: dict[str, tuple[Callable[[list[int]], list[int]], str]] = {
    "keep the even ones": (lambda xs: [x for x in xs if x % 2 == 0], "[x for x in {} if x % 2 == 0]"),
    "keep the positive ones": (lambda xs: [x for x in xs if x > 0], "[x for x in {} if x > 0]"),
    "square each": (lambda xs: [x * x for x in xs], "[x * x for x in {}]"),
    "double each": (lambda xs: [2 * x for x in xs], "[2 * x for x in {}]"),
    "take absolute values": (lambda xs: [abs(x) for x in xs], "[abs(x) for x in {}]"),
    "sort them": (sorted, "sorted({})"),
    "reverse their order": (lambda xs: xs[::-1], "{}[::-1]"),
    "drop the first": (lambda xs: xs[1:], "{}[1:]"),
    "keep the first of equal ones": (lambda xs: list(dict.fromkeys(xs)), "list(dict.fromkeys({}))"),
    "replace each by the sum up to it": (
        lambda xs: [sum(xs[: i + 1]) for i in range(len(xs))],
        "(lambda xs: [sum(xs[: i + 1]) for i in range(len(xs))])({})",
    ),
}
ENDS: dict[str, tuple[Callable[[list[int]], str], str]] = {
    "print them with spaces between": (lambda xs: " ".join(map(str, xs)), "print(*{})"),
    "print their sum": (lambda xs: str(sum(xs)), "print(sum({}))"),
    "print how many there are": (lambda xs: str(len(xs)), "print(len({}))"),
    "print the largest, or none": (lambda xs: str(max(xs)) if xs else "none", "print(max({}, default='none'))"),
}
READ = "list(map(int, input().split()))"
COUNTS = (1, 2, 4)  # steps before the end, by level


@dataclass(frozen=True)
class Coding:
    steps: tuple[str, ...]
    end: str
    seed: int  # of the hidden inputs

    kind = "coding"
    budget = 128  # tokens
    plain = None
    tools = ()

    @property
    def asks(self) -> str:
        steps = "".join(f"{step}, then " for step in self.steps)
        return (
            f"Write a Python program. It reads a line of whole numbers with spaces between. Let it {steps}{self.end}."
        )

    @property
    def messages(self) -> list[dict]:
        return [{"role": "user", "content": self.asks}]

    @property
    def answer(self) -> str:
        fill = functools.reduce(lambda code, step: STEPS[step][1].replace("{}", code), self.steps, READ)
        return f"```python\n{ENDS[self.end][1].replace('{}', fill)}\n```"

    @property
    def cases(self) -> tuple[Case, ...]:
        """Hidden inputs with what a right program prints; one of them is empty."""
        rng = random.Random(f"coding/{self.asks}/{self.seed}")
        lists = [[], *([rng.randint(-20, 20) for _ in range(rng.randint(1, 9))] for _ in range(CASES - 1))]
        return tuple(Case(" ".join(map(str, xs)) + "\n", self.printed(xs)) for xs in lists)

    def printed(self, xs: list[int]) -> str:
        """What a right program prints for these numbers."""
        return ENDS[self.end][0](functools.reduce(lambda xs, step: STEPS[step][0](xs), self.steps, xs))

    def demonstration(self) -> dict:
        run = self.episode()
        run.step({"role": "assistant", "content": self.answer}, [])
        score = run.score()
        reasons = [] if score == 1 else ["no sandbox works here" if score is None else "the program is wrong"]
        return {
            "kind": self.kind,
            "messages": run.messages,
            "tools": [],
            "verdict": {"passed": not reasons, "reasons": reasons},
        }

    def episode(self) -> Answered:
        return Answered(self.messages, self.score)

    def score(self, answer: str) -> float | None:
        """1 if every case is right, 0 if one is not or there is no program; None if the sandbox failed."""
        code = program(answer)
        if code is None:
            return 0.0
        passed = grade(code, self.cases, limits=LIMITS).passed
        return None if passed is None else float(passed)


def program(answer: object) -> str | None:
    """The last fenced block of an answer, or all of it where nothing is fenced; None for what is no text or empty."""
    if not isinstance(answer, str) or not answer.strip():
        return None
    blocks = _FENCE.findall(answer)
    return blocks[-1] if blocks else None if "```" in answer else answer


def coding(n: int, seed: int, split: str = "train", level: int | None = None) -> list[Problem]:
    """`n` problems of a split; the levels in turn, or one: more steps."""
    rng, found = random.Random(f"coding/{seed}"), []
    while len(found) < n:
        count = COUNTS[len(found) % len(COUNTS) if level is None else level]
        one = Coding(tuple(rng.sample(list(STEPS), count)), rng.choice(list(ENDS)), seed)
        if side("coding", one.steps, one.end) == split:
            found.append(one)
    return found
