"""Trajectories: agent, user and simulator talk until the user is done; the judge keeps what met its rubric (§3.1).

The paper calls the whole pipeline large-scale rejection sampling. Episodes run in lockstep, so that a local model
answers all of them in one batch (`run`), or each at its own pace against an endpoint (`run_task`, `run_all`). An
endpoint that fails makes an episode void, which is neither passed nor failed. The scripted expert knows the reference
calls and makes seeded mistakes: without them the filter would have nothing to reject, and nobody would know whether it
can.
"""

import asyncio
import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from k2lib.agents import tasks as task_factory
from k2lib.agents import users
from k2lib.agents.judge import Verdict, judge
from k2lib.agents.simulator import BUSY, LOST, ToolSimulator
from k2lib.agents.tasks import Task, canonical, normalise, prefix
from k2lib.agents.tools import check_call
from k2lib.llm.protocol import ChatError, ChatModel
from k2lib.progress import Progress, silent

FAULT_RATE = 0.05  # of the simulator, while data is made
MISTAKE_RATE = 0.15  # of the scripted expert, per task
MISTAKES = ("wrong value", "wrong tool", "invented tool", "broken JSON", "gives up", "claims without doing")
Step = Callable[[list["Episode"]], list[dict]]  # conversations -> the assistant's next message in each


@dataclass
class Episode:
    task: Task
    messages: list[dict]
    tools: list[dict]
    simulator: ToolSimulator
    over: bool = False


@dataclass(frozen=True)
class Trajectory:
    task: Task
    messages: list[dict]
    tools: list[dict]
    verdict: Verdict
    state: dict  # what the simulator ended with

    def row(self) -> dict:
        """The JSONL row: OpenAI messages and tools, rubric, verdict, provenance, hashes of the state."""
        rubric = self.task.rubric
        return {
            "task_id": self.task.id,
            "messages": self.messages,
            "tools": self.tools,
            "seed": self.task.seed,
            "difficulty": self.task.difficulty,
            "domain": self.task.application.domain.name,
            "rubric": {
                "expected_tools": list(rubric.expected_tools),
                "report": rubric.report,
                "must_ask": rubric.must_ask,
            },
            "verdict": {
                "passed": self.verdict.passed,
                "reasons": list(self.verdict.reasons),
                "checkpoints": list(self.verdict.checkpoints),
            },
            "state_hash": {"before": _hash(self.task.state), "after": _hash(self.state)},
        }


def run(tasks: list[Task], step: Step, *, max_turns: int = 8, fault_rate: float = 0.0) -> list[Trajectory]:
    """All tasks in lockstep: `step` gets the running episodes and returns one assistant message for each."""
    episodes = [_episode(task, fault_rate) for task in tasks]
    for _ in range(max_turns):
        running = [episode for episode in episodes if not episode.over]
        if not running:
            break
        for episode, message in zip(running, step(running), strict=True):
            _advance(episode, message)
    return [_finished(episode) for episode in episodes]


async def run_task(
    task: Task, agent: ChatModel, *, max_turns: int = 8, fault_rate: float = 0.0, temperature: float = 0.0
) -> Trajectory:
    """One task with any chat model as the agent; ChatError if the model cannot be reached."""
    episode = _episode(task, fault_rate)
    for _ in range(max_turns):
        if episode.over:
            break
        reply = await agent.complete(
            list(episode.messages), tools=episode.tools, temperature=temperature, seed=task.seed
        )
        _advance(episode, reply.message)
    return _finished(episode)


async def run_all(
    tasks: list[Task],
    agent: ChatModel,
    *,
    at_once: int = 8,
    max_turns: int = 8,
    fault_rate: float = 0.0,
    temperature: float = 0.0,
) -> tuple[list[Trajectory], int]:
    """(trajectories in the order of the tasks, number of void ones), at most `at_once` episodes at a time."""
    limit = asyncio.Semaphore(at_once)

    async def one(task: Task) -> Trajectory | None:
        async with limit:
            try:
                return await run_task(task, agent, max_turns=max_turns, fault_rate=fault_rate, temperature=temperature)
            except ChatError:
                return None

    played = await asyncio.gather(*map(one, tasks))
    return [t for t in played if t is not None], sum(t is None for t in played)


def _episode(task: Task, fault_rate: float) -> Episode:
    return Episode(task, *prefix(task), ToolSimulator(task.application, task.state, task.seed, fault_rate))


def _finished(episode: Episode) -> Trajectory:
    task, messages, state = episode.task, episode.messages, episode.simulator.state
    return Trajectory(task, messages, episode.tools, judge(task, messages, state), state)


def _advance(episode: Episode, message: object) -> None:
    """One assistant message: execute its calls, or hand it to the user."""
    message = normalise(message)
    counter = sum(len(m.get("tool_calls") or []) for m in episode.messages)
    calls = [
        call | {"id": f"functions.{call['function']['name']}:{counter + i}"}  # our count, not the model's
        for i, call in enumerate(message.get("tool_calls") or [])
    ]
    episode.messages.append(message | ({"tool_calls": calls} if calls else {}))
    for call in calls:
        result = episode.simulator.call(call["function"]["name"], call["function"]["arguments"])
        episode.messages.append({"role": "tool", "tool_call_id": call["id"], "content": result.content})
    if not calls:
        answer = users.reply(episode.task, episode.messages)
        if answer is None:
            episode.over = True
        else:
            episode.messages.append({"role": "user", "content": answer})


def expert(episodes: list[Episode]) -> list[dict]:
    """The scripted agent's next message in each episode."""
    return [_expert(episode) for episode in episodes]


def _expert(episode: Episode) -> dict:
    task, messages = episode.task, episode.messages
    rng = random.Random(f"expert/{task.id}")
    mistake = rng.choice(MISTAKES) if rng.random() < MISTAKE_RATE else None
    if (
        task.rubric.must_ask
        and messages[-1]["role"] == "user"
        and sum(m["role"] == "user" for m in messages) == 1
        and mistake != "wrong value"
    ):
        return {"role": "assistant", "content": f"Which {task.rubric.must_ask}?"}
    again = (BUSY, LOST) if task.rubric.report else (BUSY,)  # a lost answer matters if the user wants to know it
    done = [m for m in messages if m["role"] == "tool" and not m["content"].endswith(again)]
    if mistake == "gives up":
        return {"role": "assistant", "content": "I cannot do that."}
    if mistake == "claims without doing" or len(done) >= len(task.reference):
        return {"role": "assistant", "content": _closing(task, done)}
    name, arguments = task.reference[len(done)]
    text = json.dumps(arguments)
    if mistake == "wrong tool":
        name = rng.choice(list(task.application.tools))
    elif mistake == "invented tool":
        name = f"do_{name}"
    elif mistake == "broken JSON":
        text = text[:-1]
    elif mistake == "wrong value" and arguments:
        key = rng.choice(list(arguments))
        wrong = arguments[key] + 1 if isinstance(arguments[key], int) else "something else"
        text = json.dumps(arguments | {key: wrong})
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "", "type": "function", "function": {"name": name, "arguments": text}}],
    }


def _closing(task: Task, done: list[dict]) -> str:
    if task.rubric.report is None or not done:
        return "Done."
    found = done[-1]["content"]
    return "I could not find it." if found.startswith("error") else f"It is {json.loads(found)}."


def generate(
    n: int,
    seed: int,
    *,
    max_turns: int = 8,
    per_domain: int = 6,
    progress: Progress = silent,
) -> tuple[list[Trajectory], dict]:
    """Trajectories of `n` training tasks that passed the judge, and what became of the others.

    The statistics count tasks, kept ones, the reasons of rejection, tasks by difficulty and the evolved tools.
    """
    tasks = task_factory.generate(n, seed, per_domain=per_domain)
    chunks = [tasks[i : i + 100] for i in range(0, len(tasks), 100)]
    made = [
        t
        for chunk in progress(chunks, "simulate trajectories", len(chunks))
        for t in run(chunk, expert, max_turns=max_turns, fault_rate=FAULT_RATE)
    ]
    kept = [t for t in made if t.verdict.passed]
    return kept, {
        "tasks": len(made),
        "kept": len(kept),
        "coverage": task_factory.coverage(task_factory.applications(seed, per_domain)),
        "rejected": dict(Counter(reason for t in made for reason in t.verdict.reasons)),
        "difficulty": dict(Counter(t.task.difficulty for t in made)),
        "difficulty_kept": dict(Counter(t.task.difficulty for t in kept)),
        "domains": dict(Counter(t.task.application.domain.name for t in made)),
    }


def replay(trajectory: Trajectory) -> dict:
    """The state that the trajectory's successful calls reach on a fresh copy of its world, without faults."""
    task = trajectory.task
    simulator = ToolSimulator(task.application, task.state)
    results = {m["tool_call_id"]: m["content"] for m in trajectory.messages if m["role"] == "tool"}
    for message in trajectory.messages:
        for call in message.get("tool_calls") or []:
            if not results[call["id"]].startswith("error"):
                simulator.call(call["function"]["name"], call["function"]["arguments"])
    return simulator.state


def validity(trajectories: list[Trajectory]) -> tuple[int, int]:
    """(valid, counted) tool calls: valid ones name a declared tool and satisfy its schema.

    A conversation without any call counts as one invalid call, since every task needs one: silence is not validity.
    """
    valid = counted = 0
    for t in trajectories:
        calls = [call["function"] for m in t.messages for call in m.get("tool_calls") or []]
        valid += sum(check_call(f["name"], f["arguments"], t.tools)[0] is not None for f in calls)
        counted += max(1, len(calls))
    return valid, counted


def _hash(state: dict) -> str:
    return hashlib.sha256(canonical(state).encode()).hexdigest()[:16]
