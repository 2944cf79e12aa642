"""What serves completions: several requests decoded together, each with its own settings, token by token to whoever listens."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from k2lib import machine
from k2lib.llm import chat
from k2lib.llm.terminal import load
from k2lib.model.generate import sample

# (request, token, its log-probability at temperature 1) -> whether the request has enough
Listener = Callable[[int, int, float], bool]


@dataclass(frozen=True)
class Sampling:
    temperature: float
    top_p: float


@dataclass(frozen=True)
class Request:
    prompt: tuple[int, ...]
    max_tokens: int
    sampling: Sampling
    seed: int


class Engine(Protocol):
    name: str
    positions: int  # of prompt and answer together
    vocabulary: int  # token ids
    opening: str  # the text that begins a call, if a call begins with text; else ""

    def prompt(self, messages: list[dict], tools: list[dict]) -> list[int]:
        """Token ids up to the assistant's turn. ValueError for what cannot be said in the model's format."""
        ...

    def decode(self, requests: list[Request], listener: Listener) -> None:
        """Continues each request until the listener has enough of it or its tokens are spent; all have one `sampling`."""
        ...

    def ends(self, token: int) -> bool:
        """Whether this token ends a turn; it is no part of the text."""
        ...

    def message(self, tokens: list[int]) -> dict:
        """What a turn says, with its tool calls, in OpenAI's form."""
        ...

    def text(self, tokens: list[int]) -> str:
        """The words of tokens as they stand, what is no whole character as U+FFFD."""
        ...


class K2Engine:
    """A checkpoint of the kit or of its family. FileNotFoundError or ValueError say what does not fit."""

    def __init__(self, directory: Path | str, name: str):
        self.name = name
        self._model, self._tokenizer = load(directory)
        self.positions, self.opening = self._model.config.max_position_embeddings, ""
        self.vocabulary = self._model.config.vocab_size
        self._ends = {self._tokenizer.encode_control(chat.END), self._tokenizer.eos_id}

    def prompt(self, messages: list[dict], tools: list[dict]) -> list[int]:
        return chat.encode(self._tokenizer, messages, tools)[0]

    def decode(self, requests: list[Request], listener: Listener) -> None:
        settings = {
            "max_new_tokens": max(one.max_tokens for one in requests),
            "temperature": requests[0].sampling.temperature,
            "top_p": requests[0].sampling.top_p,
            "seed": [one.seed for one in requests],
            "stop_tokens": tuple(self._ends),
        }
        with machine.precision(self._model.embed_tokens.weight.device):
            sample(self._model, [list(one.prompt) for one in requests], **settings, on_token=listener)

    def ends(self, token: int) -> bool:
        return token in self._ends

    def message(self, tokens: list[int]) -> dict:
        return chat.parse_ids(tokens, self._tokenizer).message

    def text(self, tokens: list[int]) -> str:
        return self._tokenizer.decode(tokens)
