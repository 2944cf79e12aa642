"""A kernel's text with its includes spelt out, and the cache of what was compiled from it."""

import hashlib
import os
import re
import sysconfig
from collections.abc import Callable
from pathlib import Path

from k2lib.places import KERNELS


def names() -> list[str]:
    """The kernels there are: one file each in kernels/."""
    return sorted(path.stem for path in KERNELS.glob("*.cu"))


def summary(name: str) -> str:
    """The first line of a kernel's essay."""
    return (KERNELS / f"{name}.cu").read_text(encoding="utf-8").splitlines()[0].removeprefix("// ")


def expand(name: str) -> str:
    """The text of <name>.cu, each #include "…" of the same folder replaced by that file, once. ValueError lists the names."""
    if name not in names():
        raise ValueError(f"there is no kernel {name!r}; kernels/ holds {', '.join(names())}")
    return _inline(KERNELS / f"{name}.cu", set())


def _inline(path: Path, seen: set[str]) -> str:
    seen.add(path.name)

    def included(match: re.Match) -> str:
        return "" if match[1] in seen else _inline(path.parent / match[1], seen)

    return re.sub(r'#include "([\w.]+)"', included, path.read_text(encoding="utf-8").replace("#pragma once", ""))


def compiled(name: str, suffix: str, made_from: list[str], make: Callable[[Path], None]) -> Path:
    """The cached file made from these texts, flags and versions; `make(path)` writes it under a temporary name first.

    CuPy's own cache takes its key before includes are read, and so misses an edited header.
    """
    key = hashlib.sha256("\0".join(made_from).encode()).hexdigest()[:16]
    path = cache() / f"{name}-{key}{suffix}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.stem}.{os.getpid()}{suffix}")
        try:
            make(part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return path


def cache() -> Path:
    """~/.cache/k2lib/kernels, or where XDG_CACHE_HOME points."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "k2lib" / "kernels"


def headers() -> list[str]:
    """The folders that hold CUDA's headers, as compiler options. RuntimeError says how to get them."""
    homes = [os.environ.get("CUDA_HOME"), "/usr/local/cuda"]
    places = [Path(home) / "include" for home in homes if home]
    places += sorted(Path(sysconfig.get_path("purelib")).glob("nvidia/*/include"))
    found = [place for place in places if (place / "cuda_bf16.h").is_file()]
    if not found:
        raise RuntimeError("CUDA's headers are not here; `pip install k2lib[kernels]` brings them, or set CUDA_HOME")
    return [f"-I{found[0]}"] + [f"-I{place}" for place in places if place != found[0] and place.is_dir()]
