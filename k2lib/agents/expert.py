"""The scripted agent: it knows the reference calls and makes seeded mistakes.

Without them the filter would have nothing to reject, and nobody would know whether it can.
"""

import json
import random

from k2lib.agents.episode import Episode
from k2lib.agents.simulator import BUSY, LOST
from k2lib.agents.tasks import Task

MISTAKE_RATE = 0.15  # per task
MISTAKES = ("wrong value", "wrong tool", "invented tool", "broken JSON", "gives up", "claims without doing")


def expert(episodes: list[Episode]) -> list[dict]:
    """The expert's next message in each episode."""
    return [_turn(episode) for episode in episodes]


def _turn(episode: Episode) -> dict:
    task, messages = episode.task, episode.messages
    rng = random.Random(f"expert/{task.id}")
    mistake = rng.choice(MISTAKES) if rng.random() < MISTAKE_RATE else None
    first = messages[-1]["role"] == "user" and sum(m["role"] == "user" for m in messages) == 1
    if task.rubric.must_ask and first and mistake != "wrong value":
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
    call = {"id": "", "type": "function", "function": {"name": name, "arguments": text}}
    return {"role": "assistant", "content": "", "tool_calls": [call]}


def _closing(task: Task, done: list[dict]) -> str:
    if task.rubric.report is None or not done:
        return "Done."
    found = done[-1]["content"]
    return "I could not find it." if found.startswith("error") else f"It is {json.loads(found)}."
