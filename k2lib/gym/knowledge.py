"""Knowledge of the generated world: an answer must begin with the right value, case aside."""

from dataclasses import dataclass

from k2lib.corpus.world import QA, question_text
from k2lib.gym.problem import SingleTurn, single_turn_row


@dataclass(frozen=True)
class Knowledge:
    qa: QA

    kind = "knowledge"
    budget = 16  # tokens

    @property
    def plain(self) -> str:
        return question_text(self.qa.question)

    @property
    def messages(self) -> list[dict]:
        return [{"role": "user", "content": self.qa.question}]

    @property
    def tools(self) -> list[dict]:
        return []

    def demonstration(self) -> dict:
        messages = [*self.messages, {"role": "assistant", "content": self.qa.answer}]
        return single_turn_row(self.kind, messages, self._right)

    def episode(self) -> SingleTurn:
        return SingleTurn(self.messages, self._right, [])

    def _right(self, answer: str) -> bool:
        return answer.strip().lower().startswith(self.qa.answer.lower())
