"""The same problem with another budget: for training on a tighter one, or to see what training's budget cut."""

from dataclasses import dataclass

from k2lib.gym.problem import Episode, Problem


@dataclass(frozen=True)
class Budgeted:
    problem: Problem
    budget: int  # tokens of one turn

    @property
    def kind(self) -> str:
        return self.problem.kind

    @property
    def plain(self) -> str | None:
        return self.problem.plain

    @property
    def messages(self) -> list[dict]:
        return self.problem.messages

    @property
    def tools(self) -> list[dict]:
        return self.problem.tools

    def demonstration(self) -> dict:
        return self.problem.demonstration()

    def episode(self) -> Episode:
        return self.problem.episode()
