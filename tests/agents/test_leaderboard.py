"""The leaderboard's questions become served tools; its own answers are right, and every change to one is wrong."""

import json

import pytest

from k2lib.agents import leaderboard
from k2lib.agents.tools import lint
from k2lib.llm import get

TRIP = {
    "name": "trips.find",
    "description": "Finds a trip.",
    "parameters": {
        "type": "dict",
        "properties": {
            "to": {"type": "string", "description": "Where to."},
            "days": {"type": "integer"},
            "most": {"type": "float"},
            "via": {"type": "tuple", "items": {"type": "string"}},
            "who": {"type": "dict", "properties": {"age": {"type": "integer"}}},
        },
        "required": ["to", "days"],
    },
}
ANSWER = {
    "trips.find": {
        "to": ["New York, NY"],
        "days": [3],
        "most": [99.5, ""],
        "via": [["Rome"], ""],
        "who": [{"age": [7]}, ""],
    }
}


@pytest.fixture
def data(tmp_path):
    (tmp_path / "possible_answer").mkdir()
    row = {"id": "a", "question": [[{"role": "user", "content": "To New York for three days."}]], "function": [TRIP]}
    for name in (*leaderboard.CATEGORIES, *leaderboard.IRRELEVANT):
        (tmp_path / f"BFCL_v4_{name}.json").write_text(json.dumps(row) + "\n")
        (tmp_path / "possible_answer" / f"BFCL_v4_{name}.json").write_text(
            json.dumps({"id": "a", "ground_truth": [ANSWER]})
        )
    return tmp_path


def call(**arguments):
    return [{"function": {"name": "trips_find", "arguments": json.dumps(arguments)}}]


def test_a_tool_is_what_a_served_model_can_be_told(data):
    (spec,) = leaderboard.tools(data)
    assert lint(spec) == [] and spec["function"]["name"] == "trips_find"
    kinds = {name: child["type"] for name, child in spec["function"]["parameters"]["properties"].items()}
    assert kinds == {"to": "string", "days": "integer", "most": "number", "via": "array", "who": "object"}


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ({"to": "New York, NY", "days": 3}, True),
        ({"to": "new york ny", "days": 3, "most": 99.5, "via": ["Rome"], "who": {"age": 7}}, True),
        ({"to": "Boston", "days": 3}, False),
        ({"to": "New York, NY"}, False),
        ({"to": "New York, NY", "days": 4}, False),
        ({"to": "New York, NY", "days": 3, "most": 100}, False),
        ({"to": "New York, NY", "days": 3, "via": ["Rome", "Oslo"]}, False),
        ({"to": "New York, NY", "days": 3, "who": {"age": 8}}, False),
        ({"to": "New York, NY", "days": 3, "pets": 1}, False),
        ({"to": "New York, NY", "days": "3"}, False),
        ({"to": "New York, NY", "days": True}, False),
    ],
)
def test_a_call_is_right_if_every_argument_is(data, given, right):
    (question,) = leaderboard.questions("simple_python", data)
    assert leaderboard.right(question, call(**given)) is right


def test_one_call_is_wanted_or_none(data):
    (question,) = leaderboard.questions("simple_python", data)
    good = call(to="New York, NY", days=3)
    assert not leaderboard.right(question, []) and not leaderboard.right(question, good + good)
    assert not leaderboard.right(question, [{"function": {"name": "trips_find", "arguments": "{"}}])
    (question,) = leaderboard.questions("irrelevance", data)
    assert leaderboard.right(question, []) and not leaderboard.right(question, good)


def test_what_is_not_there_is_named(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="unknown category 'poetry'; known are simple_python"):
        next(leaderboard.questions("poetry"))
    monkeypatch.setattr(get, "path", lambda name: tmp_path / name)
    with pytest.raises(RuntimeError, match="run `k2 get bfcl`"):
        next(leaderboard.questions("multiple"))
