"""Mathematics whose answer is known: sums, differences, products and two-step stories, with the steps worked out.

Held-out problems are disjoint from the training ones by construction: a hash of the question decides the side. A checker
reads the last number of an answer, so a model may write its steps first.
"""

import hashlib
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from k2lib.corpus.documents import Document

LICENCE = "generated"
LARGEST = 20  # number of a problem: a few hundred facts, which a model of some million parameters learns in minutes
NAMES = ["Ada", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gia", "Hal"]
THINGS = ["apples", "books", "coins", "eggs", "flowers", "marbles", "pens", "stamps"]


@dataclass(frozen=True)
class MathProblem:
    question: str
    steps: str
    answer: str


def problems(n: int, seed: int, split: str = "train", largest: int = LARGEST) -> list[MathProblem]:
    """`n` problems with numbers up to `largest`, of the split "train" (which repeats, as drill does) or "heldout" (all different)."""
    if split not in ("train", "heldout"):
        raise ValueError(f"unknown split {split!r}; choose 'train' or 'heldout'")
    if largest < 3:
        raise ValueError(f"largest is {largest}; problems need numbers up to 3 at least")
    rng = random.Random(f"arithmetic/{seed}/{split}")
    made: list[MathProblem] = []
    seen: set[str] = set()
    while len(made) < n:
        problem = rng.choice((_sum, _difference, _product, _story))(rng, largest)
        if is_heldout(problem.question) == (split == "heldout") and not (
            split == "heldout" and problem.question in seen
        ):
            made.append(problem)
            seen.add(problem.question)
    return made


def is_heldout(question: str) -> bool:
    """One question in ten, by its hash."""
    return hashlib.sha256(question.encode()).digest()[0] < 26


def check(answer: str, problem: MathProblem) -> bool:
    """Whether the last number that `answer` states is the right one."""
    numbers = re.findall(r"-?\d+", answer[:2000])
    return bool(numbers) and len(numbers[-1]) < 12 and int(numbers[-1]) == int(problem.answer)


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
    return MathProblem(f"What is {a} + {b}?", f"{a} + {b} = {a + b}.", str(a + b))


def _difference(rng: random.Random, largest: int) -> MathProblem:
    a, b = sorted((rng.randint(1, largest), rng.randint(1, largest)), reverse=True)
    return MathProblem(f"What is {a} - {b}?", f"{a} - {b} = {a - b}.", str(a - b))


def _product(rng: random.Random, largest: int) -> MathProblem:
    a, b = rng.randint(2, min(10, largest)), rng.randint(2, min(10, largest))
    return MathProblem(f"What is {a} * {b}?", f"{a} * {b} = {a * b}.", str(a * b))


def _story(rng: random.Random, largest: int) -> MathProblem:
    name, other = rng.sample(NAMES, 2)
    a, b, thing = rng.randint(2, largest), rng.randint(2, largest), rng.choice(THINGS)
    c = rng.randint(1, min(largest, a + b - 1))
    question = f"{name} has {a} {thing}, buys {b} more and gives {c} to {other}. How many {thing} does {name} have now?"
    return MathProblem(question, f"{a} + {b} = {a + b}. {a + b} - {c} = {a + b - c}.", str(a + b - c))
