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
from k2lib.agents.tools import check_call

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
MOST_CALLS = 16  # of one assistant turn; more are dropped
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


def prefix(task: Task) -> tuple[list[dict], list[dict]]:
    """(messages, tools) up to the assistant's first turn."""
    messages = [{"role": "system", "content": task.system}, {"role": "user", "content": task.instruction}]
    return messages, task.application.specs


def score_call(task: Task, message: dict) -> float:
    """1 if the first assistant turn is right, else 0: the first reference calls and no others, or a question where due.

    The question must name what is missing; a bare "?" earns nothing. Never raises, whatever the message holds.
    """
    message = normalise(message)
    calls = [call["function"] for call in message.get("tool_calls", [])]
    if task.rubric.must_ask:
        return float(not calls and asks_for(task.rubric.must_ask, message["content"]))
    made = [(call["name"], check_call(call["name"], call["arguments"], task.application.specs)[0]) for call in calls]
    return float(bool(made) and made == list(task.reference[: len(made)]))


def asks_for(detail: str, text: str) -> bool:
    """Whether a text is a short question that names this one detail."""
    text = text.lower()
    named = {name for name, words in QUESTION_WORDS.items() if re.search(rf"\b({'|'.join((name, *words))})\b", text)}
    return "?" in text and len(text) <= LONGEST_QUESTION and named == {detail}


def normalise(message: object) -> dict:
    """An assistant message of our own making from whatever a model or a server returned: text and well-formed calls.

    A call without a usable name or arguments keeps its place with empty ones, so that it is counted and refused.
    """
    message = message if isinstance(message, dict) else {}
    content, calls = message.get("content"), message.get("tool_calls")
    calls = [_call(call) for call in calls[:MOST_CALLS]] if isinstance(calls, list) else []
    made = {"role": "assistant", "content": content if isinstance(content, str) else ""}
    return made | ({"tool_calls": calls} if calls else {})


def _call(call: object) -> dict:
    function = call.get("function") if isinstance(call, dict) else None
    name, arguments = (function.get("name"), function.get("arguments")) if isinstance(function, dict) else ("", "")
    return {
        "id": "",
        "type": "function",
        "function": {
            "name": name[:80] if isinstance(name, str) else "",
            "arguments": arguments if isinstance(arguments, str) else "",
        },
    }


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
