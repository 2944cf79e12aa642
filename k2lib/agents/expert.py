"""The scripted agent: it reads the user's sentences and the declared tools, as any agent would, and makes seeded mistakes.

It never sees the task: not the reference, not the state, not the rubric. What it does not understand it says so, and the judge
rejects that conversation. Without mistakes the filter would have nothing to reject, and nobody would know whether it can.
"""

import hashlib
import json
import random
from dataclasses import dataclass

from k2lib.agents.domains.operations import KINDS
from k2lib.agents.reading import Goal, Known, goals, known_tools, value_of
from k2lib.agents.simulator import BUSY, LOST, TIMED_OUT
from k2lib.llm.protocol import Reply, Usage

MISTAKE_RATE = 0.15  # per task
MISTAKES = (
    "wrong value",
    "wrong tool",
    "invented tool",
    "broken JSON",
    "gives up",
    "claims without doing",
    "does not ask",
)
RETRIES = 3  # of a call that met a fault


@dataclass(frozen=True)
class Attempt:
    name: str
    arguments: str
    result: str

    @property
    def failed(self) -> bool:
        return self.result.startswith("error")


class ScriptedAgent:
    """A `ChatModel` that works for the users of `k2lib.agents.users`."""

    model = "scripted agent"

    def __init__(self, mistake_rate: float = MISTAKE_RATE):
        self.mistake_rate = mistake_rate

    async def complete(
        self,
        messages: list[dict],
        *,
        tools: list[dict] | None = None,
        temperature: float = 0.0,
        max_tokens: int = 512,
        seed: int | None = None,
    ) -> Reply:
        return Reply(self.turn(messages, tools or [], seed or 0), "stop", Usage(), self.model)

    def turn(self, messages: list[dict], tools: list[dict], seed: int = 0) -> dict:
        """The next message. Which mistake it makes, if any, follows from the conversation's beginning and the seed."""
        first = json.dumps([seed, [m["content"] for m in messages[:2]]])
        rng = random.Random(hashlib.sha256(first.encode()).digest())
        mistake = rng.choice(MISTAKES) if rng.random() < self.mistake_rate else None
        message = _turn(messages, tools, mistake)
        if mistake and message.get("tool_calls"):
            return _spoilt(message, mistake, [tool["function"]["name"] for tool in tools], rng)
        return message


def _turn(messages: list[dict], tools: list[dict], mistake: str | None) -> dict:
    if mistake == "gives up":
        return _says("I cannot do that.")
    known = known_tools(tools)
    start, wanted = _wishes(messages, known)
    if not wanted:
        return _says("I am afraid that I cannot do that.")
    answers = [m["content"] for m in messages[start + 1 :] if m["role"] == "user"]
    attempts = _attempts(messages[start:])
    found: list[str] = []
    for goal in wanted:
        if goal.missing and not goal.told(answers):
            if mistake != "does not ask":
                return _says(goal.question)
            answers = ["1"]
        step = _pursued(goal.with_answer(answers), attempts, found)
        if isinstance(step, dict):
            return _says("Done.") if mistake == "claims without doing" and step.get("tool_calls") else step
    return _says(f"It is {found[-1]}." if found and wanted[-1].asks else "Done.")


def _wishes(messages: list[dict], known: list[Known]) -> tuple[int, list[Goal]]:
    """The last message of the user that states wishes, and what they are."""
    for at in range(len(messages) - 1, -1, -1):
        if messages[at]["role"] == "user" and (wanted := goals(messages[at]["content"], known)):
            return at, wanted
    return 0, []


def _attempts(messages: list[dict]) -> list[Attempt]:
    results = {m["tool_call_id"]: m["content"] for m in messages if m["role"] == "tool"}
    calls = [call for m in messages for call in m.get("tool_calls") or []]
    return [Attempt(c["function"]["name"], c["function"]["arguments"], results.get(c["id"], "error")) for c in calls]


def _pursued(goal: Goal, attempts: list[Attempt], found: list[str]) -> dict | None:
    """The message that comes next for this goal; None once it is reached. What a look-up found is added to `found`."""
    value = None
    for known, arguments in goal.steps:
        filled = {k: v if v is not value_of else value for k, v in arguments.items()}
        text = json.dumps(filled)
        tries = [a for a in attempts if a.name == known.name and a.arguments == text]
        if not tries or (_again(known, tries) and len(tries) <= RETRIES):
            return _calls(known.name, text)
        last = tries[-1]
        if last.failed and not (len(tries) > 1 and tries[-2].result.endswith(TIMED_OUT)):  # else it had been done
            return _says(f"That did not work: {last.result.removeprefix('error: ')}.")
        if last.failed or last.result == LOST:
            continue
        value = json.loads(last.result)
        if known.kind in ("get", "find", "count", "least", "most"):
            found.append(", ".join(value) if isinstance(value, list) else str(value))
        if goal.condition is not None and known is goal.steps[0][0] and str(value) != goal.condition:
            return None
    return None


def _again(known: Known, tries: list[Attempt]) -> bool:
    """Whether the last try has to be repeated: it was not done, or its answer is needed, or repeating it does no harm."""
    last, kind = tries[-1].result, KINDS[known.kind]
    if last == LOST:
        return not kind.changes
    return last.endswith(BUSY) or (last.endswith(TIMED_OUT) and kind.repeatable)


def _says(text: str) -> dict:
    return {"role": "assistant", "content": text}


def _calls(name: str, arguments: str) -> dict:
    call = {"id": "", "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": "", "tool_calls": [call]}


def _spoilt(message: dict, mistake: str, names: list[str], rng: random.Random) -> dict:
    function = message["tool_calls"][0]["function"]
    name, text = function["name"], function["arguments"]
    arguments = json.loads(text)
    if mistake == "wrong tool":
        name = rng.choice(names)
    elif mistake == "invented tool":
        name = f"do_{name}"
    elif mistake == "broken JSON":
        text = text[:-1]
    elif mistake == "wrong value" and arguments:
        key = rng.choice(list(arguments))
        wrong = arguments[key] + 1 if isinstance(arguments[key], int) else "something else"
        text = json.dumps(arguments | {key: wrong})
    return _calls(name, text)
