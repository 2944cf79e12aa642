"""Bank accounts with balances and cards."""

from k2lib.agents.domains.domain import INTEGER, STRING, Action, Domain, Intent, call, need
from k2lib.agents.domains.words import PEOPLE


def initial(rng):
    return {"accounts": {person: rng.randint(40, 900) for person in rng.sample(PEOPLE, 4)}, "frozen": []}


def transfer(state, source, target, amount):
    for account in (source, target):
        need(account in state["accounts"], f"no account {account}")
    need(source != target and amount > 0, "give two accounts and a positive amount")
    need(state["accounts"][source] >= amount, f"{source} has only {state['accounts'][source]}")
    state["accounts"][source] -= amount
    state["accounts"][target] += amount
    return "transferred"


def get_balance(state, account):
    need(account in state["accounts"], f"no account {account}")
    return state["accounts"][account]


def freeze_card(state, account):
    need(account in state["accounts"], f"no account {account}")
    need(account not in state["frozen"], "the card is frozen already")
    state["frozen"].append(account)
    return "frozen"


def wants_money_moved(state, rng):
    (source, target), amount = rng.sample(list(state["accounts"]), 2), rng.randint(2, 30)
    calls = (call("transfer", source=source, target=target, amount=amount),)
    return Intent(f"Transfer {amount} from {source} to {target}.", calls)


def asks_for_a_balance(state, rng):
    person = rng.choice(list(state["accounts"]))
    answer = str(state["accounts"][person])
    return Intent(f"What is the balance of {person}?", (call("get_balance", account=person),), answer)


def wants_a_card_frozen(state, rng):
    person = rng.choice(list(state["accounts"]))
    return Intent(f"Freeze the card of {person}.", (call("freeze_card", account=person),))


def wants_money_moved_and_a_card_frozen(state, rng):
    (source, target), amount = rng.sample(list(state["accounts"]), 2), rng.randint(2, 30)
    calls = call("transfer", source=source, target=target, amount=amount), call("freeze_card", account=source)
    return Intent(f"Send {amount} from {source} to {target} and freeze the card of {source}.", calls)


MONEY = {"source": STRING, "target": STRING, "amount": INTEGER}
DOMAIN = Domain(
    "bank",
    {
        "transfer": ("send_money", "move_money"),
        "get_balance": ("check_balance", "account_balance"),
        "freeze_card": ("block_card", "lock_card"),
    },
    {
        "transfer": Action("Move money between accounts.", MONEY, transfer),
        "get_balance": Action("Get the balance of an account.", {"account": STRING}, get_balance),
        "freeze_card": Action("Freeze the card of an account.", {"account": STRING}, freeze_card),
    },
    initial,
    (wants_money_moved, asks_for_a_balance, wants_a_card_frozen, wants_money_moved_and_a_card_frozen),
)
