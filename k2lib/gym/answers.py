"""What an answer states: the one reader of answers for all of `gym`, total and strict, in time linear in the text.

Strict, because RL finds whatever a check lets through (section 3.2.1): what is doubtful, such as a sum that is not worked out,
a range, a hedge or two numbers, states nothing, and counts as wrong.
"""

import re
from fractions import Fraction

LONGEST = 20_000  # characters; a longer text is no answer
DIGITS = 30
_NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?![\d,]*\d)(?:\.\d+)?|\d+(?:\.\d+)?")
_MARKER = re.compile(r"\\boxed\{|\banswer\b|\bsolution\b", re.IGNORECASE)  # the last one that a number follows counts
_OPERATORS = "+-*/×÷^·%<>≤≥≠≈~±√–—∙⋅∕"
_DOUBTS = frozenset(
    "not isn't never aren't wasn't about approximately around nearly almost roughly circa under over below above least "
    "most than before after until or minus plus times maybe perhaps possibly probably except without".split()
)
_JOINTS = frozenset(
    ["", "or", "and", "to", "through", ",", ";", "/", "&", "|", "-", "–", "—", ", or", ", and", "..", "..."]
)
_SCALES = frozenset(
    "percent hundred thousand million billion dozen squared cubed halves thirds quarters tenths half times plus minus".split()
)
_HEDGE = re.compile(r"(?:or|and)\s+(?:more|less|so|fewer|maybe|a|one|an|perhaps|\w+ths?)\b", re.IGNORECASE)
_DENIED = re.compile(r"(?:is|was|would be)\s+(?:not|wrong|incorrect|false|too)\b|isn't|wasn't", re.IGNORECASE)


def number(answer: object) -> Fraction | None:
    """The number that an answer states last, or after its last "answer" or \\boxed; None where that is in doubt."""
    text = _said(answer)
    if text is None:
        return None
    found = list(_NUMBER.finditer(text))
    if not found:
        return None
    after = [m.end() for m in _MARKER.finditer(text) if m.end() <= found[-1].start()]
    region = after[-1] if after else 0
    last, others = found[-1], [one for one in found[:-1] if one.start() >= region]
    if len(last[0]) > DIGITS or (others and _joined(text[others[-1].end() : last.start()])):
        return None
    sign = _sign(text[region : last.start()])
    if sign is None or not _ends(text[last.end() :]):
        return None
    return sign * Fraction(last[0].replace(",", ""))


def begins(answer: object, value: str) -> bool:
    """Whether an answer begins with `value`, case and markup aside, as whole words and not as one of several."""
    text = _said(answer)
    if text is None or not value.strip():
        return False
    text, value = text.strip().lstrip("*_`\"'“‘").casefold(), value.strip().casefold()
    rest = text[len(value) :]
    if not text.startswith(value) or re.match(r"[\w²³¹]|[-–'’./,:]\w|\s*\?", rest):
        return False
    return not re.match(r"[\s,;/*_`\"'”’]*(?:/|\bor\b|\band\b|\bmaybe\b|\bperhaps\b)", rest)


def _said(answer: object) -> str | None:
    """The text without its thoughts; None for what is no text, too long, or still thinking."""
    if not isinstance(answer, str) or len(answer) > LONGEST:
        return None
    thought = answer.rfind("</think>")
    if answer.rfind("<think>") > thought:
        return None
    return answer[thought + len("</think>") if thought >= 0 else 0 :].replace("−", "-").replace("’", "'")


def _joined(between: str) -> bool:
    """Whether two numbers are one statement: a list, a range, a choice."""
    apart = "\n" in between and between.strip() == ""  # on lines of their own
    return between == ":" or (not apart and between.strip().lower() in _JOINTS)


def _sign(before: str) -> int | None:
    """1 or -1 by what stands before the digits; None if the number is part of something else."""
    before, sign = _unquoted(before), 1
    if before[-1:] in ("-", "+"):
        sign, before = (-1 if before[-1] == "-" else 1), before[:-1]
        if before[-1:].isalnum() or before.rstrip()[-1:].isdigit() or before.rstrip()[-1:] in (")", "]"):
            return None  # a difference, a compound word
        before = _unquoted(before)
    if before[-1:].isalnum() or before[-1:] in ("_", ".", ",", "'") or before.rstrip()[-1:] in tuple(_OPERATORS):
        return None
    words = re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", before[-40:])
    near = words and before.rstrip().endswith(words[-1])
    return None if near and words[-1].lower() in _DOUBTS else sign


def _unquoted(before: str) -> str:
    """Without the markup that opens right before a number or closed before it: **, _, `, quotes, brackets, currency."""
    before = re.sub(r"(?<=[^\s\d*])\*\*(\s*)$", r"\1", before)
    bare = before.rstrip("*_`\"'“‘([{$€£#")
    marks = before[len(bare) :]
    return before if "*" in marks and bare.rstrip()[-1:].isalnum() and not bare[-1:].isspace() else bare


def _ends(after: str) -> bool:
    """Whether what follows the digits leaves the number as it is."""
    bare = after.lstrip("*_`\"'”")
    starred = len(bare) < len(after)
    if after[:1].isalnum() or (
        after[:1] in ("^", "/", "%", "‰", "?", "!") and after[:2] != "! " and after.strip() != "!"
    ):
        return False
    if re.match(r"[.,:]\d|-\w|\)?\s*\?", bare) or (starred and bare[:1].isalnum()):
        return False
    rest = bare.lstrip(" )]}$€£°\t")
    word = re.match(r"[^\W\d_]+", rest)
    if word and word[0].lower() in _SCALES:
        return False
    if _HEDGE.match(rest) or _DENIED.match(rest):
        return False
    return rest[:1] not in ("+", "×", "÷", "/", "^", "*", "<", ">", "≤", "≥", "≠", "≈", "±", "%", "²", "³")
