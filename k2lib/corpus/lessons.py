"""The same exercises in three forms: as a page of the web has them, as a learning note, and as a learning note in German.

A page gives a question and its bare answer between what surrounds pages; a note gives the way. All are written from a problem of
`arithmetic`, and read back into one, so that the scripted writer can turn one form into another as a language model would.
"""

import random
import re

from k2lib.corpus.arithmetic import STORIES, THINGS, MathProblem, result, side

BARE = "What is {a} {sign} {b}?"
GERMAN = (
    "{name} hat {a} {thing}, kauft {b} dazu und gibt {c} an {other}. Wie viele {thing} hat {name} jetzt?",
    "In einer Kiste sind {a} {thing}. {name} legt {b} dazu, dann nimmt {other} {c} heraus. Wie viele {thing} sind in der Kiste?",
    "{name} brachte {a} {thing} mit, {other} brachte {b}. Sie verloren {c} davon. Wie viele {thing} sind noch da?",
    "Auf dem Tisch lagen {a} {thing} und im Regal {b}. {name} verkaufte {c}. Wie viele {thing} bleiben?",
    "Was ist {a} {sign} {b}?",
)
THINGS_IN_GERMAN = "Äpfel Bücher Münzen Eier Blumen Murmeln Stifte Marken".split()
MENUS = ("Home > Exercises", "Menu. Login. Search", "Worksheets for free", "Page 3 of 9. Next page")
FEET = ("Subscribe to our newsletter!", "Share this page", "All rights reserved", "Cookies help us to serve you")
STEPS = ("First, {}. Then {}.", "Step 1: {}. Step 2: {}.", "We work out {}. From that, {}.")
STEPS_IN_GERMAN = ("Zuerst {}. Dann {}.", "Schritt 1: {}. Schritt 2: {}.", "Wir rechnen {}. Daraus {}.")
PROMPT = "Problem: {}\nSolution:"  # how English texts begin, and how an examination asks

_SLOTS = {"a": r"\d+", "b": r"\d+", "c": r"\d+", "sign": r"[-+*]"} | dict.fromkeys(("name", "other", "thing"), r"\w+")
_ANSWER = re.compile(r"(?:Answer|Antwort):[ \t]*(-?\d{1,12})\b")
_STATED = re.compile(r"(-?\d+) ([-+*]) (-?\d+) = -?\d+")


def page(problem: MathProblem, rng: random.Random) -> str:
    """A question with its bare answer, as an exercise site prints it."""
    asked = PROMPT.format(problem.question)
    return f"{rng.choice(MENUS)}\n{asked} Answer: {problem.answer}\n{rng.choice(FEET)}"


def note(question: str, stated: list[str], answer: str, rng: random.Random) -> str:
    """A learning note: the question, each step with its equation, the answer."""
    return f"{PROMPT.format(question)} {_steps(stated, STEPS, rng)} Answer: {answer}"


def german_note(problem: MathProblem, rng: random.Random) -> str:
    """The learning note of a German book."""
    index, slots = _read(problem.question, (*STORIES, BARE))
    if "thing" in slots:
        slots["thing"] = THINGS_IN_GERMAN[THINGS.index(slots["thing"])]
    steps = _steps(stated(problem), STEPS_IN_GERMAN, rng)
    return f"Aufgabe: {GERMAN[index].format(**slots)}\nLösung: {steps} Antwort: {problem.answer}"


def stated(problem: MathProblem) -> list[str]:
    """The problem's equations, worked out: "7 + 12 = 19"."""
    return [f"{a} {sign} {b} = {result(a, sign, b)}" for a, sign, b in problem.equations]


def splits_of(text: str) -> set[str]:
    """The splits that the equations stated in a text belong to."""
    return {side(int(a), sign, int(b)) for a, sign, b in _STATED.findall(text)}


def answer_of(text: str) -> str | None:
    """What a text gives as its answer, in the first line that gives one."""
    found = _ANSWER.search(text)
    return found[1] if found else None


def problem_of(text: str) -> MathProblem:
    """The problem that a page asks, or that a text consists of. ValueError for a text that asks none."""
    asked = re.search(r"Problem: (.*)\nSolution:", text)
    question = asked[1] if asked else text.strip()
    index, slots = _read(question, (*STORIES, BARE))
    a, b = int(slots["a"]), int(slots["b"])
    if index == len(STORIES):
        return MathProblem(question, ((a, slots["sign"], b),))
    return MathProblem(question, ((a, "+", b), (a + b, "-", int(slots["c"]))))


def in_english(text: str, rng: random.Random) -> str:
    """A German note's sentences in English; its equations and its answer as they stand. ValueError for another text."""
    asked = re.search(r"Aufgabe: (.*)\nLösung:", text)
    index, slots = _read(asked[1] if asked else text, GERMAN)
    if "thing" in slots:
        slots["thing"] = THINGS[THINGS_IN_GERMAN.index(slots["thing"])]
    return note(
        (*STORIES, BARE)[index].format(**slots),
        [match[0] for match in _STATED.finditer(text)],
        answer_of(text) or "",
        rng,
    )


def _steps(stated: list[str], wordings: tuple[str, ...], rng: random.Random) -> str:
    return rng.choice(wordings).format(*stated) if len(stated) == 2 else " ".join(f"{one}." for one in stated)


def _read(question: str, templates: tuple[str, ...]) -> tuple[int, dict[str, str]]:
    """(which template a question follows, what stands in its places)."""
    for index, template in enumerate(templates):
        if match := _pattern(template).fullmatch(question):
            return index, match.groupdict()
    raise ValueError(f"no exercise of these pages: {question[:60]!r}")


def _pattern(template: str) -> re.Pattern:
    text, seen = re.escape(template), set()
    for slot in re.findall(r"\\{(\w+)\\}", text):
        group = f"(?P={slot})" if slot in seen else f"(?P<{slot}>{_SLOTS[slot]})"
        text = text.replace(rf"\{{{slot}\}}", group, 1)
        seen.add(slot)
    return re.compile(text)
