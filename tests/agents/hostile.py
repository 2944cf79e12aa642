"""What models, servers and strangers may hand to the tools: every item must be refused, none may raise."""

import json

from k2lib.agents import tools

ADD = tools.tool(
    "add_item",
    "Add.",
    {
        "item": {"type": "string"},
        "quantity": {"type": "integer"},
        "size": {"type": "string", "enum": ["small", "large"]},
    },
)
GOOD = {"item": "unicorns", "quantity": 2, "size": "small"}

HOSTILE_ARGUMENTS = {
    "nothing": "",
    "spaces": "  ",
    "list": "[]",
    "string": '"unicorns"',
    "number": "7",
    "null": "null",
    "two objects": "{}{}",
    "trailing comma": '{"item": "unicorns",}',
    "comment": '{"item": "unicorns" /* yes */}',
    "byte order mark": "\ufeff{}",
    "cut": json.dumps(GOOD)[:-1],
    "single quotes": "{'item': 'unicorns'}",
    "duplicate key": '{"item": "unicorns", "item": "unicorns", "quantity": 2, "size": "small"}',
    "NaN": '{"item": "unicorns", "quantity": NaN, "size": "small"}',
    "1e300": '{"item": "unicorns", "quantity": 1e300, "size": "small"}',
    "infinity": '{"item": "unicorns", "quantity": 1e999, "size": "small"}',
    "6000 digits": '{"item": "unicorns", "quantity": %s, "size": "small"}' % ("9" * 6000),
    "4300 digits": '{"item": "unicorns", "quantity": %s, "size": "small"}' % ("9" * 4300),
    "lone surrogate": '{"item": "\\ud800", "quantity": 2, "size": "small"}',
    "depth 5000": '{"item": ' + "[" * 5000 + "]" * 5000 + "}",
    "depth 5000, unclosed": '{"a":' * 5000,
    "10 MB": json.dumps(GOOD | {"item": "x" * 10_000_000}),
    "missing": json.dumps({"item": "unicorns"}),
    "extra": json.dumps(GOOD | {"__class__": "x"}),
    "bool for int": json.dumps(GOOD | {"quantity": True}),
    "text for int": json.dumps(GOOD | {"quantity": "2"}),
    "fraction for int": json.dumps(GOOD | {"quantity": 2.5}),
    "enum in another case": json.dumps(GOOD | {"size": "Small"}),
    "not text": None,
    "an object": GOOD,
    "bytes": b"{}",
}
HOSTILE_NAMES = [
    "",
    "Add_item",
    "add_item ",
    "add_item\n",
    "add_item\0",
    "../../etc/passwd",
    "__class__",
    "f;rm -rf",
    "天气",
    "functions.add_item",
    "x" * 1_000_000,
    None,
    5,
    ["add_item"],
    {"add_item": 1},
]

HOSTILE_SPECS = {
    "no dict": [],
    "no function": {"type": "function"},
    "dict type": {"type": "dict"},
    "list type": {"type": ["string", "null"]},
    "unhashable type": {"type": {}},
    "reference to a file": {"$ref": "file:///etc/passwd"},
    "reference inside anyOf": {"anyOf": [{"type": "string"}, {"$ref": "http://localhost/x"}]},
    "regular expression": {"type": "string", "pattern": "(a+)+$"},
    "format": {"type": "string", "format": "date"},
    "huge enum": {"type": "string", "enum": [str(i) for i in range(1_000_000)]},
    "empty enum": {"type": "string", "enum": []},
    "mixed enum": {"type": "string", "enum": ["a", 1]},
    "enum of another type": {"type": "string", "enum": [1, 2]},
    "boolean enum": {"type": "boolean", "enum": [True]},
    "enum of lists": {"type": "array", "enum": [[1]]},
    "type beside anyOf": {"type": "string", "anyOf": [{"type": "string"}]},
    "anyOf is no list": {"anyOf": 5},
    "required is a number": {"type": "object", "required": 5},
    "required holds a list": {"type": "object", "required": [["a"]]},
    "required is undeclared": {"type": "object", "properties": {}, "required": ["a"]},
    "properties are a list": {"type": "object", "properties": ["a"]},
    "items is text": {"type": "array", "items": "string"},
    "pattern behind additionalProperties": {
        "type": "object",
        "additionalProperties": {"type": "string", "pattern": "x"},
    },
}

HOSTILE_MESSAGES = [
    None,
    [],
    "text",
    {},
    {"content": None},
    {"content": [{"text": "x"}]},
    {"tool_calls": 5},
    {"tool_calls": {}},
    {"tool_calls": [None, 3, {}, {"function": None}, {"function": {"name": ["a"], "arguments": {}}}]},
    {"tool_calls": [{"function": {"name": "x" * 10**6, "arguments": "[" * 10**6}}] * 1000},
]
