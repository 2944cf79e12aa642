"""What a run may spend: tokens and money, counted over all its requests and never exceeded.

A request sets its worst case aside before it is sent, and what it did not use is free again after its reply: so many requests
in flight cannot spend together what none would have spent alone.
"""

from dataclasses import dataclass, field
from math import inf

from k2lib.llm.protocol import ChatError, ChatModel, Reply, Usage

CHARACTERS_PER_TOKEN = 2  # of a prompt, at most so few: most text has four


class BudgetError(RuntimeError):
    """The next request could cost more than what is left; the message says what was spent and how to go on."""


@dataclass
class Budget:
    """ValueError for a limit or price below zero."""

    tokens: float = inf  # read and written, together
    money: float = inf  # in whatever currency the prices are
    price_read: float = 0.0  # of a million tokens of the prompts
    price_written: float = 0.0  # of a million tokens of the replies
    used: Usage = field(default_factory=Usage)
    requests: int = 0
    _held: Usage = field(default_factory=Usage)  # by requests in flight
    _lent: list["Budget"] = field(default_factory=list)  # shares that have not come back

    def __post_init__(self):
        for name in ("tokens", "money", "price_read", "price_written"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; a budget's limits and prices are at least 0")

    def cost(self, usage: Usage) -> float:
        return (usage.prompt_tokens * self.price_read + usage.completion_tokens * self.price_written) / 1e6

    def hold(self, usage: Usage) -> None:
        """Sets so much aside for a request. BudgetError if this and what is in flight could exceed a limit."""
        held = _sum(self._held, usage)
        most = _sum(self.used, held)
        if most.total > self.tokens or self.cost(most) > self.money:
            spent = f"{self.used.total} tokens" + (f", {self.cost(self.used):.2f} in money" * (self.money < inf))
            raise BudgetError(f"the budget is spent ({spent} in {self.requests} requests); raise it and run again")
        self._held = held

    def settle(self, held: Usage, used: Usage) -> None:
        """What was set aside is free again; `used` is spent."""
        less = Usage(-held.prompt_tokens, -held.completion_tokens)
        self._held, self.used = _sum(self._held, less), _sum(self.used, used)

    def share(self, parts: int) -> "Budget":
        """A budget for another process: one of `parts` equal parts of what is left, set aside here until it is settled."""
        tokens = self.tokens - self.used.total - sum(part.tokens for part in self._lent if self.tokens < inf)
        money = self.money - self.cost(self.used) - sum(part.money for part in self._lent if self.money < inf)
        part = Budget(max(0.0, tokens) / parts, max(0.0, money) / parts, self.price_read, self.price_written)
        self._lent.append(part)
        return part

    def settle_share(self, part: "Budget") -> None:
        """The oldest share comes back as `part`, with what it has used."""
        del self._lent[0]
        self.used, self.requests = _sum(self.used, part.used), self.requests + part.requests


class BudgetedChat:
    """A `ChatModel` that asks another as long as a budget lasts."""

    def __init__(self, asked: ChatModel, budget: Budget):
        self.model, self.budget, self._asked = asked.model, budget, asked
        self.identity = getattr(asked, "identity", "")

    async def complete(
        self,
        messages: list[dict],
        *,
        tools: list[dict] | None = None,
        temperature: float = 0.0,
        max_tokens: int = 512,
        seed: int | None = None,
    ) -> Reply:
        """BudgetError before a request that could cost more than what is left; the model's errors pass through."""
        letters = sum(len(str(message.get("content") or "")) for message in messages) + len(str(tools or ""))
        held, used = Usage(letters // CHARACTERS_PER_TOKEN + 1, max_tokens), Usage()
        self.budget.hold(held)
        try:
            settings = {"tools": tools, "temperature": temperature, "max_tokens": max_tokens, "seed": seed}
            self.budget.requests += 1
            reply = await self._asked.complete(messages, **settings)
            used = reply.usage
        except ChatError as error:
            used = error.usage
            raise
        finally:
            self.budget.settle(held, used)
        return reply


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(one.prompt_tokens + other.prompt_tokens, one.completion_tokens + other.completion_tokens)
