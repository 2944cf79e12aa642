"""Agents and tasks: who has which tools, what a user wants, and the rubric that decides whether it was done (§3.1).

Each application has some of its domain's actions, under names of its own, as the paper's agents are tool sets with system
prompts. A task's rubric has success criteria (the state to reach, by any path, and what the user must be told), the expected
use of tools, and checkpoints; its reference calls were executed when it was made, so it can be solved.
"""

import copy
import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

from k2lib.agents.domains import domains, evolved
from k2lib.agents.domains.domain import Domain, Intent
from k2lib.agents.rubric import Rubric, canonical, rubric
from k2lib.agents.simulator import Application, ToolSimulator
from k2lib.corpus import split as splits

BRANDS = {
    "train": "Nimbus Atlas Orbit Quill Lumen Harbor Pixel Comet".split(),
    "development": "Vertex Willow Cobalt Ember".split(),
    "test": "Zephyr Onyx Juniper Saffron".split(),
}
STYLES = {
    "plain": "{}",
    "polite": "Hello! {} Thank you.",
    "hurried": "{} I am in a hurry.",
    "chatty": "What weather! {}",
}
MISUNDERSTANDS = 0.3  # of the users who are asked something
OFFERED = (3, 4)  # tools of an application
SYSTEMS = (  # what an agent is told; with the tools that it is given they make it another agent
    "You are the assistant of {}.",
    "You work for {}. Do what the user asks, with the tools that you have.",
    "You help the people who use {}. Ask them for what you are not told.",
    "{} has made you its agent. Look up what you do not know; never guess.",
    "You keep the records of {}. If a tool refuses, say so.",
    "Answer for {}, briefly.",
    "You are an agent with access to {}. Change nothing that you were not asked to change.",
    "The user of {} speaks to you. Report what you find, and say when you are done.",
)
NOVELTY = ("seen", "tools", "application", "domain")  # what of a held-out task's tools training has not had
CATEGORIES = 12  # whose applications are trained on, at most
MOST_MISSES = 5000  # draws in a row without a new task, before there seem to be no more


@dataclass(frozen=True)
class Persona:
    style: str  # one of STYLES
    misunderstands: bool = False  # the first question

    def __str__(self) -> str:
        return f"{self.style}, misunderstands" if self.misunderstands else self.style


@dataclass(frozen=True)
class Task:
    id: str
    application: Application
    system: str
    persona: Persona
    instruction: str
    state: dict
    reference: tuple[tuple[str, dict], ...]  # (tool name, arguments)
    rubric: Rubric
    seed: int
    difficulty: str = "one call"  # the kind of wish
    afterthought: str | None = None  # what the user says when it is done
    novelty: str = "seen"

    @property
    def messages(self) -> list[dict]:
        """Up to the assistant's first turn; a new list each time."""
        return [{"role": "system", "content": self.system}, {"role": "user", "content": self.instruction}]


def grounds(split: str, novelty: str, categories: int = CATEGORIES, children: int = 0) -> list[Domain]:
    """The domains of a split's tasks whose tools are that new: those trained on, others of their categories, others altogether.

    The first are the same for every split, with `children` evolved ones in each category. ValueError for an unknown split or novelty.
    """
    if novelty not in NOVELTY:
        raise ValueError(f"unknown novelty {novelty!r}; choose one of {', '.join(NOVELTY)}")
    every = domains().values()
    names = sorted({domain.category for domain in every})
    sides = splits.shared_out(names)
    if novelty == "domain":
        return [domain for domain in every if domain.category in sides[splits.check(split)]]
    kept: list[Domain] = []
    for i, category in enumerate(sides["train"][:categories]):
        first, *others = [domain for domain in every if domain.category == category]
        holder = ("test", "development")[i % 2]  # the split that keeps the category's first application to itself
        if novelty == "application":
            kept += [first] * (holder == splits.check(split))
        else:
            kept += [*others, *evolved(category, children)]
    return kept


def applications(
    seed: int,
    per_domain: int,
    split: str = "train",
    novelty: str = "seen",
    categories: int = CATEGORIES,
    children: int = 0,
    more: tuple[Domain, ...] = (),
) -> list[Application]:
    """`per_domain` evolved applications of every domain of `grounds`, and of `more`.

    No two splits share a brand or a set of tools, whatever their seeds, but for "seen", which takes training's.
    """
    side = "train" if novelty == "seen" else splits.check(split)
    made = []
    for domain in (*grounds(split, novelty, categories, children), *more):
        rng = random.Random(f"applications/{seed}/{domain.name}")
        for brand in rng.sample(BRANDS[side], min(per_domain, len(BRANDS[side]))):
            tools = next(tools for tools in _tool_sets(domain, rng) if splits.side("tools", sorted(tools)) == side)
            made.append(Application(f"{brand} {domain.name}", domain, tools, rng.randrange(2)))
    return made


def generate(
    n: int,
    seed: int,
    split: str = "train",
    *,
    per_domain: int = 6,
    novelty: tuple[str, ...] | None = None,
    categories: int = CATEGORIES,
    children: int = 0,
) -> list[Task]:
    """`n` tasks of which no two have the same prompt, in turn of each `novelty`: held-out tasks of all four, training's "seen".

    The splits share no wish, and beyond "seen" no application and no set of tools, whatever the seeds.
    ValueError for an unknown split, or if the applications allow fewer different prompts than that.
    """
    levels = novelty or (("seen",) if splits.check(split) == "train" else NOVELTY)
    pools = {level: applications(seed, per_domain, split, level, categories, children) for level in levels}
    return drawn(n, seed, split, pools)


def drawn(n: int, seed: int, split: str, pools: dict[str, list[Application]]) -> list[Task]:
    """`n` tasks in turn of each novelty, with the applications that `pools` holds for it; otherwise as `generate`."""
    rng = random.Random(f"tasks/{seed}/{split}")
    streams = {level: _tasks(pool, split, level, seed, rng) for level, pool in pools.items()}
    levels, made, misses = list(pools), {}, 0
    while len(made) < n and misses < MOST_MISSES:
        task = next(streams[levels[len(made) % len(levels)]])
        prompt = f"{task.system}\n{task.instruction}"
        misses = misses + 1 if prompt in made else 0
        made.setdefault(prompt, task)
    if len(made) < n:
        few = f"found only {len(made)} different {split} tasks of the {n} asked for"
        raise ValueError(f"{few} with {sum(map(len, pools.values()))} applications; ask for fewer, or raise per_domain")
    return list(made.values())


def side(intent: Intent) -> str:
    """The split of a wish, by the calls as far as the request tells them.

    What the user withholds is left out: with it, "Change the rent of the tenant Emma." for 300 and for 400 would stand on
    two sides as one and the same prompt.
    """
    told = [[action, {k: v for k, v in arguments.items() if k != intent.hidden}] for action, arguments in intent.calls]
    return splits.side("wish", told)


def coverage(apps: list[Application]) -> dict[str, int]:
    """How much the evolution of tools has made: categories, domains, applications, distinct tools (by what they do) and names."""
    return {
        "categories": len({app.domain.category for app in apps}),
        "domains": len({app.domain.name for app in apps}),
        "applications": len(apps),
        "tools": len({(app.domain.name, action) for app in apps for action in app.tools.values()}),
        "tool names": len({name for app in apps for name in app.tools}),
        "specifications": len({json.dumps(spec) for app in apps for spec in app.specs}),
    }


def _tool_sets(domain: Domain, rng: random.Random) -> Iterator[dict[str, str]]:
    """Sets of {tool name: action} that an application may offer, each with names in one manner."""
    while True:
        offered = rng.sample(list(domain.actions), min(len(domain.actions), rng.choice(OFFERED)))
        join = rng.choice((_snake, _camel, _kebab))
        tools = {join(rng.choice(domain.actions[action].names)): action for action in offered}
        if len(tools) == len(offered):
            yield tools


def _snake(words: tuple[str, ...]) -> str:
    return "_".join(words)


def _camel(words: tuple[str, ...]) -> str:
    return words[0] + "".join(word.capitalize() for word in words[1:])


def _kebab(words: tuple[str, ...]) -> str:
    return "-".join(words)


def _tasks(pool: list[Application], split: str, novelty: str, seed: int, rng: random.Random) -> Iterator[Task]:
    """Endless tasks of these applications whose wishes are of the split."""
    for number in itertools.count(1):
        application = rng.choice(pool)
        state = application.domain.initial(rng)
        intent = application.domain.wish(state, rng, set(application.tools.values()))
        if intent is not None and side(intent) == split:
            yield _task(f"{split}-{seed}-{novelty}-{number}", application, state, intent, rng, number, novelty)


def _task(
    id: str, application: Application, state: dict, intent: Intent, rng: random.Random, seed: int, novelty: str
) -> Task:
    reference = tuple((application.tool_for(action), arguments) for action, arguments in intent.calls)
    simulator = ToolSimulator(application, state)
    for i, (name, arguments) in enumerate(reference):
        result = simulator.call(name, json.dumps(arguments))
        refused = intent.refused and i == len(reference) - 1
        if result.outcome != ("refused" if refused else "success"):
            raise AssertionError(f"reference call {name}{arguments} of {intent.request!r}: {result.content}")
    persona = Persona(rng.choice(list(STYLES)), bool(intent.hidden) and rng.random() < MISUNDERSTANDS)
    return Task(
        id,
        application,
        rng.choice(SYSTEMS).format(application.name),
        persona,
        STYLES[persona.style].format(intent.request),
        copy.deepcopy(state),
        reference,
        rubric(intent, reference, canonical(simulator.state)),
        seed,
        intent.kind,
        intent.afterthought,
        novelty,
    )
