"""`artifacts/<profile>/report.html`: the story in ten figures and every claim, ours beside the paper's, on one page that
needs no network, with a link from each claim to the cell that measured it.

Everything is rendered from the ledgers and figures that the notebooks wrote, never scraped from their text. The page
carries plotly's script inside, packed (1.9 MB instead of 4.8), so it can be sent to somebody as it is.
"""

import base64
import gzip
import json
from collections.abc import Iterable
from html import escape
from pathlib import Path

from k2lib.places import artifacts
from k2lib.publish import pages, table
from k2lib.report import claims, picture
from k2lib.report.ledger import Ledger, ledger_path
from k2lib.store import write_atomic

STORY = {  # the ten figures, in order
    "01_data_rephrasing": ("probes",),
    "02_moe_architecture": ("heads", "routing"),
    "03_muonclip": ("clip_logits", "clip_loss"),
    "04_memory": ("waterfall", "gaps"),
    "05_parallelism": ("schedules",),
    "07_rl": ("log_ratios",),
    "08_evaluation": ("skills",),
}
UNPACK = f"""
const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), c => c.charCodeAt(0));
const plain = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
new Response(plain).text().then(code => {{
  document.head.append(Object.assign(document.createElement("script"), {{textContent: code}}));
  {picture.DRAW}
}});
"""
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
    cells = {name: pages.cells_of_claims(root, name) for name in linked}
    sections = [_head(profile, ledgers, verdicts)]
    sections += [_figure(root, name, figure, linked) for name, figure in _story(ledgers)]
    sections += [_claims_table(verdicts, cells, stale), "<h2>Notebooks</h2><p>"]
    sections += [f"{_link(name, linked)}<br>" for name in names]
    sections.append("</p>")
    body = "\n".join(sections)
    path = root / "report.html"
    write_atomic(
        path,
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>Kimi K2 reproduced: {profile}</title>\n"
        f"<style>{STYLE}</style></head>\n<body>{body}\n"
        f"<script type='text/plain' id='plotly'>{_packed_plotly()}</script>\n<script>{UNPACK}</script></body></html>\n",
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
        f"<p class='quiet'>{len(ledgers)} notebooks, whose cells took {seconds / 60:.1f} minutes in their last run"
        + "".join(f"<br>{escape(run)}" for run in runs)
        + (f"<br>{dates[0]}" + (f" to {dates[-1]}" if dates[-1] != dates[0] else "") if dates else "")
        + "</p>"
    )


def _claims_table(verdicts: dict[str, claims.Verdict], cells: dict[str, dict[str, str]], stale: set[str]) -> str:
    """One table a kind of entry."""
    parts = []
    for kind, title in table.TITLES.items():
        rows = [_row(found, cells, stale) for found in verdicts.values() if found.claim.kind == kind]
        head = "".join(f"<th>{name}</th>" for name in ("claim", "ours", "paper", "verdict", "section", "notebook"))
        parts.append(f"<h2>{title}</h2>\n<table><tr>{head}</tr>\n{chr(10).join(rows)}\n</table>")
    return "\n".join(parts)


def _row(found: claims.Verdict, cells: dict[str, dict[str, str]], stale: set[str]) -> str:
    claim, record = found.claim, found.record
    detail = f"<br><span class='quiet'>{escape(record.detail)}</span>" if record and record.detail else ""
    old = "<br><span class='quiet'>measured before the code changed</span>" if claim.notebook in stale else ""
    rule = f"accepted when {claim.rule}" if claim.rule else f"to test: {claim.needs}"
    was = "".join(f"<br>until {c.date}: {escape(str(c.rule))}; {escape(c.reason)}" for c in claim.history)
    return (
        f"<tr id='{claim.id}'><td>{escape(claim.claim)}{detail}<br><span class='rule'>{escape(rule)}{was}</span></td>"
        f"<td class='number'>{escape(found.measured())}{old}</td><td>{escape(claim.paper)}</td>"
        f"<td class='{found.verdict.replace(' ', '-')}'>{found}</td><td>{escape(claim.section)}</td>"
        f"<td>{_link(claim.notebook, set(cells), cells.get(claim.notebook, {}).get(claim.id, ''))}</td></tr>"
    )


def _story(ledgers: dict[str, Ledger]) -> list[tuple[str, str]]:
    """(notebook, figure) of the story's figures, as far as they have been drawn."""
    drawn = {(name, figure) for name, ledger in ledgers.items() for figure in ledger.figures}
    return [pair for name, figures in STORY.items() for pair in ((name, figure) for figure in figures) if pair in drawn]


def _figure(root: Path, notebook: str, name: str, linked: set[str]) -> str:
    content = json.loads((root / "figures" / notebook / f"{name}.json").read_text(encoding="utf-8"))
    return f"<figure>{picture.place(content)}<figcaption>{_link(notebook, linked)}</figcaption></figure>"


def _link(notebook: str, linked: set[str], cell: str = "") -> str:
    place = f"#cell-id={cell}" if cell else ""
    return f"<a href='notebooks/{notebook}.html{place}'>{notebook}</a>" if notebook in linked else notebook


def _packed_plotly() -> str:
    """plotly's script, gzip in base64."""
    import plotly.offline

    return base64.b64encode(gzip.compress(plotly.offline.get_plotlyjs().encode(), mtime=0)).decode()
