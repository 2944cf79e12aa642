"""Fidelity: does a rewrite say what its source says? The mechanical layer, with reasons (section 2.2's quality control).

Everything that can be counted must be accounted for: numbers, dates and names of the source, none missing and none new; negations;
the length; the ending. Also what a model writes when it does not rewrite: refusals, its prompt, a copy of the source. What this
layer cannot see is a fact restated falsely in the same words' neighbourhood; a judge model is for that.
"""

import re
from dataclasses import dataclass

_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_NAME = re.compile(r"(?<![.!?:]\s)(?<!^)(?<![\n\"“(])\b[A-Z][\w’'-]*[a-z][\w’'-]*")
_WORD = re.compile(r"[\w’'-]+")
_NEGATION = re.compile(r"\b(?:not|no|never|none|neither|nor|cannot|without|\w+n['’]t)\b", re.IGNORECASE)
_REFUSAL = re.compile(
    r"\b(?:as an ai|i can(?:no|')t (?:help|assist|rewrite)|i(?:'m| am) (?:sorry|unable)|here is (?:the|a) rewrit)",
    re.IGNORECASE,
)
_LEAKS = ("<text>", "</text>", "<context>", "<written>", "Keep every name, number, date")
SHORTEST, LONGEST = 0.6, 2.0  # words, relative to the source
_CAPITALISED = re.compile(r"\b[A-Z][\w’'-]*[a-z][\w’'-]*")
# Words that open a sentence without naming anything: a rewrite may drop or add them.
_OPENERS = frozenset(
    [
        "The",
        "A",
        "An",
        "In",
        "It",
        "He",
        "She",
        "They",
        "We",
        "You",
        "This",
        "That",
        "These",
        "Those",
        "There",
        "Here",
        "On",
        "At",
        "By",
        "For",
        "From",
        "With",
        "As",
        "If",
        "When",
        "While",
        "Since",
        "After",
        "Before",
        "Though",
        "Although",
        "But",
        "And",
        "Or",
        "So",
        "Yet",
        "Then",
        "Thus",
        "Still",
        "However",
        "What",
        "Who",
        "Where",
        "When",
        "Why",
        "How",
        "Which",
        "Is",
        "Was",
        "Are",
        "Were",
        "Has",
        "Have",
        "Had",
        "Do",
        "Does",
        "Did",
        "Not",
        "No",
        "One",
        "Some",
        "Many",
        "Most",
        "All",
        "Each",
        "Every",
        "Both",
        "Guest",
        "Dear",
        "Interviewer",
        "Note",
        "Question",
        "Answer",
        "Reported",
        "Listen",
        "Consider",
        "Readers",
        "People",
        "Ladies",
        "Notes",
        "Card",
        "Entry",
        "Chronicle",
        "Our",
        "Your",
        "My",
        "His",
        "Her",
        "Their",
        "Its",
        "To",
        "Of",
        "Let",
        "Tell",
        "Born",
    ]
)


@dataclass(frozen=True)
class Verdict:
    faithful: bool
    reasons: tuple[str, ...]  # one sentence each; empty if it is faithful


def verify(source: str, rewrite: str) -> Verdict:
    """The mechanical verdict on one rewrite."""
    reasons = [
        *_counted("number", _NUMBER.findall(source), _NUMBER.findall(rewrite)),
        *_names(source, rewrite),
        *_shape(source, rewrite),
    ]
    if len(_NEGATION.findall(source)) != len(_NEGATION.findall(rewrite)):
        reasons.append("the number of negations differs")
    return Verdict(not reasons, tuple(reasons))


def _counted(kind: str, before: list[str], after: list[str]) -> list[str]:
    missing, new = sorted(set(before) - set(after)), sorted(set(after) - set(before))
    return ([f"{kind} {missing[0]} is missing"] if missing else []) + ([f"{kind} {new[0]} is new"] if new else [])


def _names(source: str, rewrite: str) -> list[str]:
    """Capitalised words of the source that are gone, and those inside sentences of the rewrite that are new. A word that stands
    anywhere in the other text, whatever its case, counts as present: sentences may be turned around."""
    words_before, words_after = ({w.lower() for w in _WORD.findall(t)} for t in (source, rewrite))
    before = dict.fromkeys(name for name in _CAPITALISED.findall(source) if name not in _OPENERS)
    after = dict.fromkeys(name for name in _NAME.findall(rewrite) if name not in _OPENERS)
    missing = [name for name in before if name.lower() not in words_after]
    new = [name for name in after if name.lower() not in words_before]
    return ([f"name {missing[0]} is missing"] if missing else []) + ([f"name {new[0]} is new"] if new else [])


def _shape(source: str, rewrite: str) -> list[str]:
    reasons = []
    before, after = len(_WORD.findall(source)), len(_WORD.findall(rewrite))
    if not SHORTEST * before <= after <= LONGEST * before + 20:
        reasons.append(f"length {after} words for a source of {before}")
    if rewrite.strip() and rewrite.strip()[-1] not in ".!?\"”')]}:;|" and source.strip()[-1:] in ".!?":
        reasons.append("it ends in the middle of a sentence")
    if _REFUSAL.search(rewrite) and not _REFUSAL.search(source):
        reasons.append("it refuses or talks about the task")
    if any(leak in rewrite and leak not in source for leak in _LEAKS):
        reasons.append("it repeats its instructions")
    if before > 8 and rewrite.strip() == source.strip():
        reasons.append("it is a copy of the source")
    return reasons
