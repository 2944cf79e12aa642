"""The rewriting of one part, with all that a worker must be told: plain data, which travel to another machine."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from k2lib.llm import ChatModel
from k2lib.llm.budget import Budget, BudgetedChat
from k2lib.serving.open import Spoken
from k2lib.synth import shards
from k2lib.synth.passages import Passage
from k2lib.synth.shards import Settings


@dataclass(frozen=True)
class Run:
    directory: str
    settings: Settings
    model: Spoken
    concurrency: int  # requests in flight
    budget: Budget  # what is left for whoever does the part


@dataclass(frozen=True)
class Outcome:
    counts: Counter
    budget: Budget  # with what the part has spent
    error: RuntimeError | None = None  # why it was not finished


async def rewritten(run: Run, number: int, part: list[Passage], model: ChatModel) -> Counter:
    """Does one part and counts. BudgetError or ChatError if it cannot be finished; nothing is written then."""
    held = BudgetedChat(model, run.budget)
    return await shards.write(Path(run.directory), number, part, run.settings, held, run.concurrency)
