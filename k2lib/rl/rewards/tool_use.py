"""1 if the first turn makes exactly the call that the task needs, or asks for what the user withheld; faults count as failure."""

from dataclasses import dataclass

from k2lib.agents.tasks import Task, score_call
from k2lib.llm.chat import Parsed


@dataclass(frozen=True)
class ToolUse:
    task: Task

    def __call__(self, turn: Parsed) -> float:
        return 0.0 if turn.faults else score_call(self.task, turn.message)
