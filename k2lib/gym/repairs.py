"""Small repositories with an issue: an agent reads, edits and runs files, and hidden cases judge what it leaves (section 3.2.1).

A program of two files does its steps in a row; one step was exchanged for another, and the issue says what it should do.
"""

import json
import random
from dataclasses import dataclass, field

from k2lib.agents.episode import normalise
from k2lib.agents.repository import EDIT, START, SYSTEM, TOOLS, Workspace
from k2lib.corpus.split import side
from k2lib.gym.coding import ENDS, LIMITS, STEPS, Coding
from k2lib.gym.problem import Problem
from k2lib.sandbox import Case, grade

COUNTS = (1, 2, 4)  # steps of a program, by level
MAIN = """from steps import finish, steps

numbers = list(map(int, input().split()))
for step in steps:
    numbers = step(numbers)
finish(numbers)
"""


@dataclass(frozen=True)
class Repair:
    wanted: Coding  # what the program shall do
    place: int  # of the step that is another …
    other: str  # … namely this one

    kind = "repair"
    budget = 192  # tokens of one turn
    plain = None
    tools = tuple(TOOLS)

    @property
    def files(self) -> dict[str, str]:
        """The repository as the agent finds it."""
        names = [self.other if place == self.place else name for place, name in enumerate(self.wanted.steps)]
        functions = [f"def step{i}(xs):\n    return {STEPS[name][1].format('xs')}\n" for i, name in enumerate(names, 1)]
        finish = f"def finish(xs):\n    {ENDS[self.wanted.end][1].format('xs')}\n"
        listed = ", ".join(f"step{i}" for i in range(1, len(names) + 1))
        return {"main.py": MAIN, "steps.py": "\n\n".join([*functions, finish, f"steps = [{listed}]\n"])}

    @property
    def messages(self) -> list[dict]:
        case = self.wanted.cases[1]
        issue = (
            f"main.py shall read a line of whole numbers, {', then '.join(self.wanted.steps)}, and {self.wanted.end}. "
            f"One step of steps.py does something else. For {case.stdin.strip()!r} it should print {case.expected!r}."
        )
        return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": issue}]

    def demonstration(self) -> dict:
        """One edit and a report, as somebody would who knew the place."""
        run = self.episode()
        wrong, right = (STEPS[name][1].format("xs") for name in (self.other, self.wanted.steps[self.place]))
        head = f"def step{self.place + 1}(xs):\n    return "
        edit = {"path": "steps.py", "old": head + wrong, "new": head + right}
        call = {
            "id": "functions.edit_file:0",
            "type": "function",
            "function": {"name": EDIT, "arguments": json.dumps(edit)},
        }
        for message in (
            {"content": "", "tool_calls": [call]},
            {"content": f"I changed step {self.place + 1} in steps.py."},
        ):
            run.step({"role": "assistant"} | message, [])
        passed = run.score() == 1
        verdict = {"passed": passed, "reasons": [] if passed else ["a hidden case fails, or no sandbox works here"]}
        return {"kind": self.kind, "messages": run.messages, "tools": list(self.tools), "verdict": verdict}

    def episode(self) -> "Work":
        return Work(self.messages, Workspace(self.files), self.wanted.cases)


@dataclass
class Work:
    """An episode: tools act on the files; a turn without a call ends it. SandboxError passes through: the episode is void."""

    messages: list[dict]
    workspace: Workspace
    cases: tuple[Case, ...]
    tools: list[dict] = field(default_factory=lambda: list(TOOLS))
    over: bool = False
    faults: list[str] = field(default_factory=list)

    def step(self, message: dict, faults: list[str]) -> None:
        self.faults += faults
        message = normalise(message)
        self.messages.append(message)
        calls = message.get("tool_calls", [])
        self.over = not calls
        for call in calls:
            count = sum(one["role"] == "tool" for one in self.messages)
            call["id"] = f"functions.{call['function']['name']}:{count}"
            result = self.workspace.call(call["function"]["name"], call["function"]["arguments"])
            self.messages.append({"role": "tool", "tool_call_id": call["id"], "content": result.content})

    def score(self) -> float | None:
        """1 if every hidden case is right; None if the sandbox failed."""
        passed = grade(START.format(module="main"), self.cases, files=self.workspace.files, limits=LIMITS).passed
        return None if passed is None else float(passed)


def repairs(n: int, seed: int, split: str = "train", level: int | None = None) -> list[Problem]:
    """`n` repositories of a split whose fault some hidden case shows; the levels in turn, or one: more steps."""
    rng, found = random.Random(f"repairs/{seed}"), []
    while len(found) < n:
        count = COUNTS[len(found) % len(COUNTS) if level is None else level]
        wanted = Coding(tuple(rng.sample(list(STEPS), count)), rng.choice(list(ENDS)), seed)
        place = rng.randrange(count)
        other = rng.choice([name for name in STEPS if name not in wanted.steps])
        broken = Coding(tuple(other if i == place else name for i, name in enumerate(wanted.steps)), wanted.end, seed)
        shows = any(case.expected != broken.printed(list(map(int, case.stdin.split()))) for case in wanted.cases)
        if shows and side("repairs", wanted.steps, wanted.end, other) == split:
            found.append(Repair(wanted, place, other))
    return found
