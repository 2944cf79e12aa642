"""What a text counts and measures: numbers in words, amounts with their unit, whole dates. Read alike however they are written.

"5 km", "5 kilometres" and "5-km" are one amount, "3 May 1950" and "May 3, 1950" one date: a rewrite may change the form and not
the thing. Each function returns a set, so two texts are compared by difference.
"""

import re
from collections.abc import Iterable

_UNITS = {
    "%": ("%", "percent", "per cent"),
    "$": ("$", "dollar", "dollars", "usd"),
    "€": ("€", "euro", "euros", "eur"),
    "£": ("£", "pound sterling", "pounds sterling", "gbp"),
    "km": ("km", "kilometre", "kilometres", "kilometer", "kilometers"),
    "m": ("m", "metre", "metres", "meter", "meters"),
    "cm": ("cm", "centimetre", "centimetres", "centimeter", "centimeters"),
    "mm": ("mm", "millimetre", "millimetres", "millimeter", "millimeters"),
    "mile": ("mile", "miles"),
    "foot": ("foot", "feet", "ft"),
    "kg": ("kg", "kilogram", "kilograms"),
    "g": ("g", "gram", "grams"),
    "tonne": ("tonne", "tonnes", "ton", "tons"),
    "s": ("second", "seconds"),  # a bare s would read "the 1990s" as seconds
    "ms": ("ms", "millisecond", "milliseconds"),
    "minute": ("minute", "minutes"),
    "hour": ("hour", "hours"),
    "day": ("day", "days"),
    "week": ("week", "weeks"),
    "month": ("month", "months"),
    "year": ("year", "years"),
    "B": ("byte", "bytes"),
    "KB": ("kb", "kilobyte", "kilobytes"),
    "MB": ("mb", "megabyte", "megabytes"),
    "GB": ("gb", "gigabyte", "gigabytes"),
    "°C": ("°c", "degrees celsius"),
    "°F": ("°f", "degrees fahrenheit"),
}
_UNIT = {spelling: unit for unit, spellings in _UNITS.items() for spelling in spellings}
_AFTER = "|".join(re.escape(s) for s in sorted(_UNIT, key=len, reverse=True))
_DIGIT = re.compile(r"\d")
# Each begins with what is rare, so that most of a text is passed over quickly.
_AMOUNT = re.compile(rf"(?=[$€£\d])(?:([$€£])\s?)?(\d+(?:[.,]\d+)*)(?:[\s-]?({_AFTER})(?!\w))?", re.IGNORECASE)
_NEGATIVE = re.compile(r"[-−](?<![\w)\]].)(\d+(?:[.,]\d+)*)")

_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
).split()
_VALUE = {word: str(n) for n, word in enumerate(_WORDS)} | {
    word: str(10 * n) for n, word in enumerate("thirty forty fifty sixty seventy eighty ninety".split(), 3)
}
_VALUE |= {"hundred": "100", "thousand": "1000", "million": "1000000", "billion": "1000000000", "dozen": "12"}
del _VALUE["one"]  # mostly a pronoun

_MONTHS = "january february march april may june july august september october november december".split()
_MONTH = "|".join(m.capitalize() for m in _MONTHS)
_NAMED = tuple(_MONTH.split("|"))
_DATES = (
    re.compile(rf"\b(?P<d>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? (?P<m>{_MONTH})\b(?:,? (?P<y>\d{{4}}))?"),
    re.compile(rf"\b(?P<m>{_MONTH}) (?P<d>\d{{1,2}})(?:st|nd|rd|th)?\b(?!\d)(?:,? (?P<y>\d{{4}}))?"),
    re.compile(r"(?P<y>\d{4})(?<!\w.{4})-(?P<m>\d{2})-(?P<d>\d{2})\b"),
)


def amounts(text: str) -> set[str]:
    """Numbers with a unit, as "5 km"; and numbers below zero, as "-5"."""
    if not _DIGIT.search(text):
        return set()
    found = {f"-{value}" for value in _NEGATIVE.findall(text)}
    for sign, value, unit in _AMOUNT.findall(text):
        if sign or unit:
            found.add(f"{value} {_UNIT[(sign or unit).lower()]}")
    return found


def number_words(words: Iterable[str]) -> set[str]:
    """Values of the numbers among words in lower case: "three" is "3"."""
    return {_VALUE[word] for word in words if word in _VALUE}


def dates(text: str) -> set[str]:
    """Days of the calendar, as "3.5.1950", or "3.5." without a year."""
    found = set()
    if not _DIGIT.search(text):
        return found
    named = any(month in text for month in _NAMED)
    for pattern in _DATES if named else _DATES[-1:]:
        for match in pattern.finditer(text):
            month = match["m"].lower()
            number = _MONTHS.index(month) + 1 if month in _MONTHS else int(month)
            found.add(f"{int(match['d'])}.{number}.{match['y'] or ''}")
    return found
