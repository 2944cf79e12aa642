"""A task's rubric (section 3.1): success criteria, the expected use of tools, and checkpoints on the way."""

import json
import re
from dataclasses import dataclass

from k2lib.agents.domains.domain import Intent

LONGEST_QUESTION = 200  # characters
HOW_MUCH = r"amount|how much|how many"
_NEGATIVE = re.compile(r"\b(no|not|cannot|can't|couldn't|didn't|unable|failed|refused|already)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Rubric:
    final_state: str  # canonical JSON
    report: str | None  # what the last message must say
    must_ask: str | None  # an argument that the user tells only when asked
    refused: bool  # the last reference call is refused; the last message must say so
    expected_tools: tuple[str, ...]  # that must have been called with success
    in_order: bool  # the first of them before the second is tried: what is done depends on what is found

    def checkpoints(self, reference: tuple[tuple[str, dict], ...]) -> list[str]:
        """What happens on a good way, in words."""
        found = [f"asks for the {self.must_ask}"] if self.must_ask else []
        found += [f"calls {name} with {json.dumps(arguments)}" for name, arguments in reference]
        if self.refused:
            return [*found, "says that it was refused"]
        return found + ([f"reports {self.report}"] if self.report is not None else ["says that it is done"])


def rubric(intent: Intent, reference: tuple[tuple[str, dict], ...], final_state: str) -> Rubric:
    """The rubric of a wish; `reference` are its calls by the tools' names."""
    expected = reference[:-1] if intent.refused else reference
    order = intent.kind in ("look, then act", "condition")
    tools = tuple(name for name, _ in expected)
    return Rubric(final_state, intent.answer, intent.hidden, intent.refused, tools, order)


def canonical(state: dict) -> str:
    return json.dumps(state, sort_keys=True)


def asks_for(detail: str, details: set[str], known: str, text: str) -> bool:
    """Whether a text is a short question that names this one of the details, and beside it only what is `known`."""
    named = {
        one for one in details if re.search(rf"\b({HOW_MUCH if one == 'amount' else re.escape(one)})\b", text.lower())
    }
    said = {one for one in named if names(known, one)}
    return "?" in text and len(text) <= LONGEST_QUESTION and detail in named and named - said <= {detail}


def names(text: str, value: str) -> bool:
    """Whether a value stands in the text as a word of its own: "9119" does not name 11."""
    return re.search(rf"(?<![\w-]){re.escape(value)}(?![\w-])", text) is not None


def denies(text: str) -> bool:
    """Whether a message says that something did not work."""
    return _NEGATIVE.search(text) is not None
