"""The tool simulator: executes calls against a domain's state, transactionally, with seeded faults (section 3.1).

The paper calls it functionally a world model. Four outcomes are simulated: success, a refusal by the domain (the state
says no), a passing fault that goes away when the call is repeated, and a partial failure, where the call was done and
its answer was lost: a look-up must be repeated then, a payment must not. Whatever is answered by "error" leaves the
state exactly as it was.
"""

import copy
import json
import random
from dataclasses import dataclass

from k2lib.agents.domains.domain import Domain, ToolError
from k2lib.agents.tools import check_call, tool

BUSY = "service busy, try again"
LOST = "done, but the answer was lost"
LOST_SHARE = 0.25  # of the faults
LARGEST_STATE = 100_000  # characters of JSON
LONGEST_RESULT = 1000  # characters of what a tool returns


@dataclass(frozen=True)
class ToolResult:
    content: str
    ok: bool


@dataclass(frozen=True)
class Application:
    """A domain under other names: the tools as this application calls them, mapped to the domain's actions."""

    name: str
    domain: Domain
    tools: dict[str, str]  # tool name -> action

    @property
    def specs(self) -> list[dict]:
        actions = self.domain.actions
        return [
            tool(name, actions[action].description, actions[action].parameters) for name, action in self.tools.items()
        ]

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
        content, ok = self._call(name, arguments)
        shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in content[:LONGEST_RESULT])
        return ToolResult(shown + ("…" if len(content) > LONGEST_RESULT else ""), ok)

    def _call(self, name: object, arguments: object) -> tuple[str, bool]:
        values, reason = check_call(name, arguments, self._specs)
        if values is None:
            return f"error: {reason}", False
        fault = self._rng.random()
        lost = (1 - LOST_SHARE) * self.fault_rate <= fault < self.fault_rate
        if fault < self.fault_rate and not lost:
            return f"error: {BUSY}", False
        action = self.application.domain.actions[self.application.tools[name]]
        trial = copy.deepcopy(self.state)
        try:
            result = action.run(trial, **values)
            if len(json.dumps(trial)) > LARGEST_STATE:
                raise ToolError("the service is full")
        except ToolError as error:
            return f"error: {error}", False
        self.state = trial
        return LOST if lost else json.dumps(result), True
