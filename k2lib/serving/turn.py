"""One answer as it grows: what may be shown of it, where a stop string ends it, and how it looks when it is whole."""

from dataclasses import dataclass, field

from k2lib.serving.batcher import Ended, Heard
from k2lib.serving.engine import Engine


@dataclass
class Turn:
    engine: Engine
    stop: tuple[str, ...]
    tokens: list[int] = field(default_factory=list)
    logprobs: list[tuple[str, float]] = field(default_factory=list)  # (text of the token, log-probability)
    finish: str = ""  # "stop" | "length" | "tool_calls" once it has ended
    error: Exception | None = None
    _content: str = ""
    _shown: int = 0

    def hear(self, event: Heard | Ended) -> str:
        """Takes an event and returns what of the content may be shown now, which nothing that follows can change."""
        if isinstance(event, Ended):
            self.finish, self.error = self.finish or event.finish, event.error
            self._content = self._cut(self.message["content"])[0]
            return self._more(len(self._content))
        self.tokens.append(event.token)
        self.logprobs.append((self.engine.text([event.token]), event.logprob))
        content, met = self._cut(self.engine.message(self.tokens)["content"])
        self._content = content
        if met:
            self.finish = "stop"
            return self._more(len(content))
        return self._more(self._settled(content))

    @property
    def message(self) -> dict:
        """The whole message; a tool call is one only in a turn that the model ended."""
        said = self.engine.message(self.tokens)
        content, met = self._cut(said["content"])
        calls = [] if met else said.get("tool_calls") or []
        if calls and self.finish == "stop":
            self.finish = "tool_calls"
        return {"role": "assistant", "content": content} | ({"tool_calls": calls} if calls else {})

    def _cut(self, content: str) -> tuple[str, bool]:
        places = [at for stop in self.stop if (at := content.find(stop)) >= 0]
        return (content[: min(places)], True) if places else (content, False)

    def _settled(self, content: str) -> int:
        """How much of it stands whatever comes: not the beginning of a stop string or a call, half a character, or space at the end."""
        text = content.rstrip("\ufffd")
        opening = self.engine.opening
        if opening and opening in text:
            text = text[: text.index(opening)]
        for stop in (*self.stop, *([opening] if opening else [])):
            for length in range(min(len(stop) - 1, len(text)), 0, -1):
                if text.endswith(stop[:length]):
                    text = text[:-length]
                    break
        return len(text.rstrip())

    def _more(self, end: int) -> str:
        text = self._content[self._shown : end]
        self._shown = max(self._shown, end)
        return text
