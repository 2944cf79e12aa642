"""Tool specifications: OpenAI function JSON in the strict subset of JSON Schema that K2-family models are served with.

`lint` says what a served model would not understand; `check_call` says why one call may not be executed. Both look names up in
what was declared and nowhere else, and no text from a model ever becomes an attribute, a path or an import.
"""

import json
from functools import lru_cache

import jsonschema

_ALLOWED = {
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "anyOf",
    "default",
    "description",
}
_TYPES = {"object", "array", "string", "integer", "number", "boolean", "null"}
LONGEST_NAME, MOST_ENUM = 64, 500


def tool(name: str, description: str, parameters: dict[str, dict]) -> dict:
    """A function specification with every parameter required. No others are accepted (`check_call`), without a line that says so
    in every declaration a model has to read."""
    schema = {"type": "object", "properties": parameters, "required": list(parameters)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


def lint(spec: dict) -> list[str]:
    """What is wrong with a specification, one sentence each; empty if it is fine. Never raises."""
    function = spec.get("function") if isinstance(spec, dict) else None
    if not isinstance(function, dict) or spec.get("type") != "function":
        return ["a tool is {'type': 'function', 'function': {…}}"]
    problems = []
    name = function.get("name")
    if (
        not isinstance(name, str)
        or not 0 < len(name) <= LONGEST_NAME
        or not name.replace("_", "").replace("-", "").isalnum()
    ):
        problems.append(f"name {name!r} must be 1 to {LONGEST_NAME} letters, digits, '_' or '-'")
    parameters = function.get("parameters", {"type": "object", "properties": {}})
    if not isinstance(parameters, dict) or parameters.get("type") != "object":
        return [*problems, "parameters must be a schema of type object"]
    return problems + _lint_schema(parameters, "parameters", depth=0)


def check_call(name: str, arguments: str, specs: list[dict]) -> tuple[dict | None, str | None]:
    """(arguments, None) for a call that a declared tool accepts, else (None, the reason in one sentence)."""
    declared = {spec["function"]["name"]: spec["function"]["parameters"] for spec in specs}
    if name not in declared:
        return None, f"unknown tool {name[:80]!r}; declared are {', '.join(declared)}"
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        return None, "the arguments are not JSON"
    if isinstance(value, dict) and set(value) - set(declared[name]["properties"]):
        return None, f"unexpected argument {min(set(value) - set(declared[name]['properties']))[:80]!r}"
    error = next(_validator(json.dumps(declared[name])).iter_errors(value), None)
    return (None, f"{'.'.join(map(str, error.path)) or 'arguments'}: {error.message[:160]}") if error else (value, None)


@lru_cache(maxsize=4096)
def _validator(schema: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(schema))


def _lint_schema(schema: object, where: str, depth: int) -> list[str]:
    if not isinstance(schema, dict):
        return [f"{where} is no schema"]
    if depth > 8:
        return [f"{where} is nested too deep"]
    problems = [f"{where}: {key!r} is not supported" for key in schema if key not in _ALLOWED]
    kind = schema.get("type")
    if "anyOf" in schema:
        problems += [f"{where}: type belongs inside the branches of anyOf"] if kind else []
    elif kind not in _TYPES:
        problems.append(f"{where}: type {kind!r} is none of {', '.join(sorted(_TYPES))}")
    enum = schema.get("enum")
    if enum is not None and (
        not isinstance(enum, list) or not 0 < len(enum) <= MOST_ENUM or len({type(v) for v in enum}) > 1
    ):
        problems.append(f"{where}: enum must hold 1 to {MOST_ENUM} values of one type")
    properties = schema.get("properties", {})
    if not isinstance(properties, dict):
        return [*problems, f"{where}: properties must be an object"]
    unknown = [name for name in schema.get("required", []) if name not in properties]
    problems += [f"{where}: required {name!r} is not among the properties" for name in unknown]
    for name, child in properties.items():
        problems += _lint_schema(child, f"{where}.{name}", depth + 1)
    if "items" in schema:
        problems += _lint_schema(schema["items"], f"{where}.items", depth + 1)
    return problems
