"""Committed results of other runs: `data/results/<machine>/<profile>/<NN>.json`, one ledger a notebook.

`k2 publish` puts them there. A notebook draws its own run beside them, so that a reader on GitHub, who sees the outputs
of a smoke run, sees the evidence of a laptop's or a GPU's too, labelled with profile, machine and date.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from k2lib import profiles
from k2lib.places import DATA
from k2lib.report import claims
from k2lib.report.ledger import Ledger

RESULTS = DATA / "results"


@dataclass(frozen=True)
class Reference:
    """The committed data of one figure, and where it was measured."""

    profile: str
    machine: str
    date: str
    data: dict

    @property
    def label(self) -> str:
        """Such as "laptop · AMD EPYC 9R14, 2 cores · 2026-11-24"."""
        return f"{self.profile} · {self.machine} · {self.date}"


@dataclass(frozen=True)
class Run:
    """A committed run of one profile on one machine."""

    folder: Path  # data/results/<machine>/<profile>

    @property
    def profile(self) -> str:
        return self.folder.name

    @property
    def machine(self) -> str:
        return self.folder.parent.name

    def path(self, notebook: str) -> Path:
        """Where the notebook's result lies (whether or not there is one)."""
        return self.folder / f"{notebook[:2]}.json"

    def ledger(self, notebook: str) -> Ledger | None:
        return Ledger.load(self.path(notebook)) if self.path(notebook).exists() else None


def runs(profile: str | None = None, root: Path | None = None) -> list[Run]:
    """The committed runs, of all profiles in their order or of one; the machines of a profile by name."""
    wanted = [profile] if profile else list(profiles.PROFILES)
    folders = sorted(path for path in (root or RESULTS).glob("*/*") if path.is_dir() and any(path.glob("[0-9]*.json")))
    return [Run(folder) for name in wanted for folder in folders if folder.name == name]


def machine_folder(provenance: dict) -> str:
    """A machine's name in data/results, such as "amd-epyc-2-cores-bfloat16": the processor or GPU, and the arithmetic."""
    on_gpu = provenance["device"] != "CPU"
    parts = [provenance["device"] if on_gpu else provenance["machine"], provenance.get("measured", {}).get("dtype", "")]
    return re.sub(r"[^a-z0-9]+", "-", " ".join(parts).lower()).strip("-")


def references(notebook: str, name: str, root: Path | None = None) -> list[Reference]:
    """The committed series `name` of the notebook, from every profile that published it, in their order."""
    found = []
    for run in runs(root=root):
        ledger = run.ledger(notebook)
        if ledger and name in ledger.series:
            source = ledger.provenance
            gpu = source.get("device", "CPU")
            machine = source["machine"] if gpu == "CPU" else gpu
            found.append(Reference(run.profile, machine, source["date"], ledger.series[name]))
    return found


def published_verdicts(run: Run) -> dict[str, claims.Verdict]:
    """claim id -> Verdict from a committed run; "not run" where a notebook is missing."""
    return claims.judge_all(run.path, run.profile)
