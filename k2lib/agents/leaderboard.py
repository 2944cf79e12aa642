"""Questions, tools and answers of the Berkeley function calling leaderboard (`k2 get bfcl`): real specifications, not executed.

Its types are Python's ("dict", "float") and its names may hold dots; both become what a served model can be told. An answer lists, for
each argument, the values that are right; "" among them means that it may be left out.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from k2lib.agents.specs import adapted
from k2lib.agents.tools import check_call
from k2lib.llm import get

CATEGORIES = ("simple_python", "multiple", "live_simple", "live_multiple")  # one call is right
IRRELEVANT = ("irrelevance", "live_irrelevance")  # no call is
TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": "string"}


@dataclass(frozen=True)
class Question:
    id: str
    messages: list[dict]
    tools: list[dict]
    # {tool: {argument: right values}}, one of which a call must match; none: no call is right
    answers: tuple[dict, ...]


def questions(category: str, folder: Path | None = None) -> Iterator[Question]:
    """The questions of one turn. ValueError for an unknown category; RuntimeError if the data is not there."""
    if category not in (*CATEGORIES, *IRRELEVANT):
        raise ValueError(f"unknown category {category!r}; known are {', '.join((*CATEGORIES, *IRRELEVANT))}")
    if folder is None:
        if not get.have("bfcl"):
            raise RuntimeError("the leaderboard's data is not here; run `k2 get bfcl`")
        folder = get.path("bfcl")
    answers = {}
    if category in CATEGORIES:
        for row in _rows(folder / "possible_answer" / f"BFCL_v4_{category}.json"):
            answers[row["id"]] = tuple(
                {_name(name): given for name, given in one.items()} for one in row["ground_truth"]
            )
    for row in _rows(folder / f"BFCL_v4_{category}.json"):
        found = [_spec(function) for function in row["function"]]
        if all(found) and len(row["question"]) == 1:
            yield Question(row["id"], row["question"][0], found, answers.get(row["id"], ()))


def tools(folder: Path | None = None) -> list[dict]:
    """Every tool of these categories once, by name and parameters."""
    every = (
        spec for name in (*CATEGORIES, *IRRELEVANT) for question in questions(name, folder) for spec in question.tools
    )
    return list({json.dumps(spec, sort_keys=True): spec for spec in every}.values())


def right(question: Question, calls: list[dict]) -> bool:
    """Whether the calls of an assistant message are the one that is right, or none where none is."""
    if not question.answers:
        return not calls
    if len(calls) != 1:
        return False
    function = calls[0].get("function", {})
    values, _ = check_call(function.get("name"), function.get("arguments"), question.tools)
    return values is not None and any(
        function["name"] in answer and matches(values, answer[function["name"]]) for answer in question.answers
    )


def matches(values: dict, wanted: dict[str, list]) -> bool:
    """Every argument has one of its right values, and none is missing that may not be."""
    choices = {name: given if isinstance(given, list) else [given] for name, given in wanted.items()}
    named = all(any(_same(value, one) for one in choices.get(name, ())) for name, value in values.items())
    return named and all(name in values or "" in given for name, given in choices.items())


def _same(value: object, wanted: object) -> bool:
    """Equal, with texts compared without case, spaces and punctuation, as the leaderboard does."""
    if isinstance(value, str) and isinstance(wanted, str):
        return _plain(value) == _plain(wanted)
    if isinstance(value, list) and isinstance(wanted, list):
        return len(value) == len(wanted) and all(map(_same, value, wanted))
    if isinstance(value, dict) and isinstance(wanted, dict):
        return matches(value, wanted)
    return (type(value) in (int, float) and type(wanted) in (int, float) and value == wanted) or value is wanted


def _plain(text: str) -> str:
    return re.sub(r"[ ,./\-_*^'\"]", "", text).lower()


def _spec(function: dict) -> dict | None:
    return adapted(_name(function["name"]), function.get("description", ""), _typed(function["parameters"])).spec


def _typed(schema: object) -> object:
    if isinstance(schema, list):
        return [_typed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: _typed(value) for key, value in schema.items()}
    if isinstance(kind := out.get("type"), str):
        out["type"] = TYPES.get(kind, kind)
    return out


def _name(name: str) -> str:
    return name.replace(".", "_")


def _rows(path: Path) -> Iterator[dict]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)
