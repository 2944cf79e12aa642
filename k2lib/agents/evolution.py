"""Evolving tools: from a category to a new application, proposed by a model and proved by execution (section 3.1).

The model writes a blueprint, which is data. It is read, linted, and tried: an application is taken up only if users' wishes can
be drawn from it, and each wish's calls do what they should on a fresh state.
"""

import json
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass

from k2lib.agents.domains import blueprint
from k2lib.agents.domains.blueprint import Blueprint
from k2lib.agents.domains.domain import ToolError
from k2lib.agents.domains.wishes import domain
from k2lib.agents.domains.words import POOLS
from k2lib.llm import arguments
from k2lib.llm.ask import ask
from k2lib.llm.protocol import ChatModel, Reply
from k2lib.places import DATA

PROMPT = DATA / "prompts" / "tools" / "blueprint.md"
TRIED = 60  # states in which a wish is drawn
SOLVED = 0.5  # of them, at least
NEAR = 0.8  # of the words of two tools in common
_COMMON = frozenset("a an the of to from in with given new one more each".split())


@dataclass(frozen=True)
class Proposal:
    plan: Blueprint
    given: dict  # as the model wrote it, without the name


async def propose(model: ChatModel, category: str, known: list[str], *, seed: int = 0) -> Proposal:
    """A new application of the category. ChatError if the model writes twice what is none; it is told why in between."""
    text = PROMPT.read_text(encoding="utf-8").format(category=category, known=", ".join(known), pools=", ".join(POOLS))

    def read(reply: Reply) -> Proposal:
        return _proposal(reply.message.get("content") or "", category, known)

    return await ask(model, [{"role": "user", "content": text}], read, temperature=1.0, max_tokens=600, seed=seed)


def _proposal(text: str, category: str, known: list[str]) -> Proposal:
    match = re.search(r"\{.*\}", text, re.DOTALL)
    given, why = arguments.read(match[0]) if match else (None, "no JSON object stands in it")
    if given is None:
        raise ValueError(why)
    name = given.pop("name", None)
    if not isinstance(name, str) or not re.fullmatch(r"[a-z]{2,24}", name):
        raise ValueError('"name" must be one lower-case word')
    if name in known:
        raise ValueError(f"{name} is known already; make another")
    plan = blueprint.read(category, name, given)
    if (share := solvable(plan)) < SOLVED:
        raise ValueError(f"of {TRIED} first states only {share:.0%} allow a wish; give wider limits, or more tools")
    return Proposal(plan, given)


def solvable(plan: Blueprint, seed: int = 0) -> float:
    """The share of first states in which a user's wish is found whose calls end as they should, on a state of their own."""
    made, rng = domain(plan), random.Random(f"solvable/{seed}")
    found = 0
    for _ in range(TRIED):
        try:
            state = made.initial(rng)
        except IndexError:  # a pool with too few names
            return 0.0
        wish = made.wish(state, rng, set(made.actions))
        if wish is None:
            continue
        *before, last = [_done(made, state, call) for call in wish.calls]
        found += all(before) and last != wish.refused
    return found / TRIED


def _done(made, state: dict, call: tuple[str, dict]) -> bool:
    try:
        made.actions[call[0]].run(state, **call[1])
    except ToolError:
        return False
    return True


def distinct(specs: Iterable[dict]) -> tuple[list[dict], int]:
    """(the specifications without near duplicates, how many were left out): of two that share most of their words the first stays."""
    kept: list[tuple[dict, frozenset[str]]] = []
    places: dict[str, list[int]] = {}
    left_out = 0
    for spec in specs:
        words = _words(spec)
        rivals = {i for word in words for i in places.get(word, ())}
        if any(len(words & kept[i][1]) >= NEAR * len(words | kept[i][1]) for i in rivals):
            left_out += 1
            continue
        for word in words:
            places.setdefault(word, []).append(len(kept))
        kept.append((spec, words))
    return [spec for spec, _ in kept], left_out


def _words(spec: dict) -> frozenset[str]:
    """Of the description and the parameters; a tool under another name is the same tool."""
    function = spec["function"]
    text = f"{function.get('description', '')} {json.dumps(function.get('parameters', {}).get('properties', {}))}"
    return frozenset(re.findall(r"[^\W_]+", text.lower())) - _COMMON
