"""Runs one notebook through papermill and decides for itself whether that went well.

A success is: no exception, every code cell has an execution count, none holds an error output, and the ledger was
written by this run where the notebook ends in `finish()`. Papermill writes under a temporary name; only a success gets
the real one, and what there is of a failure is kept as NN_name.FAILED.ipynb.
"""

import os
import re
import signal
from contextlib import suppress
from dataclasses import dataclass, field

import nbformat

from k2lib.report.ledger import ledger_path
from k2lib.runner.plan import Step
from k2lib.store import room


class NotebookFailed(RuntimeError):
    """A notebook that did not run to its end: says which notebook, which cell and why."""

    def __init__(self, step: Step, cell: str, error: str):
        super().__init__(f"{step.name}, {cell}: {error}")
        self.step, self.cell, self.error = step, cell, error


@dataclass
class Watch:
    """What another thread can see of the run: the cell that is running, and the process that runs it."""

    titles: list[str] = field(default_factory=list)  # of the code cells
    current: int = -1  # index into `titles`
    client: object | None = None  # papermill's, once the kernel is asked for

    def cell(self) -> str:
        """Such as 'cell 4 of 9 (Train twice)'."""
        if not 0 <= self.current < len(self.titles):
            return "before the first cell"
        return f"cell {self.current + 1} of {len(self.titles)} ({self.titles[self.current]})"

    def kill(self) -> None:
        """Ends the kernel and whatever processes it started; the run then fails."""
        manager = getattr(self.client, "km", None)
        pid = getattr(getattr(manager, "provisioner", None), "pid", None)
        if pid:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)  # Jupyter gives each kernel a session of its own


def execute(step: Step, cell_timeout: int, watch: Watch, environment: dict[str, str]) -> None:
    """Runs the notebook of `step`, each cell for at most `cell_timeout` seconds; NotebookFailed unless it all ran.

    Leaves the executed notebook at `step.executed`, or what there is of it at `step.failed`.
    """
    from k2lib.runner import engine

    notebook = nbformat.read(step.path, as_version=4)
    check_parameters(step, notebook)
    watch.titles = cell_titles(notebook)
    step.folder.mkdir(parents=True, exist_ok=True)
    running = step.folder / f".{step.name}.running.ipynb"
    running.unlink(missing_ok=True)  # left by a kill
    before = _written(step)
    try:
        try:
            parameters = {"profile": step.profile, "seed": step.seed}
            with room(running):
                engine.run(step.path, running, parameters, cell_timeout, watch, environment)
        except Exception as error:  # papermill, nbclient and jupyter_client each have their own
            raise NotebookFailed(step, watch.cell(), reason(error, cell_timeout)) from error
        _require_all_ran(step, nbformat.read(running, as_version=4), watch)
        if any(".finish(" in cell.source for cell in notebook.cells) and _written(step) == before:
            raise NotebookFailed(step, watch.cell(), "it wrote no ledger, so its finish() did not do its work")
    except NotebookFailed:
        if running.exists():
            running.replace(step.failed)
        raise
    step.failed.unlink(missing_ok=True)
    running.replace(step.executed)


def warnings_of(step: Step) -> list[str]:
    """What the executed notebook warned of, such as a damaged result that was made again."""
    notebook = nbformat.read(step.executed, as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    text = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stderr")
    return list(dict.fromkeys(re.findall(r"UserWarning: (.+)", text)))


def check_parameters(step: Step, notebook: nbformat.NotebookNode) -> None:
    """ValueError unless the notebook takes the parameter `profile`: papermill would only warn and run the default."""
    cells = [cell.source for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if not any(re.search(r"(?m)^profile\s*=", source) for source in cells):
        raise ValueError(f"{step.path} has no parameter 'profile'; give it a cell tagged 'parameters' that sets it")


def cell_titles(notebook: nbformat.NotebookNode) -> list[str]:
    """A title for every code cell: the last heading above it."""
    titles, heading = [], "start"
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            headings = re.findall(r"(?m)^#+ (.+)$", cell.source)
            heading = headings[-1].strip() if headings else heading
        elif cell.cell_type == "code":
            titles.append(heading)
    return titles


def reason(error: Exception | nbformat.NotebookNode, cell_timeout: int) -> str:
    """One line that says what went wrong, from whatever papermill raised or a cell shows."""
    kind = type(error).__name__
    if kind == "CellTimeoutError":
        return f"ran longer than {cell_timeout} s, the profile's limit for a cell (cell_timeout in k2lib/profiles.py)"
    if kind == "DeadKernelError":
        return "the kernel died; the usual cause is too little memory (see `dmesg`), another is a crash in native code"
    kind, text = getattr(error, "ename", kind), str(getattr(error, "evalue", "") or error).strip()
    if kind == "SystemExit":
        return f"called sys.exit({text}), so the cells after it did not run"
    return f"{kind}: {text.splitlines()[0]}" if text else kind


def _require_all_ran(step: Step, notebook: nbformat.NotebookNode, watch: Watch) -> None:
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    code = [cell for cell in code if "injected-parameters" not in cell.metadata.get("tags", [])]
    for number, cell in enumerate(code):
        watch.current = number
        if cell.execution_count is None:
            watch.current = max(number - 1, 0)
            raise NotebookFailed(step, watch.cell(), "the notebook stopped there without an error")
        for output in cell.outputs:
            if output.output_type == "error":
                raise NotebookFailed(step, watch.cell(), reason(output, 0))


def _written(step: Step) -> int | None:
    path = ledger_path(step.name, step.profile)
    return path.stat().st_mtime_ns if path.exists() else None
