"""Knowledge of the generated world: an answer must begin with the right value, case aside."""

from dataclasses import dataclass

from k2lib.corpus.world import QA, question_text
from k2lib.gym import answers
from k2lib.gym.problem import Question


@dataclass(frozen=True)
class Knowledge(Question):
    qa: QA

    kind = "knowledge"
    budget = 16  # tokens

    @property
    def plain(self) -> str:
        return question_text(self.asks)

    @property
    def asks(self) -> str:
        return self.qa.question

    @property
    def answer(self) -> str:
        return self.qa.answer

    def right(self, answer: str) -> bool:
        return answers.begins(answer, self.qa.answer)
