"""Agents and tasks: who has which tools, what a user wants, and the rubric that decides whether it was done (§3.1).

Tools are evolved from few domains to many applications: the same actions under other names, in other selections, as
the paper's synthetic tools are evolved from categories to application domains to tools. Each task carries a rubric of
three parts: success criteria (the final state, reached by any path), the expected tools, and what must be reported to
the user.
"""

import functools
import itertools
import json
import random
import re
from dataclasses import dataclass

from k2lib.agents.domains import DOMAINS
from k2lib.agents.domains.domain import Intent
from k2lib.agents.domains.words import QUESTION_WORDS
from k2lib.agents.simulator import Application, ToolSimulator
from k2lib.corpus import split as splits

BRANDS = {
    "train": "Nimbus Atlas Orbit Quill Lumen Harbor Pixel Comet".split(),
    "development": "Vertex Willow Cobalt Ember".split(),
    "test": "Zephyr Onyx Juniper Saffron".split(),
}
PERSONAS = {"plain": "{}", "polite": "Hello, {} Thank you.", "hurried": "Quick: {}", "chatty": "Busy day today! {}"}
LONGEST_QUESTION = 200  # characters
MOST_MISSES = 5000  # draws in a row without a new task, before there seem to be no more


@dataclass(frozen=True)
class Rubric:
    expected_tools: tuple[str, ...]  # in order
    final_state: str  # canonical JSON
    report: str | None  # must occur in the last message
    must_ask: str | None  # an argument that the user tells only when asked


@dataclass(frozen=True)
class Task:
    id: str
    application: Application
    system: str
    persona: str
    instruction: str
    state: dict
    reference: tuple[tuple[str, dict], ...]  # (tool name, arguments)
    rubric: Rubric
    seed: int

    @property
    def messages(self) -> list[dict]:
        """Up to the assistant's first turn; a new list each time."""
        return [{"role": "system", "content": self.system}, {"role": "user", "content": self.instruction}]

    @property
    def difficulty(self) -> str:
        return "multi-step" if len(self.reference) > 1 else "asks first" if self.rubric.must_ask else "single call"


def applications(seed: int, per_domain: int, split: str = "train") -> list[Application]:
    """`per_domain` evolved applications of every domain: names drawn for brand and tools.

    No two splits share a brand or a set of tools, whatever their seeds.
    """
    brands = BRANDS[splits.check(split)]
    made = []
    for domain in DOMAINS.values():
        rng = random.Random(f"applications/{seed}/{domain.name}")
        for brand in rng.sample(brands, min(per_domain, len(brands))):
            made.append(Application(f"{brand} {domain.name}", domain, dict(rng.choice(tool_sets(domain.name, split)))))
    return made


@functools.cache
def tool_sets(domain: str, split: str) -> list[tuple[tuple[str, str], ...]]:
    """All sets of (tool name, action) that an application of a domain may offer, as far as they are of this split."""
    known = DOMAINS[domain]
    names = {action: [(name, action) for name in (action, *known.synonyms[action])] for action in known.actions}
    offers = itertools.combinations(known.actions, max(2, len(known.actions) - 1))
    every = [tools for offered in offers for tools in itertools.product(*map(names.get, offered))]
    return splits.shared_out(every)[split]


def generate(n: int, seed: int, split: str = "train", per_domain: int = 6) -> list[Task]:
    """`n` tasks of which no two have the same prompt; the splits share no application, set of tools or wish, whatever the seeds.

    ValueError for an unknown split, or if the applications allow fewer different prompts than that.
    """
    rng = random.Random(f"tasks/{seed}/{splits.check(split)}")
    pool = applications(seed, per_domain, split)
    made: list[Task] = []
    seen: set[str] = set()
    number = misses = 0
    while len(made) < n and misses < MOST_MISSES:
        number, misses = number + 1, misses + 1
        application = rng.choice(pool)
        state = application.domain.initial(rng)
        intent = rng.choice(application.domain.intents)(state, rng)
        possible = all(action in application.tools.values() for action, _ in intent.calls)
        if possible and side(intent) == split:
            task = _task(f"{split}-{seed}-{number}", application, state, intent, rng, number)
            prompt = f"{task.system}\n{task.instruction}"
            if prompt not in seen:
                made.append(task)
                seen.add(prompt)
                misses = 0
    if len(made) < n:
        raise ValueError(
            f"found only {len(made)} different {split} tasks of the {n} asked for with "
            f"per_domain={per_domain}; ask for fewer, or raise per_domain"
        )
    return made


def side(intent: Intent) -> str:
    """The split of a wish, by the calls as far as the request tells them.

    What the user withholds is left out: with it, "Add a lunch." for Monday and for Tuesday would stand on two sides as one
    and the same prompt.
    """
    told = [[action, {k: v for k, v in arguments.items() if k != intent.hidden}] for action, arguments in intent.calls]
    return splits.side("wish", told)


def asks_for(detail: str, text: str) -> bool:
    """Whether a text is a short question that names this one detail."""
    text = text.lower()
    named = {name for name, words in QUESTION_WORDS.items() if re.search(rf"\b({'|'.join((name, *words))})\b", text)}
    return "?" in text and len(text) <= LONGEST_QUESTION and named == {detail}


def canonical(state: dict) -> str:
    return json.dumps(state, sort_keys=True)


def _task(id: str, application: Application, state: dict, intent: Intent, rng: random.Random, seed: int) -> Task:
    reference = tuple((application.tool_for(action), arguments) for action, arguments in intent.calls)
    simulator = ToolSimulator(application, state)
    for name, arguments in reference:
        result = simulator.call(name, json.dumps(arguments))
        if not result.ok:
            raise AssertionError(f"reference call {name}{arguments} of {intent.request!r} fails: {result.content}")
    rubric = Rubric(tuple(name for name, _ in reference), canonical(simulator.state), intent.answer, intent.hidden)
    persona, system = rng.choice(list(PERSONAS)), f"You are the assistant of {application.name}."
    asked = PERSONAS[persona].format(intent.request)
    return Task(id, application, system, persona, asked, state, reference, rubric, seed)


def coverage(apps: list[Application]) -> dict[str, int]:
    """How much the evolution of tools has made: domains, applications, distinct tool names and specifications."""
    specs = [json.dumps(spec) for app in apps for spec in app.specs]
    return {
        "domains": len({app.domain.name for app in apps}),
        "applications": len(apps),
        "tool names": len({name for app in apps for name in app.tools}),
        "specifications": len(set(specs)),
    }
