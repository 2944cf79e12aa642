"""A long text about a few people at once, in which most sentences say "the botanist" and only the first of each says who that is.

It is what makes long documents hard to rewrite: a piece of it cannot be understood by itself. The rewrite that is wanted says each
fact in other words and order kept, names a person in full once, where they first appear, and by the first name from then on.
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
    """`facts` of each of so many people, mixed; no two people share a profession, a first name or a value."""
    names = [f"{first} {rng.choice(LAST)}" for first in rng.sample(FIRST, people)]
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


def rewritten(statements: list[Statement], rng: random.Random, known: set[str] | None = None) -> list[str]:
    """The wanted rewrite. `known`: whom a writer can know who sees a piece alone; others stay "the botanist"."""
    out = []
    for one in statements:
        if known is not None and one.name not in known:
            who = f"The {one.profession}"
        else:
            who = f"{one.name}, the {one.profession}," if one.first else one.name.split()[0]
        out.append(f"{who} {rng.choice(PREDICATES[one.relation]).format(v=_value(one))}.")
    return out


@dataclass(frozen=True)
class Coherence:
    """Shares over the statements of a document, or of its people."""

    kept: float  # facts that are told
    resolved: float  # facts that are told of the right person, by name
    introduced: float  # people who are named in full once, at their first fact
    ordered: float  # pairs of facts, told one after the other, that are so in the source


def coherence(statements: list[Statement], text: str) -> Coherence:
    """What of a document a rewrite has kept."""
    sentences = _SENTENCE.split(text.strip())
    places = [_place(one, sentences) for one in statements]
    right = [
        place is not None and one.name.split()[0] in sentences[place]
        for one, place in zip(statements, places, strict=True)
    ]
    firsts = [(one, place) for one, place in zip(statements, places, strict=True) if one.first]
    full = [place is not None and _named_in_full(one, sentences) == [place] for one, place in firsts]
    found = [place for place in places if place is not None]
    pairs = list(itertools.pairwise(found))
    count = len(statements)
    return Coherence(
        len(found) / count, sum(right) / count, sum(full) / len(full), sum(a < b for a, b in pairs) / max(1, count - 1)
    )


def _introduced(one: Statement) -> str:
    article = "an" if one.profession[0] in "aeiou" else "a"
    return f"{one.name}, {article} {one.profession}," if one.first else f"The {one.profession}"


def _value(one: Statement) -> str:
    return f"The {one.value}" if one.relation == "wrote" else one.value


def _place(one: Statement, sentences: list[str]) -> int | None:
    """The first sentence that ends with the statement's value in one of its relation's wordings."""
    endings = [f"{predicate.format(v=_value(one))}." for predicate in PREDICATES[one.relation]]
    return next((i for i, sentence in enumerate(sentences) if any(map(sentence.endswith, endings))), None)


def _named_in_full(one: Statement, sentences: list[str]) -> list[int]:
    return [i for i, sentence in enumerate(sentences) if one.name in sentence]
