"""The one place where expensive results lie: computed by whoever asks first, found by everybody after.

A result is a directory, `artifacts/store/<name>-<hash>/`. The hash is taken over the caller's `key` (sizes,
seeds), the code that makes it (`k2lib.closure`) and PyTorch's version, so an edited trainer trains again and an edited
figure does not. The maker writes into a temporary directory that is renamed when it is complete: a
kill at any moment leaves either the whole result or none. A file lock lets two notebooks that start together share one
computation. So no notebook has to know another, and each runs alone.
"""

import dataclasses
import fcntl
import hashlib
import importlib.metadata
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from k2lib import closure


def cached(name: str, make: Callable[[Path], None], *, key: dict, root: Path) -> Path:
    """The directory of result `name`, made by `make(directory)` unless it is there already.

    `key` holds what the result depends on beside the code (JSON values, dataclasses, paths). `root` is
    `places.artifacts()`. An exception in `make` passes through and leaves nothing behind.
    """
    identity = {"name": name, "key": key, "code": closure.of_function(make), "torch": _torch_version()}
    digest = hashlib.sha256(_canonical_json(identity).encode()).hexdigest()[:12]
    shelf = Path(root) / "store"
    done = shelf / f"{name}-{digest}"
    if done.is_dir():
        return done
    with lock(shelf / "locks" / f"{name}-{digest}"):
        if not done.is_dir():  # another process may have made it while we waited
            making = shelf / f".making-{name}-{digest}"
            shutil.rmtree(making, ignore_errors=True)  # left by a kill; we hold the lock, so nobody writes
            making.mkdir()
            try:
                make(making)
                (making / "store.json").write_text(json.dumps(json.loads(_canonical_json(identity)), indent=1) + "\n")
                making.rename(done)
            finally:
                shutil.rmtree(making, ignore_errors=True)
    return done


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Holds the lock file `path` (made if missing) for the block; the kernel releases it when the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def write_atomic(path: Path, text: str) -> None:
    """Writes `text` under a temporary name beside `path`, then renames: readers see the old file or the new one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _canonical_json(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=_plain)


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"store: a key may hold JSON values, dataclasses and paths, not {type(value).__name__}: {value!r}")


def _torch_version() -> str:
    return importlib.metadata.version("torch").split("+")[0]
