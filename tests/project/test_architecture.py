"""Imports point downwards: from a room to one below it, and inside a room never in a circle."""

import ast
import re
from graphlib import CycleError, TopologicalSorter

import pytest

from k2lib.places import ROOT

PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
ROOMS = re.findall(r"(?m)^\| `(\w+)` \|", PAGE)  # the page's table, bottom first: the page is what is tested
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "k2lib").rglob("*.py")
}


def imported(module: str) -> set[str]:
    """The modules of k2lib that a module imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("k2lib"):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else node.module for name in names}
    return found - {module, "k2lib"}


def room(module: str) -> str:
    return module.split(".")[1]


def test_the_page_lists_every_room():
    assert {room(module) for module in FILES if module != "k2lib"} == set(ROOMS)


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_imports_only_from_rooms_below_it(name):
    below = ROOMS[: ROOMS.index(name) + 1]
    upwards = {
        (module, target)
        for module in FILES
        if module != "k2lib" and room(module) == name
        for target in imported(module)
        if room(target) not in below
    }
    assert upwards == set()


def test_no_module_imports_itself_through_others():
    graph = {module: imported(module) for module in FILES if FILES[module].name != "__init__.py"}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' → '.join(error.args[1])}")
