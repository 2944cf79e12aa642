"""Tool use: a whole conversation with a simulated user and simulated tools, judged by the state it leaves."""

from dataclasses import dataclass

from k2lib.agents import trajectories
from k2lib.agents.episode import Episode
from k2lib.agents.tasks import Task


@dataclass(frozen=True)
class ToolUse:
    task: Task

    kind = "tool use"
    budget = 96  # tokens of one turn
    plain = None

    @property
    def messages(self) -> list[dict]:
        return self.task.messages

    @property
    def tools(self) -> list[dict]:
        return self.task.application.specs

    def demonstration(self) -> dict:
        """The scripted expert's conversation, with the judge's verdict: it makes mistakes, and meets faults."""
        return {"kind": self.kind} | trajectories.demonstrate(self.task).row()

    def episode(self) -> Episode:
        return Episode.start(self.task)
