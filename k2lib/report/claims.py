"""The claims of the paper as data, and the rules that judge what was measured.

`data/claims.yaml` says, for every claim that the kit tests: its id and notebook, the paper's section, the sentence, the
paper's own number (or "not stated"), the acceptance rule, a weaker rule for "partly", and the profiles that are large
enough to test it. A notebook only records; the rule gives the verdict. Rules are one of

    {below: 0.02}   {above: 0.5}   {equals: 10}   {between: [90, 110]}   {near: 32.6, within: 0.02}

(`within` is relative) and may add `by: low` or `by: high`: then that end of the recorded interval must satisfy the
rule, not the value. Most claims are honest only with `by`, since a mean over three seeds passes many a
threshold by luck.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from k2lib import profiles
from k2lib.places import DATA
from k2lib.report.ledger import Ledger, Record, ledger_path
from k2lib.store import lock

CLAIMS_FILE = DATA / "claims.yaml"
REPRODUCED, PARTLY, FAILED, UNTESTED = "reproduced", "partly", "not reproduced", "not tested at this size"
NOT_RUN = "not run"  # no record yet; not a verdict on the claim
VERDICTS = (REPRODUCED, PARTLY, FAILED, UNTESTED, NOT_RUN)
_current = None  # the book that is open in this process; set by book.start


@dataclass(frozen=True)
class Rule:
    """One acceptance rule: `kind` and its `bound`; `by` says which recorded number must satisfy it."""

    kind: str
    bound: float | tuple[float, float]
    within: float = 0.0  # relative, for "near"
    by: str = "value"

    def accepts(self, record: Record) -> bool:
        """Whether the record satisfies the rule; ValueError when it lacks the number that `by` asks for."""
        number = getattr(record, self.by)
        if number is None:
            raise ValueError(f"claim {record.id!r} is judged by {self.by!r}: record it with {self.by}=…")
        if self.kind == "between":
            return self.bound[0] <= number <= self.bound[1]
        if self.kind == "near":
            return abs(number - self.bound) <= self.within * abs(self.bound)
        return {"below": operator.lt, "above": operator.gt, "equals": operator.eq}[self.kind](number, self.bound)

    def __str__(self) -> str:
        number = {"value": "", "low": "the interval's lower end ", "high": "the interval's upper end "}[self.by]
        if self.kind == "between":
            return number + "between {:g} and {:g}".format(*self.bound)
        if self.kind == "near":
            return f"{number}within {100 * self.within:g}% of {self.bound:g}"
        return f"{number}{self.kind} {self.bound:g}"


@dataclass(frozen=True)
class Claim:
    id: str
    notebook: str
    section: str  # of the paper
    claim: str  # one sentence
    paper: str  # the paper's number with its unit, or "not stated"
    rule: Rule
    tested_at: tuple[str, ...]  # profiles
    partly: Rule | None = None

    def judge(self, record: Record | None, profile: str) -> str:
        """The verdict on this claim for what was recorded at that profile."""
        if record is None:
            return NOT_RUN
        if profile not in self.tested_at:
            return UNTESTED
        if self.rule.accepts(record):
            return REPRODUCED
        return PARTLY if self.partly and self.partly.accepts(record) else FAILED


@dataclass(frozen=True)
class Verdict:
    claim: Claim
    verdict: str
    record: Record | None


def load(path: Path = CLAIMS_FILE) -> list[Claim]:
    """All claims in the order of the file; ValueError naming the entry and field that cannot be understood."""
    entries = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or []
    claims = [_claim(entry, f"{path}, entry {number}") for number, entry in enumerate(entries, 1)]
    ids = [claim.id for claim in claims]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise ValueError(f"{path}: the claim id {twice[0]!r} stands there twice; ids must be unique")
    return claims


def of_notebook(notebook: str) -> list[Claim]:
    """The claims that the notebook must record, in order."""
    return [claim for claim in load() if claim.notebook == notebook]


def record(
    id: str,
    value: float,
    *,
    low: float | None = None,
    high: float | None = None,
    n: int | None = None,
    detail: str = "",
    profile: str | None = None,
) -> str:
    """Records what was measured for claim `id` and returns the verdict.

    In a notebook the record joins the open book; elsewhere it is merged into the ledger of the claim's notebook under
    artifacts/<profile>/ (profile "laptop" unless given). ValueError for an unknown id or a number that is not finite.
    """
    claim = find(id)
    entry = Record(id, value, low, high, n, detail)
    if _current is not None and profile in (None, _current.profile.name):
        _current.add(claim, entry)
        return claim.judge(entry, _current.profile.name)
    profile = profiles.get(profile or "laptop").name
    path = ledger_path(claim.notebook, profile)
    verdict = claim.judge(entry, profile)
    with lock(path.with_suffix(".lock")):
        ledger = Ledger.load(path) if path.exists() else Ledger(claim.notebook, profile)
        ledger.records[id] = entry
        ledger.save(path)
    return verdict


def find(id: str) -> Claim:
    """The claim of that id; ValueError naming the file otherwise."""
    for claim in load():
        if claim.id == id:
            return claim
    raise ValueError(f"unknown claim {id!r}; data/claims.yaml lists the claims, add it there first")


def verdicts(profile: str) -> dict[str, Verdict]:
    """claim id -> Verdict for every claim, from the ledgers in artifacts/<profile>/; "not run" where there is none."""
    profile = profiles.get(profile).name
    return judge_all(lambda notebook: ledger_path(notebook, profile), profile)


def judge_all(path_of: Callable[[str], Path], profile: str) -> dict[str, Verdict]:
    """claim id -> Verdict, reading each notebook's ledger from `path_of(notebook)`."""
    claims, ledgers = load(), {}
    for notebook in {claim.notebook for claim in claims}:
        path = path_of(notebook)
        ledgers[notebook] = Ledger.load(path).records if path.exists() else {}
    found = {}
    for claim in claims:
        entry = ledgers[claim.notebook].get(claim.id)
        found[claim.id] = Verdict(claim, claim.judge(entry, profile), entry)
    return found


def _claim(entry: dict, place: str) -> Claim:
    needed = {"id", "notebook", "section", "claim", "paper", "rule", "tested_at"}
    if not isinstance(entry, dict) or needed - set(entry) or set(entry) - needed - {"partly"}:
        given = sorted(entry) if isinstance(entry, dict) else entry
        raise ValueError(f"{place}: a claim has the fields {sorted(needed)} and perhaps 'partly', this one has {given}")
    place = f"{place} ({entry['id']})"
    unknown = set(entry["tested_at"]) - set(profiles.PROFILES)
    if unknown or not entry["tested_at"]:
        raise ValueError(f"{place}: tested_at {entry['tested_at']} must list some of {list(profiles.PROFILES)}")
    partly = _rule(entry["partly"], place) if entry.get("partly") else None
    fields = {name: " ".join(str(entry[name]).split()) for name in ("id", "notebook", "section", "claim", "paper")}
    return Claim(**fields, rule=_rule(entry["rule"], place), tested_at=tuple(entry["tested_at"]), partly=partly)


def _rule(entry: dict, place: str) -> Rule:
    kinds = ("below", "above", "equals", "between", "near")
    named = [kind for kind in kinds if isinstance(entry, dict) and kind in entry]
    if len(named) != 1 or set(entry) - {named[0], "by", "within"}:
        raise ValueError(f"{place}: a rule names exactly one of {', '.join(kinds)}, perhaps with by, within: {entry}")
    kind, by = named[0], entry.get("by", "value")
    if by not in ("value", "low", "high") or (kind == "near") != ("within" in entry):
        raise ValueError(f"{place}: by is low or high, and near needs within (relative): {entry}")
    try:
        bound = tuple(float(end) for end in entry[kind]) if kind == "between" else float(entry[kind])
        if kind == "between" and (len(bound) != 2 or bound[0] > bound[1]):
            raise ValueError("between needs [low, high]")
        return Rule(kind, bound, float(entry.get("within", 0.0)), by)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{place}: the rule {entry} has a bound that is not a number ({error})") from error
