"""Morse code: a text to be read, or to be sent (section 3.2.1 names Morse decoding among the logic tasks)."""

import random
from dataclasses import dataclass

from k2lib.corpus.split import side
from k2lib.gym.problem import Problem, Question

CODE = dict(
    zip(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
        (
            ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --.. "
            "----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----."
        ).split(),
        strict=True,
    )
)
LETTERS = (2, 4, 8)  # of a text, at most, by level
DIGITS_FROM = 1  # the level from which on digits come


@dataclass(frozen=True)
class Morse(Question):
    text: str
    sent: bool  # is the code asked for, or the text?

    kind = "morse"
    budget = 64  # tokens

    @property
    def asks(self) -> str:
        if self.sent:
            return f"Write {self.text} in Morse code, a space between letters. Answer with the code alone."
        return f"Which text is {coded(self.text)} in Morse code? Answer with the text alone, in capitals."

    @property
    def answer(self) -> str:
        return coded(self.text) if self.sent else self.text

    def right(self, answer: str) -> bool:
        return answer.strip() == self.answer


def coded(text: str) -> str:
    """A text of letters and digits in Morse code."""
    return " ".join(CODE[letter] for letter in text)


def morse(n: int, seed: int, split: str = "train", level: int | None = None) -> list[Problem]:
    """`n` questions of a split, in both directions; the levels in turn, or one."""
    rng, found = random.Random(f"morse/{seed}"), []
    while len(found) < n:
        hard = len(found) % len(LETTERS) if level is None else level
        letters = list(CODE)[: None if hard >= DIGITS_FROM else 26]
        text = "".join(rng.choices(letters, k=rng.randint(1 + hard, LETTERS[hard])))
        if side("morse", text) == split:
            found.append(Morse(text, rng.random() < 0.5))
    return found
