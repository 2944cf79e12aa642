"""Annotations: what people say of candidate answers, one JSON line each, and what follows from several of them.

{"prompt": id, "candidate": number, "annotator": who, "verdict": "good" | "bad" | "unsure", "note": why}
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

VERDICTS = ("good", "bad", "unsure")


@dataclass(frozen=True)
class Candidate:
    prompt: str  # its id
    number: int
    text: str
    model: str
    reasons: tuple[str, ...]  # why the filter rejects it; empty if it does not
    grade: int | None = None  # a judge's


@dataclass(frozen=True)
class Annotation:
    """A line of an annotation file: {"prompt", "candidate", "annotator", "verdict", "note"}."""

    prompt: str
    candidate: int
    annotator: str
    verdict: str  # one of VERDICTS
    note: str = ""


def verdicts(annotations: Iterable[Annotation]) -> dict[tuple[str, int], str]:
    """{(prompt, candidate): what most annotators say}; "unsure" where good and bad are as many."""
    votes: dict[tuple[str, int], Counter] = defaultdict(Counter)
    for one in {(a.prompt, a.candidate, a.annotator): a for a in annotations}.values():  # the last word of each counts
        votes[one.prompt, one.candidate][one.verdict] += 1
    return {
        key: "good" if v["good"] > v["bad"] else "bad" if v["bad"] > v["good"] else "unsure" for key, v in votes.items()
    }


def agreement(annotations: Iterable[Annotation]) -> float | None:
    """Of the pairs of annotators who judged the same candidate, the share that agrees; None without such a pair."""
    by: dict[tuple, dict[str, str]] = defaultdict(dict)
    for one in annotations:
        by[one.prompt, one.candidate][one.annotator] = one.verdict
    pairs = [(a, b) for said in by.values() for i, a in enumerate(list(said.values())) for b in list(said.values())[:i]]
    return sum(a == b for a, b in pairs) / len(pairs) if pairs else None


def read_annotations(path: Path, candidates: Iterable[Candidate]) -> list[Annotation]:
    """The annotations of a file, without the lines of a sheet that nobody has filled in.

    ValueError names the line of one that is none, or of a candidate that there is not.
    """
    known = {(one.prompt, one.number) for one in candidates}
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            if row.get("annotator") == "" and row.get("verdict") == "unsure":
                continue  # nobody has touched it
            one = Annotation(**{key: value for key, value in row.items() if key != "reads"})
            _check(one, known)
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        found.append(one)
    return found


def sheet(texts: dict[str, str], candidates: Iterable[Candidate]) -> str:
    """An annotation file to be filled in, with prompt (`texts` by id) and answer to read; a line that stays "unsure" decides nothing."""
    rows = (
        {"prompt": one.prompt, "candidate": one.number, "annotator": "", "verdict": "unsure", "note": ""}
        | {"reads": [texts[one.prompt], one.text]}
        for one in candidates
    )
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _check(one: Annotation, known: set[tuple[str, int]]) -> None:
    if one.verdict not in VERDICTS:
        raise ValueError(f"the verdict is {one.verdict!r}; choose one of {', '.join(VERDICTS)}")
    if not isinstance(one.annotator, str) or not one.annotator.strip():
        raise ValueError("annotator is empty; write who judges")
    if (one.prompt, one.candidate) not in known:
        raise ValueError(f"there is no candidate {one.candidate!r} of the prompt {one.prompt!r}")
