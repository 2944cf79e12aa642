"""A family of problems that can be learnt from nothing."""

import dataclasses

from k2lib.gym.problem import Question


@dataclasses.dataclass(frozen=True)
class Letters(Question):
    """A problem whose answer must begin with a given letter, or hold it: learnable from nothing."""

    wanted: str
    anywhere: bool = False
    kind, budget = "letters", 24

    @property
    def asks(self) -> str:
        return f"say {self.wanted}"

    @property
    def answer(self) -> str:
        return self.wanted

    def right(self, answer: str) -> bool:
        return self.wanted in answer[:40] if self.anywhere else answer.strip().startswith(self.wanted)
