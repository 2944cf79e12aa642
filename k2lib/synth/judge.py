"""The judge: was the task done? Decided by state and rubric, not by how convincing the conversation sounds (section 3.1).

The final state must equal the one that the reference calls reach on a fresh copy; any path there counts. What the rubric
asks to be reported must be in the last message, expected tools must have been used, a withheld detail must have been asked for.
"""

from dataclasses import dataclass

from k2lib.synth.tasks import Task, canonical


@dataclass(frozen=True)
class Verdict:
    passed: bool
    reasons: tuple[str, ...]  # empty if it passed


def judge(task: Task, messages: list[dict], state: dict) -> Verdict:
    """The verdict on a finished conversation and the state it left."""
    calls = [call for message in messages for call in message.get("tool_calls") or []]
    results = {message["tool_call_id"]: message["content"] for message in messages if message["role"] == "tool"}
    succeeded = [call["function"]["name"] for call in calls if not results.get(call["id"], "error").startswith("error")]
    last = messages[-1]
    reasons = []
    if canonical(state) != task.rubric.final_state:
        reasons.append("the final state is not the wanted one")
    if any(name not in succeeded for name in task.rubric.expected_tools):
        reasons.append("an expected tool was not used with success")
    if last["role"] != "assistant" or last.get("tool_calls"):
        reasons.append("the conversation did not end with a message to the user")
    elif task.rubric.report is not None and task.rubric.report not in (last.get("content") or ""):
        reasons.append("the answer was not reported")
    if task.rubric.must_ask and sum(message["role"] == "user" for message in messages) < 2:
        reasons.append("a detail was guessed instead of asked for")
    if len(calls) > len(task.reference) + 3:
        reasons.append("far more calls than needed")
    return Verdict(not reasons, tuple(reasons))
