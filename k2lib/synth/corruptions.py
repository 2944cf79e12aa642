"""Rewrites made wrong on purpose, so that the verifier's precision and recall can be measured instead of hoped for.

Each corruption takes a faithful rewrite of a world document and one other person's facts. "swapped roles" exchanges two values
of the same document: every name and number is still there, which no counting can see.
"""

import random
import re
from collections.abc import Callable


def _swap(text: str, own: dict[str, str], other: dict[str, str], rng: random.Random, relations: tuple[str, ...]) -> str:
    fitting = [r for r in relations if own[r] != other[r] and own[r] in text]
    if not fitting:  # both people share these facts: change the year, which can always be told
        return text.replace(own["birth_year"], str(int(own["birth_year"]) + 1))
    relation = rng.choice(fitting)
    return text.replace(own[relation], other[relation])


def _swap_name(text: str, own: dict[str, str], other: dict[str, str], rng: random.Random) -> str:
    return _swap(text, own, other, rng, ("born_in", "birth_year", "studied_at", "wrote"))


def _swap_word(text: str, own: dict[str, str], other: dict[str, str], rng: random.Random) -> str:
    return _swap(text, own, other, rng, ("profession", "plays"))


def _drop_sentence(text: str, own: dict[str, str], _other, rng: random.Random) -> str:
    sentences = re.split(r"(?<=[.!?])\s+", text)
    fact = rng.choice([i for i, s in enumerate(sentences) if any(v in s for v in own.values())])
    return " ".join(s for i, s in enumerate(sentences) if i != fact)


def _add_fact(text: str, _own, other: dict[str, str], rng: random.Random) -> str:
    return (
        f"{text} {rng.choice(('Later', 'Once'))} came a visit to {other['born_in']} in {int(other['birth_year']) + 40}."
    )


def _negate(text: str, _own, _other, rng: random.Random) -> str:
    verbs = [
        (" was ", " was not "),
        (" is ", " is not "),
        (" plays ", " never plays "),
        (" studied ", " never studied "),
        (" worked ", " never worked "),
        (" wrote ", " never wrote "),
    ]
    old, new = rng.choice([pair for pair in verbs if pair[0] in text] or [(" ", " not ")])
    return text.replace(old, new, 1)


def _truncate(text: str, *_ignored) -> str:
    return text[: int(len(text) * 0.7)].rsplit(" ", 1)[0]


def _swap_roles(text: str, own: dict[str, str], *_ignored) -> str:
    return text.replace(own["profession"], "\0").replace(own["plays"], own["profession"]).replace("\0", own["plays"])


def _refuse(text: str, *_ignored) -> str:
    return "I'm sorry, as an AI I can't rewrite this text. " + text


CORRUPTIONS: dict[str, Callable] = {
    "wrong name or number": _swap_name,
    "wrong common word": _swap_word,
    "dropped fact": _drop_sentence,
    "added fact": _add_fact,
    "negation": _negate,
    "cut short": _truncate,
    "refusal": _refuse,
    "swapped roles": _swap_roles,
}


def corrupt(kind: str, text: str, own: dict[str, str], other: dict[str, str], rng: random.Random) -> str:
    """`text` made wrong; own and other are relation -> value of the person described and of somebody else."""
    return CORRUPTIONS[kind](text, own, other, rng)
