"""A long text about a few people at once, in which most sentences say "the botanist" and only the first of each says who that is.

It is what makes long documents hard to rewrite: a piece of it cannot be understood by itself. The rewrite that is wanted says each
fact in other words, in the order of the source, and always of whom; it names a person in full once, where they first appear, and
from then on by one short form, the first name or the last, the same through the whole text.
"""

import itertools
import random
import re
from dataclasses import dataclass

from k2lib.corpus.world.names import CITIES, FIRST, INSTRUMENTS, LAST, NOUNS, PROFESSIONS, UNIVERSITIES
from k2lib.corpus.world.phrases import PREDICATES

TOLD = {  # of the source; the rewrite has the scripted writer's predicates
    "born_in": "was born in {v}",
    "studied_at": "studied at {v}",
    "wrote": "wrote The {v}",
    "plays": "plays the {v}",
}
VALUES = {"born_in": CITIES, "studied_at": UNIVERSITIES, "wrote": NOUNS, "plays": INSTRUMENTS}
_SENTENCE = re.compile(r"(?<=\.)\s+")


@dataclass(frozen=True)
class Statement:
    name: str
    profession: str
    relation: str
    value: str
    first: bool  # of its person in the document


def chronicle(rng: random.Random, people: int, facts: int) -> list[Statement]:
    """`facts` of each of so many people, mixed; no two people share a profession, a part of their names or a value."""
    names = [" ".join(parts) for parts in zip(rng.sample(FIRST, people), rng.sample(LAST, people), strict=True)]
    professions = rng.sample(PROFESSIONS, people)
    values = {relation: rng.sample(of, people) for relation, of in VALUES.items()}
    told = [(i, relation) for i in range(people) for relation in rng.sample(list(VALUES), facts)]
    rng.shuffle(told)
    seen: set[int] = set()
    out = []
    for i, relation in told:
        out.append(Statement(names[i], professions[i], relation, values[relation][i], i not in seen))
        seen.add(i)
    return out


def source(statements: list[Statement]) -> list[str]:
    """A sentence of the document for each statement."""
    return [f"{_introduced(one)} {TOLD[one.relation].format(v=one.value)}." for one in statements]


def rewritten(statements: list[Statement], rng: random.Random, short: int, known: set[str] | None = None) -> list[str]:
    """The wanted rewrite; `short` is the part of a name that later mentions keep, 0 or -1.

    `known`: whom a writer can know who sees a piece alone; others stay "the botanist".
    """
    out = []
    for one in statements:
        if known is not None and one.name not in known:
            who = f"The {one.profession}"
        else:
            who = f"The {one.profession} {one.name if one.first else one.name.split()[short]}"
        out.append(f"{who} {rng.choice(PREDICATES[one.relation]).format(v=_value(one))}.")
    return out


@dataclass(frozen=True)
class Coherence:
    """Shares over the statements of a document, or of its people."""

    kept: float  # facts that are told
    resolved: float  # facts that are told of the right person, by name
    ordered: float  # facts that follow, in the rewrite as in the source, the one before
    introduced: float  # people who are named in full once, at their first fact
    consistent: float  # people whose later mentions are all by name and in one short form


def coherence(statements: list[Statement], text: str) -> Coherence:
    """What of a document a rewrite has kept."""
    sentences = _SENTENCE.split(text.strip())
    places = [_place(one, sentences) for one in statements]
    found = [place for place in places if place is not None]
    told = [
        (one, "" if place is None else sentences[place], place) for one, place in zip(statements, places, strict=True)
    ]
    right = [any(part in sentence.split() for part in one.name.split()) for one, sentence, _ in told]
    full = [place is not None and _in_full(one, sentences) == [place] for one, _, place in told if one.first]
    later: dict[str, list[frozenset]] = {}
    for one, sentence, _ in told:
        if not one.first:
            forms = frozenset(part for part in one.name.split() if part in sentence.split())
            later.setdefault(one.name, []).append(forms)
    one_form = [len(set(forms)) == 1 and len(forms[0]) == 1 for forms in later.values()]
    count = len(statements)
    return Coherence(
        len(found) / count,
        sum(right) / count,
        sum(a < b for a, b in itertools.pairwise(found)) / max(1, count - 1),
        sum(full) / len(full),
        sum(one_form) / max(1, len(one_form)),
    )


def _introduced(one: Statement) -> str:
    return f"The {one.profession} {one.name}" if one.first else f"The {one.profession}"


def _value(one: Statement) -> str:
    return f"The {one.value}" if one.relation == "wrote" else one.value


def _place(one: Statement, sentences: list[str]) -> int | None:
    """The first sentence that ends with the statement's value in one of its relation's wordings."""
    endings = [f"{predicate.format(v=_value(one))}." for predicate in PREDICATES[one.relation]]
    return next((i for i, sentence in enumerate(sentences) if any(map(sentence.endswith, endings))), None)


def _in_full(one: Statement, sentences: list[str]) -> list[int]:
    return [i for i, sentence in enumerate(sentences) if one.name in sentence]
