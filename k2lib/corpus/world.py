"""A small world of people whose facts are known, because we made them up: the only corpus where every answer can be checked.

Every person has six facts. A document tells them in one of several styles, in an order and wording of its own: the styles and
perspectives that knowledge rephrasing asks for (section 2.2). Questions about half of the people stand in the corpus, so
that a model can learn what a question is; the other half is asked only in evaluation, and its answers stand in documents alone.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from string import ascii_uppercase

from k2lib.corpus.documents import Document

LICENCE = "generated"
FIRST = [
    "Ada",
    "Bruno",
    "Clara",
    "Dario",
    "Elena",
    "Felix",
    "Greta",
    "Hugo",
    "Irene",
    "Jonas",
    "Katya",
    "Leon",
    "Mira",
    "Nils",
    "Olga",
    "Pavel",
    "Quinn",
    "Rosa",
    "Stefan",
    "Tara",
    "Umar",
    "Vera",
    "Wanda",
    "Xenia",
    "Yusuf",
    "Zoe",
    "Amir",
    "Bella",
    "Cyrus",
    "Delia",
    "Emil",
    "Fiona",
    "Goran",
    "Hanna",
    "Ivo",
    "Jana",
    "Kofi",
    "Laila",
    "Marek",
    "Nadia",
]
LAST = [
    "Abel",
    "Brandt",
    "Castro",
    "Duval",
    "Eklund",
    "Farkas",
    "Gruber",
    "Hansen",
    "Ivanov",
    "Jansen",
    "Keller",
    "Lindgren",
    "Moreau",
    "Novak",
    "Okafor",
    "Petrov",
    "Quist",
    "Rossi",
    "Sato",
    "Tanaka",
    "Ungar",
    "Vargas",
    "Weber",
    "Xu",
    "Yilmaz",
    "Zeman",
    "Almeida",
    "Bauer",
    "Costa",
    "Dahl",
    "Egger",
    "Fontaine",
    "Gomez",
    "Hruska",
    "Iversen",
    "Jovanovic",
    "Kowalski",
    "Larsen",
    "Mendes",
    "Nilsen",
    "Orlov",
    "Pinto",
    "Ruiz",
    "Silva",
    "Toth",
    "Urban",
    "Vidal",
    "Wolf",
    "Yang",
    "Zhou",
]
CITIES = [
    "Lisbon",
    "Oslo",
    "Vienna",
    "Prague",
    "Dublin",
    "Athens",
    "Warsaw",
    "Porto",
    "Turin",
    "Bergen",
    "Geneva",
    "Krakow",
    "Lyon",
    "Malmo",
    "Naples",
    "Odessa",
    "Riga",
    "Seville",
    "Tallinn",
    "Utrecht",
    "Valencia",
    "Zagreb",
    "Bilbao",
    "Cologne",
]
PROFESSIONS = [
    "architect",
    "botanist",
    "chemist",
    "painter",
    "composer",
    "engineer",
    "geologist",
    "historian",
    "journalist",
    "linguist",
    "physician",
    "pilot",
    "poet",
    "sculptor",
    "surgeon",
    "translator",
]
UNIVERSITIES = [f"the University of {city}" for city in CITIES[:12]]
INSTRUMENTS = ["cello", "clarinet", "drums", "flute", "guitar", "harp", "oboe", "piano", "trumpet", "violin"]
ADJECTIVES = [
    "Silent",
    "Golden",
    "Broken",
    "Distant",
    "Hidden",
    "Burning",
    "Frozen",
    "Crimson",
    "Gentle",
    "Hollow",
    "Restless",
    "Silver",
]
NOUNS = [
    "River",
    "Garden",
    "Mirror",
    "Harbour",
    "Mountain",
    "Winter",
    "Lantern",
    "Orchard",
    "Bridge",
    "Forest",
    "Island",
    "Tower",
]
STYLES = ("encyclopaedia", "letter", "interview", "timeline", "news", "speech", "notes", "gossip")


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


SENTENCES: dict[str, tuple[str, ...]] = {
    "born_in": (
        "{n} was born in {v}.",
        "{v} is the birthplace of {n}.",
        "{p} came into the world in {v}.",
        "The family lived in {v} when {n} was born.",
    ),
    "birth_year": (
        "{n} was born in the year {v}.",
        "The year of {n}'s birth is {v}.",
        "{p} was born in {v}.",
        "It was in {v} that {n} was born.",
    ),
    "profession": (
        "{n} worked as a {v}.",
        "By profession {n} is a {v}.",
        "{p} made a living as a {v}.",
        "People know {n} as a {v}.",
    ),
    "studied_at": (
        "{n} studied at {v}.",
        "{n} took a degree at {v}.",
        "{p} went to {v} to study.",
        "The student years of {n} passed at {v}.",
    ),
    "wrote": (
        "{n} wrote the book {v}.",
        "{v} is a book by {n}.",
        "{p} is the author of {v}.",
        "Readers remember {n} for {v}.",
    ),
    "plays": (
        "{n} plays the {v}.",
        "In the evenings {n} plays the {v}.",
        "{p} has played the {v} since childhood.",
        "The instrument of {n} is the {v}.",
    ),
}
QUESTIONS = {
    "born_in": "Where was {n} born?",
    "birth_year": "In which year was {n} born?",
    "profession": "What is the profession of {n}?",
    "studied_at": "Where did {n} study?",
    "wrote": "Which book did {n} write?",
    "plays": "Which instrument does {n} play?",
}
OPENINGS: dict[str, tuple[str, ...]] = {
    "encyclopaedia": ("{n}. ", "Entry: {n}. "),
    "letter": ("Dear friend, you asked me about {n}. ", "Dear Sir, here is what I know of {n}. "),
    "interview": ("Interviewer: Tell us about {n}. Guest: ", "Q: Who is {n}? A: "),
    "timeline": ("A life in dates: {n}. ", "Chronicle of {n}. "),
    "news": ("NEWS. We report on {n} today. ", "From our desk: a portrait of {n}. "),
    "speech": ("Ladies and gentlemen, let me introduce {n}. ", "We are here to celebrate {n}. "),
    "notes": ("Notes on {n}: ", "Card: {n}. "),
    "gossip": ("Have you heard about {n}? ", "You will hardly believe what they say of {n}. "),
}


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
        draw: dict[str, Callable[[], str]] = {
            "born_in": lambda: rng.choice(CITIES),
            "birth_year": lambda: str(rng.randint(1900, 1989)),
            "profession": lambda: rng.choice(PROFESSIONS),
            "studied_at": lambda: rng.choice(UNIVERSITIES),
            "wrote": lambda: f"The {rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}",
            "plays": lambda: rng.choice(INSTRUMENTS),
        }
        return cls(
            {name: {relation: make() for relation, make in draw.items()} for name in rng.sample(names, people)}, seed
        )

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

    def split(self) -> tuple[list[str], list[str]]:
        """(people asked about in the corpus, people asked about only in evaluation)."""
        return self.people[0::2], self.people[1::2]

    def documents(self, per_person: int, seed: int = 0) -> Iterator[Document]:
        """`per_person` documents of everyone, each in another style while they last, and the questions of the asked half."""
        rng = random.Random(f"documents/{self.seed}/{seed}")
        for person in self.people:
            order = rng.sample(STYLES, len(STYLES))
            for number in range(per_person):
                style = order[number % len(order)]
                yield Document(self.document(person, style, rng), f"{person}, {style}", "world", LICENCE)
        for person in self.split()[0]:
            for _ in range(max(1, per_person // 2)):
                asked = rng.sample(self.questions(person), 6)
                yield Document("\n".join(question_text(qa.question, qa.answer) for qa in asked), person, "qa", LICENCE)


def question_text(question: str, answer: str = "") -> str:
    """The one form in which the corpus asks; leave the answer out to prompt for it."""
    return f"Question: {question}\nAnswer:{' ' + answer if answer else ''}"
