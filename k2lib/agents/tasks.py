"""Agents and tasks: who has which tools, what a user wants, and the rubric that decides whether it was done (§3.1).

Tools are evolved from few domains to many applications: the same actions under other names, in other selections, as
the paper's synthetic tools are evolved from categories to application domains to tools. Each task carries a rubric of
three parts: success criteria (the final state, reached by any path), the expected tools, and what must be reported to
the user.
"""

import hashlib
import json
import random
import re
from dataclasses import dataclass

from k2lib.agents.domains import DOMAINS
from k2lib.agents.domains.domain import Intent
from k2lib.agents.domains.words import QUESTION_WORDS
from k2lib.agents.simulator import Application, ToolSimulator

BRANDS = "Nimbus Atlas Orbit Quill Lumen Harbor Pixel Comet Vertex Willow Zephyr Onyx".split()
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


def applications(seed: int, per_domain: int) -> list[Application]:
    """`per_domain` evolved applications of every domain: names drawn for brand and tools."""
    made = []
    for domain in DOMAINS.values():
        rng = random.Random(f"applications/{seed}/{domain.name}")
        for brand in rng.sample(BRANDS, min(per_domain, len(BRANDS))):
            offered = rng.sample(list(domain.actions), max(2, len(domain.actions) - 1))
            tools = {rng.choice((action, *domain.synonyms[action])): action for action in offered}
            made.append(Application(f"{brand} {domain.name}", domain, tools))
    return made


def generate(n: int, seed: int, split: str = "train", per_domain: int = 6) -> list[Task]:
    """`n` tasks of which no two have the same prompt; no "heldout" wish occurs in "train", whatever the seeds.

    ValueError if the applications allow fewer different prompts than that.
    """
    if split not in ("train", "heldout"):
        raise ValueError(f"unknown split {split!r}; choose 'train' or 'heldout'")
    rng = random.Random(f"tasks/{seed}/{split}")
    pool = applications(seed, per_domain)
    made: list[Task] = []
    seen: set[str] = set()
    number = misses = 0
    while len(made) < n and misses < MOST_MISSES:
        number, misses = number + 1, misses + 1
        application = rng.choice(pool)
        state = application.domain.initial(rng)
        intent = rng.choice(application.domain.intents)(state, rng)
        possible = all(action in application.tools.values() for action, _ in intent.calls)
        if possible and is_heldout(intent) == (split == "heldout"):
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


def is_heldout(intent: Intent) -> bool:
    """One wish in eight, by a hash of the calls as far as the request tells them.

    What the user withholds is left out: with it, "Add a lunch." for Monday and for Tuesday would stand on both sides of
    the split as one and the same prompt.
    """
    told = [[action, {k: v for k, v in arguments.items() if k != intent.hidden}] for action, arguments in intent.calls]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).digest()[0] < 32


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
