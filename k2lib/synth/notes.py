"""Mathematics as learning notes, and notes of other languages in English; every equation is worked out again (section 2.2).

A note is checked by what can be computed: its equations hold, its answer is the one that its source gives and that its last equation
has, and the source's numbers are all there. What fails is kept with its reasons and not used.
"""

import hashlib
import re
from dataclasses import dataclass

from k2lib.corpus.lessons import answer_of
from k2lib.llm import ChatModel, Reply
from k2lib.llm.ask import ask
from k2lib.places import DATA
from k2lib.synth.equations import equations

TASKS = ("learning-note", "translation")  # files of data/prompts/mathematics
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Note:
    text: str
    source_sha256: str
    task: str
    model: str
    seed: int
    reasons: tuple[str, ...]  # why it is not used; none if it is


async def written(model: ChatModel, text: str, task: str, *, seed: int = 0) -> Note:
    """A note on `text`, or its translation. ValueError for another task; errors of the model pass through."""
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r}; choose one of {', '.join(TASKS)}")
    prompt = (DATA / "prompts" / "mathematics" / f"{task}.md").read_text(encoding="utf-8")
    request = re.sub(r"<!--.*?-->\n", "", prompt, flags=re.DOTALL).replace("{text}", text)
    limit = 256 + len(text)
    reply = await ask(model, [{"role": "user", "content": request}], _spoken, max_tokens=limit, seed=seed)
    said = reply.message["content"].strip()
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Note(said, digest, task, model.model, seed, check(text, said))


def check(source: str, note: str) -> tuple[str, ...]:
    """What is wrong with a note, a sentence each; nothing if it may be used."""
    reasons, stated = [], equations(note)
    if not stated:
        reasons.append("it works nothing out")
    reasons += [f"{wrong[0].text} does not hold"] if (wrong := [one for one in stated if not one.holds]) else []
    given, found = answer_of(source), answer_of(note)
    if found is None:
        reasons.append("it gives no answer")
    elif given is not None and found != given:
        reasons.append(f"it answers {found}, its source {given}")
    elif stated and stated[-1].text.rpartition("=")[2].strip() != found:
        reasons.append(f"it answers {found} and works out {stated[-1].text}")
    there = set(_NUMBER.findall(note))
    missing = [number for number in _NUMBER.findall(_question(source)) if number not in there]
    return (*reasons, *([f"number {missing[0]} is missing"] if missing else []))


KINDS = {
    "does not hold": "an equation does not hold",
    "works nothing out": "nothing is worked out",
    "gives no answer": "no answer",
    "its source": "another answer than the source's",
    "and works out": "another answer than its last equation's",
    "is missing": "a number is missing",
}


def kind_of(reason: str) -> str:
    """A reason without its numbers."""
    return next(kind for part, kind in KINDS.items() if part in reason)


def _question(source: str) -> str:
    """The lines of the source that ask: a page's number is no part of its mathematics."""
    return "\n".join(line for line in source.splitlines() if line.rstrip().endswith("?"))


def _spoken(reply: Reply) -> Reply:
    if reply.message.get("tool_calls") or not (reply.message.get("content") or "").strip():
        raise ValueError("it is no text; the rewritten text alone is wanted")
    return reply
