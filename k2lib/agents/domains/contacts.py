"""Contacts with telephone numbers, and messages to them."""

from k2lib.agents.domains.domain import INTEGER, STRING, Action, Domain, Intent, call, need, new
from k2lib.agents.domains.words import EVENTS, PEOPLE


def initial(rng):
    return {"contacts": {person: rng.randint(100, 999) for person in rng.sample(PEOPLE, 5)}, "sent": []}


def add_contact(state, name, phone):
    need(name not in state["contacts"], f"{name} is a contact already")
    state["contacts"][name] = phone
    return "added"


def get_phone(state, name):
    need(name in state["contacts"], f"no contact {name}")
    return state["contacts"][name]


def send_message(state, name, text):
    need(name in state["contacts"], f"no contact {name}")
    state["sent"].append([name, text])
    return "sent"


def wants_one_saved(state, rng):
    name, phone = new(rng, state["contacts"], PEOPLE), rng.randint(100, 999)
    return Intent(f"Save {name} with the number {phone}.", (call("add_contact", name=name, phone=phone),))


def asks_for_a_number(state, rng):
    name = rng.choice(list(state["contacts"]))
    return Intent(f"What is the number of {name}?", (call("get_phone", name=name),), str(state["contacts"][name]))


def wants_one_told(state, rng):
    name, event = rng.choice(list(state["contacts"])), rng.choice(EVENTS)
    return Intent(f"Tell {name} about the {event}.", (call("send_message", name=name, text=event),))


def wants_one_saved_and_told(state, rng):
    name, phone, event = new(rng, state["contacts"], PEOPLE), rng.randint(100, 999), rng.choice(EVENTS)
    calls = call("add_contact", name=name, phone=phone), call("send_message", name=name, text=event)
    return Intent(f"Save {name} with the number {phone} and tell {name} about the {event}.", calls)


DOMAIN = Domain(
    "contacts",
    {
        "add_contact": ("save_contact", "new_contact"),
        "get_phone": ("find_number", "look_up_phone"),
        "send_message": ("write_message", "text_contact"),
    },
    {
        "add_contact": Action("Add a contact.", {"name": STRING, "phone": INTEGER}, add_contact),
        "get_phone": Action("Get the phone number of a contact.", {"name": STRING}, get_phone),
        "send_message": Action("Send a message to a contact.", {"name": STRING, "text": STRING}, send_message),
    },
    initial,
    (wants_one_saved, asks_for_a_number, wants_one_told, wants_one_saved_and_told),
)
