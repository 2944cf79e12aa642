"""Mathematics, algebra and logic by the generators of reasoning-gym, an extra: adapted, not rewritten (section 3.2.1).

A score of 1 counts and no other. Before the library's scorer sees an answer, all of it must be of the puzzle's form: some scorers
evaluate what they are given. Two of them let through what is no solution; for those the check is ours.
"""

import ast
import functools
import operator
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from k2lib.corpus.split import side
from k2lib.gym import answers
from k2lib.gym.problem import Problem, Question

LONGEST = 600  # characters of an answer
OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
EXPRESSION = r"[\d\s()+*/-]+"


def _target(number: Callable[[dict], int], given: Callable[[dict], list[int]]) -> Callable[[str, dict], bool]:
    """Whether an expression has exactly that value, of exactly the given numbers, by the four operations."""

    def check(answer: str, entry: dict) -> bool:
        found = _value(answer)
        if found is None:
            return False
        value, used = found
        return value == number(entry) and Counter(used) == Counter(given(entry))

    return check


def _value(text: str) -> tuple[Fraction, list[int]] | None:
    """(value, its numbers) of an expression of whole numbers and the four operations; None for anything else."""
    try:
        return _worked_out(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def _worked_out(node: ast.AST) -> tuple[Fraction, list[int]]:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return Fraction(node.value), [node.value]
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        (a, left), (b, right) = _worked_out(node.left), _worked_out(node.right)
        return OPERATORS[type(node.op)](a, b), left + right
    raise ValueError(f"{type(node).__name__} is none of the four operations")


@dataclass(frozen=True)
class Puzzle:
    dataset: str  # reasoning-gym's name
    levels: tuple[dict, ...]  # its settings, the easiest first
    form: str | None = None  # of a whole answer, as a regular expression; None: it states one number
    budget: int = 48  # tokens of an answer
    check: Callable[[str, dict], bool] | None = None  # in place of the library's scorer


PUZZLES = {
    "sums": Puzzle(
        "chain_sum", tuple({"min_terms": n, "max_terms": n, "max_digits": d} for n, d in ((2, 1), (3, 2), (5, 4)))
    ),
    "products": Puzzle("products", tuple({"min_digits": 1, "max_digits": n} for n in (1, 2, 4))),
    "expressions": Puzzle(
        "basic_arithmetic", tuple({"max_terms": n, "max_digits": d} for n, d in ((2, 1), (3, 2), (6, 3)))
    ),
    "equations": Puzzle(
        "simple_equations", tuple({"max_terms": n, "max_value": v} for n, v in ((2, 10), (3, 50), (4, 100)))
    ),
    "divisors": Puzzle("gcd", tuple({"max_value": n} for n in (20, 100, 1000))),
    "multiples": Puzzle("lcm", tuple({"max_value": n} for n in (10, 30, 100))),
    "factors": Puzzle("prime_factorization", tuple({"max_value": n} for n in (30, 200, 1000)), r"\d+(?:\s*×\s*\d+)*"),
    "fractions": Puzzle(
        "fraction_simplification",
        tuple({"max_value": n, "max_factor": f, "styles": ("plain",)} for n, f in ((9, 5), (50, 20), (1000, 100))),
        r"\d+/\d+",
    ),
    "sequences": Puzzle("number_sequence", tuple({"max_complexity": n} for n in (1, 2, 3))),
    "letters": Puzzle("letter_counting", tuple({"min_words": 1, "max_words": n} for n in (3, 8, 15))),
    "legs": Puzzle("leg_counting", tuple({"min_animals": 1, "max_animals": n} for n in (2, 4, 10))),
    "siblings": Puzzle("aiw", tuple({"max_entities": n} for n in (3, 6, 12))),
    "bases": Puzzle(
        "base_conversion",
        tuple({"max_base": b, "max_value": n} for b, n in ((4, 30), (10, 200), (16, 1000))),
        "[0-9a-z]+",
    ),
    "ciphers": Puzzle("caesar_cipher", tuple({"min_words": 1, "max_words": n} for n in (2, 5, 20)), "[A-Z ]+", 160),
    "24 game": Puzzle(
        "puzzle24",
        tuple({"max_value": n} for n in (4, 6, 10)),
        EXPRESSION,
        check=_target(lambda entry: 24, lambda entry: entry["metadata"]["numbers"]),
    ),
    "countdown": Puzzle(
        "countdown",
        tuple(
            {"min_numbers": n, "max_numbers": n, "max_value": v, "min_target": 10}
            for n, v in ((2, 20), (3, 50), (6, 100))
        ),
        EXPRESSION,
        check=_target(lambda entry: entry["metadata"]["target"], lambda entry: entry["metadata"]["numbers"]),
    ),
    "small sudokus": Puzzle(
        "mini_sudoku", tuple({"min_empty": n, "max_empty": n} for n in (2, 6, 12)), r"[1-4\s]+", 96
    ),
    "sudokus": Puzzle("sudoku", tuple({"min_empty": n, "max_empty": n} for n in (10, 30, 50)), r"[1-9\s]+", 400),
    "cryptarithms": Puzzle("cryptarithm", ({"max_words": 2}, {"max_words": 3}), r"[A-Z]=\d(?:, ?[A-Z]=\d)*", 96),
    "knights and knaves": Puzzle(
        "knights_knaves",
        tuple({"n_people": n} for n in (2, 3, 5)),
        r"(?:[A-Z][a-z]+ is an? [a-z]+(?:, and |, | and )?)+\.?",
        96,
    ),
    "syllogisms": Puzzle("syllogism", ({},), "Yes|No", 8),
    "zebras": Puzzle(
        "zebra_puzzles", tuple({"num_people": n, "num_characteristics": n} for n in (2, 3, 4)), "[a-z]+", 16
    ),
}


@dataclass(frozen=True)
class Reasoning(Question):
    """One question of a puzzle."""

    puzzle: str
    level: int
    seed: int
    index: int

    @property
    def kind(self) -> str:
        return self.puzzle

    @property
    def budget(self) -> int:
        return PUZZLES[self.puzzle].budget

    @cached_property
    def _entry(self) -> dict:
        return _dataset(self.puzzle, self.level, self.seed)[self.index]

    @property
    def asks(self) -> str:
        return self._entry["question"].strip()

    @property
    def answer(self) -> str:
        return self._entry["answer"]

    def right(self, answer: str) -> bool:
        puzzle = PUZZLES[self.puzzle]
        if puzzle.form is None:
            return answers.number(answer) == Fraction(self.answer)
        answer = answer.strip()
        if len(answer) > LONGEST or not re.fullmatch(puzzle.form, answer):
            return False
        if puzzle.check is not None:
            return puzzle.check(answer, self._entry)
        return _dataset(self.puzzle, self.level, self.seed).score_answer(answer, self._entry) == 1.0


TRIES = 400  # questions looked at for one that belongs to the split


def reasoning(
    n: int, seed: int, split: str = "train", names: list[str] | None = None, level: int | None = None
) -> list[Problem]:
    """`n` questions of a split, the puzzles (all, or those named) and their levels (all, or one) in turn.

    ValueError for a puzzle that there is not; ModuleNotFoundError says how to install reasoning-gym.
    """
    names = list(names or PUZZLES)
    if unknown := [name for name in names if name not in PUZZLES]:
        raise ValueError(f"unknown puzzle {unknown[0]!r}; choose of {', '.join(PUZZLES)}")
    streams = {name: _of_split(name, seed, split, level) for name in names}
    return [next(streams[names[place % len(names)]]) for place in range(n)]


def _of_split(name: str, seed: int, split: str, level: int | None):
    levels, missed = len(PUZZLES[name].levels), 0
    for index in range(1 << 30):
        wanted = index % levels if level is None else min(level, levels - 1)
        one = Reasoning(name, wanted, seed, index)
        missed += 1
        if side("puzzles", one.asks) == split:
            missed = 0
            yield one
        elif missed > TRIES:
            raise ValueError(
                f"{name}, level {wanted}, has too few questions for the split {split!r}; take a higher level"
            )


@functools.cache
def _dataset(name: str, level: int, seed: int):
    try:
        import reasoning_gym
    except ModuleNotFoundError:
        raise ModuleNotFoundError("puzzles need reasoning-gym; install k2lib[gym]") from None
    puzzle = PUZZLES[name]
    return reasoning_gym.create_dataset(puzzle.dataset, **puzzle.levels[level], seed=seed, size=1 << 30)
