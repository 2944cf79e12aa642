"""The Berkeley function calling leaderboard with any chat model: one turn, right or not (`k2lib.agents.leaderboard` reads it).

`simple_python` asks for one call, `irrelevance` for none. A model that always calls is right in the first and never in the second,
and one that never does the other way round: the two belong together.
"""

import asyncio
import itertools
from pathlib import Path

from k2lib.agents.leaderboard import questions, right
from k2lib.corpus.tokenizer import Tokenizer
from k2lib.llm import chat
from k2lib.llm.local import sample_turns
from k2lib.llm.protocol import ChatError, ChatModel
from k2lib.model import K2Model

BATCH = 64  # questions sampled together
BUDGET = 128  # tokens of an answer
CATEGORIES = ("simple_python", "irrelevance")


async def asked(
    model: ChatModel, category: str, number: int, *, folder: Path | None = None, at_once: int = 4
) -> list[bool]:
    """Whether each of the first `number` questions of a category is answered rightly.

    One that does not fit the model's positions counts as wrong; ChatError if none got an answer. RuntimeError if the data is not there.
    """
    limit, failed = asyncio.Semaphore(at_once), []

    async def one(question) -> bool:
        async with limit:
            try:
                reply = await model.complete(question.messages, tools=question.tools, max_tokens=256, seed=0)
            except ChatError as error:
                failed.append(error)
                return False
        return right(question, reply.message.get("tool_calls") or [])

    found = await asyncio.gather(*map(one, itertools.islice(questions(category, folder), number)))
    if failed and len(failed) == len(found):
        raise failed[0]
    return list(found)


def of_checkpoint(
    model: K2Model,
    tokenizer: Tokenizer,
    category: str,
    number: int,
    *,
    folder: Path | None = None,
    enforced: bool = False,
) -> list[bool]:
    """The same of a checkpoint, many questions at a time; `enforced` lets through valid calls only.

    An answer that does not end within its budget is wrong where a call is asked for, and where none is if it began one.
    """
    asks = list(itertools.islice(questions(category, folder), number))
    prompts = [chat.encode(tokenizer, one.messages, one.tools)[0] for one in asks]
    room = model.config.max_position_embeddings - BUDGET
    found = [False] * len(asks)
    fitting = [place for place, prompt in enumerate(prompts) if len(prompt) <= room]
    for at in range(0, len(fitting), BATCH):
        places = fitting[at : at + BATCH]
        how = {"budgets": [BUDGET] * len(places)}
        how |= {"tools": [asks[place].tools for place in places]} if enforced else {}
        turns = sample_turns(model, tokenizer, [prompts[place] for place in places], **how)
        for place, turn in zip(places, turns, strict=True):
            calls = turn.parsed.message.get("tool_calls") or []
            found[place] = not turn.parsed.faults and right(asks[place], calls)
    return found
