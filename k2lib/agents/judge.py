"""The judge: was the task done? Decided by state and rubric, not by how convincing the conversation sounds (§3.1).

The final state must equal the one that the reference calls reach on a fresh copy; any path there counts. What the
rubric asks to be reported must be in the last message, expected tools must have been used, a withheld detail must have
been asked for by its name. The checkpoints, how many of the reference calls were made, are told beside the verdict and do not
decide it.

What surprised: an answer that lists every number from 0 to 999 contains the right one, and "9119" contains "11". So
the report must stand as a word of its own, and an answer that names other values of the state beside it is a guess.
"""

import json
import re
from dataclasses import dataclass

from k2lib.agents.tasks import Task, asks_for, canonical
from k2lib.llm.arguments import read


@dataclass(frozen=True)
class Judgement:
    passed: bool
    reasons: tuple[str, ...]  # empty if it passed
    checkpoints: tuple[int, int] = (0, 0)  # (reached, all)


def judge(task: Task, messages: list[dict], state: dict, faults: list[str] | None = None) -> Judgement:
    """The verdict on a finished conversation (its calls numbered by the simulator's side) and the state it left.

    `faults` are what could not be read in the agent's turns; one is enough to fail.
    """
    calls = [call for message in messages for call in message.get("tool_calls") or []]
    results = {message["tool_call_id"]: message["content"] for message in messages if message["role"] == "tool"}
    succeeded = [call["function"] for call in calls if not results.get(call["id"], "error").startswith("error")]
    last = messages[-1]
    reasons = []
    if canonical(state) != task.rubric.final_state:
        reasons.append("the final state is not the wanted one")
    if any(name not in [function["name"] for function in succeeded] for name in task.rubric.expected_tools):
        reasons.append("an expected tool was not used with success")
    if last["role"] != "assistant" or last.get("tool_calls"):
        reasons.append("the conversation did not end with a message to the user")
    elif task.rubric.report is not None:
        said = last.get("content") or ""
        if not _names(said, task.rubric.report):
            reasons.append("the answer was not reported")
        elif any(_names(said, other) for other in _rivals(task)):
            reasons.append("other values were named beside the answer")
    if task.rubric.must_ask and not _asked(task, messages):
        reasons.append("a detail was guessed instead of asked for")
    if faults:
        reasons.append("a turn could not be read")
    if len(calls) > len(task.reference) + 3:
        reasons.append("far more calls than needed")
    made = [(function["name"], read(function["arguments"])[0]) for function in succeeded]
    return Judgement(not reasons, tuple(reasons), (sum(call in made for call in task.reference), len(task.reference)))


def _asked(task: Task, messages: list[dict]) -> bool:
    """Whether the agent asks for the withheld detail before it calls the tool that needs it; a bare "?" earns nothing."""
    for message in (m for m in messages if m["role"] == "assistant"):
        calls = message.get("tool_calls") or []
        if any(call["function"]["name"] == task.reference[0][0] for call in calls):
            return False
        if not calls and asks_for(task.rubric.must_ask, message.get("content") or ""):
            return True
    return False


def _names(text: str, value: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text) is not None


def _rivals(task: Task) -> set[str]:
    """The other values of the first state that the user did not mention: what a hedging answer would list."""
    report, found, open_nodes = task.rubric.report, set(), [task.state]
    while open_nodes:
        node = open_nodes.pop()
        if isinstance(node, dict | list):
            open_nodes += node.values() if isinstance(node, dict) else node
        elif node is not None:
            found.add(node if isinstance(node, str) else json.dumps(node))
    return {value for value in found if not _names(report, value) and not _names(task.instruction, value)}
