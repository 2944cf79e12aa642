"""Trajectories: many episodes played to their end; the judge keeps what met its rubric (section 3.1).

The paper calls the whole pipeline large-scale rejection sampling. Episodes run in lockstep, so that a local model
answers all of them in one batch (`run`), or each at its own pace against an endpoint (`run_task`, `run_all`). An
endpoint that fails makes an episode void, which is neither passed nor failed.
"""

import asyncio
from collections import Counter
from collections.abc import Callable

from k2lib.agents import tasks as task_factory
from k2lib.agents.episode import Episode, Trajectory
from k2lib.agents.expert import ScriptedAgent
from k2lib.agents.simulator import DONE, ToolSimulator
from k2lib.agents.tasks import Task
from k2lib.agents.tools import check_call
from k2lib.agents.users import User, scripted
from k2lib.llm.protocol import ChatError, ChatModel

FAULT_RATE = 0.05  # of the simulator, while data is made
MOST_TURNS = 10  # of an agent
Step = Callable[[list[Episode]], list[dict]]  # conversations -> the assistant's next message in each


def run(
    tasks: list[Task], step: Step, *, max_turns: int = MOST_TURNS, fault_rate: float = 0.0, agent: str = ""
) -> list[Trajectory]:
    """All tasks in lockstep: `step` gets the running episodes and returns one assistant message for each."""
    episodes = [Episode.start(task, fault_rate) for task in tasks]
    for _ in range(max_turns):
        running = [episode for episode in episodes if not episode.over]
        if not running:
            break
        for episode, message in zip(running, step(running), strict=True):
            episode.step(message)
    return [episode.trajectory(agent) for episode in episodes]


async def run_task(
    task: Task,
    agent: ChatModel,
    user: User = scripted,
    *,
    max_turns: int = MOST_TURNS,
    fault_rate: float = 0.0,
    temperature: float = 0.0,
    user_name: str = "scripted user",
) -> Trajectory:
    """One task with any chat model as the agent, and any user; ChatError if a model cannot be reached."""
    episode = Episode.start(task, fault_rate)
    settings = {"tools": episode.tools, "temperature": temperature, "seed": task.seed}
    for _ in range(max_turns):
        if episode.over:
            break
        if not episode.act((await agent.complete(list(episode.messages), **settings)).message):
            episode.hear(await user(task, episode.messages))
    return episode.trajectory(agent.model, user_name)


async def run_all(
    tasks: list[Task], agent: ChatModel, *, at_once: int = 8, **settings: float
) -> tuple[list[Trajectory], int]:
    """(trajectories in the order of the tasks, number of void ones), at most `at_once` episodes at a time.

    `settings` are those of `run_task`.
    """
    limit = asyncio.Semaphore(at_once)

    async def one(task: Task) -> Trajectory | None:
        async with limit:
            try:
                return await run_task(task, agent, **settings)
            except ChatError:
                return None

    played = await asyncio.gather(*map(one, tasks))
    return [t for t in played if t is not None], sum(t is None for t in played)


def stepping(agent: ScriptedAgent) -> Step:
    """The scripted agent in lockstep."""
    return lambda episodes: [agent.turn(episode.messages, episode.tools, episode.task.seed) for episode in episodes]


def demonstrate(task: Task, max_turns: int = MOST_TURNS) -> Trajectory:
    """The scripted agent's conversation, in a world with faults; the verdict says whether it may be learned from."""
    agent = ScriptedAgent()
    return run([task], stepping(agent), max_turns=max_turns, fault_rate=FAULT_RATE, agent=agent.model)[0]


def generate(n: int, seed: int, *, max_turns: int = MOST_TURNS, **pool: int) -> tuple[list[Trajectory], dict]:
    """Trajectories of `n` training tasks that passed the judge, and `statistics` of all; `pool` is that of `tasks.generate`."""
    made = [demonstrate(task, max_turns) for task in task_factory.generate(n, seed, **pool)]
    return [t for t in made if t.verdict.passed], statistics([t.row() for t in made])


def statistics(rows: list[dict]) -> dict:
    """Numbers of tasks and kept ones, reasons of rejection, tasks by difficulty and by domain."""
    kept = [row for row in rows if row["verdict"]["passed"]]
    return {
        "tasks": len(rows),
        "kept": len(kept),
        "rejected": dict(Counter(reason for row in rows for reason in row["verdict"]["reasons"])),
        "difficulty": dict(Counter(row["difficulty"] for row in rows)),
        "difficulty_kept": dict(Counter(row["difficulty"] for row in kept)),
        "categories": dict(Counter(row["category"] for row in rows)),
    }


def replay(trajectory: Trajectory) -> dict:
    """The state that the calls which were carried out reach on a fresh copy of the trajectory's world, without faults."""
    task = trajectory.task
    simulator = ToolSimulator(task.application, task.state)
    for call in (call for message in trajectory.messages for call in message.get("tool_calls") or []):
        if trajectory.outcomes[call["id"]] in DONE:
            simulator.call(call["function"]["name"], call["function"]["arguments"])
    return simulator.state


def attempts(trajectory: Trajectory) -> list[bool]:
    """Of every call that was attempted, whether it names a declared tool and satisfies its schema.

    What could not be read as a call was an attempt, too.
    """
    calls = [call["function"] for m in trajectory.messages for call in m.get("tool_calls") or []]
    readable = [check_call(f["name"], f["arguments"], trajectory.tools)[0] is not None for f in calls]
    return readable + [False] * len(trajectory.faults)


def validity(trajectory: Trajectory) -> list[bool]:
    """The attempts; a conversation without any is one that failed, since every task needs one: silence is not validity."""
    return attempts(trajectory) or [False]
