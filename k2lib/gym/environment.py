"""A user's own environment as a problem: one plain Python class, or reward functions, in the form that TRL's trainer takes.

The class has `reset(**row)`, whose text, if any, is added to the last message of the prompt. Its other public methods are the
tools: type hints and the docstring (Google's style) become their specification. `get_reward()`, if there, scores the episode
when the model answers without a call. A reward function gets `prompts`, `completions` and the row's columns as lists of one,
and gives a list of one number, or None where it does not apply.
"""

import inspect
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import jsonschema
import pydantic

from k2lib.agents.specs import adapted
from k2lib.llm.arguments import read
from k2lib.synth.rephrase import run

OWN = ("reset", "get_reward")
LONGEST = 300  # characters of an error that the model is told
BUDGET = 256  # tokens of one turn, unless the row says otherwise


@dataclass(frozen=True, eq=False)
class Task:
    """A row of a user's data, played in a new instance that `make()` gives, scored by the instance and by `rewards`."""

    row: dict  # "prompt": messages or text; all of it is handed to reset, all but the prompt to the reward functions
    make: Callable[[], object] | None = None
    rewards: Sequence[Callable] = ()
    budget: int = BUDGET
    kind: str = "environment"
    plain: None = None

    def __post_init__(self) -> None:
        if not self.rewards and not hasattr(self._class, "get_reward"):
            raise ValueError("nothing scores this task; give reward functions, or an environment with get_reward")

    @cached_property
    def _class(self) -> type:
        return type(self.make()) if self.make else object

    @property
    def messages(self) -> list[dict]:
        """The prompt, without what reset adds."""
        prompt = self.row.get("prompt", "")
        return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [dict(one) for one in prompt]

    @cached_property
    def tools(self) -> list[dict]:
        return [specification(method) for method in methods(self._class).values()]

    def demonstration(self) -> dict:
        raise NotImplementedError(f"a task of kind {self.kind!r} has no demonstration; it can be played, not imitated")

    def episode(self) -> "Run":
        """A new one. An environment that cannot be made or reset costs this episode alone, which is void."""
        messages = self.messages
        try:
            environment = self.make() if self.make else None
            said = environment.reset(**self.row) if environment else None
        except Exception as error:  # the environment's own
            return Run(self, None, messages, self.tools, len(messages), over=True, failed=error)
        if said is not None:
            messages[-1] = messages[-1] | {"content": messages[-1]["content"] + said}
        return Run(self, environment, messages, self.tools, len(messages))


@dataclass
class Run:
    """An episode in an environment."""

    task: Task
    environment: object
    messages: list[dict]
    tools: list[dict]
    start: int  # messages before the model's first
    over: bool = False
    faults: list[str] = field(default_factory=list)
    failed: Exception | None = None  # why there is no environment

    def step(self, message: dict, faults: list[str]) -> None:
        """Executes the calls of a turn; a turn without any ends the episode. A tool that raises answers with its error."""
        self.faults += faults
        self.messages.append(message)
        calls = message.get("tool_calls") or []
        self.over = not calls
        for call in calls:
            answer = self._called(call["function"]["name"], call["function"]["arguments"])
            self.messages.append({"role": "tool", "tool_call_id": call["id"], "content": answer})

    def _called(self, name: str, text: str) -> str:
        known = {spec["function"]["name"]: spec["function"]["parameters"] for spec in self.tools}
        if name not in known:
            return json.dumps({"error": f"there is no tool {name!r}; there are {', '.join(sorted(known)) or 'none'}"})
        given, why = read(text)
        if given is None:
            return json.dumps({"error": why})
        try:
            jsonschema.validate(given, known[name])
            answer = waited(getattr(self.environment, name)(**given))
        except jsonschema.ValidationError as error:
            answer = {"error": error.message[:LONGEST]}
        except Exception as error:  # the tool's own
            answer = {"error": f"{type(error).__name__}: {error}"[:LONGEST]}
        return answer if isinstance(answer, str) else json.dumps(answer, default=str)

    def score(self) -> float | None:
        """The sum of what the environment and the reward functions give; None if none of them applies. Their errors pass through."""
        if self.failed is not None:
            raise self.failed
        found = [waited(self.environment.get_reward())] if hasattr(self.environment, "get_reward") else []
        columns = {key: [value] for key, value in self.task.row.items() if key != "prompt"}
        columns |= {"environments": [self.environment]} if self.environment else {}
        prompts, completions = [self.messages[: self.start]], [self.messages[self.start :]]
        for reward in self.task.rewards:
            found += waited(reward(prompts=prompts, completions=completions, **_wanted(reward, columns)))
        found = [float(value) for value in found if value is not None and not math.isnan(value)]
        return sum(found) if found else None


def waited(value: object) -> object:
    """The result of what may be a coroutine: judges and servers are asked asynchronously."""
    return run(value) if inspect.iscoroutine(value) else value


def methods(environment: type) -> dict[str, Callable]:
    """The tools of an environment class, by name."""
    found = inspect.getmembers(environment, inspect.isfunction)
    return {name: method for name, method in found if name not in OWN and not name.startswith("_")}


def specification(method: Callable) -> dict:
    """The OpenAI function of a method with type hints and a docstring. ValueError names what K2 could not be told of it."""
    told = inspect.getdoc(method) or ""
    fields = {
        name: (
            one.annotation,
            pydantic.Field(... if one.default is one.empty else one.default, description=_about(told, name)),
        )
        for name, one in inspect.signature(method).parameters.items()
        if name != "self"
    }
    if missing := [name for name, (kind, _) in fields.items() if kind is inspect.Parameter.empty]:
        raise ValueError(f"{method.__qualname__}: give {', '.join(missing)} a type; the model is told of it")
    schema = pydantic.create_model(method.__name__, **fields).model_json_schema()
    made = adapted(method.__name__, re.split(r"\n\s*\n|\n\s*Args:", told)[0].strip(), schema)
    if made.spec is None:
        raise ValueError(f"{method.__qualname__} cannot be a tool: {'; '.join(made.changes)}")
    return made.spec


def _about(told: str, name: str) -> str | None:
    """What a docstring's Args say of an argument."""
    found = re.search(rf"^\s+{re.escape(name)}\s*(?:\([^)]*\))?:\s*(.+)$", told, re.MULTILINE)
    return found[1].strip() if found else None


def _wanted(function: Callable, columns: dict) -> dict:
    """Those of the columns that a function takes."""
    parameters = inspect.signature(function).parameters.values()
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return columns
    return {one.name: columns[one.name] for one in parameters if one.name in columns}
