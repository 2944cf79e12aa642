"""Files with names and a line of text."""

from k2lib.agents.domains.domain import STRING, Action, Domain, Intent, call, need, new
from k2lib.agents.domains.words import EVENTS, FILES, PEOPLE


def initial(rng):
    return {"files": {name: _text(rng) for name in rng.sample(FILES, 4)}}


def create_file(state, name, text):
    need(name not in state["files"], f"{name} exists already")
    state["files"][name] = text
    return "created"


def delete_file(state, name):
    need(name in state["files"], f"no file {name}")
    del state["files"][name]
    return "deleted"


def rename_file(state, name, new_name):
    need(name in state["files"], f"no file {name}")
    need(new_name not in state["files"], f"{new_name} exists already")
    state["files"][new_name] = state["files"].pop(name)
    return "renamed"


def read_file(state, name):
    need(name in state["files"], f"no file {name}")
    return state["files"][name]


def wants_one_deleted(state, rng):
    name = rng.choice(list(state["files"]))
    return Intent(f"Please delete the file {name}.", (call("delete_file", name=name),))


def wants_one_renamed(state, rng):
    name, other = rng.choice(list(state["files"])), new(rng, state["files"], FILES)
    return Intent(f"Rename {name} to {other}.", (call("rename_file", name=name, new_name=other),))


def wants_one_created(state, rng):
    name, text = new(rng, state["files"], FILES), _text(rng)
    return Intent(f"Create a file {name} that says {text}.", (call("create_file", name=name, text=text),))


def asks_what_one_says(state, rng):
    name = rng.choice(list(state["files"]))
    return Intent(f"What does the file {name} say?", (call("read_file", name=name),), state["files"][name])


def wants_two_deleted(state, rng):
    one, other = rng.sample(list(state["files"]), 2)
    return Intent(f"Delete both {one} and {other}.", (call("delete_file", name=one), call("delete_file", name=other)))


def _text(rng):
    return f"{rng.choice(PEOPLE)} {rng.choice(EVENTS)}"


DOMAIN = Domain(
    "files",
    {
        "create_file": ("add_document", "write_file"),
        "delete_file": ("remove_document", "erase_file"),
        "rename_file": ("rename_document", "change_file_name"),
        "read_file": ("open_document", "show_file"),
    },
    {
        "create_file": Action("Create a file.", {"name": STRING, "text": STRING}, create_file),
        "delete_file": Action("Delete a file.", {"name": STRING}, delete_file),
        "rename_file": Action("Rename a file.", {"name": STRING, "new_name": STRING}, rename_file),
        "read_file": Action("Read a file.", {"name": STRING}, read_file),
    },
    initial,
    (wants_one_deleted, wants_one_renamed, wants_one_created, asks_what_one_says, wants_two_deleted),
)
