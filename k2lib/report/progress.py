"""One progress bar, three readers: a person in JupyterLab, the runner, and a test that wants silence.

A bar printed into a notebook would be stored in it, differ on every run and be useless on GitHub. So a person in
JupyterLab gets a widget that disappears when it is done; the runner names a file in K2_PROGRESS_FILE and shows what it
reads there; anybody else gets nothing.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

WRITE_EVERY = 0.5  # seconds between two writes of the progress file


def progress(iterable: Iterable, desc: str, total: int | None = None) -> Iterator:
    """The items of `iterable`, shown as `desc` done/total; `total` is `len(iterable)` unless given."""
    if total is None:
        total = len(iterable) if hasattr(iterable, "__len__") else None
    if "K2_PROGRESS_FILE" in os.environ:
        yield from _to_file(iterable, desc, total, Path(os.environ["K2_PROGRESS_FILE"]))
    elif "JPY_SESSION_NAME" in os.environ:  # set by the Jupyter server for a person's kernel, not by nbval or papermill
        from tqdm.auto import tqdm

        yield from tqdm(iterable, desc=desc, total=total, leave=False)
    else:
        yield from iterable


def _to_file(iterable: Iterable, desc: str, total: int | None, path: Path) -> Iterator:
    from k2lib.store import write_atomic

    last = 0.0
    for done, item in enumerate(iterable):
        if time.monotonic() - last >= WRITE_EVERY:
            write_atomic(path, json.dumps({"desc": desc, "done": done, "total": total}))
            last = time.monotonic()
        yield item
    path.unlink(missing_ok=True)  # nothing in progress any more
