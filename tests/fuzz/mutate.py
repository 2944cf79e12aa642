"""Inputs that nobody would write, made from ones that somebody did: pieces of a text moved, cut, repeated; nodes of JSON exchanged."""

import random

HOSTILE_TEXT = ["", "\0", "\ud800", "\u202e", "é" * 70, "9" * 5000, "[" * 200, '"', "\\", "\n", " " * 3000, "−7", "NaN"]
HOSTILE_TEXT += ["<think>", "</think>"]
HOSTILE = [None, True, False, 0, -1, 7, 2**70, 1e308, float("inf"), float("nan"), "", "x", "\ud800", "9" * 400]
HOSTILE += [[], {}, [[]], [None], {"": ""}]


def text(rng: random.Random, seeds: list[str], words: list[str]) -> str:
    """One of `seeds` after a few changes, with `words` that mean something put in anywhere."""
    out = rng.choice(seeds)
    for _ in range(rng.randint(0, 6)):
        a, b = sorted(rng.randint(0, len(out)) for _ in range(2))
        piece = rng.choice((out[a:b], rng.choice(words), rng.choice(HOSTILE_TEXT), chr(rng.randrange(0x3000))))
        out = rng.choice((out[:a] + piece + out[b:], out[:a] + out[b:], out[:a] + piece + out[a:], out[:b]))
    return out[:20_000]


def tree(rng: random.Random, value: object, names: list[str]) -> object:
    """A copy of JSON-like `value` in which a few nodes were exchanged, left out, renamed or wrapped."""
    for _ in range(rng.randint(1, 3)):
        value = _changed(rng, value, names)
    return value


def _changed(rng: random.Random, value: object, names: list[str]) -> object:
    if rng.random() < 0.15 or not isinstance(value, dict | list) or not value:
        return rng.choice((rng.choice(HOSTILE), [value], {rng.choice(names): value}, _deep(rng)))
    if isinstance(value, list):
        at = rng.randrange(len(value))
        if rng.random() < 0.3:
            return rng.choice((value[:at], [*value, value[at]], value[at:]))
        return [*value[:at], _changed(rng, value[at], names), *value[at + 1 :]]
    name = rng.choice(list(value))
    rest = {key: item for key, item in value.items() if key != name}
    if rng.random() < 0.25:
        return rng.choice(
            (rest, rest | {rng.choice(names): value[name]}, value | {rng.choice(names): rng.choice(HOSTILE)})
        )
    return value | {name: _changed(rng, value[name], names)}


def _deep(rng: random.Random) -> object:
    value: object = 1
    for _ in range(rng.choice((5, 80))):
        value = rng.choice(([value], {"a": value}))
    return value
