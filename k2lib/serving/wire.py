"""OpenAI's chat requests, read as hostile JSON, and its answers and pieces of a stream, written."""

import math
import time
from dataclasses import dataclass
from pathlib import Path

from k2lib.serving.engine import Sampling

MOST_CHOICES = 16
DEFAULT_TOKENS = 1024  # of an answer, where the request names no number and the model has the room
MOST_STOPS = 4


class Refused(ValueError):
    """A request that cannot be served; `status` is HTTP's."""

    def __init__(self, message: str, status: int = 400, field: str | None = None):
        super().__init__(message)
        self.status, self.field = status, field

    def body(self) -> dict:
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": str(self), "type": kind, "param": self.field, "code": self.status}}


@dataclass(frozen=True)
class Asked:
    messages: list[dict]
    tools: list[dict]
    sampling: Sampling
    max_tokens: int | None
    seed: int | None
    stop: tuple[str, ...]
    choices: int
    logprobs: bool
    stream: bool
    usage: bool  # at the end of a stream


def read(body: object, name: str) -> Asked:
    """A request to the model `name`. Refused for what is none, naming the field."""
    if not isinstance(body, dict):
        raise Refused("the body is no JSON object")
    if body.get("model") not in (name, None, ""):
        raise Refused(f"there is no model {body['model']!r} here; this endpoint serves {name!r}", 404, "model")
    messages, tools = body.get("messages"), body.get("tools") or []
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        raise Refused("messages is no list of objects with at least one", field="messages")
    if not isinstance(tools, list) or not all(isinstance(t, dict) for t in tools):
        raise Refused("tools is no list of objects", field="tools")
    for field in ("top_logprobs", "response_format", "logit_bias"):
        if body.get(field) and body[field] != {"type": "text"}:
            raise Refused(f"{field} is not served here; leave it out", field=field)
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    options = body.get("stream_options")
    return Asked(
        messages,
        [] if body.get("tool_choice") == "none" else tools,
        Sampling(_number(body, "temperature", 1.0, 0.0, 2.0), _number(body, "top_p", 1.0, 1e-6, 1.0)),
        None if limit is None else _whole({"max_tokens": limit}, "max_tokens", 1, 1, 1 << 20),
        None if body.get("seed") is None else _whole(body, "seed", 0, -(1 << 63), (1 << 63) - 1),
        _stops(body.get("stop")),
        _whole(body, "n", 1, 1, MOST_CHOICES),
        body.get("logprobs") is True,
        body.get("stream") is True,
        isinstance(options, dict) and options.get("include_usage") is True,
    )


@dataclass(frozen=True)
class AskedIds:
    """A request by token ids, which is answered by token ids: nothing is rendered or tokenized on the way."""

    prompt: tuple[int, ...]
    sampling: Sampling
    max_tokens: int
    seed: int | None
    choices: int


def read_ids(body: object, name: str, vocabulary: int) -> AskedIds:
    """A request for a plain completion. Refused for a prompt that is no list of token ids, and for what else is none."""
    if not isinstance(body, dict):
        raise Refused("the body is no JSON object")
    if body.get("model") not in (name, None, ""):
        raise Refused(f"there is no model {body['model']!r} here; this endpoint serves {name!r}", 404, "model")
    prompt = body.get("prompt")
    if not isinstance(prompt, list) or not prompt or not all(type(i) is int and 0 <= i < vocabulary for i in prompt):
        raise Refused(
            f"prompt is no list of token ids below {vocabulary}; texts go to /v1/chat/completions", field="prompt"
        )
    return AskedIds(
        tuple(prompt),
        Sampling(_number(body, "temperature", 1.0, 0.0, 2.0), _number(body, "top_p", 1.0, 1e-6, 1.0)),
        _whole(body, "max_tokens", 16, 1, 1 << 20),
        None if body.get("seed") is None else _whole(body, "seed", 0, -(1 << 63), (1 << 63) - 1),
        _whole(body, "n", 1, 1, MOST_CHOICES),
    )


def read_path(body: object, folder: Path) -> Path:
    """The checkpoint that a request names by its path. Refused for one that is not in the folder, wherever its links lead."""
    given = body.get("model_path") if isinstance(body, dict) else None
    if not isinstance(given, str) or not given or "\0" in given:
        raise Refused(f"model_path is {given!r}; give the path of a checkpoint in {folder}", field="model_path")
    path = Path(given).resolve()
    if folder.resolve() not in path.parents or not path.is_dir():
        raise Refused(f"model_path is {given!r}, no directory in {folder}", field="model_path")
    return path


def _number(body: dict, field: str, default: float, low: float, high: float) -> float:
    value = default if body.get(field) is None else body[field]
    if type(value) not in (int, float) or not math.isfinite(value) or not low <= value <= high:
        raise Refused(f"{field} is {value!r}; give a number from {low:g} to {high:g}", field=field)
    return float(value)


def _whole(body: dict, field: str, default: int, low: int, high: int) -> int:
    value = default if body.get(field) is None else body[field]
    if type(value) is not int or not low <= value <= high:
        raise Refused(f"{field} is {value!r}; give a whole number from {low} to {high}", field=field)
    return value


def _stops(value: object) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value or []
    if not isinstance(stops, list) or len(stops) > MOST_STOPS or not all(isinstance(s, str) and s for s in stops):
        raise Refused(f"stop is a text, or a list of at most {MOST_STOPS} texts, none empty", field="stop")
    return tuple(stops)


def head(kind: str, name: str, identity: str) -> dict:
    return {"id": identity, "object": kind, "created": int(time.time()), "model": name}


def usage(prompt: int, written: int) -> dict:
    return {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}


def logprobs(said: list[tuple[str, float]]) -> dict:
    """Of each token: its text, and the natural logarithm of its probability at temperature 1."""
    told = [{"token": text, "logprob": value, "bytes": list(text.encode()), "top_logprobs": []} for text, value in said]
    return {"content": told, "refusal": None}


def token_ids(tokens: list[int], values: list[float]) -> dict:
    """The log-probabilities of a plain completion, its tokens by their ids, as vLLM writes them when asked to."""
    return {
        "tokens": [f"token_id:{token}" for token in tokens],
        "token_logprobs": values,
        "top_logprobs": None,
        "text_offset": [],
    }
