"""The enforcer: an assistant's turn is sampled so that its tool calls are well-formed and satisfy a declared tool's schema.

The paper's Appendix B: constrained decoding of tool sections, by template and JSON schema, parallel calls allowed. Before each token
the grammar of the turn says which may come next; what the model would have said instead is not counted. It makes calls valid, not
right. The grammar is matched by llguidance (`pip install k2lib[enforcer]`).
"""

import json

import torch
from torch import Tensor

from k2lib.corpus.tokenizer import Tokenizer
from k2lib.llm import chat

MOST_DIGITS = 6  # of a call's number, as the parser reads it
LARGEST = 10**15  # of a number, either way
LAYOUT = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}  # of JSON, as the training data has it


class Enforcer:
    """What may come next in turns of one tokenizer's model. RuntimeError without llguidance."""

    def __init__(self, tokenizer: Tokenizer):
        try:
            from llguidance import LLTokenizer
        except ImportError as error:
            raise RuntimeError("enforced tool calls need llguidance: pip install 'k2lib[enforcer]'") from error
        end = tokenizer.encode_control(chat.END)
        self._vocabulary = LLTokenizer(tokenizer.to_json(), n_vocab=tokenizer.vocab_size, eos_token=end)

    def turn(self, tools: list[dict]) -> "Allowed":
        """The state at the beginning of a turn with these tools; without any, a turn of text. ValueError for a schema it cannot hold."""
        from llguidance import LLMatcher

        matcher = LLMatcher(self._vocabulary, grammar(tools))
        if matcher.is_error():
            raise ValueError(f"these tools cannot be enforced: {matcher.get_error()[:300]}")
        return Allowed(matcher, self._vocabulary.vocab_size)


class Allowed:
    """One turn as far as it has come: a `Constraint` of `k2lib.model.generate.sample`."""

    def __init__(self, matcher, size: int):
        self._matcher, self._size = matcher, size

    def allowed(self) -> Tensor:
        """[V] bool: the tokens that may come next."""
        import numpy as np
        from llguidance import numpy as masks

        bits = masks.allocate_token_bitmask(1, self._size)
        masks.fill_next_token_bitmask(self._matcher, bits)
        return torch.from_numpy(np.unpackbits(bits.view(np.uint8), bitorder="little")[: self._size].astype(bool))

    def take(self, token: int) -> None:
        self._matcher.consume_token(token)


def grammar(tools: list[dict]) -> str:
    """A turn in the notation of Lark: text, a section of calls or both, and the end of the turn."""
    names = [spec["function"]["name"] for spec in tools]
    section = f"section: {chat.SECTION_BEGIN} call+ {chat.SECTION_END}\ncall: {' | '.join(f'call{i}' for i in range(len(tools)))}"
    calls = [
        _call(i, name, spec["function"].get("parameters", {}))
        for i, (name, spec) in enumerate(zip(names, tools, strict=True))
    ]
    body = [f"start: TEXT? section? {chat.END}", section, *calls] if tools else [f"start: TEXT? {chat.END}"]
    return "\n".join([*body, f"NUMBER: /[0-9]{{1,{MOST_DIGITS}}}/", "TEXT: /(.|\\n)+/"])


def _call(number: int, name: str, schema: dict) -> str:
    held = json.dumps(_closed(schema) | {"x-guidance": LAYOUT})
    opened = f'{chat.CALL_BEGIN} "functions.{name}:" NUMBER {chat.ARGUMENTS_BEGIN}'
    return f"call{number}: {opened} arguments{number} {chat.CALL_END}\narguments{number}: %json {held}"


def _closed(schema: dict) -> dict:
    """The schema without room for arguments that it does not name: `check_call` refuses those."""
    return {"type": "object", "properties": {}} | _bounded(schema) | {"additionalProperties": False}


def _bounded(schema: object) -> object:
    """The schema with limits for its numbers: JSON's grammar allows 6E717, which is none that can be read."""
    if isinstance(schema, list):
        return [_bounded(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: value if key in ("enum", "default") else _bounded(value) for key, value in schema.items()}
    free = schema.get("type") in ("number", "integer") and "enum" not in schema
    return {"minimum": -LARGEST, "maximum": LARGEST} | inner if free else inner
