"""A shop with prices, a cart and orders."""

from k2lib.agents.domains.domain import INTEGER, STRING, Action, Domain, Intent, call, need
from k2lib.agents.domains.words import ITEMS


def initial(rng):
    prices = {item: rng.randint(2, 30) for item in ITEMS}
    return {"prices": prices, "orders": [], "cart": {item: rng.randint(1, 5) for item in rng.sample(ITEMS, 2)}}


def add_to_cart(state, item, quantity):
    need(item in state["prices"], f"{item} is not sold here")
    need(quantity > 0, "the quantity must be positive")
    state["cart"][item] = state["cart"].get(item, 0) + quantity
    return f"{state['cart'][item]} in cart"


def remove_from_cart(state, item):
    need(item in state["cart"], f"{item} is not in the cart")
    del state["cart"][item]
    return "removed"


def get_price(state, item):
    need(item in state["prices"], f"{item} is not sold here")
    return state["prices"][item]


def order(state):
    need(bool(state["cart"]), "the cart is empty")
    state["orders"].append(state["cart"])
    state["cart"] = {}
    return "ordered"


def wants_some_added(state, rng):
    item, quantity = rng.choice(ITEMS), rng.randint(2, 9)
    return Intent(f"Add {quantity} {item} to the cart.", (call("add_to_cart", item=item, quantity=quantity),))


def wants_some_added_without_saying_how_many(state, rng):
    item, quantity = rng.choice(ITEMS), rng.randint(2, 9)
    return Intent(f"I need some {item}.", (call("add_to_cart", item=item, quantity=quantity),), hidden="quantity")


def wants_one_removed(state, rng):
    item = rng.choice(list(state["cart"]))
    return Intent(f"Remove the {item} from my cart.", (call("remove_from_cart", item=item),))


def asks_for_a_price(state, rng):
    item = rng.choice(ITEMS)
    return Intent(f"How much is {item}?", (call("get_price", item=item),), str(state["prices"][item]))


def wants_some_added_and_all_ordered(state, rng):
    item, quantity = rng.choice(ITEMS), rng.randint(2, 9)
    calls = call("add_to_cart", item=item, quantity=quantity), call("order")
    return Intent(f"Add {quantity} {item} and then order everything.", calls)


DOMAIN = Domain(
    "shopping",
    {
        "add_to_cart": ("put_in_basket", "add_item"),
        "remove_from_cart": ("take_from_basket", "remove_item"),
        "get_price": ("check_price", "price_of"),
        "order": ("checkout", "place_order"),
    },
    {
        "add_to_cart": Action("Put an item into the cart.", {"item": STRING, "quantity": INTEGER}, add_to_cart),
        "remove_from_cart": Action("Take an item out of the cart.", {"item": STRING}, remove_from_cart),
        "get_price": Action("Get the price of an item.", {"item": STRING}, get_price),
        "order": Action("Order what is in the cart.", {}, order),
    },
    initial,
    (
        wants_some_added,
        wants_some_added_without_saying_how_many,
        wants_one_removed,
        asks_for_a_price,
        wants_some_added_and_all_ordered,
    ),
)
