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


def mathematics(n: int, seed: int, split: str = "train", largest: int = arithmetic.LARGEST) -> list[Problem]:
    """Equations and stories with one number as their answer."""
    return list(map(Mathematics, arithmetic.problems(n, seed, split, largest)))


def tool_use(n: int, seed: int, split: str = "train", **pool: int) -> list[Problem]:
    """Conversations with a simulated user and simulated tools."""
    return list(map(ToolUse, tasks.generate(n, seed, split, **pool)))


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
