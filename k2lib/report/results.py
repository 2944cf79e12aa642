"""Committed results of other runs: `data/results/<profile>/<NN>.json`, one ledger a notebook.

`k2 publish` puts them there. A notebook draws its own run beside them, so that a reader on GitHub, who sees the outputs
of a smoke run, sees the evidence of a laptop's or a GPU's too, labelled with profile, machine and date.
"""

from dataclasses import dataclass
from pathlib import Path

from k2lib import profiles
from k2lib.report import claims
from k2lib.report.ledger import Ledger
from k2lib.store import ROOT

RESULTS = ROOT / "data" / "results"


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


def result_path(notebook: str, profile: str, root: Path | None = None) -> Path:
    """Where the notebook's committed result of that profile lies (whether or not there is one)."""
    return (root or RESULTS) / profile / f"{notebook[:2]}.json"


def references(notebook: str, name: str, root: Path | None = None) -> list[Reference]:
    """The committed series `name` of the notebook, from every profile that published it, in their order."""
    found = []
    for profile in profiles.PROFILES:
        path = result_path(notebook, profile, root)
        if path.exists():
            ledger = Ledger.load(path)
            if name in ledger.series:
                source = ledger.provenance
                gpu = source.get("device", "CPU")
                machine = source["machine"] if gpu == "CPU" else gpu
                found.append(Reference(profile, machine, source["date"], ledger.series[name]))
    return found


def published_verdicts(profile: str, root: Path | None = None) -> dict[str, claims.Verdict]:
    """claim id -> Verdict from the committed results of that profile; "not run" where nothing is committed."""
    return claims.judge_all(lambda notebook: result_path(notebook, profile, root), profile)
