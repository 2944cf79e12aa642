"""Knowledge rephrasing: the same facts in other styles and perspectives, chunk by chunk for long texts (section 2.2).

A long document is cut into excerpts of 4096 tokens, an excerpt into pieces of 256. Each piece is rewritten with the whole excerpt
as context and with what was written so far, so that the parts join into one coherent text and no output is ever long. Every
rewrite is verified against its source; what fails is kept with its reasons and not used.
"""

import asyncio
import hashlib
import re
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

from k2lib.llm import ChatError, ChatModel, Reply
from k2lib.llm.ask import ask
from k2lib.places import DATA
from k2lib.synth.fidelity import Fidelity, verify

PROMPTS = DATA / "prompts"
EXCERPT, PIECE = 4096, 256  # tokens, Figure 4 of the paper
CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class Rephrasing:
    text: str
    source_sha256: str
    style: str
    model: str
    seed: int
    verdict: Fidelity


def styles() -> list[str]:
    """The styles there are: one file each in data/prompts/, which also states its intent."""
    return sorted(path.stem for path in PROMPTS.glob("*.md"))


def pieces(text: str, size: int) -> list[str]:
    """`text` cut at sentence ends into pieces of at most `size` characters; joined again they are the text.

    A sentence longer than that (code, a table, one endless line) is cut at white space, and a longer word anywhere.
    """
    parts, current = [], ""
    sentences = re.split(r"(?<=[.!?\n])(?=\s)", text)
    for sentence in (part for s in sentences for part in ([s] if len(s) <= size else _cut(s, size))):
        if current and len(current) + len(sentence) > size:
            parts.append(current)
            current = ""
        current += sentence
    return [*parts, current] if current else parts


def _cut(text: str, size: int) -> Iterator[str]:
    at = 0
    while at < len(text):
        end = at + size
        space = text.rfind(" ", at + 1, end) if end < len(text) else -1
        end = space if space > at else end
        yield text[at:end]
        at = end


async def rephrase(model: ChatModel, text: str, style: str, *, seed: int = 0) -> Rephrasing:
    """One verified rewrite of `text` in `style`. ValueError for an unknown style; errors of the model pass through."""
    written, stopped = [], False
    for excerpt in excerpts(text):
        part: list[str] = []
        for piece in pieces(excerpt, PIECE * CHARACTERS_PER_TOKEN):
            if not piece.strip():
                continue
            request = _template(style).format(context=excerpt, written=" ".join(part), text=piece.strip())
            messages = [{"role": "user", "content": request}]
            reply = await ask(model, messages, _spoken, temperature=0.7, max_tokens=4 * PIECE, seed=seed)
            part.append(reply.message["content"].strip())
            stopped |= reply.finish == "length"
        written.append(" ".join(part))
    rewritten = "\n\n".join(written)
    reasons = verify(text, rewritten).reasons + (("the model stopped at its token limit",) if stopped else ())
    return Rephrasing(rewritten, _hash(text), style, model.model, seed, Fidelity(not reasons, reasons))


def excerpts(text: str) -> list[str]:
    """`text` in the parts that a model is shown as a whole, of about `EXCERPT` tokens."""
    return pieces(text, EXCERPT * CHARACTERS_PER_TOKEN)


def _spoken(reply: Reply) -> Reply:
    if reply.message.get("tool_calls"):
        raise ValueError("it calls tools, and there are none; a text is wanted")
    if not (reply.message.get("content") or "").strip():
        raise ValueError("it is empty")
    return reply


async def rephrase_all(
    model: ChatModel, wanted: Sequence[tuple[str, str]], *, seed: int = 0, concurrency: int = 16
) -> list[Rephrasing]:
    """A rewrite of each (text, style), with a bounded number of requests in flight.

    One that fails for good is returned without text, with the failure as its reason: what the others cost is not lost.
    ChatError if all fail.
    """
    slots, failures = asyncio.Semaphore(concurrency), []

    async def one(text: str, style: str) -> Rephrasing:
        async with slots:
            try:
                return await rephrase(model, text, style, seed=seed)
            except ChatError as error:
                failures.append(error)
                return Rephrasing("", _hash(text), style, model.model, seed, Fidelity(False, (f"no reply: {error}",)))

    done = await asyncio.gather(*(one(text, style) for text, style in wanted))
    if failures and len(failures) == len(done):
        raise failures[0]
    return done


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def run(work: Coroutine):
    """Finish a coroutine and return its result, also from inside a running event loop, as in a notebook."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


@lru_cache
def _template(style: str) -> str:
    path = PROMPTS / f"{style}.md"
    if style not in styles():
        raise ValueError(f"unknown style {style!r}; data/prompts holds {', '.join(styles())}")
    return re.sub(r"<!--.*?-->\n", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)


def differences(source: str, rewrite: str) -> Iterator[tuple[str, bool]]:
    """(word, is_new) of the rewrite: which words the source did not have, for showing the two side by side."""
    known = set(re.findall(r"\w+", source.lower()))
    for word in rewrite.split():
        yield word, not set(re.findall(r"\w+", word.lower())) <= known
