"""What a domain is: an initial state, actions that change it, and wishes with the calls that fulfil them.

State is plain JSON, so two runs can be compared. An action that cannot be done raises `ToolError` and leaves it alone.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

STRING, INTEGER = {"type": "string"}, {"type": "integer"}


class ToolError(Exception):
    """An action that cannot be done; the message goes back to the agent and the state stays as it was."""


@dataclass(frozen=True)
class Action:
    descriptions: tuple[str, ...]  # ways to say what it does, of which an application has one
    names: tuple[tuple[str, ...], ...]  # ways to call it, each in words
    parameters: dict[str, dict]
    run: Callable[..., object]  # run(state, **arguments) -> what the tool returns


@dataclass(frozen=True)
class Intent:
    """A user's wish, the calls that fulfil it, and what the rubric asks beyond the state that they leave."""

    kind: str
    request: str
    calls: tuple[tuple[str, dict], ...]
    answer: str | None = None  # what the agent must report, for questions
    hidden: str | None = None  # the argument of the first call that the user tells only when asked
    afterthought: str | None = None  # what the user says when it is done; the last of the calls then follows
    refused: bool = False  # the state forbids the last call; the agent must try, and say that it did not work


@dataclass(frozen=True)
class Domain:
    name: str
    category: str
    actions: dict[str, Action]
    initial: Callable[[random.Random], dict]
    wish: Callable[[dict, random.Random, set[str]], Intent | None]  # of a state, with only these actions at hand


def need(condition: bool, message: str) -> None:
    """ToolError with the message unless the condition holds."""
    if not condition:
        raise ToolError(message)
