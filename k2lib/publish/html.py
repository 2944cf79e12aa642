"""`artifacts/<profile>/report.html`: every claim, ours beside the paper's, and every figure, on one page that needs no
network, with a link to each executed notebook as a page of its own.

Everything is rendered from the ledgers and figures that the notebooks wrote, never scraped from their text. The page
carries plotly's script inside (4.8 MB), so it can be sent to somebody as it is.
"""

import json
from collections.abc import Iterable
from html import escape
from pathlib import Path

from k2lib.places import artifacts
from k2lib.publish import pages, table
from k2lib.report import claims
from k2lib.report.ledger import Ledger, ledger_path
from k2lib.store import write_atomic

STYLE = """
body { font: 15px/1.5 "DejaVu Sans", Verdana, sans-serif; color: #222 }
body { max-width: 1080px; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; width: 100%; margin: 1em 0; font-size: 14px }
th, td { border-bottom: 1px solid #ddd; padding: .4em .6em; text-align: left; vertical-align: top }
th { background: #f4f4f4 } td.number { font-variant-numeric: tabular-nums }
.reproduced, .holds { color: #00694c; font-weight: 600 }
.partly, .inconclusive { color: #8a5a00; font-weight: 600 }
.not-reproduced, .differs, .does-not-hold { color: #a02c00; font-weight: 600 }
.quiet, .not-run, .untested, .not-tested-at-this-size { color: #777 }
h2 { margin-top: 2em } h3 { margin-bottom: 0 } .rule { color: #777; font-size: 12px }
"""


def write(profile: str, out_of_date: Iterable[str] = ()) -> Path:
    """Writes the report of what lies under artifacts/<profile>/ and returns its path.

    Notebooks named in `out_of_date` ran before the code was changed; the page says so beside their claims.
    """
    root, stale = artifacts(profile), set(out_of_date)
    verdicts = claims.verdicts(profile)
    names = sorted({verdict.claim.notebook for verdict in verdicts.values()} - {""} | _with_ledger(root))
    ledgers = {name: Ledger.load(ledger_path(name, profile)) for name in names if ledger_path(name, profile).exists()}
    linked = {name for name in names if pages.write(root, name)}
    sections = [_head(profile, ledgers, verdicts), _claims_table(verdicts, linked, stale), "<h2>Notebooks</h2><p>"]
    sections += [f"{_link(name, linked)}<br>" for name in names]
    sections.append("</p><h2>Figures</h2>")
    sections += [_figures(root, ledger, linked) for ledger in ledgers.values() if ledger.figures]
    body = "\n".join(sections)
    path = root / "report.html"
    write_atomic(
        path,
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>Kimi K2 reproduced: {profile}</title>\n"
        f"<style>{STYLE}</style>\n<script>{_plotly_script()}</script></head>\n<body>{body}</body></html>\n",
    )
    return path


def _with_ledger(root: Path) -> set[str]:
    return {path.stem for path in (root / "ledgers").glob("[0-9][0-9]_*.json")}


def _head(profile: str, ledgers: dict[str, Ledger], verdicts: dict[str, claims.Verdict]) -> str:
    sources = [ledger.provenance for ledger in ledgers.values() if ledger.provenance]
    runs = dict.fromkeys(
        f"{source['machine']}, {source['device']}, PyTorch {source['versions']['torch']}, commit {source['commit']}"
        for source in sources
    )
    seconds = sum(ledger.seconds for ledger in ledgers.values())
    dates = sorted({source["date"] for source in sources})
    counts = "<br>".join(f"<b>{title}</b>: {escape(text)}" for title, text in table.summaries(verdicts).items())
    return (
        f"<h1>Kimi K2 reproduced: profile {escape(profile)}</h1>\n<p>{counts}</p>\n"
        f"<p class='quiet'>{len(ledgers)} notebooks, {seconds / 60:.1f} minutes of computing"
        + "".join(f"<br>{escape(run)}" for run in runs)
        + (f"<br>{dates[0]}" + (f" to {dates[-1]}" if dates[-1] != dates[0] else "") if dates else "")
        + "</p>"
    )


def _claims_table(verdicts: dict[str, claims.Verdict], linked: set[str], stale: set[str]) -> str:
    """One table a kind of entry."""
    parts = []
    for kind, title in table.TITLES.items():
        rows = [_row(found, linked, stale) for found in verdicts.values() if found.claim.kind == kind]
        head = "".join(f"<th>{name}</th>" for name in ("claim", "ours", "paper", "verdict", "section", "notebook"))
        parts.append(f"<h2>{title}</h2>\n<table><tr>{head}</tr>\n{chr(10).join(rows)}\n</table>")
    return "\n".join(parts)


def _row(found: claims.Verdict, linked: set[str], stale: set[str]) -> str:
    claim, record = found.claim, found.record
    detail = f"<br><span class='quiet'>{escape(record.detail)}</span>" if record and record.detail else ""
    old = "<br><span class='quiet'>measured before the code changed</span>" if claim.notebook in stale else ""
    rule = f"accepted when {claim.rule}" if claim.rule else f"to test: {claim.needs}"
    was = "".join(f"<br>until {c.date}: {escape(str(c.rule))}; {escape(c.reason)}" for c in claim.history)
    return (
        f"<tr id='{claim.id}'><td>{escape(claim.claim)}{detail}<br><span class='rule'>{escape(rule)}{was}</span></td>"
        f"<td class='number'>{escape(found.measured())}{old}</td><td>{escape(claim.paper)}</td>"
        f"<td class='{found.verdict.replace(' ', '-')}'>{found}</td><td>{escape(claim.section)}</td>"
        f"<td>{_link(claim.notebook, linked)}</td></tr>"
    )


def _figures(root: Path, ledger: Ledger, linked: set[str]) -> str:
    import plotly.io

    parts = [f"<h3>{_link(ledger.notebook, linked)}</h3>"]
    for name in ledger.figures:
        content = json.loads((root / "figures" / ledger.notebook / f"{name}.json").read_text(encoding="utf-8"))
        parts.append(plotly.io.to_html(content, full_html=False, include_plotlyjs=False, validate=False))
    return "\n".join(parts)


def _link(notebook: str, linked: set[str]) -> str:
    return f"<a href='notebooks/{notebook}.html'>{notebook}</a>" if notebook in linked else notebook


def _plotly_script() -> str:
    import plotly.offline

    return plotly.offline.get_plotlyjs()
