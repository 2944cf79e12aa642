"""Specifications that others wrote, in the subset of JSON Schema that K2-family models are served with.

What the subset cannot say is said in the description ("at least 1"), or left out and named. Local references are put in place; a
URL in a reference is never fetched.
"""

import copy
from dataclasses import dataclass

from k2lib.agents.tools import DEEPEST_SCHEMA, lint

KEPT = ("type", "properties", "required", "additionalProperties", "items", "enum", "anyOf", "default", "description")
SAID = {  # keywords that a sentence can carry
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "format": "a {}",
    "pattern": "of the form {}",
}
SILENT = ("title", "$schema", "$id", "$defs", "definitions", "examples", "deprecated", "readOnly", "$comment")


@dataclass(frozen=True)
class Adapted:
    spec: dict | None  # an OpenAI function; None if it cannot be adapted
    changes: tuple[str, ...]  # what was left out, or why there is none


def adapted(name: str, description: str, schema: object) -> Adapted:
    """A tool as a server describes it, as K2 would be told of it. Never raises."""
    changes: list[str] = []
    root = schema if isinstance(schema, dict) else {"type": "object"}
    parameters = _adapted(copy.deepcopy(root), root, "parameters", changes, 0)
    parameters.setdefault("type", "object")
    parameters.setdefault("properties", {})
    spec = {"type": "function", "function": {"name": name, "description": description or "", "parameters": parameters}}
    problems = lint(spec)
    return Adapted(None, tuple(problems)) if problems else Adapted(spec, tuple(dict.fromkeys(changes)))


def _adapted(schema: object, root: dict, where: str, changes: list[str], depth: int) -> dict:
    if not isinstance(schema, dict) or depth > DEEPEST_SCHEMA:
        changes.append(f"{where}: no schema, or nested too deep")
        return {"type": "string"}
    schema = _in_place(schema, root, where, changes)
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    if "oneOf" in schema:
        schema.setdefault("anyOf", schema.pop("oneOf"))
    if isinstance(kinds := schema.get("type"), list):  # ["string", "null"]
        rest = {key: schema.pop(key) for key in list(schema) if key not in ("type", "description", "default")}
        schema = {key: schema[key] for key in ("description", "default") if key in schema}
        schema["anyOf"] = [{"type": kind} | (rest if kind != "null" else {}) for kind in kinds]
    said = [text.format(schema[key]) for key, text in SAID.items() if key in schema]
    for key in schema:
        if key not in KEPT and key not in SAID and key not in SILENT:
            changes.append(f"{where}: {key} is left out")
    out = {key: schema[key] for key in KEPT if key in schema}
    if said:
        out["description"] = " ".join([*filter(None, [out.get("description")]), f"({', '.join(said)})"])
    return _children(out, root, where, changes, depth)


def _children(out: dict, root: dict, where: str, changes: list[str], depth: int) -> dict:
    if isinstance(properties := out.get("properties"), dict):
        out["properties"] = {
            name: _adapted(child, root, f"{where}.{name}", changes, depth + 1) for name, child in properties.items()
        }
    for key in ("items", "additionalProperties"):
        if key in out and not isinstance(out[key], bool):
            out[key] = _adapted(out[key], root, f"{where}.{key}", changes, depth + 1)
    if isinstance(branches := out.get("anyOf"), list):
        out["anyOf"] = [_adapted(branch, root, f"{where}.anyOf", changes, depth + 1) for branch in branches]
        out.pop("type", None)
    elif "type" not in out:
        out["type"] = _kind(out)
    return out


def _kind(schema: dict) -> str:
    """The type of a schema that leaves it to be guessed."""
    if "properties" in schema:
        return "object"
    if "items" in schema:
        return "array"
    values = schema.get("enum")
    return "integer" if isinstance(values, list) and values and all(type(v) is int for v in values) else "string"


def _in_place(schema: dict, root: dict, where: str, changes: list[str]) -> dict:
    """The schema with what its reference points at, if that is in the same document, or what its only allOf holds."""
    seen: set[str] = set()
    while "$ref" in schema or _only(schema):
        reference, rest = schema.get("$ref"), {k: v for k, v in schema.items() if k not in ("$ref", "allOf")}
        found = _only(schema) if reference is None else _found(reference, root)
        if found is None or str(reference) in seen - {"None"}:
            changes.append(f"{where}: the reference {str(reference)[:80]!r} is not followed")
            return rest
        seen.add(str(reference))
        schema = copy.deepcopy(found) | rest
    return schema


def _only(schema: dict) -> dict | None:
    """What a lone allOf holds: so pydantic hangs a description on a reference."""
    parts = schema.get("allOf")
    return parts[0] if isinstance(parts, list) and len(parts) == 1 and isinstance(parts[0], dict) else None


def _found(reference: object, root: dict) -> dict | None:
    at: object = root if isinstance(reference, str) and reference.startswith("#/") else None
    for part in str(reference)[2:].split("/"):
        at = at.get(part) if isinstance(at, dict) else None
    return at if isinstance(at, dict) else None
