"""K2's chat format: messages and tools to tokens, and a model's tokens back to a message with tool calls (Appendix B).

The released template, not the paper's listing, which differs in names (`tool_calls_section`, plural). Two rules keep it safe.
Control tokens are written by this file alone: text from users, tools and models is encoded without them, so it cannot open
a turn. And parsing is total: any token list gives a `Parsed` with the faults it found; it never raises, takes linear time,
and yields no call that it did not understand completely.
"""

import itertools
import json
import re
from dataclasses import dataclass, field

from k2lib.corpus.tokenizer import CONTROL, Tokenizer
from k2lib.llm import arguments

DEFAULT_SYSTEM = "You are Kimi, an AI assistant created by Moonshot AI."
SECTION_BEGIN, SECTION_END = "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"
CALL_BEGIN, ARGUMENTS_BEGIN, CALL_END = "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"
MIDDLE, END = "<|im_middle|>", "<|im_end|>"
OPENERS = {"user": "<|im_user|>", "assistant": "<|im_assistant|>"} | dict.fromkeys(
    ("system", "developer", "tool"), "<|im_system|>"
)
THINK_BEGIN, THINK_END = "<think>", "</think>"  # text, no control tokens: what stands between them is no answer
_CALL_ID = re.compile(r"functions\.([A-Za-z0-9_.\-]{1,64}):(\d{1,6})")
_CONTROL = re.compile("|".join(re.escape(name) for name in CONTROL))


@dataclass(frozen=True)
class Segment:
    text: str
    control: bool  # one control token, by name
    trained: bool  # the assistant's own words, calls and end of turn


@dataclass(frozen=True)
class Parsed:
    message: dict  # {"role": "assistant", "content": str, "tool_calls": [...]} in OpenAI's form
    faults: list[str] = field(default_factory=list)
    unread: str = ""  # the text of a section, or of calls, that came to nothing


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


def parse(text: str) -> Parsed:
    """An assistant turn given as text. Control tokens are recognised by spelling: use `parse_ids` where ids are known."""
    pieces, at = [], 0
    for match in _CONTROL.finditer(text):
        pieces += [(text[at : match.start()], False), (match.group(), True)]
        at = match.end()
    return _parse([(piece, control) for piece, control in [*pieces, (text[at:], False)] if piece])


def parse_ids(ids: list[int], tokenizer: Tokenizer) -> Parsed:
    """An assistant turn given as token ids: only a real control id counts, text that spells one stays text."""
    pieces: list[tuple[str, bool]] = []
    for name, run in itertools.groupby(ids, key=tokenizer.control_name):
        tokens = list(run)
        pieces += [(tokenizer.decode(tokens), False)] if name is None else [(name, True)] * len(tokens)
    return _parse(pieces)


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
    match = _CALL_ID.fullmatch(call_id) if isinstance(call_id, str) else None
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


def _parse(pieces: list[tuple[str, bool]]) -> Parsed:
    """A state machine over (text, is_control) pieces: in content, in a section, in a call's id, in its arguments."""
    content, calls, faults, unread = [], [], [], []
    state, call_id, written, thought = "content", "", "", False
    for text, control in pieces:
        if control and text in (END, "[EOS]"):
            break
        if not control:
            if state == "content":
                content.append(text)
                thought = _in_thought(text, thought)
            elif state == "id":
                call_id += text
            elif state == "arguments":
                written += text
            elif text.strip():
                unread.append(text)
                faults.append("text between tool calls")
        elif text == SECTION_BEGIN and state == "content":
            state = "section"
        elif text == CALL_BEGIN and state == "section":
            state, call_id, written = "id", "", ""
        elif text == ARGUMENTS_BEGIN and state == "id":
            state = "arguments"
        elif text == CALL_END and state == "arguments":
            fault = _fault(call_id, written, len(calls), thought)
            if fault:
                faults.append(fault)
                unread += [call_id, written]
            else:
                calls.append(_call(call_id, written))
            state, call_id, written = "section", "", ""
        elif text == SECTION_END and state == "section":
            state = "content"
        else:
            faults.append(f"malformed: {text} while reading {state}")
            unread += [call_id, written]
            state, call_id, written = "content" if text == SECTION_END or state == "content" else "section", "", ""
    if state != "content":
        faults.append(f"unclosed: the turn ended while reading {state}")
    message = {"role": "assistant", "content": "".join(content)}
    return Parsed(message | ({"tool_calls": calls} if calls else {}), faults, "".join([*unread, call_id, written]))


def _in_thought(text: str, before: bool) -> bool:
    """Whether a thought is open after `text`, if one was or was not open before it."""
    begun, ended = text.rfind(THINK_BEGIN), text.rfind(THINK_END)
    return before if begun == ended else begun > ended


def _fault(call_id: str, text: str, accepted: int, thought: bool) -> str | None:
    """Why a call is none; None if it is one."""
    if thought:
        return "call_in_thought: a call inside <think> is thought about, not made"
    if accepted >= arguments.MOST_CALLS:
        return f"too_many_calls: more than {arguments.MOST_CALLS} in one turn"
    if _CALL_ID.fullmatch(call_id.strip()) is None:
        return f"bad_id: {call_id[:80]!r} is not functions.NAME:INDEX"
    _, reason = arguments.read(text)
    return f"invalid_args: {reason}" if reason else None


def _call(call_id: str, text: str) -> dict:
    name = _CALL_ID.fullmatch(call_id.strip())[1]
    return {"id": call_id.strip(), "type": "function", "function": {"name": name, "arguments": text.strip()}}
