"""The one way to reach a text model: whatever completes a chat is a `ChatModel`."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Usage:
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class Reply:
    message: dict  # {"role": "assistant", "content": str, "tool_calls": [...]}
    finish: str  # "stop" | "length" | "tool_calls"
    usage: Usage
    model: str  # shown wherever the text is: a scripted writer says so


class ChatError(RuntimeError):
    """A model that cannot be reached, or whose reply is none; the message says which endpoint and what to try."""


class ChatModel(Protocol):
    model: str

    async def complete(
        self,
        messages: list[dict],
        *,
        tools: list[dict] | None = None,
        temperature: float = 0.0,
        max_tokens: int = 512,
        seed: int | None = None,
    ) -> Reply: ...
