"""Seven small worlds that tools act on, with real state: the ground on which trajectories are simulated and judged.

A domain gives an initial state, its actions (functions that change the state or raise `ToolError` and leave it alone) and its
intents: what a user may want, with the reference calls that achieve it. State is plain JSON, so two runs can be compared.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

STRING, INTEGER = {"type": "string"}, {"type": "integer"}
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
DAY = {"type": "string"}
# Many values each: with few, a model learns by heart which go with a tool and never to copy the one it was told.
ROOMS = "bedroom kitchen office bathroom hall garage attic cellar studio library nursery porch".split()
DEVICES = "lamp heater fan radio camera humidifier printer speaker oven kettle projector alarm".split()
PEOPLE = (
    "Anna Boris Carla David Emma Frank Gina Henry Ida Jacob Karen Luca Maria Nora Oscar Paula Robert Sara Thomas Ursula "
    "Victor Walter Yara Zora Alice Bernard Cora Dennis Edith Fabian Gloria Harold"
).split()
CITIES = (
    "Paris Rome Berlin Madrid London Vienna Lisbon Prague Athens Dublin Oslo Helsinki Warsaw Geneva Milan Hamburg Seville "
    "Lyon Turin Bruges Cork Malta Tallinn Riga"
).split()
ITEMS = (
    "milk bread rice tea soap apples paper candles butter cheese pasta salt sugar flour lemons onions carrots pepper honey "
    "coffee juice yoghurt oil vinegar beans lentils mustard nuts plums grapes eggs spinach"
).split()
EVENTS = (
    "dentist lunch meeting concert training review party lecture dinner picnic workshop rehearsal interview exam wedding "
    "haircut hike match festival breakfast webinar audit lesson opera seminar tournament ceremony parade reunion swim debate visit"
).split()
FILES = (
    "report budget letter plan notes recipe invoice diary poem essay summary draft contract manual agenda ledger index speech "
    "resume thesis script journal survey memo outline receipt catalog glossary forecast roster archive sketch"
).split()
QUESTION_WORDS = {  # how a question for a withheld detail may put it, beside its name
    "day": ("date", "when"),
    "quantity": ("how many", "how much", "amount"),
    "degrees": ("temperature", "how warm"),
}


class ToolError(Exception):
    """An action that cannot be done; the message goes back to the agent and the state stays as it was."""


@dataclass(frozen=True)
class Action:
    description: str
    parameters: dict[str, dict]
    run: Callable[..., object]  # run(state, **arguments) -> what the tool returns


@dataclass(frozen=True)
class Intent:
    """One wish of a user. `hidden` names the argument of the first call that the user tells only when asked."""

    request: str
    calls: tuple[tuple[str, dict], ...]
    answer: str | None = None  # what the agent must report, for questions
    hidden: str | None = None


@dataclass(frozen=True)
class Domain:
    name: str
    synonyms: dict[str, tuple[str, ...]]  # action -> other names of the tool, for evolved applications
    actions: dict[str, Action]
    initial: Callable[[random.Random], dict]
    intents: tuple[Callable[[dict, random.Random], Intent], ...]


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise ToolError(message)


# files ---------------------------------------------------------------------------------------------------------------
def _create_file(state, name, text):
    _need(name not in state["files"], f"{name} exists already")
    state["files"][name] = text
    return "created"


def _delete_file(state, name):
    _need(name in state["files"], f"no file {name}")
    del state["files"][name]
    return "deleted"


def _rename_file(state, name, new_name):
    _need(name in state["files"], f"no file {name}")
    _need(new_name not in state["files"], f"{new_name} exists already")
    state["files"][new_name] = state["files"].pop(name)
    return "renamed"


def _read_file(state, name):
    _need(name in state["files"], f"no file {name}")
    return state["files"][name]


def _new(rng, taken, pool):
    return rng.choice([x for x in pool if x not in taken])


FILES_DOMAIN = Domain(
    "files",
    {
        "create_file": ("add_document", "write_file"),
        "delete_file": ("remove_document", "erase_file"),
        "rename_file": ("rename_document", "change_file_name"),
        "read_file": ("open_document", "show_file"),
    },
    {
        "create_file": Action("Create a file.", {"name": STRING, "text": STRING}, _create_file),
        "delete_file": Action("Delete a file.", {"name": STRING}, _delete_file),
        "rename_file": Action("Rename a file.", {"name": STRING, "new_name": STRING}, _rename_file),
        "read_file": Action("Read a file.", {"name": STRING}, _read_file),
    },
    lambda rng: {"files": {name: f"{rng.choice(PEOPLE)} {rng.choice(EVENTS)}" for name in rng.sample(FILES, 4)}},
    (
        lambda s, r: (lambda n: Intent(f"Please delete the file {n}.", (("delete_file", {"name": n}),)))(
            r.choice(list(s["files"]))
        ),
        lambda s, r: (lambda n, m: Intent(f"Rename {n} to {m}.", (("rename_file", {"name": n, "new_name": m}),)))(
            r.choice(list(s["files"])), _new(r, s["files"], FILES)
        ),
        lambda s, r: (
            lambda n, t: Intent(f"Create a file {n} that says {t}.", (("create_file", {"name": n, "text": t}),))
        )(_new(r, s["files"], FILES), f"{r.choice(PEOPLE)} {r.choice(EVENTS)}"),
        lambda s, r: (lambda n: Intent(f"What does the file {n} say?", (("read_file", {"name": n}),), s["files"][n]))(
            r.choice(list(s["files"]))
        ),
        lambda s, r: (
            lambda a, b: Intent(
                f"Delete both {a} and {b}.", (("delete_file", {"name": a}), ("delete_file", {"name": b}))
            )
        )(*r.sample(list(s["files"]), 2)),
    ),
)


# calendar ------------------------------------------------------------------------------------------------------------
def _add_event(state, title, day):
    _need(day in DAYS, f"{day} is no day of the week")
    _need(title not in state["events"], f"{title} is on the calendar already")
    state["events"][title] = day
    return "added"


def _move_event(state, title, day):
    _need(day in DAYS, f"{day} is no day of the week")
    _need(title in state["events"], f"no event {title}")
    state["events"][title] = day
    return "moved"


def _cancel_event(state, title):
    _need(title in state["events"], f"no event {title}")
    del state["events"][title]
    return "cancelled"


def _find_event(state, title):
    _need(title in state["events"], f"no event {title}")
    return state["events"][title]


CALENDAR = Domain(
    "calendar",
    {
        "add_event": ("create_event", "schedule_event"),
        "move_event": ("reschedule_event", "change_event_day"),
        "cancel_event": ("delete_event", "remove_event"),
        "find_event": ("get_event_day", "look_up_event"),
    },
    {
        "add_event": Action("Add an event.", {"title": STRING, "day": DAY}, _add_event),
        "move_event": Action("Move an event to another day.", {"title": STRING, "day": DAY}, _move_event),
        "cancel_event": Action("Cancel an event.", {"title": STRING}, _cancel_event),
        "find_event": Action("Find the day of an event.", {"title": STRING}, _find_event),
    },
    lambda rng: {"events": {title: rng.choice(DAYS) for title in rng.sample(EVENTS, 4)}},
    (
        lambda s, r: (lambda t, d: Intent(f"Put a {t} on {d}.", (("add_event", {"title": t, "day": d}),)))(
            _new(r, s["events"], EVENTS), r.choice(DAYS)
        ),
        lambda s, r: (
            lambda t, d: Intent(f"Add a {t} to my calendar.", (("add_event", {"title": t, "day": d}),), hidden="day")
        )(_new(r, s["events"], EVENTS), r.choice(DAYS)),
        lambda s, r: (lambda t, d: Intent(f"Move the {t} to {d}.", (("move_event", {"title": t, "day": d}),)))(
            r.choice(list(s["events"])), r.choice(DAYS)
        ),
        lambda s, r: (lambda t: Intent(f"Cancel the {t}.", (("cancel_event", {"title": t}),)))(
            r.choice(list(s["events"]))
        ),
        lambda s, r: (lambda t: Intent(f"On which day is the {t}?", (("find_event", {"title": t}),), s["events"][t]))(
            r.choice(list(s["events"]))
        ),
        lambda s, r: (
            lambda t, u, d: Intent(
                f"Cancel the {t} and move the {u} to {d}.",
                (("cancel_event", {"title": t}), ("move_event", {"title": u, "day": d})),
            )
        )(*r.sample(list(s["events"]), 2), r.choice(DAYS)),
    ),
)


# shopping ------------------------------------------------------------------------------------------------------------
def _add_to_cart(state, item, quantity):
    _need(item in state["prices"], f"{item} is not sold here")
    _need(quantity > 0, "the quantity must be positive")
    state["cart"][item] = state["cart"].get(item, 0) + quantity
    return f"{state['cart'][item]} in cart"


def _remove_from_cart(state, item):
    _need(item in state["cart"], f"{item} is not in the cart")
    del state["cart"][item]
    return "removed"


def _get_price(state, item):
    _need(item in state["prices"], f"{item} is not sold here")
    return state["prices"][item]


def _order(state):
    _need(bool(state["cart"]), "the cart is empty")
    state["orders"].append(state["cart"])
    state["cart"] = {}
    return "ordered"


SHOPPING = Domain(
    "shopping",
    {
        "add_to_cart": ("put_in_basket", "add_item"),
        "remove_from_cart": ("take_from_basket", "remove_item"),
        "get_price": ("check_price", "price_of"),
        "order": ("checkout", "place_order"),
    },
    {
        "add_to_cart": Action("Put an item into the cart.", {"item": STRING, "quantity": INTEGER}, _add_to_cart),
        "remove_from_cart": Action("Take an item out of the cart.", {"item": STRING}, _remove_from_cart),
        "get_price": Action("Get the price of an item.", {"item": STRING}, _get_price),
        "order": Action("Order what is in the cart.", {}, _order),
    },
    lambda rng: {
        "prices": {item: rng.randint(2, 30) for item in ITEMS},
        "orders": [],
        "cart": {item: rng.randint(1, 5) for item in rng.sample(ITEMS, 2)},
    },
    (
        lambda s, r: (lambda i, q: Intent(f"Add {q} {i} to the cart.", (("add_to_cart", {"item": i, "quantity": q}),)))(
            r.choice(ITEMS), r.randint(2, 9)
        ),
        lambda s, r: (
            lambda i, q: Intent(f"I need some {i}.", (("add_to_cart", {"item": i, "quantity": q}),), hidden="quantity")
        )(r.choice(ITEMS), r.randint(2, 9)),
        lambda s, r: (lambda i: Intent(f"Remove the {i} from my cart.", (("remove_from_cart", {"item": i}),)))(
            r.choice(list(s["cart"]))
        ),
        lambda s, r: (lambda i: Intent(f"How much is {i}?", (("get_price", {"item": i}),), str(s["prices"][i])))(
            r.choice(ITEMS)
        ),
        lambda s, r: (
            lambda i, q: Intent(
                f"Add {q} {i} and then order everything.", (("add_to_cart", {"item": i, "quantity": q}), ("order", {}))
            )
        )(r.choice(ITEMS), r.randint(2, 9)),
    ),
)


# bank ----------------------------------------------------------------------------------------------------------------
def _transfer(state, source, target, amount):
    for account in (source, target):
        _need(account in state["accounts"], f"no account {account}")
    _need(source != target and amount > 0, "give two accounts and a positive amount")
    _need(state["accounts"][source] >= amount, f"{source} has only {state['accounts'][source]}")
    state["accounts"][source] -= amount
    state["accounts"][target] += amount
    return "transferred"


def _get_balance(state, account):
    _need(account in state["accounts"], f"no account {account}")
    return state["accounts"][account]


def _freeze_card(state, account):
    _need(account in state["accounts"], f"no account {account}")
    _need(account not in state["frozen"], "the card is frozen already")
    state["frozen"].append(account)
    return "frozen"


BANK = Domain(
    "bank",
    {
        "transfer": ("send_money", "move_money"),
        "get_balance": ("check_balance", "account_balance"),
        "freeze_card": ("block_card", "lock_card"),
    },
    {
        "transfer": Action(
            "Move money between accounts.", {"source": STRING, "target": STRING, "amount": INTEGER}, _transfer
        ),
        "get_balance": Action("Get the balance of an account.", {"account": STRING}, _get_balance),
        "freeze_card": Action("Freeze the card of an account.", {"account": STRING}, _freeze_card),
    },
    lambda rng: {"accounts": {person: rng.randint(40, 900) for person in rng.sample(PEOPLE, 4)}, "frozen": []},
    (
        lambda s, r: (
            lambda a, b, n: Intent(
                f"Transfer {n} from {a} to {b}.", (("transfer", {"source": a, "target": b, "amount": n}),)
            )
        )(*r.sample(list(s["accounts"]), 2), r.randint(2, 30)),
        lambda s, r: (
            lambda a: Intent(f"What is the balance of {a}?", (("get_balance", {"account": a}),), str(s["accounts"][a]))
        )(r.choice(list(s["accounts"]))),
        lambda s, r: (lambda a: Intent(f"Freeze the card of {a}.", (("freeze_card", {"account": a}),)))(
            r.choice(list(s["accounts"]))
        ),
        lambda s, r: (
            lambda a, b, n: Intent(
                f"Send {n} from {a} to {b} and freeze the card of {a}.",
                (("transfer", {"source": a, "target": b, "amount": n}), ("freeze_card", {"account": a})),
            )
        )(*r.sample(list(s["accounts"]), 2), r.randint(2, 30)),
    ),
)


# home ----------------------------------------------------------------------------------------------------------------
SWITCH = {"type": "string", "enum": ["on", "off"]}
ROOM = {"type": "string"}


def _switch_device(state, device, power):
    _need(device in state["devices"], f"no {device} here")
    state["devices"][device] = power
    return f"{device} is {power}"


def _set_temperature(state, room, degrees):
    _need(room in state["degrees"], f"no room {room}")
    _need(5 <= degrees <= 30, "choose 5 to 30 degrees")
    state["degrees"][room] = degrees
    return f"{room} at {degrees}"


def _get_temperature(state, room):
    _need(room in state["degrees"], f"no room {room}")
    return state["degrees"][room]


HOME = Domain(
    "home",
    {
        "switch_device": ("turn_device", "set_device"),
        "set_temperature": ("set_heating", "adjust_room"),
        "get_temperature": ("read_thermometer", "room_temperature"),
    },
    {
        "switch_device": Action("Turn a device on or off.", {"device": STRING, "power": SWITCH}, _switch_device),
        "set_temperature": Action(
            "Set the temperature of a room.", {"room": ROOM, "degrees": INTEGER}, _set_temperature
        ),
        "get_temperature": Action("Get the temperature of a room.", {"room": ROOM}, _get_temperature),
    },
    lambda rng: {
        "devices": {device: rng.choice(("on", "off")) for device in DEVICES},
        "degrees": {room: rng.randint(15, 24) for room in ROOMS},
    },
    (
        lambda s, r: (
            lambda d: Intent(
                f"Turn {'on' if s['devices'][d] == 'off' else 'off'} the {d}.",
                (("switch_device", {"device": d, "power": "on" if s["devices"][d] == "off" else "off"}),),
            )
        )(r.choice(DEVICES)),
        lambda s, r: (
            lambda m, t: Intent(f"Set the {m} to {t} degrees.", (("set_temperature", {"room": m, "degrees": t}),))
        )(r.choice(ROOMS), r.randint(10, 28)),
        lambda s, r: (
            lambda m, t: Intent(
                f"Change the temperature in the {m}.",
                (("set_temperature", {"room": m, "degrees": t}),),
                hidden="degrees",
            )
        )(r.choice(ROOMS), r.randint(10, 28)),
        lambda s, r: (
            lambda m: Intent(f"How warm is the {m}?", (("get_temperature", {"room": m}),), str(s["degrees"][m]))
        )(r.choice(ROOMS)),
        lambda s, r: (
            lambda d, m, t: Intent(
                f"Turn on the {d} and set the {m} to {t} degrees.",
                (("switch_device", {"device": d, "power": "on"}), ("set_temperature", {"room": m, "degrees": t})),
            )
        )(r.choice(DEVICES), r.choice(ROOMS), r.randint(10, 28)),
    ),
)


# travel --------------------------------------------------------------------------------------------------------------
def _book_train(state, origin, destination, day):
    _need(day in DAYS, f"{day} is no day of the week")
    _need(origin != destination, "origin and destination are the same")
    state["bookings"].append([origin, destination, day])
    return f"booking {len(state['bookings'])}"


def _cancel_booking(state, number):
    _need(1 <= number <= len(state["bookings"]), f"no booking {number}")
    _need(state["bookings"][number - 1] is not None, f"booking {number} is cancelled already")
    state["bookings"][number - 1] = None
    return "cancelled"


TRAVEL = Domain(
    "travel",
    {"book_train": ("buy_ticket", "reserve_train"), "cancel_booking": ("refund_ticket", "drop_booking")},
    {
        "book_train": Action("Book a train.", {"origin": STRING, "destination": STRING, "day": DAY}, _book_train),
        "cancel_booking": Action("Cancel a booking.", {"number": INTEGER}, _cancel_booking),
    },
    lambda rng: {"bookings": [[*rng.sample(CITIES, 2), rng.choice(DAYS)] for _ in range(4)]},
    (
        lambda s, r: (
            lambda a, b, d: Intent(
                f"Book a train from {a} to {b} on {d}.", (("book_train", {"origin": a, "destination": b, "day": d}),)
            )
        )(*r.sample(CITIES, 2), r.choice(DAYS)),
        lambda s, r: (
            lambda a, b, d: Intent(
                f"I want to go from {a} to {b}.",
                (("book_train", {"origin": a, "destination": b, "day": d}),),
                hidden="day",
            )
        )(*r.sample(CITIES, 2), r.choice(DAYS)),
        lambda s, r: (lambda n: Intent(f"Cancel booking {n}.", (("cancel_booking", {"number": n}),)))(r.randint(1, 4)),
        lambda s, r: (
            lambda n, a, b, d: Intent(
                f"Cancel booking {n} and book {a} to {b} on {d} instead.",
                (("cancel_booking", {"number": n}), ("book_train", {"origin": a, "destination": b, "day": d})),
            )
        )(r.randint(1, 4), *r.sample(CITIES, 2), r.choice(DAYS)),
    ),
)


# contacts ------------------------------------------------------------------------------------------------------------
def _add_contact(state, name, phone):
    _need(name not in state["contacts"], f"{name} is a contact already")
    state["contacts"][name] = phone
    return "added"


def _get_phone(state, name):
    _need(name in state["contacts"], f"no contact {name}")
    return state["contacts"][name]


def _send_message(state, name, text):
    _need(name in state["contacts"], f"no contact {name}")
    state["sent"].append([name, text])
    return "sent"


CONTACTS = Domain(
    "contacts",
    {
        "add_contact": ("save_contact", "new_contact"),
        "get_phone": ("find_number", "look_up_phone"),
        "send_message": ("write_message", "text_contact"),
    },
    {
        "add_contact": Action("Add a contact.", {"name": STRING, "phone": INTEGER}, _add_contact),
        "get_phone": Action("Get the phone number of a contact.", {"name": STRING}, _get_phone),
        "send_message": Action("Send a message to a contact.", {"name": STRING, "text": STRING}, _send_message),
    },
    lambda rng: {"contacts": {person: rng.randint(100, 999) for person in rng.sample(PEOPLE, 5)}, "sent": []},
    (
        lambda s, r: (
            lambda n, p: Intent(f"Save {n} with the number {p}.", (("add_contact", {"name": n, "phone": p}),))
        )(_new(r, s["contacts"], PEOPLE), r.randint(100, 999)),
        lambda s, r: (
            lambda n: Intent(f"What is the number of {n}?", (("get_phone", {"name": n}),), str(s["contacts"][n]))
        )(r.choice(list(s["contacts"]))),
        lambda s, r: (lambda n, t: Intent(f"Tell {n} about the {t}.", (("send_message", {"name": n, "text": t}),)))(
            r.choice(list(s["contacts"])), r.choice(EVENTS)
        ),
        lambda s, r: (
            lambda n, p, t: Intent(
                f"Save {n} with the number {p} and tell {n} about the {t}.",
                (("add_contact", {"name": n, "phone": p}), ("send_message", {"name": n, "text": t})),
            )
        )(_new(r, s["contacts"], PEOPLE), r.randint(100, 999), r.choice(EVENTS)),
    ),
)

DOMAINS = {domain.name: domain for domain in (FILES_DOMAIN, CALENDAR, SHOPPING, BANK, HOME, TRAVEL, CONTACTS)}
