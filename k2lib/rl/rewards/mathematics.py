"""1 if the last number of the answer is the right one. The answer is compared here, never executed."""

from dataclasses import dataclass

from k2lib.corpus.arithmetic import MathProblem, check
from k2lib.llm.chat import Parsed


@dataclass(frozen=True)
class Mathematics:
    problem: MathProblem

    def __call__(self, turn: Parsed) -> float:
        return float(check(turn.message["content"], self.problem))
