"""The families of problems by name, and a user's own from a Python file: what `k2 rl` can train on."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

from k2lib.agents import tasks
from k2lib.corpus import arithmetic
from k2lib.gym.coding import coding
from k2lib.gym.environment import BUDGET, Task
from k2lib.gym.faithful import faithful
from k2lib.gym.following import following
from k2lib.gym.mathematics import Mathematics
from k2lib.gym.morse import morse
from k2lib.gym.problem import Problem
from k2lib.gym.puzzles import reasoning
from k2lib.gym.repairs import repairs
from k2lib.gym.safety import safety
from k2lib.gym.tables import tables
from k2lib.gym.tool_use import ToolUse

LEVELS = 3  # of difficulty in every family
LARGEST = (8, 20, 60)  # number of a problem of mathematics, by level
WISHES = (
    ("one call",),
    ("withheld", "corrected", "refused"),
    ("two calls", "look, then act", "condition"),
)  # of a user, by level
DRAWN = 12  # tasks for one of a wanted level, at most


def mathematics(n: int, seed: int, split: str = "train", level: int | None = None) -> list[Problem]:
    """Equations and stories with one number as their answer."""
    return list(
        map(Mathematics, arithmetic.problems(n, seed, split, arithmetic.LARGEST if level is None else LARGEST[level]))
    )


def tool_use(n: int, seed: int, split: str = "train", level: int | None = None) -> list[Problem]:
    """Conversations with a simulated user and simulated tools."""
    drawn = tasks.generate(n if level is None else n * DRAWN, seed, split)
    wanted = [task for task in drawn if level is None or task.difficulty in WISHES[level]]
    return list(map(ToolUse, wanted[:n]))


FAMILIES = {
    "mathematics": mathematics,
    "puzzles": reasoning,
    "tables": tables,
    "morse": morse,
    "following": following,
    "faithfulness": faithful,
    "coding": coding,
    "repairs": repairs,
    "safety": safety,
    "tool-use": tool_use,
}


def family(name: str) -> Callable[..., list[Problem]]:
    """The generator of that name; ValueError listing the known ones otherwise."""
    if name not in FAMILIES:
        raise ValueError(f"unknown family {name!r}; choose one of {', '.join(FAMILIES)}")
    return FAMILIES[name]


def problems(name: str, n: int, seed: int, split: str = "train", level: int | None = None) -> list[Problem]:
    """`n` problems of a family and a split; a level from 0, or all of them. ValueError for a name or a level that there is not."""
    if level is not None and not 0 <= level < LEVELS:
        raise ValueError(f"level is {level}; give a whole number from 0 to {LEVELS - 1}")
    return family(name)(n, seed, split, level=level)


def named(place: str) -> Callable:
    """What "FILE.py:NAME" names. ValueError if there is no such file, or no such name in it; its own errors pass through."""
    file, _, name = place.rpartition(":")
    path = Path(file)
    if path.suffix != ".py" or not path.is_file():
        raise ValueError(f"{place!r} names no Python file; give FILE.py:NAME")
    spec = importlib.util.spec_from_file_location(f"k2_user_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not callable(getattr(module, name, None)):
        raise ValueError(f"{path} has no class or function {name!r}")
    return getattr(module, name)


def read_rows(path: Path) -> list[dict]:
    """The rows of a .jsonl file. ValueError with the line of one that is no object."""
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            rows.append(dict(json.loads(line)))
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"{path}, line {number}: {error}; give one JSON object a line") from None
    return rows


def own(rows: list[dict], environment: str | None, rewards: list[str], budget: int = BUDGET) -> list[Problem]:
    """A user's rows as problems, played in the class and scored by it and the functions that "FILE.py:NAME" names."""
    make, functions = named(environment) if environment else None, tuple(map(named, rewards))
    kind = make.__name__ if make else functions[0].__name__ if functions else "environment"
    return [Task(row, make, functions, budget, kind) for row in rows]
