"""Agents and tasks: who has which tools, what a user wants, and the rubric that decides whether it was done (section 3.1).

Tools are evolved from few domains to many applications: the same actions under other names, in other selections, as the
paper's synthetic tools are evolved from categories to application domains to tools. Each task carries a rubric of three
parts: success criteria (the final state, reached by any path), the expected tools, and what must be reported to the user.
"""

import hashlib
import json
import random
from dataclasses import dataclass

from k2lib.synth.domains import DOMAINS, Intent
from k2lib.synth.simulator import Application, ToolSimulator
from k2lib.synth.tools import check_call

BRANDS = [
    "Nimbus",
    "Atlas",
    "Orbit",
    "Quill",
    "Lumen",
    "Harbor",
    "Pixel",
    "Comet",
    "Vertex",
    "Willow",
    "Zephyr",
    "Onyx",
]
PERSONAS = {
    "plain": "{}",
    "polite": "Hello, {} Thank you.",
    "hurried": "Quick: {}",
    "chatty": "Busy day today! {}",
}


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
    """`n` tasks with different instructions; "heldout" ones are disjoint from "train" by a hash of what is asked."""
    if split not in ("train", "heldout"):
        raise ValueError(f"unknown split {split!r}; choose 'train' or 'heldout'")
    rng = random.Random(f"tasks/{seed}/{split}")
    pool = applications(seed, per_domain)
    made: list[Task] = []
    for number in range(100 * n):
        if len(made) == n:
            break
        application = rng.choice(pool)
        state = application.domain.initial(rng)
        intent = rng.choice(application.domain.intents)(state, rng)
        possible = all(action in application.tools.values() for action, _ in intent.calls)
        if possible and is_heldout(intent) == (split == "heldout"):
            made.append(_task(f"{split}-{seed}-{number}", application, state, intent, rng, number))
    return made


def is_heldout(intent: Intent) -> bool:
    """One wish in eight, by a hash of the request and of the calls that grant it."""
    return hashlib.sha256(json.dumps([intent.request, intent.calls], sort_keys=True).encode()).digest()[0] < 32


def prefix(task: Task) -> tuple[list[dict], list[dict]]:
    """(messages, tools) up to the assistant's first turn."""
    return [
        {"role": "system", "content": task.system},
        {"role": "user", "content": task.instruction},
    ], task.application.specs


def score_call(task: Task, message: dict) -> float:
    """1 if the first assistant turn is right, else 0: the first reference call and no other, or a question if one is due."""
    calls = message.get("tool_calls") or []
    if task.rubric.must_ask:
        return float(not calls and "?" in (message.get("content") or ""))
    if len(calls) != 1:
        return 0.0
    function = calls[0]["function"]
    values, _ = check_call(function["name"], function["arguments"], task.application.specs)
    return float((function["name"], values) == task.reference[0])


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
    persona = rng.choice(list(PERSONAS))
    return Task(
        id,
        application,
        f"You are the assistant of {application.name}.",
        persona,
        PERSONAS[persona].format(intent.request),
        state,
        reference,
        rubric,
        seed,
    )


def coverage(apps: list[Application]) -> dict[str, int]:
    """How much the evolution of tools has made: domains, applications, distinct tool names and specifications."""
    specs = [json.dumps(spec) for app in apps for spec in app.specs]
    return {
        "domains": len({app.domain.name for app in apps}),
        "applications": len(apps),
        "tool names": len({name for app in apps for name in app.tools}),
        "specifications": len(set(specs)),
    }
