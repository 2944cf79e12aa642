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
LONGEST_REPLY = 3  # tokens for one of a piece; the check rejects what is longer, so it need not be paid for


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
    parts, at = [], 0
    while len(text) - at > size:
        end = _sentence_end(text, at, at + size)
        if end <= at:
            space = text.rfind(" ", at + 1, at + size)
            end = space if space > at else at + size
        parts.append(text[at:end])
        at = end
    return [*parts, text[at:]] if text[at:] else parts


def _sentence_end(text: str, start: int, stop: int) -> int:
    """The last place in (start, stop] behind a sentence's end and before white space; `start` if there is none."""
    found = start
    for mark in ".!?\n":
        at = text.rfind(mark, start, stop)
        while at >= found and not text[at + 1].isspace():
            at = text.rfind(mark, start, at)
        found = max(found, at + 1)
    return found


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
            limit = 64 + LONGEST_REPLY * len(piece) // CHARACTERS_PER_TOKEN
            reply = await ask(model, messages, _spoken, temperature=0.7, max_tokens=limit, seed=seed)
            part.append(reply.message["content"].strip())
            stopped |= reply.finish == "length"
        written.append(" ".join(part))
    rewritten = "\n\n".join(written)
    reasons = verify(text, rewritten).reasons + (("the model stopped at its token limit",) if stopped else ())
    reasons += ("it says a sentence twice",) if _repeats(rewritten) and not _repeats(text) else ()
    return Rephrasing(rewritten, _hash(text), style, model.model, seed, Fidelity(not reasons, reasons))


def excerpts(text: str) -> list[str]:
    """`text` in the parts that a model is shown as a whole, of about `EXCERPT` tokens."""
    return pieces(text, EXCERPT * CHARACTERS_PER_TOKEN)


def _repeats(text: str) -> bool:
    """Whether a sentence of several words stands in it again, as where a model does not find its end."""
    sentences = [" ".join(s.split()).lower() for s in re.split(r"(?<=[.!?])\s+|\n+", text)]
    told = [s for s in sentences if s.count(" ") >= 3]
    return len(set(told)) < len(told)


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
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)  # here an interrupt ends it at once
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
