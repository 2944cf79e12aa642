"""The claims as tables: on the terminal after a run, in README and notebook 00 from the committed results.

README's two tables stand between two markers and are generated (`k2 readme`); a test holds them to data/results/, so a
number there was measured or is not there.
"""

import re
from pathlib import Path

from k2lib.places import ROOT
from k2lib.report import claims
from k2lib.report.results import Evidence, evidence
from k2lib.store import write_atomic

BEGIN, END = "<!-- claims:begin -->", "<!-- claims:end -->"  # in README; what stands between them is generated
README = ROOT / "README.md"
CHANGED = "†"  # marks a rule that had another before it
TITLES = {claims.PAPER: "Statements of the paper", claims.CHECK: "Checks of the kit"}


def summary(verdicts: list[claims.Verdict]) -> str:
    """How many entries got which verdict: "12 reproduced, 1 not reproduced, 6 not run (of 19)"."""
    given = [verdict.verdict for verdict in verdicts]
    counts = [f"{given.count(name)} {name}" for name in claims.VERDICTS if name in given]
    return f"{', '.join(counts)} (of {len(given)})"


def summaries(verdicts: dict[str, claims.Verdict]) -> dict[str, str]:
    """The summary of each kind of entry, by its title."""
    kinds = {title: [v for v in verdicts.values() if v.claim.kind == kind] for kind, title in TITLES.items()}
    return {title: summary(found) for title, found in kinds.items()}


def terminal(profile: str) -> str:
    """The claims of this working copy's run as aligned text; what nothing tests yet is counted, not listed."""
    verdicts = claims.verdicts(profile)
    rows = [("claim", "ours", "paper", "verdict")]
    for name, found in verdicts.items():
        if found.claim.rule is not None:
            rows.append((name, found.measured(), found.claim.paper, str(found)))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    counts = [f"{profile}, {title.lower()}: {text}" for title, text in summaries(verdicts).items()]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:], "", *counts])


def markdown(results: Path | None = None, link: str = "notebooks/") -> str:
    """Both tables, each claim with its strongest committed evidence; notebooks are linked below the folder `link`."""
    found = evidence(results)
    origins = list(dict.fromkeys(_origin(one) for one in found.values() if one.run))
    lines = []
    for kind, title in TITLES.items():
        own = [one for one in found.values() if one.verdict.claim.kind == kind]
        own.sort(key=lambda one: one.verdict.claim.rule is None)  # what is tested comes first
        lines += [f"### {title}", "", f"{summary([one.verdict for one in own])}.", ""]
        lines += ["| claim | section | paper | holds if | measured | verdict | run |", "|" + " --- |" * 7]
        lines += [_row(one, link, origins) for one in own]
        lines.append("")
    lines += [f"{place}. {origin}" for place, origin in enumerate(origins, 1)]
    changed = [_changes(one.verdict.claim) for one in found.values() if one.verdict.claim.history]
    lines += ["", f"{CHANGED} The rule was another before:", "", *changed] if changed else []
    return "\n".join(lines).rstrip()


def _row(one: Evidence, link: str, origins: list[str]) -> str:
    claim, verdict = one.verdict.claim, one.verdict
    if claim.rule is None:
        cells = [claim.claim, claim.section, claim.paper, f"*to test: {claim.needs}*", "–", str(verdict), ""]
    else:
        mark = f" {CHANGED}" if claim.history else ""
        since = f" (since {claim.since})" if claim.since else ""
        sentence = f"[{claim.claim}]({link}{claim.notebook}.ipynb)" if claim.notebook else claim.claim
        shown = f"**{verdict}**" if verdict.verdict in claims.GIVEN else str(verdict)
        place = str(origins.index(_origin(one)) + 1) if one.run else ""
        cells = [sentence, claim.section, claim.paper, f"{claim.rule}{since}{mark}", verdict.measured(), shown, place]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _changes(claim: claims.Claim) -> str:
    """A line of a list: the claim, and each rule that it had, with the reason why it has another."""
    was = "; ".join(f"until {change.date} {change.rule} ({change.reason})" for change in claim.history)
    return f"- *{claim.claim}* {was[0].upper()}{was[1:]}."


def _origin(one: Evidence) -> str:
    """The run, its machine and arithmetic, date, commit, such as "laptop, AMD EPYC, 2 cores, bfloat16, 2026-11-25, 1a2b"."""
    source = one.provenance
    name = source["machine"] if source["device"] == "CPU" else source["device"]
    dtype = [source["measured"]["dtype"]] if "measured" in source else []
    return ", ".join([one.run.profile, name, *dtype, source["date"], f"commit {source['commit']}"])


def update_readme(readme: Path = README) -> bool:
    """Writes the table between README's markers; whether that changed anything. ValueError when a marker is missing."""
    text = readme.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise ValueError(f"{readme} lacks the markers {BEGIN!r} and {END!r}; put them where the table belongs")
    fresh = re.sub(
        re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: f"{BEGIN}\n{markdown()}\n{END}", text, flags=re.DOTALL
    )
    if fresh != text:
        write_atomic(readme, fresh)
    return fresh != text
