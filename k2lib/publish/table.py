"""The claims as a table: on the terminal after a run, and in README from the committed results.

README's table stands between two markers and is generated (`k2 readme`); a test holds it to data/results/, so a number
there was measured or is not there.
"""

import re
from pathlib import Path

from k2lib.places import ROOT
from k2lib.report import claims
from k2lib.report.ledger import Record
from k2lib.report.results import Run, published_verdicts, runs
from k2lib.store import write_atomic

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
    columns = [run for run in runs(root=results) if run.profile != "smoke"]
    verdicts = [published_verdicts(run) for run in columns]
    titles = [f"{run.profile}, {_where(run)}: measured | verdict" for run in columns]
    lines = ["| " + " | ".join(["claim", "section", "paper", *titles]) + " |", "|" + " --- |" * (3 + 2 * len(columns))]
    for claim in claims.load():
        cells = [f"[{claim.claim}](notebooks/{claim.notebook}.ipynb)", claim.section, claim.paper]
        for verdict in verdicts:
            found = verdict[claim.id]
            strong = found.verdict in (claims.REPRODUCED, claims.PARTLY, claims.FAILED)
            cells += [number(found.record), f"**{found.verdict}**" if strong else found.verdict]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    notes = [
        f"{run.profile}, {_where(run)}: {summary(verdict)}, {_when(run)}."
        for run, verdict in zip(columns, verdicts, strict=True)
    ]
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


def _where(run: Run) -> str:
    """The machine of a committed run and its arithmetic, such as "AMD EPYC, 2 cores, bfloat16"."""
    source = _sources(run)[0]
    name = source["machine"] if source["device"] == "CPU" else source["device"]
    return ", ".join([name, *([source["measured"]["dtype"]] if "measured" in source else [])])


def _when(run: Run) -> str:
    sources = _sources(run)
    dates = sorted({source["date"] for source in sources})
    return f"{' to '.join(dates[:: max(1, len(dates) - 1)])}, PyTorch {sources[0]['versions']['torch']}"


def _sources(run: Run) -> list[dict]:
    notebooks = dict.fromkeys(claim.notebook for claim in claims.load())
    return [ledger.provenance for notebook in notebooks if (ledger := run.ledger(notebook))]
