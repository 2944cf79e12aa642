"""Constraints on a text that code can check: what instruction following is trained on and measured by (section 3.2.1).

What is read is the text as a person sees it: without code blocks, hidden comments and characters of no width. A sentence ends
with ".", "!" or "?"; paragraphs are parted by an empty line; a bullet is a line that begins with "* " or "- ".
"""

import itertools
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

LONGEST = 20_000  # characters; a longer text keeps no constraint
_HIDDEN = re.compile(r"```.*?(?:```|\Z)|<!--.*?(?:-->|\Z)", re.DOTALL)
_WIDTHLESS = re.compile("[\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff\x00]")


@dataclass(frozen=True)
class Constraint:
    """One kind of demand; its values are drawn, and fill its sentence and its check."""

    says: str  # with {names} of its values
    draw: Callable[[random.Random], dict]
    keeps: Callable[..., bool]  # (text, **values)
    gives: Callable[..., str] | None = None  # (**values): a text that keeps it


def seen(text: object) -> str:
    """What a person sees of an answer; "" for what is no text, or too long."""
    if not isinstance(text, str) or len(text) > LONGEST:
        return ""
    return _WIDTHLESS.sub("", _HIDDEN.sub("", text)).strip()


def words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", text)


def sentences(text: str) -> list[str]:
    """In linear time: an answer without a full stop must not cost more than one with."""
    return [one for one in re.split(r"(?<=[.!?])(?![.!?])", text) if words(one) and one[-1] in ".!?"]


def paragraphs(text: str) -> list[str]:
    return [one for one in re.split(r"\n\s*\n", text) if one.strip()]


def lines(text: str) -> list[str]:
    return [one.strip() for one in text.splitlines() if one.strip()]


def bullets(text: str) -> list[str]:
    return [one for one in lines(text) if re.match(r"[*-] \S", one)]


def has(text: str, word: str) -> int:
    """How often a word stands in a text, case aside."""
    return Counter(one.lower() for one in words(text))[word.lower()]


LETTERS, WORDS = "abcdefghilmnoprstw", "river stone window garden lantern bridge market winter paper harbour".split()


def a_number(low: int, high: int) -> Callable[[random.Random], dict]:
    return lambda rng: {"n": rng.randint(low, high)}


def a_word(rng: random.Random) -> dict:
    return {"word": rng.choice(WORDS)}


def a_letter(rng: random.Random) -> dict:
    return {"letter": rng.choice(LETTERS)}


# None of these is among the public ones (`k2lib.gym.ifeval`), on which the skill is measured.
TRAINED = {
    "questions": Constraint(
        "Use exactly {n} question marks.",
        a_number(1, 4),
        lambda text, n: text.count("?") == n,
        lambda n: " ".join(["Why not?", "Where to?", "Who knows?", "What else?"][:n]),
    ),
    "initials": Constraint(
        "Begin every sentence with the letter {letter}.",
        a_letter,
        lambda text, letter: (
            bool(sentences(text)) and all(words(one) and words(one)[0][0].lower() == letter for one in sentences(text))
        ),
        lambda letter: " ".join(f"{letter.upper()}{rest}." for rest in ("o it goes", "a is here")),
    ),
    "lipogram": Constraint(
        "Do without the letter {letter}.",
        a_letter,
        lambda text, letter: bool(words(text)) and letter not in text.lower(),
        lambda letter: " ".join(one for one in WORDS if letter not in one),
    ),
    "numbered": Constraint(
        "Give a list of exactly {n} lines, numbered 1., 2. and so on, and nothing else.",
        a_number(2, 5),
        lambda text, n: (
            len(lines(text)) == n and all(re.match(rf"{i}\. \S", line) for i, line in enumerate(lines(text), 1))
        ),
        lambda n: "\n".join(f"{i}. {WORDS[i]}" for i in range(1, n + 1)),
    ),
    "frame": Constraint(
        "Let the first word and the last word be the same.",
        lambda rng: {},
        lambda text: len(words(text)) > 2 and words(text)[0].lower() == words(text)[-1].lower(),
        lambda: "Rain comes after rain.",
    ),
    "unrepeated": Constraint(
        "Use no word twice.",
        lambda rng: {},
        lambda text: len(words(text)) > 4 and max(Counter(one.lower() for one in words(text)).values()) == 1,
        lambda: "The river bends under one old bridge.",
    ),
    "short words": Constraint(
        "Use no word of more than {n} letters.",
        a_number(5, 8),
        lambda text, n: len(words(text)) > 2 and all(len(one) <= n for one in words(text)),
        lambda n: "We go out at dawn.",
    ),
    "multiple": Constraint(
        "Let the number of words be a multiple of {n}.",
        a_number(3, 9),
        lambda text, n: len(words(text)) > 0 and len(words(text)) % n == 0,
        lambda n: " ".join(WORDS[:n]),
    ),
    "even lines": Constraint(
        "Write {n} lines of equally many words.",
        a_number(2, 4),
        lambda text, n: (
            len(lines(text)) == n and len({len(words(line)) for line in lines(text)}) == 1 and bool(words(text))
        ),
        lambda n: "\n".join(f"the {word} stays" for word in WORDS[:n]),
    ),
    "growing": Constraint(
        "Write {n} sentences, each with more words than the one before.",
        a_number(2, 4),
        lambda text, n: len(sentences(text)) == n and _grows([len(words(one)) for one in sentences(text)]),
        lambda n: " ".join(" ".join(["Rain", "falls", "on", "us"][: i + 1]) + "." for i in range(n)),
    ),
    "acrostic": Constraint(
        "Let the first letters of your lines spell {word}.",
        a_word,
        lambda text, word: "".join(line[0].lower() for line in lines(text)) == word,
        lambda word: "\n".join(f"{letter} as in {letter}" for letter in word),
    ),
    "brackets": Constraint(
        "Put exactly {n} words into round brackets, each by itself.",
        a_number(1, 3),
        lambda text, n: len(re.findall(r"\(\w+\)", text)) == n == text.count("("),
        lambda n: " ".join(f"the ({word})" for word in WORDS[:n]),
    ),
    "exclaimed": Constraint(
        "End every sentence with an exclamation mark.",
        lambda rng: {},
        lambda text: bool(sentences(text)) and not set(".?") & set(text) and text.endswith("!"),
        lambda: "It rains! We stay!",
    ),
    "placed": Constraint(
        "Let the word number {n} be {word}.",
        lambda rng: {"n": rng.randint(2, 6)} | a_word(rng),
        lambda text, n, word: len(words(text)) >= n and words(text)[n - 1].lower() == word,
        lambda n, word: " ".join([*["so"] * (n - 1), word]),
    ),
}


def _grows(values: list[int]) -> bool:
    return all(a < b for a, b in itertools.pairwise(values))
