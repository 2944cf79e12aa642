"""The map of tools: every tool once, and tools with the same words near each other."""

import math

import pytest

from k2lib.agents import atlas
from k2lib.agents.tools import lint, tool

pytest.importorskip("sklearn")


def test_the_map_holds_every_bundled_tool_of_sixteen_categories_once():
    found = atlas.synthetic()
    specs = [spec for some in found.values() for spec in some]
    assert len(found) == 16 and len(specs) > 400 and not any(map(lint, specs))


def test_tools_with_the_same_words_lie_near_each_other_and_the_map_repeats():
    kinds = {
        "weather": "rain wind sun cloud storm",
        "money": "loan credit interest account balance",
        "music": "song band",
    }
    kinds["music"] += " album chord melody"
    specs = []
    for kind, words in kinds.items():
        specs += [tool(f"{word}_{kind}", f"{kind} {words}", {word: {"type": "string"}}) for word in words.split()]
    places = atlas.placed(specs, seed=1)
    assert places == atlas.placed(specs, seed=1) and len(places) == 15
    middles = [[sum(p[axis] for p in places[i : i + 5]) / 5 for axis in (0, 1)] for i in (0, 5, 10)]
    nearest = [min(range(3), key=lambda m: math.dist(middles[m], place)) for place in places]
    assert nearest == [0] * 5 + [1] * 5 + [2] * 5
