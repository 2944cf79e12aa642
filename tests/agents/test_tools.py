"""Specifications and calls: what is refused, and that nothing a model or a server writes makes the checks raise."""

import json
import random
import time

import jsonschema
import pytest
from hostile import ADD, GOOD, HOSTILE_ARGUMENTS, HOSTILE_NAMES, HOSTILE_SPECS

from k2lib.agents import tasks, tools


def spec(schema: object) -> dict:
    parameters = {"type": "object", "properties": {"a": schema}}
    return {"type": "function", "function": {"name": "f", "description": "", "parameters": parameters}}


def test_every_generated_specification_passes_the_lint_and_is_a_json_schema():
    specs = [s for task in tasks.generate(400, seed=3) for s in task.application.specs]
    assert [problem for s in specs for problem in tools.lint(s)] == []
    for s in specs:
        jsonschema.Draft202012Validator.check_schema(s["function"]["parameters"])


@pytest.mark.parametrize("case", HOSTILE_SPECS)
def test_the_lint_names_a_problem_in_each_hostile_specification(case):
    problems = tools.lint(spec(HOSTILE_SPECS[case]))
    assert problems and all(len(problem) < 400 for problem in problems)


@pytest.mark.parametrize(
    "thing",
    [
        None,
        5,
        "f",
        [],
        {},
        {"type": "function", "function": {"name": ["f"], "parameters": 3}},
        {"type": "function", "function": {"name": "天气"}},
        {5: 6},
    ],
)
def test_the_lint_refuses_what_is_no_specification(thing):
    assert tools.lint(thing)


def test_the_lint_refuses_a_schema_nested_a_thousand_deep_without_recursing_into_it():
    schema = {"type": "string"}
    for _ in range(1000):
        schema = {"type": "array", "items": schema}
    assert any("too deep" in problem for problem in tools.lint(spec(schema)))


def test_the_lint_accepts_the_parts_of_json_schema_that_are_served():
    schema = {
        "type": "object",
        "description": "d",
        "additionalProperties": False,
        "required": ["b"],
        "properties": {
            "b": {"type": "array", "items": {"type": "number", "enum": [1, 2.5]}},
            "c": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        },
    }
    assert tools.lint(spec(schema)) == []


@pytest.mark.parametrize("case", HOSTILE_ARGUMENTS)
def test_hostile_arguments_are_refused_with_a_short_reason(case):
    values, reason = tools.check_call("add_item", HOSTILE_ARGUMENTS[case], [ADD])
    assert values is None and 0 < len(reason) < 300


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=lambda n: ascii(n)[:30])
def test_a_name_that_was_not_declared_is_an_unknown_tool(name):
    values, reason = tools.check_call(name, json.dumps(GOOD), [ADD])
    assert values is None and reason.startswith("unknown tool") and len(reason) < 300 and reason.isprintable()


def test_a_tool_of_another_task_is_unknown_here():
    assert tools.check_call("add_item", json.dumps(GOOD), [tools.tool("remove_item", "", {})])[0] is None


def test_a_good_call_comes_back_as_its_arguments_and_a_whole_number_as_an_integer():
    values, reason = tools.check_call("add_item", json.dumps(GOOD | {"quantity": 2.0}), [ADD])
    assert (values, reason) == (GOOD, None) and type(values["quantity"]) is int


def test_a_specification_without_parameters_takes_an_empty_object_only():
    bare = {"type": "function", "function": {"name": "order", "description": ""}}
    assert tools.lint(bare) == [] and tools.check_call("order", "{}", [bare]) == ({}, None)
    assert tools.check_call("order", '{"a": 1}', [bare])[0] is None


def test_every_damaged_copy_of_good_arguments_is_refused_or_still_satisfies_the_schema():
    rng, text = random.Random(11), json.dumps(GOOD)
    validator = jsonschema.Draft202012Validator(ADD["function"]["parameters"] | {"additionalProperties": False})
    accepted = 0
    for _ in range(3000):
        damaged = list(text)
        for _ in range(rng.randint(1, 3)):
            damaged[rng.randrange(len(damaged))] = rng.choice('{}[]":,0129eE.-\\truefalsn\u0000\ud800 "')
        values, reason = tools.check_call("add_item", "".join(damaged), [ADD])
        assert (values is None) != (reason is None)
        if values is not None:
            accepted += 1
            assert validator.is_valid(values)
    assert 0 < accepted < 1500


def test_checking_takes_time_linear_in_the_length_of_what_was_written():
    start = time.process_time()
    for text in ('{"item": "' + "x" * 19_000, "[" * 19_000, '{"a":' * 4_000, '"\\u0000' * 3_000, "9" * 19_000):
        assert tools.check_call("add_item", text, [ADD])[0] is None
    assert time.process_time() - start < 1
