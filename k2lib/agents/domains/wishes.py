"""Users' wishes of an application in a given state, from one call to a choice that depends on what a look-up finds.

Each wish names the calls that fulfil it, executed as they are made: a task that cannot be solved is never proposed.
"""

import copy
import random
from dataclasses import dataclass

from k2lib.agents.domains import phrases
from k2lib.agents.domains.blueprint import Blueprint, Field, Operation
from k2lib.agents.domains.domain import Action, Domain, Intent, ToolError
from k2lib.agents.domains.operations import KINDS, action
from k2lib.agents.domains.words import EVENTS, value

RECORDS = 5  # in a first state
TRIES = 20  # at a call that the state allows
KINDS_OF_WISHES = {
    "one": 8,
    "withheld": 3,
    "corrected": 2,
    "two": 4,
    "same": 5,
    "condition": 3,
    "refused": 2,
}  # weights


@dataclass(frozen=True)
class Wanted:
    """One call, and how a user asks for it."""

    operation: Operation
    request: str
    arguments: dict
    answer: str | None = None

    @property
    def call(self) -> tuple[str, dict]:
        return str(self.operation), self.arguments


@dataclass(frozen=True)
class Asker:
    """Draws wishes of one application; `at_hand` are the operations that its agent has tools for."""

    plan: Blueprint
    actions: dict[str, Action]
    at_hand: list[Operation]
    rng: random.Random

    def wish(self, state: dict) -> Intent | None:
        """A wish of a kind drawn; None if the state or the tools do not allow one of it."""
        kinds = list(KINDS_OF_WISHES)
        kind = self.rng.choices(kinds, [KINDS_OF_WISHES[kind] for kind in kinds])[0]
        return getattr(self, kind)(copy.deepcopy(state))

    def one(self, state: dict) -> Intent | None:
        wanted = self._possible(state, self.at_hand)
        return wanted and Intent("one call", wanted.request, (wanted.call,), wanted.answer)

    def withheld(self, state: dict) -> Intent | None:
        wanted = self._possible(state, self._of(*phrases.WITHHELD))
        if wanted is None:
            return None
        hidden = wanted.operation.field if wanted.operation.kind == "set" else "amount"
        name = wanted.arguments[self.plan.record]
        request = self._say(phrases.WITHHELD[wanted.operation.kind], wanted.operation, {"name": name})
        return Intent("withheld", request, (wanted.call,), hidden=hidden)

    def corrected(self, state: dict) -> Intent | None:
        first = self._possible(state, self._of("set"))
        if first is None:
            return None
        field, name = first.operation.field, first.arguments[self.plan.record]
        self._do(state, first)
        other = self._value(self.plan.fields[field], but=first.arguments[field])
        second = self._set(first.operation, name, other)
        if not self._do(state, second):
            return None
        afterthought = self.rng.choice(phrases.CORRECTIONS).format(second.request)
        return Intent("corrected", first.request, (first.call, second.call), afterthought=afterthought)

    def two(self, state: dict) -> Intent | None:
        first = self._possible(state, [operation for operation in self.at_hand if KINDS[operation.kind].changes])
        if first is None or not self._do(state, first):
            return None
        others = [operation for operation in self.at_hand if operation != first.operation] or self.at_hand
        second = self._possible(state, others)
        if second is None:
            return None
        request = phrases.linked(first.request, second.request, self.rng)
        return Intent("two calls", request, (first.call, second.call), second.answer)

    def same(self, state: dict) -> Intent | None:
        pairs = [o for o in self._of("set") if Operation("get", o.field) in self.at_hand]
        if not pairs:
            return None
        operation, records = self.rng.choice(pairs), state[self.plan.records]
        name, other = self.rng.sample(list(records), 2)
        found = records[other][operation.field]
        look = Operation("get", operation.field), {self.plan.record: other}
        act = operation, {self.plan.record: name, operation.field: found}
        if found == records[name][operation.field] or not self._try(state, *act):
            return None
        request = self._say((phrases.SAME,), operation, {"name": name, "other": other})
        return Intent("look, then act", request, tuple((str(what), given) for what, given in (look, act)))

    def condition(self, state: dict) -> Intent | None:
        looks = self._of("get")
        inner = self._possible(state, [o for o in self.at_hand if KINDS[o.kind].changes])
        if not looks or inner is None:
            return None
        look, records = self.rng.choice(looks), state[self.plan.records]
        name, field = self.rng.choice(list(records)), self.plan.fields[look.field]
        found = records[name][field.name]
        holds = self.rng.random() < 0.6
        asked = found if holds else self._value(field, but=found)
        slots = {"name": name, "value": asked, "then": phrases.small(inner.request)}
        calls = (str(look), {self.plan.record: name}), *([inner.call] if holds else [])
        return Intent("condition", self._say((phrases.CONDITION,), look, slots), calls)

    def refused(self, state: dict) -> Intent | None:
        """A wish that the state forbids: a name that is not there, one that is, too large an amount, a frozen record."""
        operation = self.rng.choice(self.at_hand)
        if operation.kind in ("find", "count", "least", "most"):
            return None
        allowed = self._strange(state) if operation.kind != "add" and self.rng.random() < 0.5 else state
        for _ in range(TRIES):
            wanted = self._draw(allowed, operation)
            if wanted is not None and not self._try(copy.deepcopy(state), operation, wanted.arguments):
                return Intent("refused", wanted.request, (wanted.call,), refused=True)
        return None

    def _strange(self, state: dict) -> dict:
        """A state that has a record under a name that this one has not."""
        records = state[self.plan.records]
        name, record = self.rng.choice(list(records.items()))
        other = value(self.plan.names, self.rng, tuple(records))
        return state | {self.plan.records: {name: record, other: record}}

    def _of(self, *kinds: str) -> list[Operation]:
        return [operation for operation in self.at_hand if operation.kind in kinds]

    def _possible(self, state: dict, operations: list[Operation]) -> Wanted | None:
        """A call of one of the operations that the state allows; the state stays as it is."""
        for _ in range(TRIES if operations else 0):
            operation = self.rng.choice(operations)
            wanted = self._draw(state, operation)
            if wanted is not None and self._try(copy.deepcopy(state), operation, wanted.arguments):
                return wanted
        return None

    def _do(self, state: dict, wanted: Wanted) -> bool:
        return self._try(state, wanted.operation, wanted.arguments)

    def _try(self, state: dict, operation: Operation, arguments: dict) -> bool:
        try:
            self.actions[str(operation)].run(state, **arguments)
        except ToolError:
            return False
        return True

    def _draw(self, state: dict, operation: Operation) -> Wanted | None:
        """A call of this operation and its request, whether the state allows it or not; None if it has no single answer."""
        plan, rng, records = self.plan, self.rng, state[self.plan.records]
        kind, field = operation.kind, plan.fields.get(operation.field)
        if not records:
            return None
        name = rng.choice(list(records))
        if kind == "add":
            return self._added(operation, records)
        if kind == "set":
            return self._set(operation, name, self._value(field, but=records[name][field.name]))
        if kind in ("least", "most"):
            values = sorted((one[field.name] for one in records.values()), reverse=kind == "most")
            if len(values) > 1 and values[0] == values[1]:
                return None
            chosen = next(n for n, one in records.items() if one[field.name] == values[0])
            return Wanted(operation, self._say(phrases.SENTENCES[kind], operation, {}), {}, chosen)
        if kind in ("find", "count"):
            wanted = records[name][field.name]
            with_it = sorted(n for n, one in records.items() if one[field.name] == wanted)
            if kind == "find" and len(with_it) > 1:
                return None
            answer = with_it[0] if kind == "find" else str(len(with_it))
            request = self._say(phrases.SENTENCES[kind], operation, {"value": wanted})
            return Wanted(operation, request, {field.name: wanted}, answer)
        given, slots = self._given(operation, name, list(records))
        if given is None:
            return None
        answer = str(records[name][field.name]) if kind == "get" else None
        return Wanted(operation, self._say(phrases.SENTENCES[kind], operation, {"name": name} | slots), given, answer)

    def _given(self, operation: Operation, name: str, names: list[str]) -> tuple[dict | None, dict]:
        """The arguments of a call on the record `name`, and the slots of its request beside the name."""
        record, rng = {self.plan.record: name}, self.rng
        if operation.kind in ("raise", "lower"):
            amount = {"amount": rng.randint(1, 30)}
            return record | amount, amount
        if operation.kind == "rename":
            new = {"new_name": value(self.plan.names, rng, tuple(names))}
            return record | new, new
        if operation.kind == "note":
            text = {"text": rng.choice(EVENTS)}
            return record | text, text
        if operation.kind == "move":
            if len(names) < 2:
                return None, {}
            source, target = rng.sample(names, 2)
            given = {"source": source, "target": target, "amount": rng.randint(1, 30)}
            return given, given
        return record, {}  # remove, get, mark

    def _added(self, operation: Operation, records: dict) -> Wanted:
        taken = tuple(records) if self.rng.random() < 0.9 else ()
        name = value(self.plan.names, self.rng, taken)
        values = {field.name: self._value(field) for field in self.plan.fields.values()}
        slots = {"name": name, "fields": phrases.listed(values)}
        return Wanted(
            operation, self._say(phrases.SENTENCES["add"], operation, slots), {self.plan.record: name} | values
        )

    def _set(self, operation: Operation, name: str, new: object) -> Wanted:
        request = self._say(phrases.SENTENCES["set"], operation, {"name": name, "value": new})
        return Wanted(operation, request, {self.plan.record: name, operation.field: new})

    def _value(self, field: Field, but: object = None) -> object:
        return drawn(field, self.rng, but)

    def _say(self, forms: tuple[str, ...], operation: Operation, slots: dict[str, object]) -> str:
        plan = self.plan
        nouns = {"R": plan.record, "P": plan.records, "F": operation.field, "V": operation.value}
        return phrases.filled(self.rng.choice(forms), nouns, slots)


def drawn(field: Field, rng: random.Random, but: object = None) -> object:
    """A value that the field may hold, another than `but`."""
    if field.number:
        return rng.choice(
            [x for x in (rng.randint(field.least, field.most) for _ in range(20)) if x != but] or [field.least]
        )
    return rng.choice([c for c in field.choices if c != but]) if field.choices else value(field.pool, rng, (but,))


def domain(plan: Blueprint) -> Domain:
    """A blueprint's domain: its state, its actions, its users' wishes."""
    actions = {str(operation): action(plan, operation) for operation in plan.operations}

    def initial(rng: random.Random) -> dict:
        names: list[str] = []
        for _ in range(RECORDS):
            names.append(value(plan.names, rng, tuple(names)))
        records = {name: {field.name: drawn(field, rng) for field in plan.fields.values()} for name in names}
        return {plan.records: records, "notes": []}

    def wish(state: dict, rng: random.Random, at_hand: set[str]) -> Intent | None:
        operations = [operation for operation in plan.operations if str(operation) in at_hand]
        return Asker(plan, actions, operations, rng).wish(state)

    return Domain(plan.name, plan.category, actions, initial, wish)
