"""The tool simulator: executes calls against a domain's state, transactionally, with seeded faults (section 3.1).

The paper calls it functionally a world model, with controlled stochasticity: success, partial failure, edge cases. Here a
call ends in one of `OUTCOMES`. Malformed and refused ones leave the state exactly as it was. A passing fault goes away
when the call is repeated. A partial failure was done and its answer is lost: a look-up must be repeated then, a payment
must not. After a time-out nobody knows: half of them were done.
"""

import copy
import json
import random
from dataclasses import dataclass

from k2lib.agents.domains.domain import Domain, ToolError
from k2lib.agents.tools import check_call, tool

OUTCOMES = ("success", "malformed", "refused", "busy", "lost", "timed out, done", "timed out, not done")
DONE = ("success", "lost", "timed out, done")  # outcomes after which the state is another
BUSY = "service busy, try again"
LOST = "done, but the answer was lost"
TIMED_OUT = "timed out, it may or may not have been done"
FAULTS = {"busy": 4, "lost": 2, "timed out, done": 1, "timed out, not done": 1}  # shares
LARGEST_STATE = 100_000  # characters of JSON
LONGEST_RESULT = 1000  # characters of what a tool returns


@dataclass(frozen=True)
class ToolResult:
    content: str
    ok: bool
    outcome: str = ""


@dataclass(frozen=True)
class Application:
    """A domain under other names: the tools as this application calls them, mapped to the domain's actions."""

    name: str
    domain: Domain
    tools: dict[str, str]  # tool name -> action
    wording: int = 0  # which of an action's descriptions it has

    @property
    def specs(self) -> list[dict]:
        return [self._spec(name, self.domain.actions[action]) for name, action in self.tools.items()]

    def _spec(self, name: str, action) -> dict:
        return tool(name, action.descriptions[self.wording % len(action.descriptions)], action.parameters)

    def tool_for(self, action: str) -> str:
        return next(name for name, known in self.tools.items() if known == action)


class ToolSimulator:
    """One episode's world. `state` is a copy; nobody else's state is touched."""

    def __init__(self, application: Application, state: dict, seed: int = 0, fault_rate: float = 0.0):
        self.application, self.state, self.fault_rate = application, copy.deepcopy(state), fault_rate
        self._rng = random.Random(f"faults/{seed}")
        self._specs = application.specs

    def call(self, name: object, arguments: object) -> ToolResult:
        """Execute one call as a model wrote it; never raises for anything a model can write. Results are short text."""
        content, outcome = self._call(name, arguments)
        shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in content[:LONGEST_RESULT])
        return ToolResult(
            shown + ("…" if len(content) > LONGEST_RESULT else ""), outcome in ("success", "lost"), outcome
        )

    def _call(self, name: object, arguments: object) -> tuple[str, str]:
        values, reason = check_call(name, arguments, self._specs)
        if values is None:
            return f"error: {reason}", "malformed"
        fault = self._fault()
        if fault == "busy":
            return f"error: {BUSY}", fault
        if fault == "timed out, not done":
            return f"error: {TIMED_OUT}", fault
        action = self.application.domain.actions[self.application.tools[name]]
        trial = copy.deepcopy(self.state)
        try:
            result = action.run(trial, **values)
            if len(json.dumps(trial)) > LARGEST_STATE:
                raise ToolError("the service is full")
        except ToolError as error:
            return f"error: {error}", "refused"
        self.state = trial
        said = {"lost": LOST, "timed out, done": f"error: {TIMED_OUT}"}
        return said.get(fault, json.dumps(result)), fault or "success"

    def _fault(self) -> str:
        chance, drawn = self._rng.random(), self._rng.choices(list(FAULTS), list(FAULTS.values()))[0]
        return drawn if chance < self.fault_rate else ""
