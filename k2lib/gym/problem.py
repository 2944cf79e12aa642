"""What a problem is: a prompt with tools, a demonstration for fine-tuning, and an episode that is played and scored.

An episode goes turn by turn. Where one answer is all there is to play, the problem is a `Question`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Episode(Protocol):
    messages: list[dict]  # the whole conversation so far, in OpenAI's form
    tools: list[dict]
    over: bool

    def step(self, message: dict, faults: list[str]) -> None:
        """The assistant's turn, and what of it could not be read; tools and user answer, or the episode is over."""

    def score(self) -> float | None:
        """1 and more is solved. None where the check itself could not be made: no failure, to be left out."""


class Problem(Protocol):
    kind: str
    budget: int  # tokens of one turn; a turn that needs more is cut and fails, in RL and in evaluation (section 3.2.3)
    plain: str | None  # the prompt in the form of the corpus, for base models; None where only a conversation will do
    messages: list[dict]  # up to the assistant's first turn
    tools: list[dict]

    def demonstration(self) -> dict:
        """A row for fine-tuning: {"kind", "messages", "tools", "verdict": {"passed", "reasons"}}; keep what passed."""

    def episode(self) -> Episode:
        """A new episode, played from the start."""


@dataclass
class SingleTurn:
    """An episode of one answer, which `right` judges. What could not be read of it counts as wrong."""

    messages: list[dict]
    tools: list[dict]
    right: Callable[[str], bool]
    over: bool = False
    solved: bool = False

    def step(self, message: dict, faults: list[str]) -> None:
        self.messages.append(message)
        self.over, self.solved = True, not faults and self.right(message["content"])

    def score(self) -> float:
        return float(self.solved)


class Question(ABC):
    """A problem that is one question with one answer: a family gives `kind`, `budget`, `plain` and the three below."""

    kind: str
    budget: int
    plain: str | None = None

    @property
    @abstractmethod
    def asks(self) -> str:
        """The question."""

    @property
    @abstractmethod
    def answer(self) -> str:
        """A right answer, as fine-tuning shall learn it."""

    @abstractmethod
    def right(self, answer: str) -> bool:
        """Whether this answer solves the problem."""

    @property
    def messages(self) -> list[dict]:
        return [{"role": "user", "content": self.asks}]

    @property
    def tools(self) -> list[dict]:
        return []

    def demonstration(self) -> dict:
        passed, messages = self.right(self.answer), [*self.messages, {"role": "assistant", "content": self.answer}]
        verdict = {"passed": passed, "reasons": [] if passed else ["the answer is wrong"]}
        return {"kind": self.kind, "messages": messages, "tools": [], "verdict": verdict}

    def episode(self) -> SingleTurn:
        return SingleTurn(self.messages, self.tools, self.right)
