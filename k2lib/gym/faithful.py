"""Faithfulness: what an answer says must stand in the text that it was given, sentence by sentence (section 3.2.1).

A sentence is supported, contradicted or unread. The judge here reads the sentences of the generated world's grammar and nothing
else, so it never supports what it did not understand; K2's is a trained model.
"""

import random
import re
from collections import Counter
from dataclasses import dataclass

from k2lib.corpus.split import side
from k2lib.corpus.world import World, restyle
from k2lib.corpus.world.phrases import QUESTIONS, SENTENCES
from k2lib.gym.problem import Problem, Question

SILENT = "The text does not say."
LONGEST = 2_000  # characters of an answer
SIZES = ((2, 1), (3, 2), (4, 3))  # people of the text and facts that are asked, by level
TOLD = 4  # facts of a person that the text tells, of six
Facts = frozenset[tuple[str, str, str]]  # (person, relation, value)


@dataclass(frozen=True)
class Faithful(Question):
    text: str
    facts: Facts  # that the text tells
    asked: tuple[tuple[str, str], ...]  # (person, relation)

    kind = "faithfulness"
    budget = 96  # tokens

    @property
    def asks(self) -> str:
        questions = " ".join(QUESTIONS[relation].format(n=person) for person, relation in self.asked)
        return f"{self.text}\n\n{questions} Answer by this text alone, a sentence for each question; where it is silent: {SILENT}"

    @property
    def answer(self) -> str:
        return " ".join(self._told(person, relation) or SILENT for person, relation in self.asked)

    def right(self, answer: str) -> bool:
        """Every sentence is supported, every asked fact stated once where the text has it, and as many silences as it lacks."""
        found = self.judged(answer)
        if any(verdict in ("contradicted", "unread") for _, verdict, _ in found):
            return False
        stated = Counter((fact[0], fact[1]) for _, _, fact in found if fact)
        known = Counter(one for one in self.asked if self._told(*one))
        silences = sum(verdict == "silent" for _, verdict, _ in found)
        return stated == known and silences == len(self.asked) - known.total()

    def judged(self, answer: str) -> list[tuple[str, str, tuple | None]]:
        """[(sentence, "supported" | "contradicted" | "silent" | "unread", the fact that it states)]."""
        if not isinstance(answer, str) or not answer.strip() or len(answer) > LONGEST:
            return [(str(answer)[:80], "unread", None)]
        return [(one, *self._verdict(one)) for one in re.split(r"(?<=[.!?])\s+|\n+", answer.strip())]

    def _verdict(self, sentence: str) -> tuple[str, tuple | None]:
        if sentence == SILENT:
            return "silent", None
        people = sorted({person for person, _, _ in self.facts} | {person for person, _ in self.asked})
        for person in people:
            if person in sentence:  # in full: the first part alone may be two people's
                for relation, value in restyle.read(f"{person}. {sentence}")[1]:
                    fact = (person, relation, value)
                    return ("supported" if fact in self.facts else "contradicted"), fact
        return "unread", None

    def _told(self, person: str, relation: str) -> str:
        """The asked fact as a sentence; "" where the text is silent."""
        values = [value for one, told, value in self.facts if (one, told) == (person, relation)]
        return SENTENCES[relation][0].format(n=person, v=values[0]) if values else ""


def faithful(n: int, seed: int, split: str = "train", level: int | None = None) -> list[Problem]:
    """`n` questions of a split about people whom no other text knows; the levels in turn, or one."""
    rng, found = random.Random(f"faithful/{seed}"), []
    while len(found) < n:
        people, count = SIZES[len(found) % len(SIZES) if level is None else level]
        one = _drawn(rng, people, count)
        if side("faithful", one.asks) == split:
            found.append(one)
    return found


def _drawn(rng: random.Random, people: int, count: int) -> Faithful:
    world, facts, texts = World.generate(rng.randrange(1 << 30), people), set(), []
    for person in world.people:
        told = rng.sample(world.facts(person), TOLD)
        facts |= {(person, one.relation, one.value) for one in told}
        texts.append(
            " ".join(rng.choice(SENTENCES[one.relation]).format(n=person, p=person, v=one.value) for one in told)
        )
    asked = rng.sample([(person, relation) for person in world.people for relation in QUESTIONS], count)
    return Faithful("\n".join(texts), frozenset(facts), tuple(asked))
