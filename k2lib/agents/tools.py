"""Tool specifications: OpenAI function JSON in the strict subset of JSON Schema that K2-family models are served with.

`lint` says what a served model would not understand; `check_call` says why one call may not be executed. Both look
names up in what was declared and nowhere else, and no text from a model ever becomes an attribute, a path or an
import. Both are total: whatever they are given they answer, in time linear in its length.

What surprised: JSON as Python reads it is no JSON. A key given twice, NaN, 1e999, a lone surrogate and a number of
4,300 digits (which Python reads but refuses to print when one is added) all get through `json.loads`.
"""

import json
import re
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
_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # what a call's id can carry
_ENUM_TYPES = {"string": (str,), "integer": (int,), "number": (int, float)}
MOST_ENUM, DEEPEST_SCHEMA = 500, 8
LONGEST_ARGUMENTS, DEEPEST_ARGUMENTS, LARGEST_NUMBER = 20_000, 32, 10**15


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
    values, reason = read_arguments(arguments)
    if values is None:
        return None, reason
    unexpected = sorted(set(values) - set(declared[name].get("properties", {})))
    if unexpected:
        return None, f"unexpected argument {_shown(unexpected[0])}"
    error = next(_validator(json.dumps(declared[name])).iter_errors(values), None)
    if error is None:
        return values, None
    return None, f"{'.'.join(map(str, error.path)) or 'arguments'}: {error.message[:160]}"


def read_arguments(text: object) -> tuple[dict | None, str | None]:
    """(object, None) for the text of one plain JSON object, else (None, the reason). A number written 2.0 is 2."""
    if not isinstance(text, str) or len(text) > LONGEST_ARGUMENTS:
        return None, f"the arguments are not JSON text of at most {LONGEST_ARGUMENTS} characters"
    if _depth(text) > DEEPEST_ARGUMENTS:
        return None, f"the arguments are nested deeper than {DEEPEST_ARGUMENTS}"
    try:
        value = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_number, parse_int=_number, parse_float=_number
        )
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate is no text
    except ValueError:
        return None, "the arguments are not JSON"
    return (value, None) if isinstance(value, dict) else (None, "the arguments are not a JSON object")


def _number(text: str) -> int | float:
    value = float(text)
    if not abs(value) < LARGEST_NUMBER:  # NaN too
        raise ValueError(f"{text[:20]} is too large for a number")
    return int(value) if value.is_integer() else value


def _unique(pairs: list[tuple[str, object]]) -> dict:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key appears twice")
    return dict(pairs)


def _depth(text: str) -> int:
    """Brackets open at once, those in strings counted too: never less than the true depth of a JSON text."""
    depth = deepest = 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        deepest = max(deepest, depth)
    return deepest


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
        problems += [f"{where}: type belongs inside the branches of anyOf"] if "type" in schema else []
        problems += [] if isinstance(branches, list) and branches else [f"{where}: anyOf must be a list of schemas"]
    elif kind not in _TYPES:
        problems.append(f"{where}: type must be one of {', '.join(_TYPES)}")
    if "enum" in schema:
        problems += _lint_enum(schema["enum"], kind, where)
    if not isinstance(properties, dict):
        return [*problems, f"{where}: properties must be an object"]
    if not isinstance(required, list) or any(not isinstance(name, str) or name not in properties for name in required):
        problems.append(f"{where}: required must list names of properties")
    children = [(f"{where}.{name}", child) for name, child in properties.items()]
    children += [(f"{where}.anyOf", branch) for branch in (branches if isinstance(branches, list) else [])]
    children += [(f"{where}.items", schema["items"])] if "items" in schema else []
    children += [] if isinstance(extra, bool) else [(f"{where}.additionalProperties", extra)]
    return problems + [problem for name, child in children for problem in _lint_schema(child, name, depth + 1)]


def _lint_enum(enum: object, kind: object, where: str) -> list[str]:
    types = _ENUM_TYPES.get(kind, ()) if isinstance(kind, str) else ()
    if not isinstance(enum, list) or not 0 < len(enum) <= MOST_ENUM or any(type(value) not in types for value in enum):
        return [f"{where}: enum must hold 1 to {MOST_ENUM} strings or numbers of the type beside it"]
    return []
