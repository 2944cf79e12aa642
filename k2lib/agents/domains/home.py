"""A house with devices that are on or off and rooms that are warm or cold."""

from k2lib.agents.domains.domain import INTEGER, STRING, Action, Domain, Intent, call, need
from k2lib.agents.domains.words import DEVICES, ROOMS

SWITCH = {"type": "string", "enum": ["on", "off"]}


def initial(rng):
    devices = {device: rng.choice(("on", "off")) for device in DEVICES}
    return {"devices": devices, "degrees": {room: rng.randint(15, 24) for room in ROOMS}}


def switch_device(state, device, power):
    need(device in state["devices"], f"no {device} here")
    state["devices"][device] = power
    return f"{device} is {power}"


def set_temperature(state, room, degrees):
    need(room in state["degrees"], f"no room {room}")
    need(5 <= degrees <= 30, "choose 5 to 30 degrees")
    state["degrees"][room] = degrees
    return f"{room} at {degrees}"


def get_temperature(state, room):
    need(room in state["degrees"], f"no room {room}")
    return state["degrees"][room]


def wants_a_device_switched(state, rng):
    device = rng.choice(DEVICES)
    power = "on" if state["devices"][device] == "off" else "off"
    return Intent(f"Turn {power} the {device}.", (call("switch_device", device=device, power=power),))


def wants_a_temperature(state, rng):
    room, degrees = rng.choice(ROOMS), rng.randint(10, 28)
    return Intent(f"Set the {room} to {degrees} degrees.", (call("set_temperature", room=room, degrees=degrees),))


def wants_another_temperature_without_saying_which(state, rng):
    room, degrees = rng.choice(ROOMS), rng.randint(10, 28)
    calls = (call("set_temperature", room=room, degrees=degrees),)
    return Intent(f"Change the temperature in the {room}.", calls, hidden="degrees")


def asks_how_warm_a_room_is(state, rng):
    room = rng.choice(ROOMS)
    return Intent(f"How warm is the {room}?", (call("get_temperature", room=room),), str(state["degrees"][room]))


def wants_a_device_on_and_a_temperature(state, rng):
    device, room, degrees = rng.choice(DEVICES), rng.choice(ROOMS), rng.randint(10, 28)
    calls = call("switch_device", device=device, power="on"), call("set_temperature", room=room, degrees=degrees)
    return Intent(f"Turn on the {device} and set the {room} to {degrees} degrees.", calls)


DOMAIN = Domain(
    "home",
    {
        "switch_device": ("turn_device", "set_device"),
        "set_temperature": ("set_heating", "adjust_room"),
        "get_temperature": ("read_thermometer", "room_temperature"),
    },
    {
        "switch_device": Action("Turn a device on or off.", {"device": STRING, "power": SWITCH}, switch_device),
        "set_temperature": Action(
            "Set the temperature of a room.", {"room": STRING, "degrees": INTEGER}, set_temperature
        ),
        "get_temperature": Action("Get the temperature of a room.", {"room": STRING}, get_temperature),
    },
    initial,
    (
        wants_a_device_switched,
        wants_a_temperature,
        wants_another_temperature_without_saying_which,
        asks_how_warm_a_room_is,
        wants_a_device_on_and_a_temperature,
    ),
)
