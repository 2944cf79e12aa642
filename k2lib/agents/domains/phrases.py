"""How users put their wishes: sentences with slots, spoken when a task is made, and read by the scripted agent.

R is the record's noun and P its plural, F a field, V a fixed value; {slots} hold what the user says. `filled` speaks a
sentence, `matched` reads one; both need the noun and the field, which an agent learns from the tools' descriptions.
"""

import functools
import random
import re

SENTENCES = {
    "add": ("Add the R {name} with {fields}.", "Register the R {name} with {fields}.", "I have a new R, {name}, with {fields}."),
    "remove": ("Remove the R {name}.", "Delete the R {name}.", "We no longer need the R {name}."),
    "rename": ("Rename the R {name} to {new_name}.", "The R {name} shall be called {new_name}."),
    "note": ("Add a note to the R {name} about the {text}.", "Note on the R {name} that there is a {text}."),
    "get": ("What is the F of the R {name}?", "Tell me the F of the R {name}.", "I need to know the F of the R {name}."),
    "set": ("Set the F of the R {name} to {value}.", "Change the F of the R {name} to {value}.", "The F of the R {name} is now {value}."),
    "raise": ("Raise the F of the R {name} by {amount}.", "Add {amount} to the F of the R {name}."),
    "lower": ("Lower the F of the R {name} by {amount}.", "Take {amount} off the F of the R {name}."),
    "move": ("Move {amount} of the F from {source} to {target}.", "Transfer {amount} of F from {source} to {target}."),
    "least": ("Which R has the least F?", "Find me the R with the lowest F."),
    "most": ("Which R has the most F?", "Find me the R with the highest F."),
    "find": ("Which R has the F {value}?", "Find the R whose F is {value}."),
    "count": ("How many P have the F {value}?", "Count the P with the F {value}."),
    "mark": ("Mark the R {name} as V.", "The R {name} is V now, please record it."),
}  # fmt: skip
WITHHELD = {
    "set": ("Change the F of the R {name}.", "The F of the R {name} has to change."),
    "raise": ("Raise the F of the R {name}.",),
    "lower": ("Lower the F of the R {name}.",),
}
SAME = "Set the F of the R {name} to that of {other}."  # the agent must look the other's up
CONDITION = "If the F of the R {name} is {value}, {then}"  # the agent must look before it acts
CORRECTIONS = ("I have changed my mind. {}", "Sorry, that was wrong. {}")
LINKS = ("Also, ", "Then ", "After that, ")


def filled(text: str, nouns: dict[str, str], slots: dict[str, object]) -> str:
    """The sentence with its nouns (R, P, F, V) and slots."""
    return _nouns(text, nouns).format_map(slots)


def matched(text: str, nouns: dict[str, str], said: str) -> dict[str, str] | None:
    """The slots of a sentence of this form; None for any other sentence."""
    found = _pattern(text, tuple(sorted(nouns.items()))).fullmatch(said.strip())
    return found.groupdict() if found else None


def linked(first: str, second: str, rng: random.Random) -> str:
    """Two wishes as one text."""
    return f"{first} {rng.choice(LINKS)}{small(second)}"


def small(sentence: str) -> str:
    """With a small first letter, as after a comma."""
    return sentence if sentence.startswith("I ") else sentence[0].lower() + sentence[1:]


def sentences(said: str) -> list[str]:
    """A text's sentences, without the words that link them."""
    found = re.split(r"(?<=[.?!])\s+", said.strip())
    return [sentence.removeprefix(next(filter(sentence.startswith, LINKS), "")) for sentence in found if sentence]


def listed(values: dict[str, object]) -> str:
    """ "price 300, agent Anna and status open"."""
    *before, last = [f"{name} {value}" for name, value in values.items()]
    return f"{', '.join(before)} and {last}" if before else last


def unlisted(said: str) -> dict[str, str]:
    """The values of `listed`, each as text."""
    parts = [part.split(" ", 1) for part in re.split(r", | and ", said)]
    return {part[0]: part[1] for part in parts if len(part) == 2}


def _nouns(text: str, nouns: dict[str, str]) -> str:
    return re.sub(r"\b[RPFV]\b", lambda found: nouns[found[0]], text)


@functools.lru_cache(maxsize=4096)
def _pattern(text: str, nouns: tuple[tuple[str, str], ...]) -> re.Pattern:
    """The first letter may be small: a sentence that is linked to one before begins so."""
    whole = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+?)", re.escape(_nouns(text, dict(nouns))))
    return re.compile(f"[{whole[0]}{whole[0].lower()}]{whole[1:]}")
