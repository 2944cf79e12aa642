"""The one way to reach a text model: whatever completes a chat is a `ChatModel`."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Usage:
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def total(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class Reply:
    message: dict  # {"role": "assistant", "content": str, "tool_calls": [...]}
    finish: str  # "stop" | "length" | "tool_calls"
    usage: Usage
    model: str  # shown wherever the text is: a scripted writer says so


class ChatError(RuntimeError):
    """A model that cannot be reached, or whose reply is none; the message says which endpoint and what to try.

    `usage` is what such a reply has cost all the same.
    """

    def __init__(self, message: str, usage: Usage | None = None):
        super().__init__(message)
        self.usage = usage or Usage()


class ChatModel(Protocol):
    """One that may answer differently under the same name also has an `identity`, a text that tells one from the other."""

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
