"""The scripted writer: rewrites by rule and seed, so that everything runs without an endpoint. It says that it is one.

A document of the generated world it reads and tells anew (`restyle`); any other text keeps its sentences and has some words
exchanged. That is far less than a language model does; figures made with it are labelled "scripted".
"""

import random
import re

from k2lib.corpus.world.restyle import rewrite
from k2lib.llm.protocol import Reply, Usage


class ScriptedChat:
    """A `ChatModel` that knows one job, rewriting what stands between <text> and </text> in the last message."""

    model = "scripted"

    def __init__(self, seed: int = 0):
        self.seed = seed

    async def complete(
        self,
        messages: list[dict],
        *,
        tools: list[dict] | None = None,
        temperature: float = 0.0,
        max_tokens: int = 512,
        seed: int | None = None,
    ) -> Reply:
        request = messages[-1]["content"]
        # the last one: the context may spell it too
        match = re.search(r".*<text>\n?(.*?)\n?</text>\s*$", request, re.DOTALL)
        style = re.search(r"^Style: ([\w-]+)", request, re.MULTILINE)
        begun = re.search(r"<written>\s*[^\s<]", request)  # what goes on needs no second opening
        rng = random.Random(f"{self.seed}/{seed}/{request}")
        text = rewrite(match[1] if match else request, style[1] if style else "encyclopaedia", rng, opened=bool(begun))
        usage = Usage(len(request.split()), len(text.split()))
        return Reply({"role": "assistant", "content": text}, "stop", usage, self.model)
