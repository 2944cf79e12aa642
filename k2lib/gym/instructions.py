"""Instruction data: prompts from sources, several candidate answers of each, a filter, and what people say of them (section 3.1).

K2's two principles are many kinds of prompts and good answers: candidates come from models, and models or people filter them. Here
rules reject what is no answer at all, a known answer decides where there is one, then a model may grade, and annotations overrule both.
"""

import asyncio
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

from k2lib.agents.rubric import names
from k2lib.gym.annotations import Annotation, Candidate, read_annotations, sheet, verdicts
from k2lib.gym.answers import number
from k2lib.llm import arguments
from k2lib.llm.ask import ask
from k2lib.llm.protocol import ChatError, ChatModel, Reply
from k2lib.places import DATA
from k2lib.synth.shards import written

PROMPT = DATA / "prompts" / "judge" / "answer.md"
LONGEST, MOST_GRADE = 20_000, 10  # characters of an answer; the best grade
REPEATED = 4  # times that a line or a run of eight words may stand in an answer
ENOUGH = 7  # the grade from which a candidate is kept


@dataclass(frozen=True)
class Prompt:
    text: str
    source: str  # where it comes from, with its licence
    answer: str | None = None  # what is right, where that can be checked

    @property
    def id(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]


def produce(
    directory: Path,
    prompts: list[Prompt],
    model: ChatModel,
    number: int,
    *,
    judge: ChatModel | None = None,
    annotations: Path | None = None,
    seed: int = 0,
) -> dict[str, int]:
    """Writes candidates.jsonl, annotate.jsonl to be filled in, and instructions.jsonl for `k2 sft`; returns counts.

    Candidates that are there already, of the same prompts, model and seed, are not asked for again. ChatError if none came about.
    """
    path = directory / "candidates.jsonl"
    settings = {"prompts": [prompt.id for prompt in prompts], "model": model.model, "judge": judge and judge.model}
    settings |= {"number": number, "seed": seed}
    candidates = _kept(path, settings)
    if candidates is None:
        candidates = asyncio.run(answered(prompts, model, number, judge=judge, seed=seed))
        if not candidates:
            raise ChatError(f"{model.model} gave no candidate at all; is it there?")
        lines = [settings, *map(asdict, candidates)]
        written(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    said = read_annotations(annotations, candidates) if annotations else []
    best = chosen(candidates, said)
    texts = {prompt.id: prompt.text for prompt in prompts}
    written(directory / "annotate.jsonl", sheet(texts, candidates))
    made = rows(prompts, best)
    written(directory / "instructions.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made))
    refused = Counter(reason for one in candidates for reason in one.reasons)
    return {"prompts": len(prompts), "candidates": len(candidates), "annotations": len(said), "kept": len(made)} | dict(
        refused
    )


async def answered(
    prompts: list[Prompt],
    model: ChatModel,
    number: int,
    *,
    judge: ChatModel | None = None,
    seed: int = 0,
    at_once: int = 8,
) -> list[Candidate]:
    """`number` candidates of each prompt, filtered; without those for which the model, or the judge, could not be reached."""
    limit = asyncio.Semaphore(at_once)

    async def one(prompt: Prompt, i: int) -> Candidate | None:
        async with limit:
            try:
                said = [{"role": "user", "content": prompt.text}]
                reply = await model.complete(
                    said, temperature=0.8 if number > 1 else 0.0, max_tokens=1024, seed=seed * 1000 + i
                )
                text = str(reply.message.get("content") or "")
                reasons = rejected(prompt, text, reply.finish)
                grade = await graded(judge, prompt, text, seed=seed) if judge and not reasons else None
            except ChatError:
                return None
            reasons += ("the judge grades it low",) if grade is not None and grade < ENOUGH else ()
            return Candidate(prompt.id, i, text, model.model, reasons, grade)

    found = await asyncio.gather(*(one(prompt, i) for prompt in prompts for i in range(number)))
    return [candidate for candidate in found if candidate is not None]


def rejected(prompt: Prompt, text: str, finish: str = "stop") -> tuple[str, ...]:
    """Why a text is no good answer, as far as rules can tell."""
    reasons, words = [], text.lower().split()
    if not re.search(r"\w", text):
        return ("it is empty",)
    if finish == "length" or len(text) > LONGEST:
        reasons.append("it does not end")
    runs = Counter(tuple(words[i : i + 8]) for i in range(len(words) - 7))
    lines = Counter(line.strip() for line in text.splitlines() if len(line.strip()) > 12)
    if max([*runs.values(), *lines.values()], default=0) > REPEATED:
        reasons.append("it repeats itself")
    if "<|" in text or "\ufffd" in text:
        reasons.append("it holds control tokens or broken characters")
    if len(words) > 8 and text.strip().lower() in prompt.text.lower():
        reasons.append("it says the question again")
    if prompt.answer is not None and not states(text, prompt.answer):
        reasons.append("it is not the known answer")
    return tuple(reasons)


def states(text: str, answer: str) -> bool:
    """Whether a text states the known answer: a number as `k2lib.gym.answers` reads it, words as they stand."""
    return number(text) == Fraction(answer) if re.fullmatch(r"-?\d+(?:\.\d+)?", answer) else names(text, answer)


def read_prompts(path: Path) -> list[Prompt]:
    """Prompts of a .jsonl file {"prompt", "source", "answer"}, of which the last two may be missing. ValueError names the line."""
    found: dict[str, Prompt] = {}
    for line_number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            text, source, answer = row["prompt"], row.get("source", str(path.name)), row.get("answer")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}, line {line_number}: {type(error).__name__} {error}") from None
        if not (isinstance(text, str) and text.strip() and isinstance(source, str) and isinstance(answer, str | None)):
            raise ValueError(f"{path}, line {line_number}: prompt, source and answer must be text")
        found.setdefault(text, Prompt(text, source, answer))
    if not found:
        raise ValueError(f"{path} holds no prompts")
    return list(found.values())


async def graded(model: ChatModel, prompt: Prompt, text: str, *, seed: int = 0) -> int:
    """A judge's grade from 0 to 10. ChatError if it gives none twice."""
    told = {"prompt": json.dumps(prompt.text, ensure_ascii=False), "answer": json.dumps(text, ensure_ascii=False)}
    request = PROMPT.read_text(encoding="utf-8").format(**told)
    return await ask(model, [{"role": "user", "content": request}], _grade, temperature=0.0, max_tokens=200, seed=seed)


def chosen(candidates: Iterable[Candidate], annotations: Iterable[Annotation] = ()) -> dict[str, Candidate]:
    """{prompt: its best candidate}. People overrule the filter: what most call bad is out, what most call good is in."""
    people = verdicts(annotations)
    best: dict[str, tuple] = {}
    for one in candidates:
        said = people.get((one.prompt, one.number), "unsure")
        if said == "bad" or (one.reasons and said != "good"):
            continue
        rank = (said == "good", one.grade or 0, -one.number)
        if one.prompt not in best or rank > best[one.prompt][0]:
            best[one.prompt] = rank, one
    return {prompt: one for prompt, (_, one) in best.items()}


def rows(prompts: Iterable[Prompt], best: dict[str, Candidate]) -> list[dict]:
    """Messages for `k2 sft`, with where prompt and answer come from."""
    told = [(prompt, best[prompt.id]) for prompt in prompts if prompt.id in best]
    return [
        {
            "messages": [{"role": "user", "content": prompt.text}, {"role": "assistant", "content": one.text}],
            "tools": [],
            "source": prompt.source,
            "candidate": asdict(one) | {"text": ""},
        }
        for prompt, one in told
    ]


def _kept(path: Path, settings: dict) -> list[Candidate] | None:
    """The candidates of a file with these settings; None if there is none."""
    if not path.exists():
        return None
    first, *lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [Candidate(**row | {"reasons": tuple(row["reasons"])}) for row in lines] if first == settings else None


def _grade(reply: Reply) -> int:
    match = re.search(r"\{.*\}", reply.message.get("content") or "", re.DOTALL)
    found, why = arguments.read(match[0]) if match else (None, "no JSON object stands in it")
    if found is None:
        raise ValueError(why)
    grade = found.get("grade")
    if type(grade) is not int or not 0 <= grade <= MOST_GRADE:
        raise ValueError('it is not of the form {"grade": a whole number from 0 to 10}')
    return grade
