"""Reads an assistant's turn back: words and tool calls, from text or token ids, at once or as they come (Appendix B).

Total and linear: whatever comes, it never raises, loses no text, names the faults that it met, and yields no call that it did not
understand completely. Read piece by piece or at once, a turn gives the same `Parsed`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from k2lib.corpus.tokenizer import CONTROL, Tokenizer
from k2lib.llm import arguments
from k2lib.llm.form import (
    ARGUMENTS_BEGIN,
    CALL_BEGIN,
    CALL_END,
    CALL_ID,
    END,
    SECTION_BEGIN,
    SECTION_END,
    THINK_BEGIN,
    THINK_END,
)

_CONTROL = re.compile("|".join(re.escape(name) for name in CONTROL))
WHOLE = 64  # tokens, after which text that is not whole yet is let through as it is


@dataclass(frozen=True)
class Parsed:
    message: dict  # {"role": "assistant", "content": str, "tool_calls": [...]} in OpenAI's form
    faults: list[str] = field(default_factory=list)
    unread: str = ""  # the text of a section, or of calls, that came to nothing


@dataclass(frozen=True)
class Event:
    kind: str  # "content", "call" or "fault"
    text: str = ""
    call: dict | None = None


class Parser:
    """One turn, fed with pieces of text and control tokens; each `feed` returns what it brought to light."""

    def __init__(self):
        self._content: list[str] = []
        self._calls: list[dict] = []
        self._faults: list[str] = []
        self._unread: list[str] = []
        self._between: list[str] = []  # text of a section outside of its calls, up to the next control token
        self._id: list[str] = []
        self._written: list[str] = []
        self._state, self.ended = "content", False

    def feed(self, text: str, control: bool = False) -> list[Event]:
        """The next piece; a control token by its name. What comes after the end of the turn is no part of it."""
        if self.ended:
            return []
        known = len(self._calls), len(self._faults)
        if not control:
            self._text(text)
        else:
            self._settle()
            self.ended = text in (END, "[EOS]")
            if not self.ended:
                self._control(text)
        events = [Event("content", text)] if self._state == "content" and not control and text else []
        events += [Event("call", call=call) for call in self._calls[known[0] :]]
        return events + [Event("fault", fault) for fault in self._faults[known[1] :]]

    def close(self) -> Parsed:
        """The whole turn, as far as it came."""
        self._settle()
        unclosed = [] if self._state == "content" else [f"unclosed: the turn ended while reading {self._state}"]
        message = {"role": "assistant", "content": "".join(self._content)}
        unread = "".join([*self._unread, *self._id, *self._written])
        return Parsed(message | ({"tool_calls": self._calls} if self._calls else {}), self._faults + unclosed, unread)

    def _text(self, text: str) -> None:
        places = {"content": self._content, "id": self._id, "arguments": self._written, "section": self._between}
        places[self._state].append(text)

    def _settle(self) -> None:
        if (text := "".join(self._between)).strip():
            self._unread.append(text)
            self._faults.append("text between tool calls")
        self._between = []

    def _control(self, name: str) -> None:
        if name == SECTION_BEGIN and self._state == "content":
            self._state = "section"
        elif name == CALL_BEGIN and self._state == "section":
            self._enter("id")
        elif name == ARGUMENTS_BEGIN and self._state == "id":
            self._state = "arguments"
        elif name == CALL_END and self._state == "arguments":
            self._called("".join(self._id), "".join(self._written))
            self._enter("section")
        elif name == SECTION_END and self._state == "section":
            self._state = "content"
        else:
            self._faults.append(f"malformed: {name} while reading {self._state}")
            self._unread += [*self._id, *self._written]
            self._enter("content" if name == SECTION_END or self._state == "content" else "section")

    def _enter(self, state: str) -> None:
        self._state, self._id, self._written = state, [], []

    def _called(self, call_id: str, text: str) -> None:
        fault = self._fault(call_id, text)
        if fault:
            self._faults.append(fault)
            self._unread += [call_id, text]
            return
        function = {"name": CALL_ID.fullmatch(call_id.strip())[1], "arguments": text.strip()}
        self._calls.append({"id": call_id.strip(), "type": "function", "function": function})

    def _fault(self, call_id: str, text: str) -> str | None:
        """Why a call is none; None if it is one."""
        said = "".join(self._content)
        if said.rfind(THINK_BEGIN) > said.rfind(THINK_END):
            return "call_in_thought: a call inside <think> is thought about, not made"
        if len(self._calls) >= arguments.MOST_CALLS:
            return f"too_many_calls: more than {arguments.MOST_CALLS} in one turn"
        if CALL_ID.fullmatch(call_id.strip()) is None:
            return f"bad_id: {call_id[:80]!r} is not functions.NAME:INDEX"
        _, reason = arguments.read(text)
        return f"invalid_args: {reason}" if reason else None


class TokenParser:
    """The same for token ids as a model samples them: only a real control id counts, text that spells one stays text."""

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer, self._parser = tokenizer, Parser()
        self._run: list[int] = []  # tokens whose text is not whole yet

    def feed(self, token: int) -> list[Event]:
        name = self._tokenizer.control_name(token)
        if name is not None:
            return self._flush() + self._parser.feed(name, control=True)
        self._run.append(token)
        whole = not self._tokenizer.decode(self._run).endswith("\ufffd")
        return self._flush() if whole or len(self._run) >= WHOLE else []

    def close(self) -> Parsed:
        self._flush()
        return self._parser.close()

    def _flush(self) -> list[Event]:
        text, self._run = self._tokenizer.decode(self._run) if self._run else "", []
        return self._parser.feed(text) if text else []


def parse(text: str) -> Parsed:
    """An assistant turn given as text. Control tokens are recognised by spelling: use `parse_ids` where ids are known."""
    parser = Parser()
    for piece, control in _spelt(text):
        parser.feed(piece, control)
    return parser.close()


def parse_ids(ids: list[int], tokenizer: Tokenizer) -> Parsed:
    """An assistant turn given as token ids: only a real control id counts, text that spells one stays text."""
    parser, run = Parser(), []
    for token in ids:
        name = tokenizer.control_name(token)
        if name is None:
            run.append(token)
            continue
        if run:
            parser.feed(tokenizer.decode(run))
        parser.feed(name, control=True)
        run = []
    if run:
        parser.feed(tokenizer.decode(run))
    return parser.close()


def _spelt(text: str) -> Iterator[tuple[str, bool]]:
    at = 0
    for match in _CONTROL.finditer(text):
        if at < match.start():
            yield text[at : match.start()], False
        yield match.group(), True
        at = match.end()
    if at < len(text):
        yield text[at:], False
