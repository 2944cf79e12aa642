"""How the scripted agent understands: which tool is which, by its description, and what the user's sentences ask of them."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from k2lib.agents.domains import phrases
from k2lib.agents.domains.operations import KINDS

_SLOT = {"R": r"(?P<R>\w+)", "F": r"(?P<F>\w+)", "V": r"(?P<V>\w+)"}


def value_of() -> None:
    """Stands in a call for the value that the look-up before it finds."""


@dataclass(frozen=True)
class Known:
    """A declared tool, and the operation that its description says it is."""

    name: str
    kind: str
    nouns: dict[str, str]  # R, P, F, V as far as it is about them
    types: dict[str, str]  # parameter -> JSON type

    def typed(self, values: dict[str, str]) -> dict:
        """The arguments in the order of the schema, numbers as numbers."""
        return {
            k: int(values[k]) if t == "integer" and _whole(values[k]) else values[k]
            for k, t in self.types.items()
            if k in values
        }


@dataclass(frozen=True)
class Goal:
    steps: tuple[tuple[Known, dict], ...]  # tools with arguments; `value_of` is what the one before found
    missing: str = ""  # an argument of the only step that the user has not told
    condition: str | None = None  # what the first step must find for the others to be taken

    @property
    def asks(self) -> bool:
        """Whether the user wants to know something."""
        return not KINDS[self.steps[-1][0].kind].changes

    @property
    def question(self) -> str:
        return f"By what {self.missing}?" if self.missing == "amount" else f"Which {self.missing}?"

    def told(self, answers: list[str]) -> str | None:
        """The user's answer among what it said; a sentence is none."""
        known, _ = self.steps[0]
        fits = _whole if known.types[self.missing] == "integer" else _short
        return next((answer for answer in reversed(answers) if fits(answer)), None)

    def with_answer(self, answers: list[str]) -> "Goal":
        if not self.missing:
            return self
        ((known, given),) = self.steps
        values = {name: str(value) for name, value in given.items()} | {self.missing: self.told(answers) or ""}
        return replace(self, steps=((known, known.typed(values)),), missing="")


def known_tools(tools: list[dict]) -> list[Known]:
    """The declared tools whose descriptions are understood."""
    return [found for found in map(_known, tools) if found is not None]


def goals(said: str, tools: list[Known]) -> list[Goal]:
    """What a user's message asks for, sentence by sentence; sentences that ask for nothing are passed over."""
    found = (goal for sentence in phrases.sentences(said) for goal in [_goal(sentence, tools)])
    return [goal for goal in found if goal is not None]


def _known(tool: dict) -> Known | None:
    function = tool["function"]
    properties = function.get("parameters", {}).get("properties", {})
    types = {name: schema.get("type", "string") for name, schema in properties.items()}
    for kind, operation in KINDS.items():
        for description in operation.descriptions:
            found = re.fullmatch(_described(description), function.get("description", ""))
            if found:
                return Known(function["name"], kind, found.groupdict(), types)
    return None


def _described(description: str) -> str:
    return re.sub(r"\b[RFV]\b", lambda found: _SLOT[found[0]], re.escape(description))


def _goal(sentence: str, tools: list[Known]) -> Goal | None:
    for read in (_conditional, _same, _plain, _withheld):
        if (goal := read(sentence, tools)) is not None:
            return goal
    return None


def _plain(sentence: str, tools: list[Known]) -> Goal | None:
    return _first(sentence, tools, lambda known: phrases.SENTENCES[known.kind], _step)


def _step(known: Known, slots: dict[str, str]) -> Goal | None:
    named = {"name": known.nouns["R"], "value": known.nouns.get("F")}
    values = {named.get(slot, slot): said for slot, said in slots.items() if slot != "fields"}
    values |= phrases.unlisted(slots.get("fields", ""))
    return Goal(((known, known.typed(values)),)) if set(values) == set(known.types) else None


def _withheld(sentence: str, tools: list[Known]) -> Goal | None:
    def made(known: Known, slots: dict[str, str]) -> Goal:
        missing = known.nouns["F"] if known.kind == "set" else "amount"
        return Goal(((known, known.typed({known.nouns["R"]: slots["name"]})),), missing)

    return _first(sentence, tools, lambda known: phrases.WITHHELD.get(known.kind, ()), made)


def _same(sentence: str, tools: list[Known]) -> Goal | None:
    def made(known: Known, slots: dict[str, str]) -> Goal | None:
        look = next((t for t in tools if t.kind == "get" and t.nouns["F"] == known.nouns["F"]), None)
        noun, field = known.nouns["R"], known.nouns["F"]
        act = known, {noun: slots["name"], field: value_of}
        return look and Goal(((look, {noun: slots["other"]}), act))

    return _first(sentence, tools, lambda known: (phrases.SAME,) if known.kind == "set" else (), made)


def _conditional(sentence: str, tools: list[Known]) -> Goal | None:
    def made(known: Known, slots: dict[str, str]) -> Goal | None:
        then = _plain(slots["then"], tools)
        look = known, {known.nouns["R"]: slots["name"]}
        return then and Goal((look, *then.steps), condition=slots["value"])

    return _first(sentence, tools, lambda known: (phrases.CONDITION,) if known.kind == "get" else (), made)


def _first(
    sentence: str,
    tools: list[Known],
    forms: Callable[[Known], tuple[str, ...]],
    made: Callable[[Known, dict[str, str]], Goal | None],
) -> Goal | None:
    """The goal of the first tool, and form of sentence about it, that the sentence fits."""
    for known in tools:
        nouns = {"F": "", "V": ""} | known.nouns
        for form in forms(known):
            for plural in _plurals(nouns["R"]) if "P" in form else ("",):
                slots = phrases.matched(form, nouns | {"P": plural}, sentence)
                goal = None if slots is None else made(known, slots)
                if goal is not None:
                    return goal
    return None


def _plurals(noun: str) -> tuple[str, ...]:
    return f"{noun}s", f"{noun}es", f"{noun[:-1]}ies"


def _whole(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9


def _short(text: str) -> bool:
    return bool(text) and not text.endswith(("?", ".", "!"))
