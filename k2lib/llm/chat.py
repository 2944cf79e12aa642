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
ROLES = {"system": "<|im_system|>", "user": "<|im_user|>", "assistant": "<|im_assistant|>", "tool": "<|im_system|>"}
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


def segments(
    messages: list[dict], tools: list[dict] | None = None, add_generation_prompt: bool = True
) -> list[Segment]:
    """The conversation in pieces. ValueError for an unknown role. Empty `tools` and None are the same."""
    out: list[Segment] = []
    if tools:
        _turn(out, ROLES["system"], "tool_declare", json.dumps(tools, separators=(",", ":"), ensure_ascii=False))
    if not messages or messages[0]["role"] != "system":
        _turn(out, ROLES["system"], "system", DEFAULT_SYSTEM)
    for message in messages:
        role = message.get("role")
        if role not in ROLES:
            raise ValueError(f"a message has the role {role!r}; choose one of {', '.join(ROLES)}")
        name = message.get("name") or role
        if role == "assistant":
            _open(out, ROLES[role], name)
            _assistant(out, message)
        elif role == "tool":
            _turn(out, ROLES[role], name, f"## Return of {message.get('tool_call_id', '')}\n{_text(message)}")
        else:
            _turn(out, ROLES[role], name, _text(message))
    if add_generation_prompt:
        _open(out, ROLES["assistant"], "assistant")
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


def _open(out: list[Segment], opener: str, name: str) -> None:
    out += [Segment(opener, True, False), Segment(name, False, False), Segment(MIDDLE, True, False)]


def _turn(out: list[Segment], opener: str, name: str, text: str) -> None:
    _open(out, opener, name)
    out += [Segment(text, False, False), Segment(END, True, False)]


def _assistant(out: list[Segment], message: dict) -> None:
    out.append(Segment(_text(message), False, True))
    calls = message.get("tool_calls") or []
    if calls:
        out.append(Segment(SECTION_BEGIN, True, True))
        for call in calls:
            text = call["function"]["arguments"]
            text = text if isinstance(text, str) else json.dumps(text, ensure_ascii=False)
            out += [
                Segment(CALL_BEGIN, True, True),
                Segment(call["id"], False, True),
                Segment(ARGUMENTS_BEGIN, True, True),
                Segment(text, False, True),
                Segment(CALL_END, True, True),
            ]
        out.append(Segment(SECTION_END, True, True))
    out.append(Segment(END, True, True))


def _text(message: dict) -> str:
    content = message.get("content")
    if isinstance(content, list):  # OpenAI's list of parts
        return "".join(part.get("text", "") for part in content if isinstance(part, dict))
    return content or ""


def _parse(pieces: list[tuple[str, bool]]) -> Parsed:
    """A state machine over (text, is_control) pieces: in content, in a section, in a call's id, in its arguments."""
    content, calls, faults = [], [], []
    state, call_id, written = "content", "", ""
    for text, control in pieces:
        if control and text in (END, "[EOS]"):
            break
        if not control:
            if state == "content":
                content.append(text)
            elif state == "id":
                call_id += text
            elif state == "arguments":
                written += text
            elif text.strip():
                faults.append("text between tool calls")
        elif text == SECTION_BEGIN and state == "content":
            state = "section"
        elif text == CALL_BEGIN and state == "section":
            state, call_id, written = "id", "", ""
        elif text == ARGUMENTS_BEGIN and state == "id":
            state = "arguments"
        elif text == CALL_END and state == "arguments":
            _accept(call_id, written, calls, faults)
            state = "section"
        elif text == SECTION_END and state == "section":
            state = "content"
        else:
            faults.append(f"malformed: {text} while reading {state}")
            state = "content" if text == SECTION_END else "section" if state != "content" else "content"
    if state != "content":
        faults.append(f"unclosed: the turn ended while reading {state}")
    message = {"role": "assistant", "content": "".join(content)}
    return Parsed(message | ({"tool_calls": calls} if calls else {}), faults)


def _accept(call_id: str, text: str, calls: list[dict], faults: list[str]) -> None:
    match, (_, reason) = _CALL_ID.fullmatch(call_id.strip()), arguments.read(text)
    fault = f"invalid_args: {reason}" if reason else None
    if len(calls) >= arguments.MOST_CALLS:
        fault = f"too_many_calls: more than {arguments.MOST_CALLS} in one turn"
    elif match is None:
        fault = f"bad_id: {call_id[:80]!r} is not functions.NAME:INDEX"
    if fault:
        faults.append(fault)
    else:
        function = {"name": match[1], "arguments": text.strip()}
        calls.append({"id": call_id.strip(), "type": "function", "function": function})
