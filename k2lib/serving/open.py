"""A chat model by the name that a command line or a worker is given: the one place that turns words into a `ChatModel`."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from k2lib.llm import ScriptedChat, get
from k2lib.llm.cache import CachedChat
from k2lib.llm.openai import endpoint
from k2lib.llm.protocol import ChatModel

MOST = 256  # requests in flight; whoever asks bounds them first


@dataclass(frozen=True)
class Spoken:
    """Where a model is: plain words, which travel to another process."""

    name: str  # "scripted", a checkpoint directory, a name of `k2 get`, or what an endpoint calls its model
    base_url: str = ""  # of an endpoint
    cache: str = ""  # a directory of kept replies; empty for none
    timeout: float = 120.0  # seconds of one request


def open_model(where: Spoken, seed: int = 0) -> ChatModel:
    """The model, its replies cached if that is asked for; the scripted writer's cost nothing and are not.

    ValueError for a name that is neither "scripted", nor a checkpoint, nor at an endpoint; the key is K2_LLM_API_KEY's.
    """
    if where.name == "scripted" and not where.base_url:
        return ScriptedChat(seed)
    limits = {"timeout": where.timeout, "concurrency": MOST}
    model = endpoint(where.name, where.base_url, **limits) if where.base_url else _checkpoint(where.name)
    return CachedChat(model, where.cache) if where.cache else model


def _checkpoint(name: str) -> ChatModel:
    directory = directory_of(name)
    if not directory.is_dir():
        raise ValueError(
            f'the model {name!r} is no directory; give "scripted", a checkpoint directory, or --base-url (or K2_LLM_BASE_URL) for '
            "the endpoint that serves it"
        )
    from k2lib.serving.checkpoint import open_engine
    from k2lib.serving.local import EngineChat  # PyTorch: who speaks to an endpoint must not wait for it

    return EngineChat(open_engine(directory), identity=_hash(directory))


def directory_of(name: str) -> Path:
    """A checkpoint's directory: the one of that name, or where `k2 get` has put a model of that name."""
    return get.path(name) if name in get.available() and not Path(name).is_dir() else Path(name)


def _hash(directory: Path) -> str:
    """Of the weights: two checkpoints may have one name."""
    digest = hashlib.sha256()
    for file in sorted(directory.glob("*.safetensors")):
        with file.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()[:16]
