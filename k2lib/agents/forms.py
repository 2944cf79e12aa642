"""Forms of tasks on real tools: the user's sentence, what stands there before, the call that fulfils it, and how that is checked."""

import random
import string
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from k2lib.agents.domains.words import EVENTS, FILES, ITEMS, PEOPLE

PYTHON = "python"  # the interpreter in the sandbox, beside the servers


@dataclass(frozen=True)
class Form:
    server: str
    sentence: str
    tool: str
    arguments: dict  # texts with the sentence's slots
    before: tuple[tuple[str, dict], ...] = ()  # calls that prepare the server
    after: tuple[str, dict, str] | None = None  # a call, and what its result must hold
    found: str = ""  # where the answer stands in the call's result: a regular expression; empty if nothing is asked
    offered: tuple[str, ...] = ()  # tools that the agent has beside it


REPO = {"repo_path": "."}
STOCK = ("write_query", {"query": "INSERT INTO stock VALUES ('{item}', {number})"})
HELD = ("read_query", {"query": "SELECT number FROM stock WHERE item = '{item}'"})
ENTITY = {"entities": [{"name": "{person}", "entityType": "person", "observations": ["likes {item}"]}]}
TABLE = ("create_table", {"query": "CREATE TABLE IF NOT EXISTS stock (item TEXT, number INTEGER)"})
FORMS = (
    Form("files", "Write {word} into the file {path}.", "write_file", {"path": "{path}", "content": "{word}"},
         after=("read_text_file", {"path": "{path}"}, "{word}"), offered=("read_text_file", "create_directory")),
    Form("files", "What does the file {path} say?", "read_text_file", {"path": "{path}"}, found=r"(.+)",
         before=(("write_file", {"path": "{path}", "content": "{word}"}),), offered=("write_file", "move_file")),
    Form("files", "Rename the file {path} to {other}.", "move_file", {"source": "{path}", "destination": "{other}"},
         before=(("write_file", {"path": "{path}", "content": "{word}"}),), after=("read_text_file", {"path": "{other}"}, "{word}"),
         offered=("read_text_file", "write_file")),
    Form("sqlite", "Add {number} {item} to the table stock.", "write_query", STOCK[1], before=(TABLE,), after=(*HELD, "{number}"),
         offered=("read_query", "list_tables")),
    Form("sqlite", "How many {item} are in the table stock?", "read_query", HELD[1], before=(TABLE, STOCK), found=r": (\d+)",
         offered=("write_query", "list_tables")),
    Form("memory", "Remember that {person} likes {item}.", "create_entities", ENTITY,
         after=("open_nodes", {"names": ["{person}"]}, "likes {item}"), offered=("open_nodes",)),
    Form("memory", "What does {person} like?", "open_nodes", {"names": ["{person}"]}, before=(("create_entities", ENTITY),),
         found=r"likes ([\w-]+)", offered=("create_entities",)),
    Form("git", "Create the branch {word}.", "git_create_branch", REPO | {"branch_name": "{word}"},
         after=("git_branch", REPO | {"branch_type": "local"}, "{word}"), offered=("git_branch", "git_status")),
    Form("git", "Who made the last commit?", "git_log", REPO | {"max_count": 1}, found=r"Author: .*?(\w+)",
         offered=("git_status", "git_branch")),
    Form("time", "When it is {hour} in Paris, what time is it in Tokyo?", "convert_time",
         {"source_timezone": "Europe/Paris", "time": "{hour}", "target_timezone": "Asia/Tokyo"}, found=r'target[\s\S]*?T(\d\d:\d\d)',
         offered=("get_current_time",)),
    Form(PYTHON, "Compute {number} times {factor}.", "run_python", {"code": "print({number} * {factor})"}, found=r"(\d+)"),
    Form(PYTHON, "How many letters has the word {word}?", "run_python", {"code": "print(len('{word}'))"}, found=r"(\d+)"),
)  # fmt: skip


@dataclass(frozen=True)
class Wish:
    """One task on a real tool. Its names are its own, so that many tasks share a server."""

    id: str
    form: Form
    slots: dict[str, str]
    seed: int

    @property
    def instruction(self) -> str:
        return self.form.sentence.format(**self.slots)

    @property
    def report(self) -> str | None:
        """What the user must be told, worked out without the tool."""
        slots = self.slots
        return {
            "read_text_file": slots["word"], "read_query": slots["number"], "open_nodes": slots["item"], "git_log": "Ada",
            "convert_time": _in_tokyo(slots["hour"]),
            "run_python": str(len(slots["word"]) if "letters" in self.form.sentence else int(slots["number"]) * int(slots["factor"])),
        }.get(self.form.tool) if self.form.found else None  # fmt: skip


def wishes(server: str, number: int, seed: int) -> list[Wish]:
    """ValueError for a server without forms."""
    forms = [form for form in FORMS if form.server == server]
    if not forms:
        raise ValueError(
            f"there are no tasks for the server {server!r}; known are {', '.join(dict.fromkeys(f.server for f in FORMS))}"
        )
    rng = random.Random(f"executed/{server}/{seed}")
    return [Wish(f"{server}-{seed}-{i}", forms[i % len(forms)], _slots(rng, i), i) for i in range(number)]


def filled(value: object, slots: dict[str, str]) -> object:
    if isinstance(value, str):
        return value.format(**slots)
    if isinstance(value, list):
        return [filled(one, slots) for one in value]
    return {key: filled(one, slots) for key, one in value.items()} if isinstance(value, dict) else value


def _slots(rng: random.Random, number: int) -> dict[str, str]:
    """Words for every slot; with the task's number in them, so that no other task has them."""
    pools = {"word": EVENTS, "item": ITEMS, "person": PEOPLE, "path": FILES, "other": FILES}
    told = {slot: f"{rng.choice(pool)}-{number}{rng.choice(string.ascii_lowercase)}" for slot, pool in pools.items()}
    told |= {slot: f"{told[slot]}.txt" for slot in ("path", "other")}
    return told | {
        "number": str(rng.randint(2, 999)),
        "factor": str(rng.randint(2, 99)),
        "hour": f"{rng.randrange(24):02}:00",
    }


def _in_tokyo(hour: str) -> str:
    at = datetime.now(ZoneInfo("Europe/Paris")).replace(hour=int(hour[:2]), minute=0)
    return at.astimezone(ZoneInfo("Asia/Tokyo")).strftime("%H:%M")
