"""Papermill's engine with two additions: it says which cell runs, and gives a handle to the process that runs it.

Imported only when a notebook really runs: papermill takes a second to load.
"""

import logging
import os
import sys
import tempfile
from pathlib import Path

import papermill
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines
from traitlets.config import Config

START_TIMEOUT = 600  # seconds for a kernel to come up on a busy machine
# Files and no ports where the system has them: a port is chosen long before a slow kernel takes it, and may be gone then.
# A socket's path may hold a hundred characters.
FILES = sys.platform == "linux" and len(tempfile.gettempdir()) <= 60


class KernelEnded(RuntimeError):
    """A cell asked the kernel to end."""


class Watched(Engine):
    """Runs a notebook like papermill's own engine and keeps `watch` informed."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, *, watch, cell_timeout, environment, **_):
        def cell_executes(cell, cell_index):
            if "injected-parameters" not in cell.metadata.get("tags", []):
                watch.current += 1

        def cell_executed(cell, cell_index, execute_reply):
            payload = execute_reply["content"].get("payload") or []
            if any(one.get("source") == "ask_exit" for one in payload):
                raise KernelEnded("quit() ended the kernel, so the cells after it did not run")

        limits = {"timeout": cell_timeout, "startup_timeout": START_TIMEOUT}
        quiet = {"extra_arguments": ["--log-level=ERROR"], "log": logging.getLogger("papermill")}
        how = limits | quiet | {"kernel_name": kernel_name}
        how |= {"on_cell_execute": cell_executes, "on_cell_executed": cell_executed}
        with tempfile.TemporaryDirectory(prefix="k2-") as folder:  # else the sockets would lie beside the notebook
            sockets = {"transport": "ipc", "ip": f"{folder}/kernel"} if FILES else {}
            watch.client = PapermillNotebookClient(nb_man, config=Config({"KernelManager": sockets}), **how)
            watch.client.execute(env=os.environ | environment)


papermill_engines.register("watched", Watched)


def run(source: Path, output: Path, parameters: dict, cell_timeout: int, watch, environment: dict[str, str]) -> None:
    """Executes `source` with the parameters in its own folder and writes `output` after every cell.

    `environment` holds variables that its kernel gets beside this process's own.
    """
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # the runner reports failures itself
    python = {"kernel_name": "python3", "language": "python", "cwd": source.parent}
    watched = {"engine_name": "watched", "watch": watch, "cell_timeout": cell_timeout, "environment": environment}
    papermill.execute_notebook(source, output, parameters, progress_bar=False, **python, **watched)
