"""The kinds of operation: what each is called and described as, its parameters, and its semantics on a state of records.

A state is {records: {name: {field: value}}, "notes": [[name, text]]}. What cannot be done is refused with a reason and
leaves the state as it was. R is the record's noun, F a field, V one of its values.
"""

from collections.abc import Callable
from dataclasses import dataclass

from k2lib.agents.domains.blueprint import Blueprint, Operation
from k2lib.agents.domains.domain import INTEGER, STRING, Action, need

Records = dict[str, dict]


@dataclass(frozen=True)
class Kind:
    descriptions: tuple[str, ...]
    verbs: tuple[str, ...]  # in tools' names
    pattern: str  # of a tool's name after the verb
    run: Callable[[Records, Blueprint, Operation, dict], object]
    changes: bool = True  # the state
    repeatable: bool = True  # a second time changes nothing more


def add(records: Records, plan: Blueprint, _operation: Operation, given: dict) -> str:
    name = given[plan.record]
    need(name not in records, f"{name} is there already")
    values = {field: given[field] for field in plan.fields}
    for field, value in values.items():
        _fits(plan, field, value)
    records[name] = values
    return "added"


def remove(records: Records, plan: Blueprint, _operation: Operation, given: dict) -> str:
    del records[_known(records, plan, given[plan.record])]
    return "removed"


def rename(records: Records, plan: Blueprint, _operation: Operation, given: dict) -> str:
    old, new = _open(records, plan, given[plan.record]), given["new_name"]
    need(new not in records, f"{new} is there already")
    records[new] = records.pop(old)
    return "renamed"


def get(records: Records, plan: Blueprint, operation: Operation, given: dict) -> object:
    return records[_known(records, plan, given[plan.record])][operation.field]


def put(records: Records, plan: Blueprint, operation: Operation, given: dict) -> str:
    name, value = _open(records, plan, given[plan.record]), given[operation.field]
    _fits(plan, operation.field, value)
    records[name][operation.field] = value
    return "set"


def mark(records: Records, plan: Blueprint, operation: Operation, given: dict) -> str:
    name = _known(records, plan, given[plan.record])
    need(records[name][operation.field] != operation.value, f"{name} is {operation.value} already")
    records[name][operation.field] = operation.value
    return f"{name} is {operation.value}"


def change(records: Records, plan: Blueprint, operation: Operation, given: dict) -> int:
    """The new value after raising or lowering."""
    name, amount = _open(records, plan, given[plan.record]), given["amount"]
    need(amount > 0, "the amount must be above 0")
    value = records[name][operation.field] + (amount if operation.kind == "raise" else -amount)
    _fits(plan, operation.field, value)
    records[name][operation.field] = value
    return value


def move(records: Records, plan: Blueprint, operation: Operation, given: dict) -> str:
    source, target = (_open(records, plan, given[end]) for end in ("source", "target"))
    need(source != target and given["amount"] > 0, "give two different ones and an amount above 0")
    field, amount = operation.field, given["amount"]
    need(records[source][field] >= amount, f"{source} has only {records[source][field]}")
    records[source][field] -= amount
    records[target][field] += amount
    return "moved"


def find(records: Records, _plan: Blueprint, operation: Operation, given: dict) -> list[str]:
    return sorted(name for name, one in records.items() if one[operation.field] == given[operation.field])


def count(records: Records, _plan: Blueprint, operation: Operation, given: dict) -> int:
    return sum(one[operation.field] == given[operation.field] for one in records.values())


def extreme(records: Records, plan: Blueprint, operation: Operation, _given: dict) -> str:
    need(bool(records), f"there are no {plan.records}")
    choose = min if operation.kind == "least" else max
    return choose(sorted(records), key=lambda name: records[name][operation.field])


def note(records: Records, plan: Blueprint, _operation: Operation, given: dict) -> str:
    return _known(records, plan, given[plan.record])  # `action` writes it down: notes stand beside the records


KINDS = {
    "add": Kind(("Add a new R.", "Register one more R."), ("add", "create", "new", "register"), "R", add),
    "remove": Kind(("Remove a given R.", "Delete a given R."), ("remove", "delete", "drop"), "R", remove),
    "rename": Kind(("Rename a given R.",), ("rename", "relabel"), "R", rename),
    "note": Kind(("Add a note to a given R.",), ("annotate", "note_on", "comment_on"), "R", note, repeatable=False),
    "get": Kind(
        ("Get the F of a given R.", "Look up the F of a given R."), ("get", "show", "check"), "R_F", get, changes=False
    ),
    "set": Kind(("Set the F of a given R.", "Change the F of a given R."), ("set", "change", "update"), "R_F", put),
    "raise": Kind(("Raise the F of a given R.",), ("raise", "increase"), "R_F", change, repeatable=False),
    "lower": Kind(("Lower the F of a given R.",), ("lower", "reduce"), "R_F", change, repeatable=False),
    "move": Kind(("Move F from one R to another.",), ("move", "transfer"), "R_F", move, repeatable=False),
    "least": Kind(("Find the R with the least F.",), ("lowest", "minimum"), "F_R", extreme, changes=False),
    "most": Kind(("Find the R with the most F.",), ("highest", "maximum"), "F_R", extreme, changes=False),
    "find": Kind(("Find each R with a given F.",), ("find", "search", "list"), "R_by_F", find, changes=False),
    "count": Kind(("Count each R with a given F.",), ("count", "number_of"), "R_by_F", count, changes=False),
    "mark": Kind(("Make the F of a given R V.",), ("mark", "make"), "R_V", mark),
}


def parameters(plan: Blueprint, operation: Operation) -> dict[str, dict]:
    """What a tool of this operation is given, in order: JSON schemas."""
    record = {plan.record: STRING}
    own = {operation.field: plan.fields[operation.field].schema} if operation.field else {}
    return {
        "add": record | {name: field.schema for name, field in plan.fields.items()},
        "rename": record | {"new_name": STRING},
        "note": record | {"text": STRING},
        "set": record | own,
        "raise": record | {"amount": INTEGER},
        "lower": record | {"amount": INTEGER},
        "move": {"source": STRING, "target": STRING, "amount": INTEGER},
        "find": own,
        "count": own,
        "least": {},
        "most": {},
    }.get(operation.kind, record)


def action(plan: Blueprint, operation: Operation) -> Action:
    """The operation as a tool: names, descriptions, parameters, and what it does to a state."""
    kind = KINDS[operation.kind]

    def run(state: dict, /, **given: object) -> object:
        result = kind.run(state[plan.records], plan, operation, given)
        if operation.kind == "note":
            state["notes"].append([result, given["text"]])
            return "noted"
        return result

    described = tuple(worded(text, plan, operation) for text in kind.descriptions)
    after = worded(kind.pattern.replace("_", " "), plan, operation).split()
    names = tuple((*verb.split("_"), *after) for verb in kind.verbs)
    return Action(described, names, parameters(plan, operation), run)


def worded(text: str, plan: Blueprint, operation: Operation) -> str:
    """The text with the record's noun for R, the field's name for F and its value for V."""
    words = {"R": plan.record, "F": operation.field, "V": operation.value}
    return " ".join(words.get(word.rstrip("."), word.rstrip(".")) + "." * word.endswith(".") for word in text.split())


def _known(records: Records, plan: Blueprint, name: str) -> str:
    need(name in records, f"no {plan.record} {name}")
    return name


def _open(records: Records, plan: Blueprint, name: str) -> str:
    if plan.frozen and _known(records, plan, name):
        field, value = plan.frozen
        need(records[name][field] != value, f"{name} is {value}")
    return _known(records, plan, name)


def _fits(plan: Blueprint, field: str, value: object) -> None:
    limits = plan.fields[field]
    if limits.number:
        need(limits.least <= value <= limits.most, f"{field} must be from {limits.least} to {limits.most}")
