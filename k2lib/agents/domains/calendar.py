"""A week's calendar: events and their days."""

from k2lib.agents.domains.domain import STRING, Action, Domain, Intent, call, need, new
from k2lib.agents.domains.words import DAYS, EVENTS


def initial(rng):
    return {"events": {title: rng.choice(DAYS) for title in rng.sample(EVENTS, 4)}}


def add_event(state, title, day):
    need(day in DAYS, f"{day} is no day of the week")
    need(title not in state["events"], f"{title} is on the calendar already")
    state["events"][title] = day
    return "added"


def move_event(state, title, day):
    need(day in DAYS, f"{day} is no day of the week")
    need(title in state["events"], f"no event {title}")
    state["events"][title] = day
    return "moved"


def cancel_event(state, title):
    need(title in state["events"], f"no event {title}")
    del state["events"][title]
    return "cancelled"


def find_event(state, title):
    need(title in state["events"], f"no event {title}")
    return state["events"][title]


def wants_one_added(state, rng):
    title, day = new(rng, state["events"], EVENTS), rng.choice(DAYS)
    return Intent(f"Put a {title} on {day}.", (call("add_event", title=title, day=day),))


def wants_one_added_without_saying_when(state, rng):
    title, day = new(rng, state["events"], EVENTS), rng.choice(DAYS)
    return Intent(f"Add a {title} to my calendar.", (call("add_event", title=title, day=day),), hidden="day")


def wants_one_moved(state, rng):
    title, day = rng.choice(list(state["events"])), rng.choice(DAYS)
    return Intent(f"Move the {title} to {day}.", (call("move_event", title=title, day=day),))


def wants_one_cancelled(state, rng):
    title = rng.choice(list(state["events"]))
    return Intent(f"Cancel the {title}.", (call("cancel_event", title=title),))


def asks_when_one_is(state, rng):
    title = rng.choice(list(state["events"]))
    return Intent(f"On which day is the {title}?", (call("find_event", title=title),), state["events"][title])


def wants_one_cancelled_and_one_moved(state, rng):
    (one, other), day = rng.sample(list(state["events"]), 2), rng.choice(DAYS)
    calls = call("cancel_event", title=one), call("move_event", title=other, day=day)
    return Intent(f"Cancel the {one} and move the {other} to {day}.", calls)


DOMAIN = Domain(
    "calendar",
    {
        "add_event": ("create_event", "schedule_event"),
        "move_event": ("reschedule_event", "change_event_day"),
        "cancel_event": ("delete_event", "remove_event"),
        "find_event": ("get_event_day", "look_up_event"),
    },
    {
        "add_event": Action("Add an event.", {"title": STRING, "day": STRING}, add_event),
        "move_event": Action("Move an event to another day.", {"title": STRING, "day": STRING}, move_event),
        "cancel_event": Action("Cancel an event.", {"title": STRING}, cancel_event),
        "find_event": Action("Find the day of an event.", {"title": STRING}, find_event),
    },
    initial,
    (
        wants_one_added,
        wants_one_added_without_saying_when,
        wants_one_moved,
        wants_one_cancelled,
        asks_when_one_is,
        wants_one_cancelled_and_one_moved,
    ),
)
