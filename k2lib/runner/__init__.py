"""Runs the notebooks in order through papermill: `make reproduce`, `k2 reproduce`.

`plan` decides what has to run, `execute` runs one notebook and judges it, `bar` shows how far it is, `chain` does all
of it. What surprised: papermill's own record calls a killed kernel, a cell over its time limit and a `sys.exit(0)` in
the middle "completed", so `execute` believes none of it.
"""

from k2lib.runner.chain import reproduce
from k2lib.runner.execute import NotebookFailed

__all__ = ["NotebookFailed", "reproduce"]
