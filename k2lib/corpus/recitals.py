"""Recitals: lists that are read again and again, from which a model learns to copy what stands before it.

A small model that has read a few million tokens of text looks nothing up in its context: asked for the continuation of a run that it has
just read, ours was right in none of 464 cases, and so it could not repeat a name that a tool or a user had given it. Copying
(induction, Olsson et al. 2022) comes suddenly, after some millions of tokens of text that repeats itself; in a released model's
corpus there is enough of it, in a small one it has to be put there.
"""

import random
import string
from collections.abc import Iterator

from k2lib.corpus.documents import Document

LICENCE = "Apache-2.0"  # generated
PERIOD = (2, 12)  # words of a list
WORDS = 40  # of a document, at least
LETTERS = string.ascii_lowercase


def documents(count: int, seed: int) -> Iterator[Document]:
    """`count` documents, each a list of made-up words and numbers, repeated."""
    for number in range(count):
        rng = random.Random(f"recital/{seed}/{number}")
        run = [_word(rng) for _ in range(rng.randint(*PERIOD))]
        text = " ".join(run * (WORDS // len(run) + 2))
        yield Document(text, f"recital {number}", "recital", LICENCE)


def _word(rng: random.Random) -> str:
    """A name, a code, a number or a word that nobody knows, so that only looking back tells the next one."""
    kind, letters = rng.randrange(4), "".join(rng.choices(LETTERS, k=rng.randint(2, 6)))
    if kind == 0:
        return letters
    if kind == 1:
        return letters.capitalize()
    return str(rng.randrange(10_000)) if kind == 2 else f"{letters[0].upper()}-{rng.randrange(1000):03}"
