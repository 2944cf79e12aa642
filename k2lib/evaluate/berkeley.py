"""The Berkeley function calling leaderboard with any chat model: one turn, right or not (`k2lib.agents.leaderboard` reads it).

`simple_python` asks for one call, `irrelevance` for none. A model that always calls is right in the first and never in the second,
and one that never does the other way round: the two belong together.
"""

import asyncio
import itertools
from pathlib import Path

from k2lib.agents.leaderboard import questions, right
from k2lib.llm.protocol import ChatError, ChatModel

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
