"""K2's chat format: messages and tools to tokens, and a model's tokens back to a message with tool calls (Appendix B).

The released template, not the paper's listing, which differs in names (`tool_calls_section`, plural). Two rules keep it safe.
Control tokens are written by this file alone: text from users, tools and models is encoded without them, so it cannot open
a turn. And parsing is total (`k2lib.llm.parser`): any token list gives a `Parsed` with the faults it found.
"""

import json
from dataclasses import dataclass

from k2lib.corpus.tokenizer import Tokenizer
from k2lib.llm.form import ARGUMENTS_BEGIN, CALL_BEGIN, CALL_END, CALL_ID, END, MIDDLE, SECTION_BEGIN, SECTION_END
from k2lib.llm.parser import Parsed, Parser, parse, parse_ids

__all__ = [
    "ARGUMENTS_BEGIN", "CALL_BEGIN", "CALL_END", "END", "MIDDLE", "SECTION_BEGIN", "SECTION_END", "Parsed", "Parser", "Segment",
    "continuation", "encode", "parse", "parse_ids", "render", "segments",
]  # fmt: skip

DEFAULT_SYSTEM = "You are Kimi, an AI assistant created by Moonshot AI."
OPENERS = {"user": "<|im_user|>", "assistant": "<|im_assistant|>"} | dict.fromkeys(
    ("system", "developer", "tool"), "<|im_system|>"
)


@dataclass(frozen=True)
class Segment:
    text: str
    control: bool  # one control token, by name
    trained: bool  # the assistant's own words, calls and end of turn


def segments(
    messages: list[dict], tools: list[dict] | None = None, add_generation_prompt: bool = True
) -> list[Segment]:
    """The conversation in pieces. Empty `tools` and None are the same.

    ValueError for a role that there is not, content that is no text, and a call that would not be read back as it is.
    """
    out: list[Segment] = []
    if tools:
        _turn(out, "system", "tool_declare", json.dumps(tools, separators=(",", ":"), ensure_ascii=False))
    if not messages or messages[0].get("role") not in ("system", "developer"):
        _turn(out, "system", "system", DEFAULT_SYSTEM)
    for message in messages:
        role = message.get("role")
        if not isinstance(role, str) or role not in OPENERS:
            raise ValueError(f"a message has the role {role!r}; choose one of {', '.join(OPENERS)}")
        name = message.get("name") or role
        if not isinstance(name, str):
            raise ValueError(f"a message has the name {name!r}; give text")
        if role == "assistant":
            _open(out, role, name)
            _assistant(out, message)
        elif role == "tool":
            _turn(out, role, name, f"## Return of {message.get('tool_call_id', '')}\n{_text(message)}")
        else:
            _turn(out, role, name, _text(message))
    if add_generation_prompt:
        _open(out, "assistant", "assistant")
    return [segment for segment in out if segment.text]


def render(messages: list[dict], tools: list[dict] | None = None, add_generation_prompt: bool = True) -> str:
    """The conversation as text, control tokens by name: for reading and for engines that tokenize themselves."""
    return "".join(segment.text for segment in segments(messages, tools, add_generation_prompt))


def encode(
    tokenizer: Tokenizer, messages: list[dict], tools: list[dict] | None = None, add_generation_prompt: bool = True
) -> tuple[list[int], list[bool]]:
    """Token ids and, of the same length, which of them the assistant said."""
    ids: list[int] = []
    trained: list[bool] = []
    for segment in segments(messages, tools, add_generation_prompt):
        new = [tokenizer.encode_control(segment.text)] if segment.control else tokenizer.encode(segment.text)
        ids += new
        trained += [segment.trained] * len(new)
    return ids, trained


def continuation(tokenizer: Tokenizer, messages: list[dict]) -> list[int]:
    """Token ids of the turns that follow a conversation, up to the assistant's next one."""
    opened = [{"role": "system", "content": ""}, *messages]
    ids, _ = encode(tokenizer, opened)
    return ids[len(encode(tokenizer, opened[:1], add_generation_prompt=False)[0]) :]


def _open(out: list[Segment], role: str, name: str) -> None:
    out += [Segment(OPENERS[role], True, False), Segment(name, False, False), Segment(MIDDLE, True, False)]


def _turn(out: list[Segment], role: str, name: str, text: str) -> None:
    _open(out, role, name)
    out += [Segment(text, False, False), Segment(END, True, False)]


def _assistant(out: list[Segment], message: dict) -> None:
    out.append(Segment(_text(message), False, True))
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise ValueError(f"tool_calls is {type(calls).__name__}; give a list of calls")
    if calls:
        out.append(Segment(SECTION_BEGIN, True, True))
        for call in calls:
            call_id, text = _written(call)
            out += [
                Segment(CALL_BEGIN, True, True),
                Segment(call_id, False, True),
                Segment(ARGUMENTS_BEGIN, True, True),
                Segment(text, False, True),
                Segment(CALL_END, True, True),
            ]
        out.append(Segment(SECTION_END, True, True))
    out.append(Segment(END, True, True))


def _written(call: dict) -> tuple[str, str]:
    """A call's id and its arguments as text. ValueError for an id that the parser would not take, or of another function."""
    try:
        call_id, name, given = call["id"], call["function"]["name"], call["function"]["arguments"]
    except (KeyError, TypeError):
        say = 'give {"id", "function": {"name", "arguments"}}'
        raise ValueError(f"a tool call is {str(call)[:120]!r}; {say}") from None
    match = CALL_ID.fullmatch(call_id) if isinstance(call_id, str) else None
    if match is None or match[1] != name:
        say = f"K2 reads a call's function from its id, so rename it, here and in its result, to functions.{name}:0, :1, …"
        raise ValueError(f"a call of {name!r} has the id {call_id!r}; {say}")
    return call_id, given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)


def _text(message: dict) -> str:
    """The text of a message: a string, a list of strings and text parts, or None. ValueError for anything else."""
    content = message.get("content")
    parts = [_part(one) for one in content] if isinstance(content, list) else ["" if content is None else content]
    for part in parts:
        if not isinstance(part, str):
            kind = part.get("type", "dict") if isinstance(part, dict) else type(part).__name__
            raise ValueError(f"the content of a {message['role']} message holds {kind!r}; this model reads text only")
    return "".join(parts)


def _part(part: object) -> object:
    """The text of an OpenAI part of the type text; anything else as it is."""
    return part.get("text") if isinstance(part, dict) and part.get("type", "text") == "text" else part
