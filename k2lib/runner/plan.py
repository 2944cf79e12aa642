"""Which notebooks there are, and which of them have to run again.

A notebook's fingerprint covers everything that decides its result: its code cells, the code of k2lib that they stand on
(`k2lib.closure`), the sizes of the profile, seed, device and dtype, data/ and kernels/, the versions of Python and
PyTorch, the user's own corpus and endpoint. Prose is left out, and so are other notebooks: none reads what another wrote.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

import nbformat

from k2lib import closure, machine, profiles
from k2lib.places import DATA, KERNELS, NOTEBOOKS, artifacts
from k2lib.report.ledger import Ledger, ledger_path
from k2lib.store import sha256, write_atomic

SETTINGS = ("K2_CORPUS", "K2_LLM_BASE_URL", "K2_LLM_MODEL")  # environment variables that decide results


@dataclass(frozen=True)
class Step:
    """One notebook of the chain at one profile, with its fingerprint and the files it leaves."""

    path: Path
    profile: str
    fingerprint: str
    seed: int = 0

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def folder(self) -> Path:
        return artifacts(self.profile) / "notebooks"

    @property
    def executed(self) -> Path:
        return self.folder / f"{self.name}.ipynb"

    @property
    def failed(self) -> Path:
        return self.folder / f"{self.name}.FAILED.ipynb"

    @property
    def marker(self) -> Path:
        return self.folder / f"{self.name}.done"

    def is_done(self) -> bool:
        """Whether the last success was of exactly this fingerprint, and what it left is still there as it was written."""
        marked = self._marked()
        if marked.get("fingerprint") != self.fingerprint or not self.executed.is_file():
            return False
        return marked.get("executed") == sha256(self.executed) and self._ledger_is_whole()

    def mark_done(self, seconds: float) -> None:
        """Records the success; the marker is written last, so it never vouches for a half-written result."""
        done = {"fingerprint": self.fingerprint, "seconds": round(seconds, 1), "executed": sha256(self.executed)}
        write_atomic(self.marker, json.dumps(done) + "\n")

    def last_seconds(self) -> float | None:
        """How long it took the last time here; None when it has not run."""
        seconds = self._marked().get("seconds")
        return seconds if isinstance(seconds, int | float) and 0 <= seconds < float("inf") else None

    def _marked(self) -> dict:
        try:
            marked = json.loads(self.marker.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return marked if isinstance(marked, dict) else {}

    def _ledger_is_whole(self) -> bool:
        """Whether the ledger, if it wrote one, can be read: a person may have written it anew since."""
        path = ledger_path(self.name, self.profile)
        try:
            return not path.exists() or bool(Ledger.load(path))
        except ValueError:
            return False


def steps(profile: str, folder: Path = NOTEBOOKS, seed: int = 0) -> list[Step]:
    """All notebooks of `folder` in the order of their numbers; FileNotFoundError when there are none."""
    paths = sorted(Path(folder).glob("[0-9][0-9]_*.ipynb"))
    if not paths:
        raise FileNotFoundError(f"no notebook named like 00_overview.ipynb in {folder}; run from a full checkout")
    sizes = json.dumps(asdict(profiles.get(profile)), default=str)
    shared = [
        _surroundings(with_results=profile == profiles.PUBLISHED.name),
        sizes,
        json.dumps(machine.arithmetic()),
        str(seed),
    ]
    found = []
    for path in paths:
        cells = code_cells(path)
        found.append(Step(path, profile, _digest([*shared, *cells, closure.of_source("\n".join(cells))]), seed))
    return found


def chosen(plan: list[Step], only: list[str], start: str | None) -> list[Step]:
    """The steps that --only and --from leave, by number or name ("03", "03_muonclip"); ValueError when none matches."""
    names = [step.name for step in plan]
    for wish in [*only, *([start] if start else [])]:
        if not any(_matches(name, wish) for name in names):
            raise ValueError(f"no notebook {wish!r}; choose from {', '.join(names)}, by name or by number")
    first = next((i for i, name in enumerate(names) if start and _matches(name, start)), 0)
    return [step for step in plan[first:] if not only or any(_matches(step.name, wish) for wish in only)]


def code_cells(path: Path) -> list[str]:
    """The sources of the notebook's code cells; ValueError when the file is no notebook."""
    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat raises its own, json's and the file system's
        raise ValueError(f"{path} cannot be read as a notebook ({str(error)[:120]}); restore it with git") from error
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def _matches(name: str, wish: str) -> bool:
    return name == wish.removesuffix(".ipynb") or name.split("_")[0] == wish


def _surroundings(with_results: bool) -> str:
    """Digest of what decides every notebook's results: versions, data (committed results, too, if wanted), the user's settings."""
    parts = [platform.python_version(), importlib.metadata.version("torch")]
    for folder in (DATA, KERNELS):
        for path in sorted(folder.rglob("*")):
            relative = path.relative_to(folder).as_posix()
            if path.is_file() and (with_results or not relative.startswith("results/")):
                parts += [relative, hashlib.sha256(path.read_bytes()).hexdigest()]
    parts += [f"{name}={os.environ.get(name, '')}" for name in SETTINGS]
    corpus = os.environ.get("K2_CORPUS")
    if corpus:
        files = sorted(path for path in Path(corpus).rglob("*") if path.is_file())
        parts += [f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
    return _digest(parts)


def _digest(parts: list[str]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
