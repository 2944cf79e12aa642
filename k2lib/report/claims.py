"""What is claimed, as data, and the rules that judge what was measured.

`data/claims.yaml` holds two kinds of entry: `paper`, a statement of the paper, and `check`, a property of the kit. Each has
its id, the paper's section, a sentence, and the paper's own number (or "not stated"). One that is tested has a notebook,
an acceptance rule, perhaps a weaker one for "partly", the profiles that are large enough, and `since`, the commit that
wrote the rule; what a rule was before stands in its `history`. One that nothing tests yet says what that `needs`.

A notebook only records raw values; the rule gives the verdict. Rules are one of

    {below: 0.02}   {above: 0.5}   {equals: 10}   {between: [90, 110]}   {near: 32.6, within: 0.02}
    {equivalent: 0.01}   {reported: 1.04}

`within` is relative. `below` with `by: high` and `above` with `by: low` ask that the whole interval satisfies the rule:
a mean over three seeds passes many a threshold by luck. `equivalent` asks that the 90% interval of a difference lies
within ± its margin, which is two one-sided tests at 5%. `reported` is met by a number that rounds to the paper's.
"""

from dataclasses import dataclass
from pathlib import Path

import yaml

from k2lib import profiles
from k2lib.places import DATA
from k2lib.report.ledger import Ledger, Record, ledger_path
from k2lib.report.rules import MET, OPEN, Rule, rule_of, too_few
from k2lib.store import lock

CLAIMS_FILE = DATA / "claims.yaml"
PAPER, CHECK = "paper", "check"
REPRODUCED, FAILED, DIFFERS = "reproduced", "not reproduced", "differs"
HOLDS, BROKEN = "holds", "does not hold"  # the same for a check
PARTLY, INCONCLUSIVE = "partly", "inconclusive"
TOO_SMALL, NOT_RUN, UNTESTED = "not tested at this size", "not run", "untested"  # not verdicts on the claim
VERDICTS = (REPRODUCED, HOLDS, PARTLY, DIFFERS, INCONCLUSIVE, FAILED, BROKEN, TOO_SMALL, NOT_RUN, UNTESTED)
GIVEN = VERDICTS[: VERDICTS.index(TOO_SMALL)]
_current = None  # the book that is open in this process; set by book.start


@dataclass(frozen=True)
class Change:
    """What a rule was until a day, and why it was changed."""

    date: str
    rule: Rule
    reason: str


@dataclass(frozen=True)
class Claim:
    id: str
    kind: str  # PAPER or CHECK
    section: str  # of the paper
    claim: str  # one sentence
    paper: str  # the paper's number with its unit, or "not stated"
    needs: str = ""  # what a test of it would take, where there is none
    notebook: str = ""
    rule: Rule | None = None
    partly: Rule | None = None
    tested_at: tuple[str, ...] = ()  # profiles
    since: str = ""  # the commit that wrote the rule
    history: tuple[Change, ...] = ()

    def judge(self, record: Record | None, profile: str) -> str:
        """The verdict on this claim for what was recorded at that profile; ValueError for a record its rule cannot judge."""
        if self.rule is None:
            return UNTESTED
        if record is None:
            return NOT_RUN
        found = record.interval(self.rule.level)
        if self.rule.needs_interval and record.of == "number":
            raise ValueError(
                f"claim {self.id!r} is judged by an interval: record the raw values, of seeds, shares or pairs"
            )
        if profile not in self.tested_at:
            return TOO_SMALL
        outcome = self.rule.judge(found)
        if outcome == MET:
            return REPRODUCED if self.kind == PAPER else HOLDS
        if outcome == OPEN and too_few(found):
            return INCONCLUSIVE
        if self.partly and self.partly.judge(found) == MET:
            return PARTLY
        if outcome == OPEN:
            return INCONCLUSIVE
        if self.rule.kind == "reported":
            return DIFFERS
        return FAILED if self.kind == PAPER else BROKEN


@dataclass(frozen=True)
class Verdict:
    claim: Claim
    verdict: str
    record: Record | None

    def __str__(self) -> str:
        """The verdict as a reader sees it: "differs by 1.3%" says more than "differs"."""
        if self.verdict != DIFFERS:
            return self.verdict
        apart = self.record.interval().value / self.claim.rule.bound - 1
        return f"{DIFFERS} by {100 * abs(apart):.1f}%"

    def measured(self) -> str:
        """The measured number with its interval, sample size and what kind of interval it is; "–" where there is none."""
        if self.record is None or self.claim.rule is None:
            return "–"
        found = self.record.interval(self.claim.rule.level)
        if found.low is None:
            return f"{found.value:.4g}" + (f" ({found.kind})" if self.record.of != "number" else "")
        return f"{found.value:.4g} [{found.low:.4g}, {found.high:.4g}], n = {found.n} ({found.kind})"

    def sentence(self) -> str:
        """The verdict as a page ends with it: the claim, our value, the paper's, the rule."""
        claim = self.claim
        return (
            f"{self}: {claim.claim} [{claim.id}, section {claim.section}]\n"
            f"    measured {self.measured()}; paper: {claim.paper}; holds if {claim.rule}"
        )


def load(path: Path = CLAIMS_FILE) -> list[Claim]:
    """All entries in the order of the file; ValueError naming the entry and field that cannot be understood."""
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


def record(id: str, values: float | list, of: str = "number", *, detail: str = "", profile: str | None = None) -> str:
    """Records the raw values that were measured for claim `id` and returns the verdict.

    `of` says what they are: a "number", one number a seed ("seeds"), an outcome an item ("shares"), differences
    [seed][item] ("pairs"); see k2lib.intervals. In a notebook the record joins the open book; elsewhere it is merged into
    the ledger of the claim's notebook under artifacts/<profile>/ (profile "laptop" unless given). ValueError for an
    unknown or untested id, or for values that are not what `of` says.
    """
    claim = find(id)
    entry = Record(id, values, of, detail)
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
    """The tested claim of that id; ValueError naming the file otherwise."""
    for claim in load():
        if claim.id == id and claim.rule is None:
            raise ValueError(f"claim {id!r} has no rule; data/claims.yaml must state one before anything is measured")
        if claim.id == id:
            return claim
    raise ValueError(f"unknown claim {id!r}; data/claims.yaml lists the claims, add it there first")


def verdicts(profile: str) -> dict[str, Verdict]:
    """claim id -> Verdict for every claim, from the ledgers in artifacts/<profile>/; "not run" where there is none.

    Each ledger is judged at the profile that measured it, which is another one for a published page.
    """
    found = judge_all({}, profiles.get(profile).name)
    for notebook in {claim.notebook for claim in load()} - {""}:
        path = ledger_path(notebook, profile)
        if path.exists():
            ledger = Ledger.load(path)
            found |= {id: judged for id, judged in judge_all(ledger.records, ledger.profile).items() if judged.record}
    return found


def judge_all(records: dict[str, Record], profile: str) -> dict[str, Verdict]:
    """claim id -> Verdict for every claim, judged by what was recorded at that profile."""
    found = ((claim, records.get(claim.id)) for claim in load())
    return {claim.id: Verdict(claim, claim.judge(record, profile), record) for claim, record in found}


WORDS = ("id", "kind", "section", "claim", "paper")  # every entry has them
TESTED = ("notebook", "rule", "tested_at")  # and either all of these
MAYBE = ("partly", "since", "history")  # perhaps with these, or `needs`


def _claim(entry: dict, place: str) -> Claim:
    fields = set(entry) if isinstance(entry, dict) else set()
    form = set(WORDS) | ({"needs"} if "needs" in fields else set(TESTED))
    if form - fields or fields - form - (set() if "needs" in fields else set(MAYBE)):
        given = sorted(fields) or entry
        raise ValueError(
            f"{place}: a claim has the fields {', '.join(WORDS)}, and either {', '.join(TESTED)} (perhaps with "
            f"{', '.join(MAYBE)}) or needs; this one has {given}"
        )
    place = f"{place} ({entry['id']})"
    if entry["kind"] not in (PAPER, CHECK):
        raise ValueError(f"{place}: kind is {PAPER} or {CHECK}, not {entry['kind']!r}")
    words = {
        name: " ".join(str(entry[name]).split()) for name in (*WORDS, "notebook", "needs", "since") if name in entry
    }
    if "needs" in fields:
        return Claim(**words)
    unknown = set(entry["tested_at"]) - set(profiles.PROFILES)
    if unknown or not entry["tested_at"]:
        raise ValueError(f"{place}: tested_at {entry['tested_at']} must list some of {list(profiles.PROFILES)}")
    partly = rule_of(entry["partly"], place) if entry.get("partly") else None
    history = tuple(_change(change, place) for change in entry.get("history", []))
    return Claim(
        **words, rule=rule_of(entry["rule"], place), partly=partly, tested_at=tuple(entry["tested_at"]), history=history
    )


def _change(entry: dict, place: str) -> Change:
    if not isinstance(entry, dict) or set(entry) != {"date", "rule", "reason"}:
        raise ValueError(f"{place}: a line of history has date, rule (as it was) and reason, not {entry}")
    return Change(str(entry["date"]), rule_of(entry["rule"], place), " ".join(entry["reason"].split()))
