"""Mathematics: the last number of the answer must be the right one. The answer is compared, never executed."""

from dataclasses import dataclass

from k2lib.corpus import arithmetic
from k2lib.corpus.arithmetic import MathProblem
from k2lib.gym.problem import SingleTurn, single_turn_row


@dataclass(frozen=True)
class Mathematics:
    problem: MathProblem

    kind = "mathematics"
    budget = 40  # tokens; the demonstrations take 13 to 26

    @property
    def plain(self) -> str:
        return f"Problem: {self.problem.question}\nSolution:"

    @property
    def messages(self) -> list[dict]:
        return [{"role": "user", "content": self.problem.question}]

    @property
    def tools(self) -> list[dict]:
        return []

    def demonstration(self) -> dict:
        return single_turn_row(self.kind, arithmetic.conversation(self.problem), self._right)

    def episode(self) -> SingleTurn:
        return SingleTurn(self.messages, self._right, [])

    def _right(self, answer: str) -> bool:
        return arithmetic.check(answer, self.problem)
