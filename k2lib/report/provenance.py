"""Who measured it: the command, commit, machine, versions and date that every number carries with it.

The machine is named by its processor and GPU, never by its host name: committed results say what ran, not where.
"""

import datetime
import functools
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

from k2lib import machine

PACKAGES = ("torch", "numpy", "tokenizers", "transformers", "plotly")


def provenance(seed: int) -> dict:
    """One JSON object for this process: command, commit, machine and what it does, device, versions, seed, date (UTC)."""
    return {
        "command": os.environ.get("K2_COMMAND", "a notebook run by hand"),
        "commit": commit(),
        "machine": f"{machine.name()}, {machine.cores()} cores",
        "device": machine.device_name(machine.device()),
        "measured": machine.record(),
        "versions": versions(),
        "seed": seed,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
    }


@functools.cache
def commit() -> str:
    """The commit of the repository, "-dirty" appended when tracked files differ from it; "unknown" without git."""
    root = Path(__file__).resolve().parents[2]
    try:
        head = _git(root, "rev-parse", "--short=12", "HEAD")
        return head + ("-dirty" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def versions() -> dict[str, str]:
    """Python's version and those of the packages that decide numbers, as far as they are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()
