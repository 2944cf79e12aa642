"""Fidelity: does a rewrite say what its source says? The mechanical layer, with reasons (section 2.2's quality control).

Everything that can be counted must be accounted for: numbers, dates, amounts with their unit and names of the source, none missing
and none new; every sentence must leave a trace; negations; the length; the ending. Also what a model writes when it does not rewrite:
refusals, its prompt, a copy of the source. What this layer cannot see: a common word exchanged for another, two values that change
places, a new name at the start of a sentence; a judge model is for those.
"""

import re
from collections import Counter
from dataclasses import dataclass

from k2lib.synth.quantities import amounts, dates, number_words

_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
# Looks back only from a capital letter, so that most of a text is passed over quickly; `_OPENING` likewise.
_NAME = re.compile(r"[A-Z](?<!\A.)(?<!\w.)(?<![\n\"“(].)(?<![.!?:]\s.)[\w’'-]*[a-z][\w’'-]*")
_WORD = re.compile(r"[\w’'-]+")
_PLAIN = re.compile(r"[^\W\d_]+(?:['’]t\b)?")  # a word without what hangs on it by a hyphen or an apostrophe
_NEGATIONS = frozenset("not no never none neither nor cannot without".split())
_REFUSAL = re.compile(
    r"\b(?:as an ai|i can(?:no|')t (?:help|assist|rewrite)|i(?:'m| am) (?:sorry|unable)|here is (?:the|a) rewrit)",
    re.IGNORECASE,
)
_LEAKS = ("<text>", "</text>", "<context>", "<written>", "Keep every name, number, date")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_HEADING = re.compile(r"^[^.:]{0,40}:\s+")
_ADDRESS = frozenset("i me my you your we us our".split())
_FUNCTION_WORDS = frozenset(
    "about after again also been before being between both could does each even ever from have here into just like made many "
    "more most much must once only other over same should some such than that their them then there these they this those "
    "through under until very were what when where which while whose will with would".split()
)
SHORTEST, LONGEST = 0.6, 2.0  # words, relative to the source
LEAST_OVERLAP = 0.2  # of the source's words; a faithful rewrite in other words keeps far more
STEM = 5  # letters that tell a word: "plays" and "played" are one
_OPENING = re.compile(
    r"[A-Z](?:(?<=^.)|(?<=[.!?:]\s.)|(?<=[\n\"“(].))[\w’'-]*[a-z][\w’'-]*(?P<more>\s+(?:[A-Z]|(?:is|was|has)\b))?",
    re.MULTILINE,
)
# English words that stand capitalised and name nothing.
_NAMELESS = frozenset(
    (
        "The A An In It He She They We You This That These Those There Here On At By For From With As If When While "
        "Since After Before Though Although But And Or So Yet Then Thus Still However What Who Where Why How Which Is "
        "Was Are Were Has Have Had Do Does Did Not No One Some Many Most All Each Every Both Our Your My His Her Their "
        "Its To Of Let Dear Sir Madam"
    ).split()
)


@dataclass(frozen=True)
class Fidelity:
    faithful: bool
    reasons: tuple[str, ...]  # one sentence each; empty if it is faithful


def kind_of(reason: str) -> str:
    """A reason without what it is about: "number 7 is missing" and "number 9 is missing" are of one kind."""
    for told in ("number in words", "number", "amount", "date", "name"):
        if reason.startswith(f"{told} ") and reason.endswith((" is missing", " is new")):
            return f"{told} {reason.rsplit(' ', 1)[1]}"
    for told in ("length", "nothing is left of the sentence", "no reply"):
        if reason.startswith(told):
            return told
    return reason


class _Text:
    """A text, read once: its words for all that looks at words."""

    def __init__(self, text: str):
        self.text = text
        self.words = _WORD.findall(text.lower())
        self.plain: Counter[str] = Counter()
        counts = Counter(self.words)
        for word, times in counts.items():
            for part in (word,) if word.isalpha() else _PLAIN.findall(word):
                self.plain[part] += times
        self.bare = {word if word.isalnum() else _bare(word) for word in counts}

    @property
    def negations(self) -> int:
        return sum(n for word, n in self.plain.items() if word in _NEGATIONS or word.endswith(("n't", "n’t")))


def verify(source: str, rewrite: str) -> Fidelity:
    """The mechanical verdict on one rewrite."""
    before, after = _Text(source), _Text(rewrite)
    reasons = [
        *_counted("number", _NUMBER.findall(source), _NUMBER.findall(rewrite)),
        *_new_and_missing("amount", amounts(source), amounts(rewrite)),
        *_new_and_missing("date", dates(source), dates(rewrite)),
        *_new_and_missing("number in words", number_words(before.plain), number_words(after.plain)),
        *_names(before, after),
        *_coverage(before, after),
        *_shape(before, after),
    ]
    if before.negations != after.negations:
        reasons.append("the number of negations differs")
    return Fidelity(not reasons, tuple(reasons))


def _counted(kind: str, before: list[str], after: list[str]) -> list[str]:
    return _new_and_missing(kind, set(before), set(after))


def _new_and_missing(kind: str, before: set[str], after: set[str]) -> list[str]:
    missing, new = sorted(before - after), sorted(after - before)
    return ([f"{kind} {missing[0]} is missing"] if missing else []) + ([f"{kind} {new[0]} is new"] if new else [])


def _coverage(source: _Text, rewrite: _Text) -> list[str]:
    """Every sentence leaves a trace: one of its rarer words stands in the rewrite as often as in the source. What addresses the
    reader ("Dear friend, you asked me") frames the facts and may go, as may a heading that ends in a colon."""
    sentences = [(sentence, _content_words(sentence)) for sentence in _SENTENCE.split(source.text)]
    before = Counter(word[:STEM] for _, words in sentences for word in words)
    after = Counter(word[:STEM] for word in rewrite.words)
    if len(before) >= 12 and sum(stem in after for stem in before) < LEAST_OVERLAP * len(before):
        return [f"fewer than {LEAST_OVERLAP:.0%} of the source's words are left"]
    for sentence, words in sentences:
        rare = [word[:STEM] for word in words if before[word[:STEM]] < 3]  # in a long text a sentence may have none
        if not rare or any(after[stem] >= before[stem] for stem in rare):
            continue
        if (
            sum(word in words for word in _WORD.findall(sentence)) >= 2
        ):  # a heading that is all names says nothing by itself
            return [f"nothing is left of the sentence {' '.join(sentence.split())[:60]!r}"]
    return []


def _content_words(sentence: str) -> set[str]:
    words = set(_WORD.findall(_HEADING.sub("", sentence.strip()).lower()))
    if not _ADDRESS.isdisjoint(words):
        return set()
    return {w for w in words - _FUNCTION_WORDS if len(w) >= 4 or w.isdigit()}


def _names(source: _Text, rewrite: _Text) -> list[str]:
    """Names of the source that are gone, and capitalised words inside sentences of the rewrite that are new. A word that
    stands anywhere in the other text, whatever its case, counts as present: sentences may be turned around."""
    missing = [name for name in _named(source.text) if _bare(name) not in rewrite.bare]
    new = [name for name in _inside(rewrite.text) if _bare(name) not in source.bare]
    return ([f"name {missing[0]} is missing"] if missing else []) + ([f"name {new[0]} is new"] if new else [])


def _named(text: str) -> list[str]:
    """What the text names: capitalised words inside sentences. Any word may open one; it names something if another such
    word follows ("Ada Novak"), if it opens several, or before "is", "was", "has": a plain noun would need its article."""
    openings = list(_OPENING.finditer(text))
    first = [match.group().split()[0] for match in openings]
    leading = [word for word, match in zip(first, openings, strict=True) if match["more"] or first.count(word) > 1]
    return [name for name in dict.fromkeys([*leading, *_inside(text)]) if name not in _NAMELESS]


def _inside(text: str) -> list[str]:
    return [name for name in dict.fromkeys(_NAME.findall(text)) if name not in _NAMELESS]


def _bare(word: str) -> str:
    """In lower case, without quotes and a genitive's ending: "Hruska's" is there where "Hruska" is."""
    return word.lower().strip("'’-").removesuffix("'s").removesuffix("’s")


def _shape(source: _Text, rewrite: _Text) -> list[str]:
    reasons = []
    before, after, text = len(source.words), len(rewrite.words), rewrite.text.strip()
    if not SHORTEST * before <= after <= LONGEST * before + 20:
        reasons.append(f"length {after} words for a source of {before}")
    if text and text[-1] not in ".!?\"”')]}:;|" and source.text.strip()[-1:] in ".!?":
        reasons.append("it ends in the middle of a sentence")
    if _REFUSAL.search(text) and not _REFUSAL.search(source.text):
        reasons.append("it refuses or talks about the task")
    if any(leak in text and leak not in source.text for leak in _LEAKS):
        reasons.append("it repeats its instructions")
    if before > 8 and text == source.text.strip():
        reasons.append("it is a copy of the source")
    return reasons
