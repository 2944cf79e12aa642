"""People, their facts, the documents that tell them, and the questions about them.

Every person has six facts. A document tells them in one of several styles, in an order and wording of its own: the styles and
perspectives that knowledge rephrasing asks for (section 2.2). Questions about half of the people stand in the corpus, so
that a model can learn what a question is; the other half is asked only in evaluation, and its answers stand in documents alone.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from string import ascii_uppercase

from k2lib.corpus.documents import Document
from k2lib.corpus.split import check
from k2lib.corpus.world.names import ADJECTIVES, CITIES, FIRST, INSTRUMENTS, LAST, NOUNS, PROFESSIONS, UNIVERSITIES
from k2lib.corpus.world.phrases import OPENINGS, QUESTIONS, SENTENCES, STYLES

LICENCE = "generated"


@dataclass(frozen=True)
class Fact:
    person: str
    relation: str
    value: str


@dataclass(frozen=True)
class QA:
    question: str
    answer: str
    fact: Fact


class World:
    """People and their facts; the same seed gives the same world."""

    def __init__(self, facts: dict[str, dict[str, str]], seed: int):
        self._facts, self.seed = facts, seed

    @classmethod
    def generate(cls, seed: int, people: int) -> "World":
        """ValueError for more people than there are names."""
        names = [f"{first} {last}" for first in FIRST for last in LAST]
        if people > len(names):  # a middle initial tells namesakes apart
            names += [f"{first} {c}. {last}" for c in ascii_uppercase for first in FIRST for last in LAST]
        if not 2 <= people <= len(names):
            raise ValueError(f"people is {people}; this world has names for 2 to {len(names)}")
        rng = random.Random(f"world/{seed}")
        return cls({name: _facts(rng) for name in rng.sample(names, people)}, seed)

    @property
    def people(self) -> list[str]:
        return list(self._facts)

    def facts(self, person: str) -> list[Fact]:
        return [Fact(person, relation, value) for relation, value in self._facts[person].items()]

    def document(self, person: str, style: str, rng: random.Random) -> str:
        """One text that states all facts of `person` in the given style, wording and order drawn from `rng`."""
        facts = self.facts(person)
        rng.shuffle(facts)
        if style == "timeline":
            facts.sort(key=lambda fact: fact.relation != "birth_year")
        sentences = []
        for number, fact in enumerate(facts):
            pattern = rng.choice(SENTENCES[fact.relation])
            pronoun = person if number == 0 else rng.choice((person, person.split()[0]))
            sentences.append(pattern.format(n=person, p=pronoun, v=fact.value))
        return rng.choice(OPENINGS[style]).format(n=person) + " ".join(sentences)

    def questions(self, person: str) -> list[QA]:
        return [QA(QUESTIONS[f.relation].format(n=person), f.value, f) for f in self.facts(person)]

    def of(self, split: str) -> list[str]:
        """The people of a split: every other one is asked about in the corpus, the rest only in evaluation."""
        return {"train": self.people[0::2], "development": self.people[1::4], "test": self.people[3::4]}[check(split)]

    def documents(self, per_person: int, seed: int = 0) -> Iterator[Document]:
        """`per_person` documents of everyone, each in another style while they last, and as often the questions of the asked half."""
        rng = random.Random(f"documents/{self.seed}/{seed}")
        for person in self.people:
            order = rng.sample(STYLES, len(STYLES))
            for number in range(per_person):
                style = order[number % len(order)]
                yield Document(self.document(person, style, rng), f"{person}, {style}", "world", LICENCE)
        for person in self.of("train"):
            for _ in range(per_person):
                asked = rng.sample(self.questions(person), 6)
                yield Document("\n".join(question_text(qa.question, qa.answer) for qa in asked), person, "qa", LICENCE)


def _facts(rng: random.Random) -> dict[str, str]:
    return {
        "born_in": rng.choice(CITIES),
        "birth_year": str(rng.randint(1900, 1989)),
        "profession": rng.choice(PROFESSIONS),
        "studied_at": rng.choice(UNIVERSITIES),
        "wrote": f"The {rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}",
        "plays": rng.choice(INSTRUMENTS),
    }


def question_text(question: str, answer: str = "") -> str:
    """The one form in which the corpus asks; leave the answer out to prompt for it."""
    return f"Question: {question}\nAnswer:{' ' + answer if answer else ''}"
