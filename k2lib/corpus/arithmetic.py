"""Mathematics whose answer is known: sums, differences, products and two-step stories, with the steps worked out.

The splits share no equation, by construction: the hash of an operation and its operands decides the side, and a problem
belongs to a side if all of its equations do. So a story of the test split needs sums and differences that no text of
training states, in whatever words.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from k2lib.corpus import split as splits
from k2lib.corpus.documents import Document

LICENCE = "generated"
LARGEST = 20  # number of a problem: a few hundred facts, which a model of some million parameters learns in minutes
MOST_MISSES = 20_000  # draws in a row without a new problem, before there seem to be no more
NAMES = ["Ada", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gia", "Hal"]
THINGS = ["apples", "books", "coins", "eggs", "flowers", "marbles", "pens", "stamps"]


STORIES = (
    "{name} has {a} {thing}, buys {b} more and gives {c} to {other}. How many {thing} does {name} have now?",
    "A box holds {a} {thing}. {name} puts in {b} more, then {other} takes {c} out. How many {thing} are in the box?",
    "{name} brought {a} {thing} and {other} brought {b}. They lost {c} of them. How many {thing} are left?",
    "There were {a} {thing} on the table and {b} on the shelf. {name} sold {c}. How many {thing} remain?",
)


@dataclass(frozen=True)
class MathProblem:
    question: str
    equations: tuple[tuple[int, str, int], ...]  # (left, sign, right), worked out one after another

    @property
    def steps(self) -> str:
        return " ".join(f"{a} {sign} {b} = {result(a, sign, b)}." for a, sign, b in self.equations)

    @property
    def answer(self) -> str:
        return str(result(*self.equations[-1]))

    def is_of(self, split: str) -> bool:
        """Whether all equations are of this split; one with equations of several splits is of none."""
        return all(side(*equation) == split for equation in self.equations)


def result(a: int, sign: str, b: int) -> int:
    return {"+": a + b, "-": a - b, "*": a * b}[sign]


def side(a: int, sign: str, b: int) -> str:
    """The split of an equation; that of 3 + 5 is that of 5 + 3."""
    return splits.side("equation", sign, *((a, b) if sign == "-" else sorted((a, b))))


def problems(n: int, seed: int, split: str = "train", largest: int = LARGEST) -> list[MathProblem]:
    """`n` problems with numbers up to `largest`, of the split "train" (which repeats, as drill does), or of "development" or
    "test" (all different). ValueError if the numbers allow fewer different ones."""
    splits.check(split)
    if largest < 3:
        raise ValueError(f"largest is {largest}; problems need numbers up to 3 at least")
    rng = random.Random(f"arithmetic/{seed}/{split}")
    made: list[MathProblem] = []
    seen: set[str] = set()
    misses = 0
    while len(made) < n and misses < MOST_MISSES:
        problem = rng.choice((_sum, _difference, _product, _story))(rng, largest)
        misses += 1
        if problem.is_of(split) and (split == "train" or problem.question not in seen):
            made.append(problem)
            seen.add(problem.question)
            misses = 0
    if len(made) < n:
        raise ValueError(
            f"found only {len(made)} different {split} problems of the {n} asked for with numbers up to {largest}; "
            "ask for fewer, or raise the largest number"
        )
    return made


def solution(problem: MathProblem) -> str:
    """The worked answer, as the corpus and the conversations give it."""
    return f"{problem.steps} Answer: {problem.answer}"


def documents(n: int, seed: int, largest: int = LARGEST) -> Iterator[Document]:
    """Worked problems, four to a document."""
    made = problems(n, seed, largest=largest)
    for start in range(0, len(made), 4):
        text = "\n\n".join(f"Problem: {p.question}\nSolution: {solution(p)}" for p in made[start : start + 4])
        yield Document(text, f"problems {start} to {start + 3}, seed {seed}", "math", LICENCE)


def _sum(rng: random.Random, largest: int) -> MathProblem:
    a, b = rng.randint(1, largest), rng.randint(1, largest)
    return MathProblem(f"What is {a} + {b}?", ((a, "+", b),))


def _difference(rng: random.Random, largest: int) -> MathProblem:
    a, b = sorted((rng.randint(1, largest), rng.randint(1, largest)), reverse=True)
    return MathProblem(f"What is {a} - {b}?", ((a, "-", b),))


def _product(rng: random.Random, largest: int) -> MathProblem:
    a, b = rng.randint(2, min(10, largest)), rng.randint(2, min(10, largest))
    return MathProblem(f"What is {a} * {b}?", ((a, "*", b),))


def _story(rng: random.Random, largest: int) -> MathProblem:
    name, other = rng.sample(NAMES, 2)
    a, b, thing = rng.randint(2, largest), rng.randint(2, largest), rng.choice(THINGS)
    c = rng.randint(1, min(largest, a + b - 1))
    told = rng.choice(STORIES).format(name=name, other=other, thing=thing, a=a, b=b, c=c)
    return MathProblem(told, ((a, "+", b), (a + b, "-", c)))
