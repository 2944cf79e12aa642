"""The one place where expensive results lie: computed by whoever asks first, found by everybody after.

A result is a directory, `artifacts/store/<name>-<hash>/`. The hash is taken over the caller's `key` (sizes,
seeds), the code that makes it (`k2lib.closure`) and PyTorch's version, so an edited trainer trains again and an edited
figure does not. The maker writes into a temporary directory that is renamed when it is complete: a
kill at any moment leaves either the whole result or none. A file lock lets two notebooks that start together share one
computation. So no notebook has to know another, and each runs alone.

`store.json` in it holds the hash of every file. A process checks them when it first asks for a result; one that is damaged is
set aside, which a warning says, and made again. A disk that is full is told from other failures, with its path and the remedy.
"""

import dataclasses
import errno
import fcntl
import hashlib
import importlib.metadata
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from k2lib import closure

LEAST_FREE = 1 << 20  # bytes: a write that fails with less left failed for want of room
MARK = "store.json"  # in a result: what it is of, and the hash of each of its files
_checked: set[tuple] = set()  # results that this process has found whole, by path and time of their mark


def cached(name: str, make: Callable[[Path], None], *, key: dict, root: Path, code: Callable | None = None) -> Path:
    """The directory of result `name`, made by `make(directory)` unless it is there already and whole.

    `key` holds what the result depends on beside the code (JSON values, dataclasses, paths), which is that of `make`, or
    of the function `code` where `make` only calls it. `root` is
    `places.artifacts()`. An exception in `make` passes through and leaves nothing behind. A damaged result becomes
    `damaged-<its name>`, with a UserWarning, and is made again; OSError says when the disk is full.
    """
    identity = {"name": name, "key": key, "code": closure.of_function(code or make), "torch": _torch_version()}
    digest = hashlib.sha256(_canonical_json(identity).encode()).hexdigest()[:12]
    shelf = Path(root) / "store"
    done = shelf / f"{name}-{digest}"
    if _is_whole(done):
        return done
    with lock(shelf / "locks" / f"{name}-{digest}"):
        if not _is_whole(done):  # another process may have made it while we waited
            _set_aside(done)
            making = shelf / f".making-{name}-{digest}"
            shutil.rmtree(making, ignore_errors=True)  # left by a kill; we hold the lock, so nobody writes
            with room(making):
                making.mkdir()
                try:
                    make(making)
                    mark = json.loads(_canonical_json(identity)) | {"files": _hashes(making)}
                    (making / MARK).write_text(json.dumps(mark, indent=1) + "\n")
                    making.rename(done)
                finally:
                    shutil.rmtree(making, ignore_errors=True)
    return done


def _hashes(directory: Path) -> dict[str, str]:
    """{path within the directory: SHA-256} of every file but the mark."""
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path != directory / MARK)
    return {path.relative_to(directory).as_posix(): sha256(path) for path in files}


def sha256(path: Path) -> str:
    """Of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _is_whole(done: Path) -> bool:
    """Whether a result is there with the bytes that were written."""
    mark = done / MARK
    if not mark.is_file():
        return False
    state = (str(done), mark.stat().st_mtime_ns)
    if state not in _checked and not _damage(done):
        _checked.add(state)
    return state in _checked


def _damage(done: Path) -> str:
    """What is wrong with a result, "" if nothing is."""
    try:
        wanted = dict(json.loads((done / MARK).read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"{MARK} cannot be read"
    for name, digest in wanted.items():
        path = done / name
        if not path.is_file():
            return f"{name} is missing"
        if sha256(path) != digest:
            return f"{name} has other bytes than were written"
    return ""


def _set_aside(done: Path) -> None:
    if not done.exists():
        return
    aside = done.with_name(f"damaged-{done.name}")
    shutil.rmtree(aside, ignore_errors=True)  # of an earlier time
    damage = _damage(done)
    done.rename(aside)
    warnings.warn(f"{done} is damaged: {damage}; it was set aside as {aside.name} and is made again", stacklevel=4)


@contextmanager
def room(path: Path) -> Iterator[None]:
    """Around what writes `path`: OSError, naming the disk and the remedy, if that failed because the disk is full."""
    try:
        yield
    except Exception as error:  # torch and safetensors have their own for a write that failed
        folder = next(parent for parent in Path(path).absolute().parents if parent.is_dir())
        free = shutil.disk_usage(folder).free
        if getattr(error, "errno", None) not in (errno.ENOSPC, errno.EDQUOT) and free >= LEAST_FREE:
            raise
        raise OSError(
            errno.ENOSPC,
            f"the disk of {folder} is full ({free / 1e6:.0f} MB left), so {Path(path).name} could not be written; nothing half "
            "written remains. Free some space (a laptop's run takes 300 MB), or set K2_ARTIFACTS to a folder elsewhere, and "
            "give the same command again",
        ) from error


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
    with room(path):
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
