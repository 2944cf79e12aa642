"""Tool specifications: OpenAI function JSON in the strict subset of JSON Schema that K2-family models are served with.

`lint` says what a served model would not understand; `check_call` says why one call may not be executed. Both look
names up in what was declared and nowhere else, and no text from a model ever becomes an attribute, a path or an
import. Both are total: whatever they are given they answer, in time linear in its length.
"""

import json
import re
from collections.abc import Iterator
from functools import lru_cache

import jsonschema

from k2lib.llm.arguments import read

_ALLOWED = set("type properties required additionalProperties items enum anyOf default description".split())
_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # what a call's id can carry
_ENUM_TYPES = {"string": (str,), "integer": (int,), "number": (int, float)}
MOST_ENUM, DEEPEST_SCHEMA = 500, 8


def tool(name: str, description: str, parameters: dict[str, dict]) -> dict:
    """A function specification with every parameter required.

    No others are accepted (`check_call`), without a line that says so in every declaration a model has to read.
    """
    schema = {"type": "object", "properties": parameters, "required": list(parameters)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


def lint(spec: object) -> list[str]:
    """What is wrong with a specification, one sentence each; empty if it is fine. Never raises."""
    function = spec.get("function") if isinstance(spec, dict) else None
    if not isinstance(function, dict) or spec.get("type") != "function":
        return ["a tool is {'type': 'function', 'function': {…}}"]
    problems = []
    name = function.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        problems.append(f"name {_shown(name)} must be 1 to 64 letters, digits, '_' or '-'")
    parameters = function.get("parameters", {"type": "object", "properties": {}})
    if not isinstance(parameters, dict) or parameters.get("type") != "object":
        return [*problems, "parameters must be a schema of type object"]
    return problems + _lint_schema(parameters, "parameters", depth=0)


def check_call(name: object, arguments: object, specs: list[dict]) -> tuple[dict | None, str | None]:
    """(arguments, None) for a call that a declared tool accepts, else (None, why not, in a sentence). Never raises."""
    declared = {spec["function"]["name"]: spec["function"].get("parameters", {}) for spec in specs}
    if not isinstance(name, str) or name not in declared:
        return None, f"unknown tool {_shown(name)}; declared are {', '.join(declared)}"
    values, reason = read(arguments)
    if values is None:
        return None, reason
    unexpected = sorted(set(values) - set(declared[name].get("properties", {})))
    if unexpected:
        return None, f"unexpected argument {_shown(unexpected[0])}"
    error = next(_validator(json.dumps(declared[name])).iter_errors(values), None)
    if error is None:
        return values, None
    return None, f"{'.'.join(map(str, error.path)) or 'arguments'}: {error.message[:160]}"


def _shown(name: object) -> str:
    return ascii(name[:80]) if isinstance(name, str) else f"a {type(name).__name__}"


@lru_cache(maxsize=4096)
def _validator(schema: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(schema))


def _lint_schema(schema: object, where: str, depth: int) -> list[str]:
    if not isinstance(schema, dict):
        return [f"{where} is no schema"]
    if depth > DEEPEST_SCHEMA:
        return [f"{where} is nested too deep"]
    problems = [f"{where}: {_shown(key)} is not supported" for key in schema if key not in _ALLOWED]
    kind, branches, required = schema.get("type"), schema.get("anyOf"), schema.get("required", [])
    properties, extra = schema.get("properties", {}), schema.get("additionalProperties", False)
    if "anyOf" in schema:
        problems += _lint_branches(branches, "type" in schema, where)
    elif kind not in _TYPES:
        problems.append(f"{where}: type must be one of {', '.join(_TYPES)}")
    if "enum" in schema:
        problems += _lint_enum(schema["enum"], kind, where)
    if not isinstance(properties, dict):
        return [*problems, f"{where}: properties must be an object"]
    if not isinstance(required, list) or any(not isinstance(name, str) or name not in properties for name in required):
        problems.append(f"{where}: required must list names of properties")
    children = [(f"{where}.{name}", child) for name, child in properties.items()]
    if isinstance(branches, list):
        children += [(f"{where}.anyOf", branch) for branch in branches]
    if "items" in schema:
        children.append((f"{where}.items", schema["items"]))
    if not isinstance(extra, bool):
        children.append((f"{where}.additionalProperties", extra))
    return problems + [problem for name, child in children for problem in _lint_schema(child, name, depth + 1)]


def _lint_branches(branches: object, typed: bool, where: str) -> Iterator[str]:
    if typed:
        yield f"{where}: type belongs inside the branches of anyOf"
    if not (isinstance(branches, list) and branches):
        yield f"{where}: anyOf must be a list of schemas"


def _lint_enum(enum: object, kind: object, where: str) -> list[str]:
    types = _ENUM_TYPES.get(kind, ()) if isinstance(kind, str) else ()
    if not isinstance(enum, list) or not 0 < len(enum) <= MOST_ENUM or any(type(value) not in types for value in enum):
        return [f"{where}: enum must hold 1 to {MOST_ENUM} strings or numbers of the type beside it"]
    return []
