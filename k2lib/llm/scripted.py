"""The scripted writer: rewrites by rule and seed, so that everything runs without an endpoint. It says that it is one.

It restyles sentence by sentence: swaps what may be swapped (connectives, openings, the order of independent sentences) and keeps
every name, number and date. That is far less than a language model does; figures made with it are labelled "scripted".
"""

import random
import re

from k2lib.llm.protocol import Reply, Usage

_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_SWAPS = (
    ("was born in the year", "came into the world in the year"),
    ("was born in", "first saw the light in"),
    ("worked as a", "earned a living as a"),
    ("made a living as a", "worked as a"),
    ("By profession", "By trade"),
    ("studied at", "was a student at"),
    ("took a degree at", "graduated from"),
    ("wrote the book", "is the author of the book"),
    ("is the author of", "wrote"),
    ("plays the", "makes music on the"),
    ("has played the", "has been playing the"),
    ("People know", "The public knows"),
    ("Readers remember", "Many readers remember"),
    (" because ", " since "),
    (" but ", " yet "),
    ("However,", "Still,"),
    (" shows ", " demonstrates "),
    (" large ", " sizeable "),
)
_STYLES = {
    "letter": "Dear friend, ",
    "interview": "Guest: ",
    "news": "Reported today: ",
    "lecture": "As we saw last time, ",
    "question-answer": "What should one know? ",
    "summary": "In short: ",
    "timeline": "In order: ",
    "diary": "Dear diary, ",
    "encyclopaedia": "",
    "textbook": "Note the following. ",
    "children": "Listen, children: ",
    "critic": "Consider the facts. ",
}


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
        match = re.search(r"<text>\n?(.*?)\n?</text>", request, re.DOTALL)
        style = re.search(r"^Style: ([\w-]+)", request, re.MULTILINE)
        rng = random.Random(f"{self.seed}/{seed}/{request}")
        text = rewrite(match[1] if match else request, style[1] if style else "encyclopaedia", rng)
        return Reply(
            {"role": "assistant", "content": text}, "stop", Usage(len(request.split()), len(text.split())), self.model
        )


def rewrite(text: str, style: str, rng: random.Random) -> str:
    """The text in another wording and order; names, numbers and dates stay. Only short plain sentences change places."""
    head, *sentences = _SENTENCE.split(text.strip())
    movable = [
        i
        for i, s in enumerate(sentences)
        if len(s) < 90 and not re.search(r"\b(He|She|It|They|This|That|These|Then|Thus)\b", s)
    ]
    if len(movable) == len(sentences):
        rng.shuffle(sentences)
    out = []
    for sentence in [head, *sentences]:
        for old, new in rng.sample(_SWAPS, len(_SWAPS)):
            if old in sentence:
                sentence = sentence.replace(old, new, 1)
                break
        out.append(sentence)
    return _STYLES.get(style, "") + " ".join(out)
