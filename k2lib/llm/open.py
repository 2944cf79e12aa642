"""A chat model by the name that a command line or a worker is given: the one place that turns words into a `ChatModel`."""

import os
from dataclasses import dataclass
from pathlib import Path

from k2lib.llm.cache import CachedChat
from k2lib.llm.openai import OpenAIChat
from k2lib.llm.protocol import ChatModel
from k2lib.llm.scripted import ScriptedChat


@dataclass(frozen=True)
class Spoken:
    """Where a model is: plain words, which travel to another process."""

    name: str  # "scripted", a checkpoint directory, or what an endpoint calls its model
    base_url: str = ""  # of an endpoint
    cache: str = ""  # a directory of kept replies; empty for none
    timeout: float = 120.0  # seconds of one request


def open_model(where: Spoken, seed: int = 0) -> ChatModel:
    """The model, its replies cached if that is asked for; the scripted writer's cost nothing and are not.

    ValueError for a name that is neither "scripted", nor a directory, nor at an endpoint; the key is K2_LLM_API_KEY's.
    """
    if where.name == "scripted" and not where.base_url:
        return ScriptedChat(seed)
    model = _endpoint(where) if where.base_url else _checkpoint(where.name)
    return CachedChat(model, where.cache) if where.cache else model


def _endpoint(where: Spoken) -> OpenAIChat:
    key = os.environ.get("K2_LLM_API_KEY", "none")
    if not key.strip():
        raise ValueError("K2_LLM_API_KEY is set and empty; give the endpoint's key, or unset it if it needs none")
    return OpenAIChat(where.name, base_url=where.base_url, api_key=key, timeout=where.timeout, concurrency=256)


def _checkpoint(name: str) -> ChatModel:
    if not Path(name).is_dir():
        raise ValueError(
            f'the model {name!r} is no directory; give "scripted", a checkpoint directory, or --base-url (or K2_LLM_BASE_URL) for '
            "the endpoint that serves it"
        )
    from k2lib.llm import LocalChat, terminal

    return LocalChat(*terminal.load(name), name=Path(name).name)
