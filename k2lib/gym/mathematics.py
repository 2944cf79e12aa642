"""Mathematics: the number that the answer states must be the right one. The answer is compared, never executed."""

from dataclasses import dataclass

from k2lib.corpus import arithmetic
from k2lib.corpus.arithmetic import MathProblem
from k2lib.gym import answers
from k2lib.gym.problem import Question


@dataclass(frozen=True)
class Mathematics(Question):
    problem: MathProblem

    kind = "mathematics"
    budget = 40  # tokens; the demonstrations take 13 to 26

    @property
    def plain(self) -> str:
        return f"Problem: {self.asks}\nSolution:"

    @property
    def asks(self) -> str:
        return self.problem.question

    @property
    def answer(self) -> str:
        return arithmetic.solution(self.problem)

    def right(self, answer: str) -> bool:
        return answers.number(answer) == int(self.problem.answer)
