"""Replies kept on disk by the whole request: asking again what was asked before costs nothing, also after a crash.

The key is everything that decides a reply: the model and where it is, messages, tools, temperature, length and seed. Failures are not
kept. A reply lies in a file of its own, written under another name first, so that a killed run leaves none in halves, and
one that cannot be read is asked for again.
"""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path

from k2lib.llm.protocol import ChatModel, Reply, Usage


class CachedChat:
    """A `ChatModel` that asks another only what it was never asked before."""

    def __init__(self, asked: ChatModel, directory: Path | str):
        self.model, self.hits = asked.model, 0
        self._asked, self._directory = asked, Path(directory)

    async def complete(
        self,
        messages: list[dict],
        *,
        tools: list[dict] | None = None,
        temperature: float = 0.0,
        max_tokens: int = 512,
        seed: int | None = None,
    ) -> Reply:
        """The kept reply, whose `usage` is then zero, or the model's own; its errors pass through."""
        settings = {"tools": tools, "temperature": temperature, "max_tokens": max_tokens, "seed": seed}
        path = self._path({"messages": messages} | settings)
        kept = _read(path)
        if kept is not None:
            self.hits += 1
            return kept
        reply = await self._asked.complete(messages, **settings)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(json.dumps(asdict(reply)), encoding="utf-8")
        partial.replace(path)
        return reply

    def _path(self, request: dict) -> Path:
        who = {"model": self.model, "at": getattr(self._asked, "identity", "")}
        digest = hashlib.sha256(json.dumps(who | request, sort_keys=True).encode()).hexdigest()
        return self._directory / digest[:2] / f"{digest[2:]}.json"


def _read(path: Path) -> Reply | None:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        message, finish, model = kept["message"], kept["finish"], kept["model"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    whole = isinstance(message, dict) and isinstance(message.get("content"), str)
    return Reply(message, finish, Usage(), model) if whole else None
