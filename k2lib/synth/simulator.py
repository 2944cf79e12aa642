"""The tool simulator: executes calls against a domain's state, transactionally, with seeded faults (section 3.1).

The paper calls it functionally a world model. Three outcomes are simulated: success, a refusal by the domain (the state says
no), and a passing fault that goes away when the call is repeated. Whatever fails leaves the state exactly as it was.
"""

import copy
import json
import random
from dataclasses import dataclass

from k2lib.synth.domains import Domain, ToolError
from k2lib.synth.tools import check_call, tool

BUSY = "service busy, try again"
LARGEST_STATE = 100_000  # characters of JSON


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

    def call(self, name: str, arguments: str) -> ToolResult:
        """Execute one call as a model wrote it; never raises for anything a model can write."""
        values, reason = check_call(name, arguments, self._specs)
        if values is None:
            return ToolResult(f"error: {reason}", False)
        if self._rng.random() < self.fault_rate:
            return ToolResult(f"error: {BUSY}", False)
        action = self.application.domain.actions[self.application.tools[name]]
        trial = copy.deepcopy(self.state)
        try:
            result = action.run(trial, **values)
            if len(json.dumps(trial)) > LARGEST_STATE:
                raise ToolError("the service is full")
        except ToolError as error:
            return ToolResult(f"error: {error}", False)
        self.state = trial
        return ToolResult(json.dumps(result), True)
