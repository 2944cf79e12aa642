"""`make notebooks`: draws the committed notebooks from the committed results and writes back what changed.

Outputs and execution counts are committed, because GitHub shows them and nbval compares them all. When nothing changed,
the files are byte-identical.
"""

import tempfile
import time
from pathlib import Path

import nbformat

from k2lib import profiles
from k2lib.books import form, hygiene
from k2lib.runner import engine
from k2lib.runner.execute import Watch
from k2lib.runner.plan import NOTEBOOKS, Step, chosen, steps
from k2lib.store import write_atomic

PROFILE = profiles.PUBLISHED.name  # the default of every notebook's parameters cell


def build(names: list[str] | None = None, folder: Path = NOTEBOOKS) -> int:
    """Executes the named notebooks (all by default) and rewrites those that changed; 0, or 1 when one is not clean."""
    found, faulty = chosen(steps(PROFILE, folder), names or [], None), 0
    for step in found:
        started = time.monotonic()
        committed = nbformat.read(step.path, as_version=4)
        fresh = form.canonical(form.keep(execute(step), committed))
        text = nbformat.writes(fresh).rstrip("\n") + "\n"
        changed = text != step.path.read_text(encoding="utf-8")
        if changed:
            write_atomic(step.path, text)
        what = "rewritten" if changed else "unchanged"
        print(f"{step.name}: {what}, {time.monotonic() - started:.0f} s, {len(text) / 1024:.0f} kB", flush=True)
        for problem in hygiene.problems(step.path):
            faulty += 1
            print(f"  {problem}")
    return 1 if faulty else 0


def check(names: list[str] | None = None) -> int:
    """Prints what is wrong with the committed notebooks, changing nothing; 0 when all is well."""
    faulty = 0
    for step in chosen(steps(PROFILE), names or [], None):
        for fault in hygiene.problems(step.path):
            faulty += 1
            print(f"{step.path.name}: {fault}")
    return 1 if faulty else 0


def execute(step: Step) -> nbformat.NotebookNode:
    """The notebook as it is after a run with its default parameters, figures with pictures; the file is not touched."""
    environment = {"K2_PNG": "1", "K2_COMMAND": "k2 notebooks"}
    with tempfile.TemporaryDirectory() as folder:
        done = Path(folder) / step.path.name
        engine.run(step.path, done, {}, profiles.get(PROFILE).cell_timeout, Watch(), environment)
        return nbformat.read(done, as_version=4)
