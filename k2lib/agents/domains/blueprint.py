"""Blueprints: an application said in five lines, from which its tools, their semantics and its users' wishes follow (section 3.1).

The paper evolves categories to applications to tools. A blueprint names what an application keeps (records with fields) and
the operations that it offers; `operations` gives each one semantics that run. As it is data, a model may write one: what it
writes is read here, checked, and never executed.
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass

import yaml

from k2lib import places
from k2lib.agents.domains.words import POOLS

_WORD = re.compile(r"[a-z]{2,16}")
RESERVED = {"amount", "source", "target", "text"}  # parameters that operations bring along
MOST_FIELDS, MOST_VALUES, LARGEST = 4, 12, 9999


@dataclass(frozen=True)
class Field:
    """What one field of a record may hold: a whole number within limits, one of a few words, or any of a pool of words."""

    name: str
    least: int = 0
    most: int = 0
    choices: tuple[str, ...] = ()
    pool: str = ""

    @property
    def number(self) -> bool:
        return not (self.choices or self.pool)

    @property
    def schema(self) -> dict:
        if self.number:
            return {"type": "integer"}
        return {"type": "string", "enum": list(self.choices)} if self.choices else {"type": "string"}


@dataclass(frozen=True)
class Operation:
    """One tool to be: "set price" is the kind set of the field price; "mark status sold" always sets one value."""

    kind: str
    field: str = ""
    value: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.kind, self.field, self.value)))


@dataclass(frozen=True)
class Blueprint:
    category: str
    name: str
    record: str  # what one thing that it keeps is called
    names: str  # the pool of what such things are called
    fields: Mapping[str, Field]
    operations: tuple[Operation, ...]
    frozen: tuple[str, str] | None = None  # (field, value): a record with it can only be looked up, marked or removed

    @property
    def records(self) -> str:
        """The plural."""
        if self.record.endswith("y") and self.record[-2] not in "aeiou":
            return self.record[:-1] + "ies"
        return self.record + ("es" if self.record.endswith(("s", "x", "ch", "sh")) else "s")


NEEDS = {  # kind of operation -> what field it is about: none, any, a number, one of a few words or of a pool
    "add": "none", "remove": "none", "rename": "none", "note": "none", "get": "any", "set": "any", "raise": "number", "lower": "number",
    "move": "number", "least": "number", "most": "number", "find": "words", "count": "choices", "mark": "choices",
}  # fmt: skip


def read(category: str, name: str, given: object) -> Blueprint:
    """A blueprint from plain data, as a file or a model's JSON holds it. ValueError says what is wrong with it, and where."""
    where = f"application {str(name)[:40]!r} of {str(category)[:40]!r}"
    if not isinstance(given, dict):
        raise ValueError(f"{where} is {type(given).__name__}; give record, names, fields and tools")
    unknown = sorted(set(map(str, given)) - {"record", "names", "fields", "tools", "frozen"})
    _require(not unknown, f"{where}: unknown {unknown[:1]}; known are record, names, fields, tools, frozen")
    record, names, fields, tools = (given.get(key) for key in ("record", "names", "fields", "tools"))
    _require(
        isinstance(record, str) and _WORD.fullmatch(record), f"{where}: record {record!r} must be one lower-case word"
    )
    _require(isinstance(names, str) and names in POOLS, f"{where}: names {names!r} must be one of {', '.join(POOLS)}")
    _require(
        isinstance(fields, dict) and 0 < len(fields) <= MOST_FIELDS,
        f"{where}: fields must name 1 to {MOST_FIELDS} fields",
    )
    known = {key: _field(key, value, f"{where}, field {key!r}") for key, value in fields.items()}
    _require(record not in known, f"{where}: {record!r} names the record and a field; rename one")
    _require(isinstance(tools, list) and len(tools) >= 2, f"{where}: tools must list at least two operations")
    operations = tuple(_operation(tool, known, where) for tool in tools)
    _require(len(set(operations)) == len(operations), f"{where}: an operation is listed twice")
    return Blueprint(category, name, record, names, known, operations, _frozen(given.get("frozen"), known, where))


@functools.cache
def bundled() -> tuple[Blueprint, ...]:
    """Those of data/applications.yaml."""
    found = yaml.safe_load((places.DATA / "applications.yaml").read_text(encoding="utf-8"))
    return tuple(read(category, name, given) for category, some in found.items() for name, given in some.items())


def _field(name: object, given: object, where: str) -> Field:
    _require(
        isinstance(name, str) and _WORD.fullmatch(name) and name not in RESERVED, f"{where}: want one lower-case word"
    )
    if isinstance(given, str):
        _require(given in POOLS, f"{where}: no pool {given[:40]!r}; choose one of {', '.join(POOLS)}")
        return Field(name, pool=given)
    say = "give [least, most], a list of words, or the name of a pool"
    _require(isinstance(given, list) and 2 <= len(given) <= MOST_VALUES, f"{where}: {say}")
    if all(type(value) is int for value in given):
        _require(len(given) == 2 and 0 <= given[0] < given[1] <= LARGEST, f"{where}: limits within 0 and {LARGEST}")
        return Field(name, least=given[0], most=given[1])
    _require(all(isinstance(value, str) and _WORD.fullmatch(value) for value in given), f"{where}: {say}")
    _require(len(set(given)) == len(given), f"{where}: a value is listed twice")
    return Field(name, choices=tuple(given))


def _operation(given: object, fields: dict[str, Field], where: str) -> Operation:
    kind, *rest = given.split() if isinstance(given, str) and given.strip() else ("",)
    wanted = NEEDS.get(kind)
    where = f"{where}, tool {str(given)[:40]!r}"
    _require(wanted is not None, f"{where}: an operation begins with one of {', '.join(NEEDS)}")
    _require(len(rest) == (0 if wanted == "none" else 2 if kind == "mark" else 1), f"{where}: wrong number of words")
    if wanted == "none":
        return Operation(kind)
    _require(rest[0] in fields, f"{where}: no field {rest[0]!r}")
    field = fields[rest[0]]
    fits = {"any": True, "number": field.number, "choices": bool(field.choices), "words": not field.number}
    _require(fits[wanted], f"{where}: {kind} is for fields that hold {wanted}")
    _require(kind != "mark" or rest[1] in field.choices, f"{where}: {field.name} is never {rest[-1]!r}")
    return Operation(kind, *rest)


def _frozen(given: object, fields: dict[str, Field], where: str) -> tuple[str, str] | None:
    if given is None:
        return None
    _require(isinstance(given, dict) and len(given) == 1, f"{where}: frozen is one field with one of its values")
    ((field, value),) = given.items()
    _require(field in fields and value in fields[field].choices, f"{where}: frozen names no value of a field")
    return field, value


def _require(holds: object, message: str) -> None:
    if not holds:
        raise ValueError(message)
