"""What a domain is: an initial state, actions that change it, and wishes with the calls that fulfil them.

State is plain JSON, so two runs can be compared. An action that cannot be done raises `ToolError` and leaves it alone.
"""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

STRING, INTEGER = {"type": "string"}, {"type": "integer"}


class ToolError(Exception):
    """An action that cannot be done; the message goes back to the agent and the state stays as it was."""


@dataclass(frozen=True)
class Action:
    description: str
    parameters: dict[str, dict]
    run: Callable[..., object]  # run(state, **arguments) -> what the tool returns


@dataclass(frozen=True)
class Intent:
    """One wish of a user. `hidden` names the argument of the first call that the user tells only when asked."""

    request: str
    calls: tuple[tuple[str, dict], ...]
    answer: str | None = None  # what the agent must report, for questions
    hidden: str | None = None


@dataclass(frozen=True)
class Domain:
    name: str
    synonyms: dict[str, tuple[str, ...]]  # action -> other names of the tool, for evolved applications
    actions: dict[str, Action]
    initial: Callable[[random.Random], dict]
    intents: tuple[Callable[[dict, random.Random], Intent], ...]


def need(condition: bool, message: str) -> None:
    """ToolError with the message unless the condition holds."""
    if not condition:
        raise ToolError(message)


def new(rng: random.Random, taken: Iterable[str], pool: list[str]) -> str:
    """A value of the pool that is not taken."""
    return rng.choice([x for x in pool if x not in taken])


def call(action: str, /, **arguments: object) -> tuple[str, dict]:
    """One reference call of a wish."""
    return action, arguments
