"""What saves money: kept replies, budgets that hold, one more try for what has no form."""

import asyncio
import json
from dataclasses import dataclass, field

import pytest

from k2lib.llm import ChatError
from k2lib.llm.ask import ask
from k2lib.llm.budget import Budget, BudgetedChat, BudgetError
from k2lib.llm.cache import CachedChat
from k2lib.llm.protocol import Reply, Usage

ASK = [{"role": "user", "content": "hi"}]


@dataclass
class Talker:
    """Says what is queued, then repeats the last; an error among it is raised."""

    says: list
    model: str = "talker"
    identity: str = ""
    usage: Usage = Usage(10, 5)  # noqa: RUF009
    heard: list = field(default_factory=list)

    async def complete(self, messages, **settings):
        self.heard.append((messages, settings))
        text = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        await asyncio.sleep(0)
        if isinstance(text, Exception):
            raise text
        return Reply({"role": "assistant", "content": text}, "stop", self.usage, self.model)


def once(model, messages=ASK, **settings):
    return asyncio.run(model.complete(messages, **settings))


def test_the_same_request_is_asked_once_and_any_difference_again(tmp_path):
    talker = Talker(["a", "b", "c", "d", "e", "f", "g"])
    cached = CachedChat(talker, tmp_path)
    assert [once(cached).message["content"] for _ in range(2)] == ["a", "a"] and cached.hits == 1
    assert once(CachedChat(talker, tmp_path)).usage == Usage()  # another process pays nothing either
    different = [{"seed": 1}, {"temperature": 0.5}, {"max_tokens": 7}, {"tools": [{"type": "function"}]}]
    assert [once(cached, **one).message["content"] for one in different] == ["b", "c", "d", "e"]
    assert once(cached, [{"role": "user", "content": "ho"}]).message["content"] == "f"
    assert once(CachedChat(Talker(["other"], identity="elsewhere"), tmp_path)).message["content"] == "other"


def test_failures_are_not_kept_and_a_damaged_reply_is_asked_for_again(tmp_path):
    cached = CachedChat(Talker([ChatError("down"), "up", "new"]), tmp_path)
    with pytest.raises(ChatError):
        once(cached)
    assert once(cached).message["content"] == "up"
    (kept,) = tmp_path.rglob("*.json")
    for damage in (kept.read_text()[:20], json.dumps({"message": {"content": None}, "finish": "", "model": ""}), "[]"):
        kept.write_text(damage)
        assert once(cached).message["content"] == "new"
    assert not list(tmp_path.rglob("*.partial"))


def test_a_budget_is_never_exceeded_however_many_are_in_flight():
    talker, budget = Talker(["x"]), Budget(tokens=200)
    model = BudgetedChat(talker, budget)

    async def all_at_once():
        return await asyncio.gather(*(model.complete(ASK, max_tokens=50) for _ in range(20)), return_exceptions=True)

    found = asyncio.run(all_at_once())
    refused = [one for one in found if isinstance(one, BudgetError)]
    assert len(talker.heard) + len(refused) == 20 and 3 <= len(talker.heard) < 20
    assert budget.used == Usage(10 * len(talker.heard), 5 * len(talker.heard)) and budget.used.total <= 200
    assert "raise it and run again" in str(refused[0])


def test_money_is_counted_by_its_prices_and_a_failure_costs_what_it_cost():
    budget = Budget(money=1.0, price_read=10_000, price_written=20_000)
    model = BudgetedChat(Talker([ChatError("cut", Usage(10, 5)), "x"]), budget)
    with pytest.raises(ChatError):
        once(model, max_tokens=10)
    assert budget.cost(budget.used) == pytest.approx(0.2) and budget.requests == 1
    once(model, max_tokens=10)
    with pytest.raises(BudgetError, match=r"0\.40 in money in 2 requests"):
        once(model, max_tokens=50)
    with pytest.raises(ValueError, match="price_read is -1"):
        Budget(price_read=-1)


def test_shares_of_a_budget_never_add_up_to_more():
    budget = Budget(tokens=100)
    one, other = budget.share(2), budget.share(1)
    assert (one.tokens, other.tokens) == (50, 50) and budget.share(1).tokens == 0
    one.settle(Usage(), Usage(30, 10))
    budget.settle_share(one)
    assert budget.used.total == 40 and budget.share(1).tokens == 10
    assert Budget().share(2).share(3).tokens == float("inf")


def test_what_has_no_form_is_asked_for_once_more_with_the_reason():
    def number(reply):
        return int(reply.message["content"])

    talker = Talker(["seven", "7"])
    assert asyncio.run(ask(talker, ASK, number, seed=3)) == 7
    told = talker.heard[1]
    assert told[1] == {"seed": 3} and told[0][1]["content"] == "seven" and "seven" in told[0][2]["content"]
    with pytest.raises(ChatError, match="talker answered twice"):
        asyncio.run(ask(Talker(["no", "never"]), ASK, number))
