"""Specifications by others: what the served subset cannot say is said in words or named, and nothing is fetched."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2lib.agents.specs import adapted
from k2lib.agents.tools import lint


def parameters(schema):
    return adapted("tool", "", schema).spec["function"]["parameters"]


def test_what_a_generated_schema_holds_beside_the_subset_goes():
    found = adapted(
        "add",
        "Adds.",
        {"$schema": "x", "title": "Add", "type": "object", "properties": {"a": {"title": "A", "type": "integer"}}},
    )
    assert found.spec["function"]["parameters"] == {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert found.changes == () and lint(found.spec) == []


def test_limits_become_words():
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer", "minimum": 1, "maximum": 9, "description": "How many."}},
    }
    assert parameters(schema)["properties"]["n"] == {
        "type": "integer",
        "description": "How many. (at least 1, at most 9)",
    }


@pytest.mark.parametrize(
    ("given_", "wanted"),
    [
        (
            {"type": ["string", "null"], "default": None},
            {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        ),
        ({"const": "x"}, {"type": "string", "enum": ["x"]}),
        ({"enum": [1, 2]}, {"type": "integer", "enum": [1, 2]}),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
        ({"$ref": "#/$defs/Day"}, {"type": "string", "enum": ["mon"]}),
        ({"items": {"type": "string"}}, {"type": "array", "items": {"type": "string"}}),
    ],
)
def test_other_ways_to_say_the_same(given_, wanted):
    schema = {"type": "object", "properties": {"x": given_}, "$defs": {"Day": {"type": "string", "enum": ["mon"]}}}
    found = parameters(schema)["properties"]["x"]
    assert found == wanted


def test_what_cannot_be_said_is_named():
    schema = {
        "type": "object",
        "properties": {"x": {"type": "string", "not": {"enum": ["y"]}}, "u": {"$ref": "https://x.org/s.json"}},
    }
    assert adapted("tool", "", schema).changes == (
        "parameters.x: not is left out",
        "parameters.u: the reference 'https://x.org/s.json' is not followed",
    )


def test_a_schema_that_holds_itself_ends():
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    found = adapted(
        "tool", "", {"type": "object", "properties": {"n": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": node}}
    )
    assert found.spec is None or lint(found.spec) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda c: (
        st.lists(c, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "properties",
                    "items",
                    "anyOf",
                    "enum",
                    "$ref",
                    "required",
                    "oneOf",
                    "allOf",
                    "const",
                    "minimum",
                    "a",
                    "b",
                ]
            ),
            c,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_no_schema_raises_and_what_comes_out_is_clean(schema):
    found = adapted("tool", "", schema)
    assert (found.spec is None and found.changes) or lint(found.spec) == []
