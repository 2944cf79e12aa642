"""One episode: an agent, the user and the tool simulator, turn by turn, until the user is done (section 3.1)."""

import hashlib
import json
from dataclasses import dataclass, field

from k2lib.agents import users
from k2lib.agents.judge import Judgement, judge
from k2lib.agents.rubric import canonical
from k2lib.agents.simulator import ToolSimulator
from k2lib.agents.tasks import Task
from k2lib.llm.arguments import MOST_CALLS


@dataclass
class Episode:
    task: Task
    messages: list[dict]
    tools: list[dict]
    simulator: ToolSimulator
    faults: list[str] = field(default_factory=list)  # what could not be read in the agent's turns
    outcomes: dict[str, str] = field(default_factory=dict)  # of each call, by its id
    over: bool = False

    @classmethod
    def start(cls, task: Task, fault_rate: float = 0.0) -> "Episode":
        simulator = ToolSimulator(task.application, task.state, task.seed, fault_rate)
        return cls(task, task.messages, task.application.specs, simulator)

    def step(self, message: object, faults: list[str] | None = None) -> None:
        """One turn of the agent, as a model or a server wrote it: its calls are executed, or the scripted user answers."""
        if not self.act(message, faults):
            self.hear(users.reply(self.task, self.messages))

    def act(self, message: object, faults: list[str] | None = None) -> bool:
        """The agent's turn; whether it called tools, whose results then stand in the conversation."""
        self.faults += faults or []
        message = normalise(message)
        counter = sum(len(m.get("tool_calls") or []) for m in self.messages)
        calls = [
            call | {"id": f"functions.{call['function']['name']}:{counter + i}"}  # our count, not the model's
            for i, call in enumerate(message.get("tool_calls") or [])
        ]
        self.messages.append(message | ({"tool_calls": calls} if calls else {}))
        for call in calls:
            result = self.simulator.call(call["function"]["name"], call["function"]["arguments"])
            self.messages.append({"role": "tool", "tool_call_id": call["id"], "content": result.content})
            self.outcomes[call["id"]] = result.outcome
        return bool(calls)

    def hear(self, answer: str | None) -> None:
        """The user's turn; None ends the episode."""
        if answer is None:
            self.over = True
        else:
            self.messages.append({"role": "user", "content": answer})

    def trajectory(self, agent: str = "", user: str = "scripted user") -> "Trajectory":
        """What was said and done so far, with the judge's verdict; `agent` and `user` say who played them."""
        verdict = judge(self.task, self.messages, self.simulator.state, self.faults)
        state, outcomes = self.simulator.state, dict(self.outcomes)
        return Trajectory(
            self.task, self.messages, self.tools, verdict, state, tuple(self.faults), outcomes, agent, user
        )

    def score(self) -> float:
        """1 if the judge passes the episode, else 0."""
        return float(self.trajectory().verdict.passed)


@dataclass(frozen=True)
class Trajectory:
    task: Task
    messages: list[dict]
    tools: list[dict]
    verdict: Judgement
    state: dict  # what the simulator ended with
    faults: tuple[str, ...] = ()  # what could not be read in the agent's turns
    outcomes: dict[str, str] = field(default_factory=dict)  # of each call, by its id
    agent: str = ""
    user: str = "scripted user"

    def row(self) -> dict:
        """The JSONL row: OpenAI messages and tools, rubric, verdict, provenance, hashes of the state."""
        task, rubric, verdict = self.task, self.task.rubric, self.verdict
        expected = {"expected_tools": list(rubric.expected_tools), "report": rubric.report, "must_ask": rubric.must_ask}
        expected |= {"refused": rubric.refused, "state": difference(task.state, json.loads(rubric.final_state))}
        expected["checkpoints"] = rubric.checkpoints(task.reference)
        found = {"passed": verdict.passed, "reasons": list(verdict.reasons), "checkpoints": list(verdict.checkpoints)}
        return {
            "task_id": task.id,
            "messages": self.messages,
            "tools": self.tools,
            "seed": task.seed,
            "difficulty": task.difficulty,
            "category": task.application.domain.category,
            "domain": task.application.domain.name,
            "application": task.application.name,
            "novelty": task.novelty,
            "persona": str(task.persona),
            "rubric": expected,
            "verdict": found,
            "outcomes": self.outcomes,
            "state": difference(task.state, self.state),
            "state_hash": {"before": _hash(task.state), "after": _hash(self.state)},
            "roles": {"agent": self.agent, "user": self.user, "tools": "simulated", "judge": "state and rubric"},
        }


def difference(before: object, after: object, where: str = "") -> list[str]:
    """What changed between two states, a line for each: "listings.Oak House.price: 200 -> 300"."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [*before, *(key for key in after if key not in before)]
        at = [f"{where}.{key}" if where else str(key) for key in keys]
        pairs = [(before.get(key), after.get(key), place) for key, place in zip(keys, at, strict=True)]
        return [line for old, new, place in pairs for line in difference(old, new, place)]
    return [] if before == after else [f"{where}: {_told(before)} -> {_told(after)}"]


def _told(value: object) -> str:
    return "nothing" if value is None else json.dumps(value)


def normalise(message: object) -> dict:
    """An assistant message of our own making from whatever a model or a server returned: text and well-formed calls.

    A call without a usable name or arguments keeps its place with empty ones, so that it is counted and refused.
    """
    message = message if isinstance(message, dict) else {}
    content, calls = message.get("content"), message.get("tool_calls")
    calls = [_call(call) for call in calls[:MOST_CALLS]] if isinstance(calls, list) else []
    made = {"role": "assistant", "content": content if isinstance(content, str) else ""}
    return made | ({"tool_calls": calls} if calls else {})


def _call(call: object) -> dict:
    function = call.get("function") if isinstance(call, dict) else None
    name, arguments = (function.get("name"), function.get("arguments")) if isinstance(function, dict) else ("", "")
    name = name[:80] if isinstance(name, str) else ""
    arguments = arguments if isinstance(arguments, str) else ""
    return {"id": "", "type": "function", "function": {"name": name, "arguments": arguments}}


def _hash(state: dict) -> str:
    return hashlib.sha256(canonical(state).encode()).hexdigest()[:16]
