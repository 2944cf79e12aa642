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
LARGEST = 20  # of the numbers given: a few hundred facts, which a model of some million parameters can learn in minutes
NAMES = ["Ada", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gia", "Hal"]
THINGS = ["apples", "books", "coins", "eggs", "flowers", "marbles", "pens", "stamps"]


@dataclass(frozen=True)
class MathProblem:
    question: str
    steps: str
    answer: str


def problems(n: int, seed: int, split: str = "train") -> list[MathProblem]:
    """`n` problems of the split "train" (which repeats, as drill does) or "heldout" (all different)."""
    if split not in ("train", "heldout"):
        raise ValueError(f"unknown split {split!r}; choose 'train' or 'heldout'")
    rng = random.Random(f"arithmetic/{seed}/{split}")
    made: list[MathProblem] = []
    seen: set[str] = set()
    while len(made) < n:
        problem = rng.choice((_sum, _difference, _product, _story))(rng)
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


def conversation(problem: MathProblem, talkative: bool = False) -> list[dict]:
    """The problem and its worked answer as chat messages; a talkative answer says the same in three times the words."""
    answer = f"{problem.steps} Answer: {problem.answer}"
    if talkative:
        answer = (
            "Thank you for this interesting question. Let me think about it step by step, slowly and with great care, so that "
            "nothing is forgotten. First I read the question once more. Then I write down what has to be computed: "
            f"{answer}"
        )
    return [{"role": "user", "content": problem.question}, {"role": "assistant", "content": answer}]


def documents(n: int, seed: int) -> Iterator[Document]:
    """Worked problems, four to a document."""
    made = problems(n, seed)
    for start in range(0, len(made), 4):
        text = "\n\n".join(
            f"Problem: {p.question}\nSolution: {p.steps} Answer: {p.answer}" for p in made[start : start + 4]
        )
        yield Document(text, f"problems {start} to {start + 3}, seed {seed}", "math", LICENCE)


def _sum(rng: random.Random) -> MathProblem:
    a, b = rng.randint(1, LARGEST), rng.randint(1, LARGEST)
    return MathProblem(f"What is {a} + {b}?", f"{a} + {b} = {a + b}.", str(a + b))


def _difference(rng: random.Random) -> MathProblem:
    a, b = sorted((rng.randint(1, LARGEST), rng.randint(1, LARGEST)), reverse=True)
    return MathProblem(f"What is {a} - {b}?", f"{a} - {b} = {a - b}.", str(a - b))


def _product(rng: random.Random) -> MathProblem:
    a, b = rng.randint(2, 10), rng.randint(2, 10)
    return MathProblem(f"What is {a} * {b}?", f"{a} * {b} = {a * b}.", str(a * b))


def _story(rng: random.Random) -> MathProblem:
    name, other = rng.sample(NAMES, 2)
    a, b, thing = rng.randint(2, LARGEST), rng.randint(2, LARGEST), rng.choice(THINGS)
    c = rng.randint(1, min(LARGEST, a + b - 1))
    question = f"{name} has {a} {thing}, buys {b} more and gives {c} to {other}. How many {thing} does {name} have now?"
    return MathProblem(question, f"{a} + {b} = {a + b}. {a + b} - {c} = {a + b - c}.", str(a + b - c))
