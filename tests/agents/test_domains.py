"""Blueprints and the domains made of them: what is refused, and what the operations do to a state."""

import copy
import random

import pytest

from k2lib.agents import evolution, tasks
from k2lib.agents.domains import blueprint, domains, evolve, phrases
from k2lib.agents.domains.domain import ToolError
from k2lib.agents.domains.operations import KINDS
from k2lib.agents.domains.wishes import KINDS_OF_WISHES, domain
from k2lib.agents.reading import goals, known_tools
from k2lib.agents.tools import lint

GOOD = {
    "record": "listing",
    "names": "houses",
    "fields": {"price": [100, 900], "agent": "people", "status": ["open", "sold"]},
    "frozen": {"status": "sold"},
    "tools": [
        "add", "remove", "rename", "note", "get price", "set price", "raise price", "lower price", "move price", "find agent",
        "count status", "mark status sold", "least price", "most price",
    ],
}  # fmt: skip
ESTATE = domain(blueprint.read("real estate", "listings", GOOD))
SAME_TWICE = "give two different ones and an amount above 0"
HOMES = {
    "Oak House": {"price": 300, "agent": "Anna", "status": "open"},
    "Elm Court": {"price": 120, "agent": "Boris", "status": "open"},
    "Pine Lodge": {"price": 500, "agent": "Carla", "status": "sold"},
}


def done(action: str, **given) -> tuple[dict, object]:
    """The records after it, and what it returned; an error's text where it was refused, and then nothing may have changed."""
    state = {"listings": copy.deepcopy(HOMES), "notes": []}
    try:
        return state, ESTATE.actions[action].run(state, **given)
    except ToolError as error:
        assert state == {"listings": HOMES, "notes": []}
        return state, str(error)


@pytest.mark.parametrize(
    "action, given, returns, changed",
    [
        ("get price", {"listing": "Oak House"}, 300, {}),
        ("set price", {"listing": "Oak House", "price": 310}, "set", {"Oak House": {"price": 310}}),
        ("raise price", {"listing": "Oak House", "amount": 5}, 305, {"Oak House": {"price": 305}}),
        ("lower price", {"listing": "Oak House", "amount": 5}, 295, {"Oak House": {"price": 295}}),
        ("mark status sold", {"listing": "Elm Court"}, "Elm Court is sold", {"Elm Court": {"status": "sold"}}),
        ("find agent", {"agent": "Carla"}, ["Pine Lodge"], {}),
        ("find agent", {"agent": "Zora"}, [], {}),
        ("count status", {"status": "open"}, 2, {}),
        ("least price", {}, "Elm Court", {}),
        ("most price", {}, "Pine Lodge", {}),
        ("set price", {"listing": "Oak House", "price": 901}, "price must be from 100 to 900", None),
        ("lower price", {"listing": "Elm Court", "amount": 30}, "price must be from 100 to 900", None),
        ("raise price", {"listing": "Oak House", "amount": 0}, "the amount must be above 0", None),
        ("set price", {"listing": "Pine Lodge", "price": 310}, "Pine Lodge is sold", None),
        ("mark status sold", {"listing": "Pine Lodge"}, "Pine Lodge is sold already", None),
        ("get price", {"listing": "Ash House"}, "no listing Ash House", None),
        ("remove", {"listing": "Ash House"}, "no listing Ash House", None),
        ("rename", {"listing": "Oak House", "new_name": "Elm Court"}, "Elm Court is there already", None),
        (
            "add",
            {"listing": "Oak House", "price": 300, "agent": "Anna", "status": "open"},
            "Oak House is there already",
            None,
        ),
        (
            "move price",
            {"source": "Oak House", "target": "Oak House", "amount": 1},
            "give two different ones and an amount above 0",
            None,
        ),
        ("move price", {"source": "Elm Court", "target": "Oak House", "amount": 121}, "Elm Court has only 120", None),
    ],
)
def test_an_operation_does_what_it_says_or_is_refused(action, given, returns, changed):
    state, returned = done(action, **given)
    assert returned == returns
    if changed is not None:
        assert state["listings"] == {name: one | changed.get(name, {}) for name, one in HOMES.items()}


def test_records_come_and_go_and_notes_are_kept():
    assert "Oak House" not in done("remove", listing="Oak House")[0]["listings"]
    assert done("rename", listing="Oak House", new_name="Ash House")[0]["listings"]["Ash House"] == HOMES["Oak House"]
    new = {"price": 200, "agent": "Emma", "status": "open"}
    assert done("add", listing="Ash House", **new)[0]["listings"]["Ash House"] == new
    assert done("note", listing="Oak House", text="party")[0]["notes"] == [["Oak House", "party"]]


def test_what_moves_is_neither_made_nor_lost():
    state, _ = done("move price", source="Oak House", target="Elm Court", amount=50)
    assert [one["price"] for one in state["listings"].values()] == [250, 170, 500]


def test_a_second_time_does_no_more_where_an_operation_says_so_and_a_look_up_changes_nothing():
    seen = set()
    for task in tasks.generate(1500, seed=3):
        (name, given), kind = task.reference[0], task.application.tools[task.reference[0][0]].split()[0]
        action = task.application.domain.actions[task.application.tools[name]]
        once = copy.deepcopy(task.state)
        try:
            action.run(once, **given)
            twice = copy.deepcopy(once)
            action.run(twice, **given)
        except ToolError:
            twice = once
        assert KINDS[kind].changes or once == task.state
        assert twice == once or not KINDS[kind].repeatable
        seen.add(kind)
    assert seen == set(KINDS)


def test_there_are_sixteen_categories_and_hundreds_of_tools_that_a_served_model_understands():
    every = domains().values()
    assert len({one.category for one in every}) == 16 and len(every) == 64
    covered = tasks.coverage(tasks.applications(0, 6))
    assert covered["categories"] == 12 and covered["tools"] >= 200
    assert not [problem for app in tasks.applications(0, 6) for spec in app.specs for problem in lint(spec)]


@pytest.mark.parametrize(
    "change, words",
    [
        ("text", "is str"),
        ({"record": "two words"}, "record 'two words' must be one lower-case word"),
        ({"record": "price"}, "'price' names the record and a field"),
        ({"names": "dragons"}, "names 'dragons' must be one of days"),
        ({"names": ["a"]}, "must be one of days"),
        ({"fields": {}}, "fields must name 1 to 4"),
        ({"fields": {"amount": [1, 2]}}, "field 'amount': want one lower-case word"),
        ({"fields": {"price": [5, 1]}}, "field 'price': limits within"),
        ({"fields": {"price": [True, 5]}}, "give \\[least, most\\]"),
        ({"fields": {"price": "dragons"}}, "no pool 'dragons'"),
        ({"fields": {"price": ["open", "open"]}}, "listed twice"),
        ({"tools": ["add"]}, "at least two operations"),
        ({"tools": ["add", "add"]}, "listed twice"),
        ({"tools": ["add", "explode price"]}, "begins with one of add"),
        ({"tools": ["add", "set colour"]}, "no field 'colour'"),
        ({"tools": ["add", "raise agent"]}, "raise is for fields that hold number"),
        ({"tools": ["add", "mark status lost"]}, "status is never 'lost'"),
        ({"tools": ["add", 7]}, "begins with one of add"),
        ({"frozen": {"status": "lost"}}, "frozen names no value"),
        ({"code": "import os"}, "unknown \\['code'\\]"),
    ],
)
def test_a_blueprint_that_makes_no_sense_is_refused_with_its_place(change, words):
    with pytest.raises(ValueError, match=words) as error:
        blueprint.read("real estate", "listings", GOOD | change if isinstance(change, dict) else change)
    assert "listings" in str(error.value)


def test_every_kind_of_wish_is_made_and_understood_from_the_words_alone():
    rng, kinds = random.Random(0), set()
    for one in domains().values():
        tools = tasks.Application("any", one, {action.replace(" ", "_"): action for action in one.actions}).specs
        known = known_tools(tools)
        assert len(known) == len(one.actions)
        for _ in range(30):
            state = one.initial(rng)
            intent = one.wish(state, rng, set(one.actions))
            if intent is not None:
                kinds.add(intent.kind)
                assert goals(intent.request, known), intent.request
    assert len(kinds) == len(KINDS_OF_WISHES)


def test_a_sentence_gives_back_what_was_said_into_it():
    nouns = {"R": "flight", "P": "flights", "F": "gate", "V": "delayed"}
    slots = {
        "name": "A-001", "value": "12", "amount": "7", "text": "lunch", "new_name": "B-002", "source": "C-1", "target": "D-2",
        "fields": "gate 3 and city Rome",
    }  # fmt: skip
    for form in [form for forms in (*phrases.SENTENCES.values(), *phrases.WITHHELD.values()) for form in forms]:
        found = phrases.matched(form, nouns, phrases.filled(form, nouns, slots))
        assert found is not None and all(slots[key] == value for key, value in found.items()), form
    values = {"price": "300", "agent": "Anna", "status": "open"}
    assert phrases.unlisted(phrases.listed(values)) == values


def test_a_blueprint_evolves_into_many_that_share_no_noun_and_allow_wishes():
    plans = [
        plan
        for category in sorted({plan.category for plan in blueprint.bundled()})
        for plan in evolve.children(category, 60)
    ]
    records = [plan.record for plan in [*plans, *blueprint.bundled()]]
    assert len(plans) == 960 and len(set(records)) >= len(plans) + 60  # two bundled ones may keep one kind of record
    assert evolve.children("legal", 20) == evolve.children("legal", 60)[:20]
    for plan in plans[::16]:
        tools = [str(operation) for operation in plan.operations]
        fields = {f.name: [f.least, f.most] if f.number else list(f.choices) or f.pool for f in plan.fields.values()}
        given = {"record": plan.record, "names": plan.names, "fields": fields, "tools": tools}
        assert blueprint.read(plan.category, plan.name, given) == plan
        assert evolution.solvable(plan) > 0.2


def test_thousands_of_tools_evolve_from_hundreds_and_held_out_ones_do_not():
    covered = tasks.coverage(tasks.applications(0, 1, children=60))
    assert covered["tools"] > 2000 and covered["domains"] == 36 + 12 * 60
    for novelty in ("application", "domain"):
        assert tasks.grounds("test", novelty, children=60) == tasks.grounds("test", novelty)
    trained = {domain.name for domain in tasks.grounds("train", "seen", children=60)}
    assert not trained & {domain.name for level in ("application", "domain") for domain in tasks.grounds("test", level)}
