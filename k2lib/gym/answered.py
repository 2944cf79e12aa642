"""An episode of one answer whose check is costly, or may fail: it is made when somebody asks for the score."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Answered:
    messages: list[dict]
    check: Callable[[str], float | None]  # the score of an answer; None where it could not be checked
    tools: list[dict] = field(default_factory=list)
    over: bool = False
    faulty: bool = False

    def step(self, message: dict, faults: list[str]) -> None:
        self.messages.append(message)
        self.over, self.faulty = True, bool(faults)

    def score(self) -> float | None:
        """The check's; 0 for an answer of which something could not be read."""
        return 0.0 if self.faulty else self.check(str(self.messages[-1].get("content") or ""))
