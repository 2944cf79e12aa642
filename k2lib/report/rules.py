"""Acceptance rules: what a recorded number must be for its claim to hold."""

import operator
from dataclasses import dataclass

from k2lib.intervals import Interval

KINDS = ("below", "above", "equals", "between", "near", "equivalent", "reported")
ENDS = {"below": "high", "above": "low"}  # the end of the interval that such a rule may ask for
FEWEST = 3  # seeds: fewer have an interval, and it means nothing
MET, REFUSED, OPEN = "met", "refused", "open"


@dataclass(frozen=True)
class Rule:
    """One acceptance rule: `kind` and its `bound`; `by` says which end of the interval must satisfy it ("value": none)."""

    kind: str
    bound: float | tuple[float, float]
    within: float = 0.0  # relative, for "near"
    by: str = "value"

    @property
    def level(self) -> float:
        """Of the interval that is judged: an equivalence is two one-sided tests at 5%."""
        return 0.9 if self.kind == "equivalent" else 0.95

    @property
    def needs_interval(self) -> bool:
        return self.by != "value" or self.kind == "equivalent"

    def judge(self, found: Interval) -> str:
        """MET, REFUSED, or OPEN where the interval holds the bound or stands on too few seeds to say."""
        if not self.needs_interval:
            return MET if self._accepts(found.value) else REFUSED
        if found.low is None or too_few(found):
            return OPEN
        if self.kind == "equivalent":
            inside, outside = max(-found.low, found.high) < self.bound, max(found.low, -found.high) > self.bound
            return MET if inside else REFUSED if outside else OPEN
        strict, lenient = (found.low, found.high) if self.by == "low" else (found.high, found.low)
        return MET if self._accepts(strict) else OPEN if self._accepts(lenient) else REFUSED

    def _accepts(self, number: float) -> bool:
        if self.kind == "between":
            return self.bound[0] <= number <= self.bound[1]
        if self.kind == "near":
            return abs(number - self.bound) <= self.within * abs(self.bound)
        if self.kind == "reported":
            return float(f"{number:.{digits(self.bound)}g}") == self.bound
        return {"below": operator.lt, "above": operator.gt, "equals": operator.eq}[self.kind](number, self.bound)

    def __str__(self) -> str:
        number = {"value": "", "low": "the interval's lower end ", "high": "the interval's upper end "}[self.by]
        if self.kind == "between":
            return "between {:g} and {:g}".format(*self.bound)
        if self.kind == "near":
            return f"within {100 * self.within:g}% of {self.bound:g}"
        if self.kind == "equivalent":
            return f"the 90% interval within ±{self.bound:g}"
        if self.kind == "reported":
            return f"rounds to {self.bound:g}"
        return f"{number}{self.kind} {self.bound:g}"


def too_few(found: Interval) -> bool:
    """Whether an interval stands on fewer seeds than any verdict needs."""
    return found.over_seeds and found.n < FEWEST


def digits(number: float) -> int:
    """Significant digits that a number is written with: 3 for 1.04."""
    return len(f"{number:.12g}".replace(".", "").strip("-0"))


def rule_of(entry: dict, place: str) -> Rule:
    """The rule that an entry of claims.yaml states; ValueError naming the place otherwise."""
    named = [kind for kind in KINDS if isinstance(entry, dict) and kind in entry]
    if len(named) != 1 or set(entry) - {named[0], "by", "within"}:
        raise ValueError(f"{place}: a rule names exactly one of {', '.join(KINDS)}, perhaps with by, within: {entry}")
    kind, by = named[0], entry.get("by", "value")
    if (by != "value" and by != ENDS.get(kind)) or (kind == "near") != ("within" in entry):
        raise ValueError(
            f"{place}: by is high with below and low with above, and near needs within (relative): {entry}"
        )
    try:
        bound = tuple(float(end) for end in entry[kind]) if kind == "between" else float(entry[kind])
        if kind == "between" and (len(bound) != 2 or bound[0] > bound[1]):
            raise ValueError("between needs [low, high]")
        return Rule(kind, bound, float(entry.get("within", 0.0)), by)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{place}: the rule {entry} has a bound that is not a number ({error})") from error
