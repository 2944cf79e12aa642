"""The scripted writer's grammar: reads the facts out of a world document and says them again, in other sentences and another form.

Reading inverts the world's own sentence patterns, so it is exact there and understands nothing else: a sentence that it cannot read
is passed on with a few words exchanged. Writing has phrases of its own, none of which the world uses, joins two facts into one
sentence where the style is flowing prose, and asks and answers where it is an interview.
"""

import random
import re

from k2lib.corpus.world.phrases import (
    ASKING,
    EXCHANGES,
    LEADS,
    OPENING,
    OPENINGS,
    PAIRED,
    PREDICATES,
    QUESTIONS,
    SENTENCES,
)

_SENTENCE = re.compile(r"(?<=[.!?])\s+")


def _pattern(sentence: str) -> re.Pattern:
    text = re.escape(sentence)
    for field, name in (("n", "n"), ("p", "n"), ("v", "v")):
        text = text.replace(rf"\{{{field}\}}", rf"(?P<{name}>.+?)", 1)
    return re.compile(text)


_READ = [(relation, _pattern(s)) for relation, patterns in SENTENCES.items() for s in patterns]
_OPENED = [_pattern(s.strip()) for patterns in OPENINGS.values() for s in patterns]


def read(text: str) -> tuple[str, list[tuple[str, str]], list[str]]:
    """(person, facts as (relation, value), sentences that were not understood); person is "" if this is no world document."""
    for opening in _OPENED:
        if match := opening.match(text):
            person, facts, rest = match["n"], [], []
            for sentence in _SENTENCE.split(text[match.end() :].strip()):
                if fact := _fact(sentence, person):
                    facts.append(fact)
                elif sentence:
                    rest.append(sentence)
            if facts:
                return person, facts, rest
    return "", [], _SENTENCE.split(text)


def _fact(sentence: str, person: str) -> tuple[str, str] | None:
    for relation, pattern in _READ:
        match = pattern.fullmatch(sentence)
        if match and match["n"] in (person, person.split()[0]) and (relation != "born_in" or not match["v"].isdigit()):
            value = match["v"]
            if relation == "born_in" and value.startswith("the year "):
                return "birth_year", value.removeprefix("the year ")
            return relation, value
    return None


def rewrite(text: str, style: str, rng: random.Random, *, opened: bool = False, reorder: bool = True) -> str:
    """The text in another wording and, if `reorder`, order; names, numbers and dates stay. `opened`: it continues a text."""
    person, facts, rest = read(text.strip())
    if not person:
        return ("" if opened else LEADS.get(style, "")) + _exchange_words(rest, rng)
    if reorder:
        rng.shuffle(facts)
    if style == "timeline" and reorder:
        facts.sort(key=lambda fact: fact[0] != "birth_year")
    body = _asked(person, facts, style, rng) if style in ASKING else _told(person, facts, style, rng)
    return " ".join([OPENING.get(style, "{n}.").format(n=person), *rest, *body])


def _told(person: str, facts: list[tuple[str, str]], style: str, rng: random.Random) -> list[str]:
    step = 2 if style in PAIRED else 1
    subjects = (person, person.split()[0])
    return [
        f"{rng.choice(subjects)} " + " and ".join(_say(fact, rng) for fact in facts[i : i + step]) + "."
        for i in range(0, len(facts), step)
    ]


def _asked(person: str, facts: list[tuple[str, str]], style: str, rng: random.Random) -> list[str]:
    ask, answer = ASKING[style]
    first = person.split()[0]
    out = [f"{answer}{first} {_say(facts[0], rng)}."]
    return out + [f"{ask}{QUESTIONS[f[0]].format(n=first)} {answer}{first} {_say(f, rng)}." for f in facts[1:]]


def _say(fact: tuple[str, str], rng: random.Random) -> str:
    relation, value = fact
    return rng.choice(PREDICATES[relation]).format(v=value)


def _exchange_words(sentences: list[str], rng: random.Random) -> str:
    """What cannot be read: some words exchanged, everything else as it stands."""
    out = []
    for sentence in sentences:
        for old, new in rng.sample(EXCHANGES, len(EXCHANGES)):
            if old in sentence:
                sentence = sentence.replace(old, new, 1)
                break
        out.append(sentence)
    return " ".join(out)
