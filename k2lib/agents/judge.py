"""The judge: was the task done? Decided by state and rubric, not by how convincing the conversation sounds (§3.1).

The final state must equal the one that the reference calls reach on a fresh copy; any path there counts. What the rubric
asks to be reported must have come from a tool and stand in the last message, expected tools must have been used, a withheld
detail must have been asked for by its name, a refusal must have been met and told. The checkpoints on the way are told
beside the verdict and do not decide it.

What surprised: an answer that lists every number from 0 to 999 contains the right one, and "9119" contains "11". So
the report must stand as a word of its own, and an answer that names other values of the state beside it is a guess.
"""

import json
from dataclasses import dataclass

from k2lib.agents.rubric import asks_for, canonical, denies, names
from k2lib.agents.tasks import Task
from k2lib.llm.arguments import read

SPARE = 3  # calls beyond the reference's


@dataclass(frozen=True)
class Judgement:
    passed: bool
    reasons: tuple[str, ...]  # empty if it passed
    checkpoints: tuple[bool, ...] = ()  # of the rubric, whether each was reached


def judge(task: Task, messages: list[dict], state: dict, faults: list[str] | None = None) -> Judgement:
    """The verdict on a finished conversation (its calls numbered by the simulator's side) and the state it left.

    `faults` are what could not be read in the agent's turns; one is enough to fail.
    """
    calls = [call for message in messages for call in message.get("tool_calls") or []]
    results = {message["tool_call_id"]: message["content"] for message in messages if message["role"] == "tool"}
    tried = [(call["function"], results.get(call["id"], "error")) for call in calls]
    succeeded = [function for function, result in tried if not result.startswith("error")]
    reasons = []
    if canonical(state) != task.rubric.final_state:
        reasons.append("the final state is not the wanted one")
    if any(name not in [function["name"] for function in succeeded] for name in task.rubric.expected_tools):
        reasons.append("an expected tool was not used with success")
    elif task.rubric.in_order and not _looked_first(task, tried):
        reasons.append("it acted before it looked")
    if task.rubric.refused and not any(_same(function, task.reference[-1]) for function, _ in tried):
        reasons.append("what is refused was never tried")
    report = task.rubric.report
    if report is not None and not any(names(result, report) for _, result in tried if not result.startswith("error")):
        reasons.append("no tool gave the answer")
    reasons += _end(task, messages[-1])
    if task.rubric.must_ask and not _asked(task, messages):
        reasons.append("a detail was guessed instead of asked for")
    if faults:
        reasons.append("a turn could not be read")
    if len(calls) > len(task.reference) + SPARE:
        reasons.append("far more calls than needed")
    reached = _reached(task, messages, tried)
    return Judgement(not reasons, tuple(reasons), tuple(reached))


def _end(task: Task, last: dict) -> list[str]:
    """What is wrong with the last message, beside its being true that all is done."""
    if last["role"] != "assistant" or last.get("tool_calls"):
        return ["the conversation did not end with a message to the user"]
    said, report = last.get("content") or "", task.rubric.report
    if report is not None:
        if not names(said, report):
            return ["the answer was not reported"]
        return (
            ["other values were named beside the answer"] if any(names(said, other) for other in _rivals(task)) else []
        )
    if task.rubric.refused:
        return [] if denies(said) else ["the refusal was not told"]
    return ["the user was told that it did not work"] if denies(said) else []


def _reached(task: Task, messages: list[dict], tried: list[tuple[dict, str]]) -> list[bool]:
    """Of the rubric's checkpoints, which were reached."""
    found = [_asked(task, messages)] if task.rubric.must_ask else []
    for i, call in enumerate(task.reference):
        refused = task.rubric.refused and i == len(task.reference) - 1
        found.append(
            any(_same(function, call) and (refused or not result.startswith("error")) for function, result in tried)
        )
    return [*found, not _end(task, messages[-1])]


def _same(function: dict, call: tuple[str, dict]) -> bool:
    return function["name"] == call[0] and read(function["arguments"])[0] == call[1]


def _looked_first(task: Task, tried: list[tuple[dict, str]]) -> bool:
    """Whether the first reference call, the look-up, had answered before the tool of the second was tried."""
    look, *act = task.reference
    looks = [
        i for i, (function, result) in enumerate(tried) if _same(function, look) and not result.startswith("error")
    ]
    acts = [i for i, (function, _) in enumerate(tried) if act and function["name"] == act[0][0]]
    return bool(looks) and looks[0] < min(acts, default=len(tried))


def _asked(task: Task, messages: list[dict]) -> bool:
    """Whether the agent asks for the withheld detail before it calls the tool that needs it; a bare "?" earns nothing."""
    details = {name for action in task.application.domain.actions.values() for name in action.parameters}
    for message in (m for m in messages if m["role"] == "assistant"):
        calls = message.get("tool_calls") or []
        if any(call["function"]["name"] == task.reference[0][0] for call in calls):
            return False
        if not calls and asks_for(task.rubric.must_ask, details, task.instruction, message.get("content") or ""):
            return True
    return False


def _rivals(task: Task) -> set[str]:
    """The other values and names of the first state that the user did not mention: what a hedging answer would list."""
    report, found, open_nodes = task.rubric.report, set(), [task.state]
    for records in task.state.values():
        found |= set(records) if isinstance(records, dict) else set()
    while open_nodes:
        node = open_nodes.pop()
        if isinstance(node, dict | list):
            open_nodes += node.values() if isinstance(node, dict) else node
        elif node is not None:
            found.add(node if isinstance(node, str) else json.dumps(node))
    return {value for value in found if not names(report, value) and not names(task.instruction, value)}
