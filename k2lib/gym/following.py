"""Instruction following: a subject and demands on the text about it, all of which code can check (section 3.2.1)."""

import random
from dataclasses import dataclass

from k2lib.corpus.split import side
from k2lib.gym.constraints import TRAINED, WORDS, Constraint, seen
from k2lib.gym.ifeval import PUBLIC
from k2lib.gym.problem import Problem, Question

EVERY = TRAINED | PUBLIC
DEMANDS = (1, 2, 3)  # of a question, by level


@dataclass(frozen=True)
class Following(Question):
    subject: str
    demands: tuple[tuple[str, tuple[tuple[str, object], ...]], ...]  # (kind of constraint, its values)

    kind = "instruction following"
    budget = 128  # tokens

    @property
    def asks(self) -> str:
        said = [EVERY[name].says.format(**dict(values)) for name, values in self.demands]
        return " ".join([f"Write a few words about this: {self.subject}.", *said])

    @property
    def answer(self) -> str:
        """A text that keeps every demand, of those that keep one; any of them where none does, which the verdict then says."""
        made = [EVERY[name].gives(**dict(values)) for name, values in self.demands if EVERY[name].gives]
        return next(filter(self.right, made), made[0] if made else "")

    def right(self, answer: str) -> bool:
        text = seen(answer)
        return bool(text) and all(EVERY[name].keeps(text, **dict(values)) for name, values in self.demands)


def following(n: int, seed: int, split: str = "train", level: int | None = None) -> list[Problem]:
    """`n` questions with trained constraints; the levels in turn, or one."""
    return _drawn(TRAINED, n, seed, split, level)


def public(n: int, seed: int, level: int | None = None) -> list[Problem]:
    """`n` questions with the public constraints, for measuring: no question of `following` has one of them."""
    return _drawn(PUBLIC, n, seed, "test", level)


def _drawn(kinds: dict[str, Constraint], n: int, seed: int, split: str, level: int | None) -> list[Problem]:
    rng, found = random.Random(f"following/{seed}"), []
    while len(found) < n:
        count = DEMANDS[len(found) % len(DEMANDS) if level is None else level]
        names = rng.sample(list(kinds), count)
        demands = tuple((name, tuple(kinds[name].draw(rng).items())) for name in names)
        one = Following(rng.choice(WORDS), demands)
        if side("following", one.asks) == split:
            found.append(one)
    return found
