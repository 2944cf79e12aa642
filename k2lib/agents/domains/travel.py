"""Train bookings, numbered from 1."""

from k2lib.agents.domains.domain import INTEGER, STRING, Action, Domain, Intent, call, need
from k2lib.agents.domains.words import CITIES, DAYS


def initial(rng):
    return {"bookings": [[*rng.sample(CITIES, 2), rng.choice(DAYS)] for _ in range(4)]}


def book_train(state, origin, destination, day):
    need(day in DAYS, f"{day} is no day of the week")
    need(origin != destination, "origin and destination are the same")
    state["bookings"].append([origin, destination, day])
    return f"booking {len(state['bookings'])}"


def cancel_booking(state, number):
    need(1 <= number <= len(state["bookings"]), f"no booking {number}")
    need(state["bookings"][number - 1] is not None, f"booking {number} is cancelled already")
    state["bookings"][number - 1] = None
    return "cancelled"


def wants_a_train(state, rng):
    (origin, destination), day = rng.sample(CITIES, 2), rng.choice(DAYS)
    return Intent(f"Book a train from {origin} to {destination} on {day}.", (_booking(origin, destination, day),))


def wants_a_train_without_saying_when(state, rng):
    (origin, destination), day = rng.sample(CITIES, 2), rng.choice(DAYS)
    request = f"I want to go from {origin} to {destination}."
    return Intent(request, (_booking(origin, destination, day),), hidden="day")


def wants_a_booking_cancelled(state, rng):
    number = rng.randint(1, 4)
    return Intent(f"Cancel booking {number}.", (call("cancel_booking", number=number),))


def wants_another_train_instead(state, rng):
    number, (origin, destination), day = rng.randint(1, 4), rng.sample(CITIES, 2), rng.choice(DAYS)
    request = f"Cancel booking {number} and book {origin} to {destination} on {day} instead."
    return Intent(request, (call("cancel_booking", number=number), _booking(origin, destination, day)))


def _booking(origin, destination, day):
    return call("book_train", origin=origin, destination=destination, day=day)


TRAIN = {"origin": STRING, "destination": STRING, "day": STRING}
DOMAIN = Domain(
    "travel",
    {"book_train": ("buy_ticket", "reserve_train"), "cancel_booking": ("refund_ticket", "drop_booking")},
    {
        "book_train": Action("Book a train.", TRAIN, book_train),
        "cancel_booking": Action("Cancel a booking.", {"number": INTEGER}, cancel_booking),
    },
    initial,
    (wants_a_train, wants_a_train_without_saying_when, wants_a_booking_cancelled, wants_another_train_instead),
)
