"""Recitals: what a document has said, it says again, from which a model learns to look things up in its context.

A small model that has read a few million tokens of text looks nothing up: asked for the continuation of a run that it has just
read, ours was right in hardly any case, and so it could not repeat a name that a tool or a user had given it. Copying
(induction, Olsson et al. 2022) comes suddenly, after some millions of tokens of text that repeats itself; in a released model's
corpus there is enough of it, in a small one it has to be put there.

Half of the documents are lists that are read again and again. The others are look-ups: pairs of a name and a value, told in
sentences, as JSON, as names of functions, each time in another order. A word is another token after a space than after a
quotation mark or an underscore; what is only ever repeated token by token teaches nothing about that.
"""

import json
import random
import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from k2lib.corpus.documents import Document

LICENCE = "Apache-2.0"  # generated
PERIOD = (2, 12)  # words of a list
WORDS = 40  # of a document that reads a list, at least
PAIRS = (2, 6)  # of a look-up
TELLINGS = 3  # of them
VOCABULARY = 3000  # words, the most frequent ones of the corpus
LETTERS = string.ascii_lowercase
Pairs = list[tuple[list[str], str]]  # words of the name, value


def vocabulary(texts: Iterable[str]) -> list[str]:
    """The most frequent words of `texts`, of three to twelve letters, in lower case."""
    counts = Counter(word.lower() for text in texts for word in re.findall(r"\b[A-Za-z]{3,12}\b", text))
    return [word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:VOCABULARY]]


def documents(count: int, seed: int, known: list[str]) -> Iterator[Document]:
    """`count` documents of words that are `known`, made-up ones and numbers; every second is a list, the others are look-ups."""
    for number in range(count):
        rng = random.Random(f"recital/{seed}/{number}")
        text = (_read_list if number % 2 else look_up)(rng, known)
        yield Document(text, f"recital {number}", "recital", LICENCE)


def _read_list(rng: random.Random, known: list[str]) -> str:
    run = [_value(rng, known) for _ in range(rng.randint(*PERIOD))]
    return " ".join(run * (WORDS // len(run) + 2))


def look_up(rng: random.Random, known: list[str]) -> str:
    """A few names and their values, told three times."""
    names = [[_word(rng, known) for _ in range(rng.choice((1, 1, 2)))] for _ in range(rng.randint(*PAIRS))]
    pairs = [(name, _value(rng, known)) for name in names]
    spell = rng.choice((_snake, _kebab, _camel))
    ways = rng.sample((_sentences, _listed, _lines, _object, _objects, _calls), TELLINGS)
    return "\n".join(way(rng.sample(pairs, len(pairs)), spell) for way in ways)


def _word(rng: random.Random, known: list[str]) -> str:
    """Half of the time one of the corpus, else letters that nobody knows, so that only looking back tells them."""
    return rng.choice(known) if rng.random() < 0.5 else "".join(rng.choices(LETTERS, k=rng.randint(2, 6)))


def _value(rng: random.Random, known: list[str]) -> str:
    kind = rng.randrange(5)
    if kind == 0:
        return str(rng.randrange(10 ** rng.randint(1, 4)))
    if kind == 1:
        return f"{rng.choice(LETTERS).upper()}-{rng.randrange(1000):03}"
    words = [_word(rng, known) for _ in range(kind - 1 if kind < 4 else 1)]
    return " ".join(words if kind == 4 else map(str.capitalize, words))


def _snake(words: list[str]) -> str:
    return "_".join(words)


def _kebab(words: list[str]) -> str:
    return "-".join(words)


def _camel(words: list[str]) -> str:
    return words[0] + "".join(map(str.capitalize, words[1:]))


Spell = Callable[[list[str]], str]


def _sentences(pairs: Pairs, _spell: Spell) -> str:
    return " ".join(f"The {' '.join(name)} is {value}." for name, value in pairs)


def _listed(pairs: Pairs, _spell: Spell) -> str:
    return ", ".join(f"{' '.join(name)} {value}" for name, value in pairs) + "."


def _lines(pairs: Pairs, _spell: Spell) -> str:
    return "\n".join(f"{' '.join(name)}: {value}" for name, value in pairs)


def _object(pairs: Pairs, spell: Spell) -> str:
    return json.dumps({spell(name): _typed(value) for name, value in pairs})


def _objects(pairs: Pairs, spell: Spell) -> str:
    return "\n".join(_object([pair], spell) for pair in pairs)


def _calls(pairs: Pairs, spell: Spell) -> str:
    return "\n".join(f"{spell(['set', *name])}({json.dumps(_typed(value))})" for name, value in pairs)


def _typed(value: str) -> str | int:
    return int(value) if value.isdigit() else value
