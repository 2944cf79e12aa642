"""Makes the committed notebooks: runs them at smoke size and stores them in one canonical form (`make notebooks`).

A committed notebook holds its outputs and execution counts, because GitHub shows them and nbval compares the last one.
So the form must not change by itself: cell ids are c00, c01 …, counts run from 1, no stderr, no widgets, no timings.
When nothing changed the file is byte-identical: a figure whose data is unchanged keeps its committed picture whatever
fonts this machine has, and a cell tagged `volatile` (a time, a machine's name) keeps its output while its source stands.
"""

import json
import os
import time
from pathlib import Path

import nbformat

from k2lib import hygiene, profiles
from k2lib.report import picture
from k2lib.report.ledger import Ledger, ledger_path, pretty
from k2lib.runner.plan import chosen, steps
from k2lib.store import ROOT, write_atomic

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
PROFILE = "smoke"  # the default of every notebook's parameters cell
EXPECTED = ROOT / "data" / "results" / f"expected_{PROFILE}.json"
TOLERANCE = {"rel": 0.05, "abs": 1e-6}  # of a new entry in EXPECTED; widen it there by hand, with a reason


def build(names: list[str] | None = None) -> int:
    """Executes the named notebooks (all by default) and rewrites those that changed; 0, or 1 when one is not clean."""
    found, faulty = chosen(steps(PROFILE), names or [], None), 0
    for step in found:
        started = time.monotonic()
        committed = nbformat.read(step.path, as_version=4)
        fresh = canonical(keep(execute(committed, step.path.parent), committed))
        text = nbformat.writes(fresh).rstrip("\n") + "\n"
        changed = text != step.path.read_text(encoding="utf-8")
        if changed:
            write_atomic(step.path, text)
        expected = update_expected(step.name)
        what = "rewritten" if changed or expected else "unchanged"
        print(f"{step.name}: {what}, {time.monotonic() - started:.0f} s, {len(text) / 1024:.0f} kB", flush=True)
        for problem in hygiene.problems(step.path):
            faulty += 1
            print(f"  {problem}")
    return 1 if faulty else 0


def check(names: list[str] | None = None) -> int:
    """Prints what is wrong with the committed notebooks, changing nothing; 0 when all is well."""
    faults = [(step.path.name, fault) for step in chosen(steps(PROFILE), names or [], None)
              for fault in hygiene.problems(step.path)]
    for name, fault in faults:
        print(f"{name}: {fault}")
    return 1 if faults else 0


def execute(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """A copy of the notebook, run with its default parameters in `folder`, figures with pictures."""
    from nbclient import NotebookClient

    copy = nbformat.reads(nbformat.writes(notebook), as_version=4)
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    settings = {"K2_PNG": "1", "K2_COMMAND": "k2 notebooks"}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        NotebookClient(
            copy, timeout=profiles.get(PROFILE).cell_timeout, kernel_name="python3", record_timing=False,
            extra_arguments=["--log-level=ERROR"], resources={"metadata": {"path": str(folder)}},
        ).execute()
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    return copy


def canonical(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook in the one form that is committed (changed in place and returned)."""
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    count = 0
    for number, cell in enumerate(notebook.cells):
        tags = sorted(cell.metadata.get("tags", []))
        cell.id, cell.source = f"c{number:02d}", cell.source.rstrip()
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        cell.pop("attachments", None)
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = count
            cell.outputs = _outputs(cell.outputs, count)
    return notebook


def keep(fresh: nbformat.NotebookNode, committed: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """`fresh` with what the committed notebook keeps: volatile cells' outputs, and pictures of unchanged figures."""
    outputs = {cell.source.rstrip(): cell.outputs for cell in committed.cells if _volatile(cell) and cell.outputs}
    pictures = {
        output.data["text/plain"]: (output.data[picture.MIMETYPE], output.data["image/png"])
        for output in _figures(committed) if "image/png" in output.data
    }
    for cell in fresh.cells:
        if _volatile(cell) and cell.source.rstrip() in outputs:
            cell.outputs = outputs[cell.source.rstrip()]
    for output in _figures(fresh):
        content, png = pictures.get(output.data["text/plain"], (None, None))
        if content == output.data[picture.MIMETYPE]:
            output.data["image/png"] = png
    return fresh


def update_expected(notebook: str) -> bool:
    """Brings the notebook's entry in expected_smoke.json up to date; whether anything left its tolerance.

    An entry maps a claim or metric to {value, rel, abs}. Values within tolerance stay as they are, so that the file does
    not change with the machine; tolerances are never touched. `seconds` is how long the notebook takes, roughly.
    """
    ledger = Ledger.load(ledger_path(notebook, PROFILE))
    everything = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
    old = everything.get(notebook, {"seconds": None, "values": {}})
    values = {}
    for name, value in measured(ledger).items():
        entry = old["values"].get(name, {"value": None, **TOLERANCE})
        values[name] = entry if within(value, entry) else entry | {"value": value}
    near = old["seconds"] and 0.5 < ledger.seconds / old["seconds"] < 2
    entry = {"seconds": old["seconds"] if near else ledger.seconds, "values": values}
    if entry == old:
        return False
    write_atomic(EXPECTED, pretty(dict(sorted((everything | {notebook: entry}).items()))))
    return True


def measured(ledger: Ledger) -> dict[str, float]:
    """Everything in a ledger that is watched for drift: the claims' values and the metrics."""
    return {name: record.value for name, record in ledger.records.items()} | ledger.metrics


def within(value: float, entry: dict) -> bool:
    """Whether a value agrees with an expected one: |value - expected| <= abs + rel * |expected|."""
    expected = entry["value"]
    return expected is not None and abs(value - expected) <= entry["abs"] + entry["rel"] * abs(expected)


def _outputs(outputs: list, count: int) -> list:
    """Without stderr, widgets and metadata; chunks of stdout joined, since where they break depends on timing."""
    kept: list = []
    for output in outputs:
        if output.output_type == "stream":
            if output.name == "stderr":
                continue
            if kept and kept[-1].output_type == "stream":
                kept[-1].text += output.text
                continue
        elif "application/vnd.jupyter.widget-view+json" in output.get("data", {}):
            continue
        if "metadata" in output:
            output.metadata = nbformat.from_dict({})
        if output.output_type == "execute_result":
            output.execution_count = count
        output.pop("transient", None)
        kept.append(output)
    return kept


def _figures(notebook: nbformat.NotebookNode) -> list:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output for output in outputs if picture.MIMETYPE in output.get("data", {})]


def _volatile(cell: nbformat.NotebookNode) -> bool:
    return cell.cell_type == "code" and "volatile" in cell.metadata.get("tags", [])
