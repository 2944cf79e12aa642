"""The claims as a table: on the terminal after a run, and in README from the committed results.

README's table stands between two markers and is generated (`k2 readme`); a test holds it to data/results/, so a number
there was measured or is not there.
"""

import re
from pathlib import Path

from k2lib import profiles
from k2lib.report import claims
from k2lib.report.ledger import Ledger, Record
from k2lib.report.results import published_verdicts, result_path
from k2lib.store import ROOT, write_atomic

BEGIN, END = "<!-- claims:begin -->", "<!-- claims:end -->"  # in README; what stands between them is generated
README = ROOT / "README.md"


def number(record: Record | None) -> str:
    """The measured number with its interval and sample size: "1.02 [0.99, 1.06], n = 3"."""
    if record is None:
        return "–"
    text = f"{record.value:.4g}"
    if record.low is not None and record.high is not None:
        text += f" [{record.low:.4g}, {record.high:.4g}]"
    return text + (f", n = {record.n}" if record.n is not None else "")


def summary(verdicts: dict[str, claims.Verdict]) -> str:
    """How many claims got which verdict: "12 reproduced, 1 not reproduced, 6 not run (of 19 claims)"."""
    given = [verdict.verdict for verdict in verdicts.values()]
    counts = [f"{given.count(name)} {name}" for name in claims.VERDICTS if name in given]
    return f"{', '.join(counts)} (of {len(given)} claims)"


def terminal(profile: str) -> str:
    """The claims of this working copy's run as aligned text."""
    verdicts = claims.verdicts(profile)
    rows = [("claim", "ours", "paper", "verdict")]
    rows += [(name, number(found.record), found.claim.paper, found.verdict) for name, found in verdicts.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:], "", f"{profile}: {summary(verdicts)}"])


def markdown(results: Path | None = None) -> str:
    """README's table, from the committed results of every profile that can test claims."""
    columns = [name for name in profiles.PROFILES if name != "smoke" and _provenance(name, results)]
    columns = columns or ["laptop"]
    verdicts = {name: published_verdicts(name, results) for name in columns}
    head = ["claim", "section", "paper", *(f"{name}: measured | verdict" for name in columns)]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * (3 + 2 * len(columns))]
    for claim in claims.load():
        cells = [f"[{claim.claim}](notebooks/{claim.notebook}.ipynb)", claim.section, claim.paper]
        for name in columns:
            found = verdicts[name][claim.id]
            strong = found.verdict in (claims.REPRODUCED, claims.PARTLY, claims.FAILED)
            cells += [number(found.record), f"**{found.verdict}**" if strong else found.verdict]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    notes = [f"{name}: {summary(verdicts[name])}{_provenance(name, results)}." for name in columns]
    return "\n".join([*lines, "", *notes])


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


def _provenance(profile: str, results: Path | None) -> str:
    """Where and when the committed results of a profile were measured; "" when there are none."""
    notebooks = dict.fromkeys(claim.notebook for claim in claims.load())
    paths = [result_path(notebook, profile, results) for notebook in notebooks]
    sources = [Ledger.load(path).provenance for path in paths if path.exists()]
    if not sources:
        return ""
    machines = dict.fromkeys(source["machine"] if source["device"] == "CPU" else source["device"] for source in sources)
    dates = sorted({source["date"] for source in sources})
    span = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    return f", measured on {', '.join(machines)}, {span}, PyTorch {sources[0]['versions']['torch']}"
