"""The template as the paper prints it (Appendix B), beside the released one (`k2lib.llm.chat`), which models are served with.

Other control tokens, a result headed "Results of", and tools declared as a TypeScript namespace. No released tokenizer has these
tokens, so here it is text: to compare, and to read what was written in it.
"""

import json
import re

from k2lib.llm import chat
from k2lib.llm.form import ARGUMENTS_BEGIN, SECTION_BEGIN, SECTION_END
from k2lib.llm.parser import Parsed

OPEN = "<|im_begin|>"
TOKENS = {  # released -> paper
    SECTION_BEGIN: "<|tool_call_section_begin|>",
    SECTION_END: "<|tool_call_section_end|>",
    ARGUMENTS_BEGIN: "<|tool_arguments_begin|>",
} | dict.fromkeys(chat.OPENERS.values(), OPEN)
RESULT, RESULT_IN_PAPER = "## Return of ", "## Results of "
TYPES = {"integer": "number", "number": "number", "string": "string", "boolean": "boolean", "null": "null"}


def render(messages: list[dict], tools: list[dict] | None = None, add_generation_prompt: bool = True) -> str:
    """The conversation in the paper's form. ValueError as `chat.segments`."""
    pieces = chat.segments(messages, None, add_generation_prompt)
    declared = f"{OPEN}tool_declare{chat.MIDDLE}{declare(tools)}{chat.END}" if tools else ""
    return declared + "".join(map(_piece, pieces))


def declare(tools: list[dict]) -> str:
    """Tools as a TypeScript namespace, a function type for each."""
    lines = ["# Tools", "", "namespace functions {"]
    for spec in tools:
        function = spec["function"]
        given = _object(function.get("parameters", {}), "  ")
        lines += [f"// {line}" for line in function.get("description", "").splitlines()]
        lines.append(f"type {function['name']} = (_: {given}) => any;")
    return "\n".join([*lines, "}"])


def parse(text: str) -> Parsed:
    """An assistant turn in the paper's form; the released one's tokens mean nothing in it."""
    back = {paper: released for released, paper in TOKENS.items() if paper != OPEN}
    strange = "|".join(map(re.escape, back.values()))
    plain = re.sub(strange, lambda found: found[0].replace("<|", "<\u200b|"), text)
    read = chat.parse(re.sub("|".join(map(re.escape, back)), lambda found: back[found[0]], plain))
    return Parsed(
        json.loads(json.dumps(read.message).replace("<\\u200b|", "<|")),
        read.faults,
        read.unread.replace("<\u200b|", "<|"),
    )


def _piece(piece: chat.Segment) -> str:
    if piece.control:
        return TOKENS.get(piece.text, piece.text)
    is_result = piece.text.startswith(RESULT) and not piece.trained
    return RESULT_IN_PAPER + piece.text.removeprefix(RESULT) if is_result else piece.text


def _object(schema: dict, indent: str) -> str:
    required = schema.get("required", [])
    lines = []
    for name, child in schema.get("properties", {}).items():
        lines += [f"{indent}// {line}" for line in child.get("description", "").splitlines()]
        lines.append(f"{indent}{name}{'' if name in required else '?'}: {_type(child, indent)},")
    return "\n".join(["{", *lines, f"{indent[:-2]}}}"]) if lines else "{}"


def _type(schema: dict, indent: str) -> str:
    if "enum" in schema:
        return " | ".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(_type(branch, indent) for branch in schema["anyOf"])
    if schema.get("type") == "array":
        return f"Array<{_type(schema.get('items', {}), indent)}>"
    if schema.get("type") == "object":
        return _object(schema, indent + "  ")
    return TYPES.get(schema.get("type", ""), "any")
