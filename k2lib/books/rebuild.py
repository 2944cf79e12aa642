"""`make notebooks`: runs the committed notebooks at smoke size and writes back what changed.

Outputs and execution counts are committed, because GitHub shows them and nbval compares the last one. When nothing
changed, the files are byte-identical. The same run keeps data/results/expected_smoke.json, the numbers that CI holds
every later run to.
"""

import json
import os
import time
from pathlib import Path

import nbformat

from k2lib import profiles
from k2lib.books import form, hygiene
from k2lib.report.ledger import Ledger, ledger_path, pretty
from k2lib.runner.plan import NOTEBOOKS, chosen, steps
from k2lib.store import ROOT, write_atomic

PROFILE = "smoke"  # the default of every notebook's parameters cell
EXPECTED = ROOT / "data" / "results" / f"expected_{PROFILE}.json"
TOLERANCE = {"rel": 0.05, "abs": 1e-6}  # of a new entry in EXPECTED; widen it there by hand, with a reason


def build(names: list[str] | None = None, folder: Path = NOTEBOOKS, expected: Path = EXPECTED) -> int:
    """Executes the named notebooks (all by default) and rewrites those that changed; 0, or 1 when one is not clean."""
    found, faulty = chosen(steps(PROFILE, folder), names or [], None), 0
    for step in found:
        started = time.monotonic()
        committed = nbformat.read(step.path, as_version=4)
        fresh = form.canonical(form.keep(execute(committed, step.path.parent), committed))
        text = nbformat.writes(fresh).rstrip("\n") + "\n"
        changed = text != step.path.read_text(encoding="utf-8")
        if changed:
            write_atomic(step.path, text)
        drifted = update_expected(step.name, expected)
        what = "rewritten" if changed or drifted else "unchanged"
        print(f"{step.name}: {what}, {time.monotonic() - started:.0f} s, {len(text) / 1024:.0f} kB", flush=True)
        for problem in hygiene.problems(step.path):
            faulty += 1
            print(f"  {problem}")
    return 1 if faulty else 0


def check(names: list[str] | None = None) -> int:
    """Prints what is wrong with the committed notebooks, changing nothing; 0 when all is well."""
    faults = [
        (step.path.name, fault)
        for step in chosen(steps(PROFILE), names or [], None)
        for fault in hygiene.problems(step.path)
    ]
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
            copy,
            timeout=profiles.get(PROFILE).cell_timeout,
            kernel_name="python3",
            record_timing=False,
            extra_arguments=["--log-level=ERROR"],
            resources={"metadata": {"path": str(folder)}},
        ).execute()
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    return copy


def update_expected(notebook: str, path: Path = EXPECTED) -> bool:
    """Brings the notebook's entry in expected_smoke.json up to date; whether anything left its tolerance.

    An entry maps a claim or metric to {value, rel, abs}. Values within tolerance stay as they are, so that the file
    does not change with the machine; tolerances are never touched. `seconds` is how long the notebook takes, roughly.
    """
    ledger = Ledger.load(ledger_path(notebook, PROFILE))
    everything = json.loads(path.read_text()) if path.exists() else {}
    old = everything.get(notebook, {"seconds": None, "values": {}})
    values = {}
    for name, value in measured(ledger).items():
        entry = old["values"].get(name, {"value": None, **TOLERANCE})
        values[name] = entry if within(value, entry) else entry | {"value": value}
    near = old["seconds"] and 0.5 < ledger.seconds / old["seconds"] < 2
    entry = {"seconds": old["seconds"] if near else ledger.seconds, "values": values}
    if entry == old:
        return False
    write_atomic(path, pretty(dict(sorted((everything | {notebook: entry}).items()))))
    return True


def measured(ledger: Ledger) -> dict[str, float]:
    """Everything in a ledger that is watched for drift: the claims' values and the metrics."""
    return {name: record.value for name, record in ledger.records.items()} | ledger.metrics


def within(value: float, entry: dict) -> bool:
    """Whether a value agrees with an expected one: |value - expected| <= abs + rel * |expected|."""
    expected = entry["value"]
    return expected is not None and abs(value - expected) <= entry["abs"] + entry["rel"] * abs(expected)
